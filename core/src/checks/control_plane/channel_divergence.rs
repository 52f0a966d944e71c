//! `cp-channel-divergence`: no API server is slow with one resource that the others serve well.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::servers::{runs_for, servers};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit};
use crate::names::Name;
use crate::sample::{Metric, Metrics, whole};

/// Over so many seconds shares are taken.
const WINDOW: f64 = 120.0;
/// For so long it must go on, in seconds: one large list is over by then, or is a single request.
const LASTS: f64 = 60.0;
/// With fewer requests in a second a few decide: one in twenty seconds.
const FEWEST: f64 = 0.05;
/// Of its requests so many must fail, in percent, and of a sibling's less than a tenth of that.
const FAILS: f64 = 10.0;
/// A mean of so many seconds is slow, and so many times a sibling's mean.
const SLOW: f64 = 1.0;
const TIMES: f64 = 10.0;
/// A watch cache that gets changes of so many seconds ago is behind. What arrives is new as a rule, and two samples are up to
/// 60 s apart.
const BEHIND: f64 = 90.0;
/// An API server that has just started fills its caches, in seconds.
const STARTING: f64 = 600.0;

const METRICS: Metrics = Metrics::of(&[
    Metric::StartTime,
    Metric::ResourceRequests,
    Metric::GatewayTimeouts,
    Metric::EtcdRequests,
    Metric::EtcdErrors,
    Metric::EtcdSeconds,
    Metric::ConsistentReadFallbacks,
    Metric::WatchCacheRevision,
]);

/// The check.
pub static CHECK: Check = Check {
    id: "cp-channel-divergence",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::EndpointSlices]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: METRICS,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No API server is slow with one resource that the others serve well.

An API server has a connection to etcd for each resource. When one of them is slow or half dead, requests for that resource time
out on one API server and nowhere else: clients of the others see nothing. Small reads do not show it, as they are
answered from a cache.

## Formula

Of each resource on each API server, over 120 s and at least 60 s long:

- 10 % or more of its requests end in a 504, or of its requests to etcd fail; or a request to etcd takes 1 s or longer on average
  and ten times as long as on the others; and each of the others that serves the resource stays below a tenth: Violated.
- Its watch cache goes on, and what it has reached now another API server had passed 90 s ago or earlier, and on no other API
  server: Violated. A cache that stands still says nothing: there may be no changes.
- Consistent reads fall back from the watch cache to etcd, and on no other API server: AtRisk.
- An API server that has started within 600 s fills its caches and is not judged. All slow together is an overload
  (`cp-overload-brownout`). Fewer than one request in 20 s says nothing.
- One API server: not applicable. Nothing measured of one of them: Unknown.

It is measured by `apiserver_request_total`, `etcd_requests_total`, `etcd_request_errors_total`,
`etcd_request_duration_seconds` (labels `type`, or `group` and `resource` since 1.34),
`apiserver_watch_cache_resource_version` and `apiserver_watch_cache_consistent_read_total` (since 1.31) of each API server, from Prometheus or from its own `/metrics`.

## What to do

1. With three or more API servers take that one out of the load balancer, and see that requests end.
2. Then restart that one alone: it opens new connections to etcd.

## What not to do

Do not restart etcd or the other API servers: their connections work.
";

/// What was seen of a resource on an API server.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Requests, or requests to etcd, in a second.
    rate: f64,
    /// 504s and failures, in percent of each.
    failing: f64,
    failing_lasts: bool,
    /// Mean seconds of a request to etcd.
    mean: f64,
    mean_lasts: bool,
    /// For how many seconds another has been ahead of what its watch cache has reached, at least.
    behind: f64,
    /// Consistent reads that the cache did not answer.
    falls_back: bool,
}

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let servers = servers(look)?;
    if servers.len() < 2 {
        return Ok(Verdict::NotApplicable("there is only one API server"));
    }
    let mut resources: BTreeSet<Name> = BTreeSet::new();
    for server in &servers {
        let own: BTreeSet<Name> = [Metric::EtcdRequests, Metric::ResourceRequests]
            .into_iter()
            .flat_map(|metric| look.resources(metric, *server))
            .collect();
        if own.is_empty() {
            // Says why, as nothing was measured there.
            look.on_resource(Metric::EtcdRequests, *server, Name::EMPTY)?;
        }
        resources.extend(own);
    }
    let mut worst: Option<(u32, Verdict)> = None;
    let mut sorted: Vec<Name> = resources.into_iter().collect();
    sorted.sort_unstable_by_key(|name| look.names().text(*name));
    for resource in sorted {
        let seen: Vec<(IpAddr, Seen)> = servers
            .iter()
            .map(|at| (*at, seen(look, *at, resource, &servers)))
            .collect();
        for (at, own) in &seen {
            let Some((sign, weight)) = diverges(own, *at, &seen) else {
                continue;
            };
            if runs_for(look, *at)? < STARTING || worst.as_ref().is_some_and(|held| held.0 >= weight) {
                continue;
            }
            let case = Channel {
                server: at.to_string().into(),
                resource: look.names().shared(resource),
                sign,
                servers: servers.len(),
            };
            let verdict = if matches!(sign, ChannelSign::FallsBack) {
                Verdict::at_risk(case)
            } else {
                Verdict::violated(case)
            };
            worst = Some((weight, verdict));
        }
    }
    Ok(worst.map_or(Verdict::Met, |held| held.1))
}

/// Whether one of them is alone with its trouble, and how much that matters.
fn diverges(own: &Seen, at: IpAddr, all: &[(IpAddr, Seen)]) -> Option<(ChannelSign, u32)> {
    let others = || all.iter().filter(|one| one.0 != at).map(|one| &one.1);
    let fails = own.failing >= FAILS && own.failing_lasts && own.rate >= FEWEST;
    if fails && others().all(|one| one.failing * 10.0 < FAILS) {
        return Some((
            ChannelSign::Fails(whole(own.failing) / 10 * 10),
            1_000 + whole(own.failing),
        ));
    }
    let slow = own.mean >= SLOW && own.mean_lasts && own.rate >= FEWEST;
    if slow && others().all(|one| one.mean * TIMES <= own.mean) {
        return Some((ChannelSign::Slow(step(own.mean)), 100 + whole(own.mean)));
    }
    if own.behind >= BEHIND && others().all(|one| one.behind < BEHIND) {
        return Some((ChannelSign::Behind(step(own.behind)), 90));
    }
    let alone = own.falls_back && others().all(|one| !one.falls_back);
    alone.then_some((ChannelSign::FallsBack, 1))
}

fn seen(look: &Look<'_>, at: IpAddr, resource: Name, servers: &[IpAddr]) -> Seen {
    let read = |metric| look.on_resource(metric, at, resource).ok();
    let mut seen = Seen::default();
    for (all, bad) in [
        (Metric::ResourceRequests, Metric::GatewayTimeouts),
        (Metric::EtcdRequests, Metric::EtcdErrors),
    ] {
        let Some(rate) = read(all).map(|one| one.mean(WINDOW)) else {
            continue;
        };
        seen.rate = seen.rate.max(rate);
        if let Some(bad) = read(bad)
            && rate > 0.0
        {
            seen.failing = seen.failing.max(bad.mean(WINDOW) * 100.0 / rate);
            seen.failing_lasts |= bad.above_for(0.0) >= LASTS;
        }
    }
    if let (Some(requests), Some(seconds)) = (read(Metric::EtcdRequests), read(Metric::EtcdSeconds)) {
        let rate = requests.mean(WINDOW);
        if rate > 0.0 {
            seen.mean = seconds.mean(WINDOW) / rate;
        }
        // Each interval alone is slow, so that one long request among many short ones is not.
        seen.mean_lasts = requests.span() >= LASTS && seconds.above_for(SLOW * rate / 2.0) >= LASTS;
    }
    seen.behind = behind(look, at, resource, servers);
    seen.falls_back = read(Metric::ConsistentReadFallbacks).is_some_and(|one| one.above_for(0.0) >= LASTS);
    seen
}

/// For how many seconds at least another API server has been ahead of what a watch cache has reached now; zero where that
/// cache stands still, as it does without changes. Revisions are those of etcd, so that they can be compared, and what
/// arrives over a channel that works has the newest one.
fn behind(look: &Look<'_>, at: IpAddr, resource: Name, servers: &[IpAddr]) -> f64 {
    let read = |at| look.on_resource(Metric::WatchCacheRevision, at, resource).ok();
    let Some(own) = read(at) else { return 0.0 };
    let mut newest = own.levels().rev();
    let (Some((now, reached)), Some((_, before))) = (newest.next(), newest.next()) else {
        return 0.0;
    };
    if reached <= before {
        return 0.0;
    }
    let others = servers
        .iter()
        .filter(|one| **one != at)
        .filter_map(|one| read(*one));
    let ahead = others.filter_map(|other| {
        let mut levels = other.levels();
        let passed = levels.find(|one| one.1 > reached)?;
        Some(now.since(passed.0))
    });
    ahead.fold(0.0, f64::max)
}

/// The greatest of 1, 2, 5, 10, 20, 50, 90, 300 seconds that a time reaches.
fn step(seconds: f64) -> u32 {
    let steps = [300, 90, 50, 20, 10, 5, 2];
    steps
        .into_iter()
        .find(|step| whole(seconds) >= *step)
        .unwrap_or(1)
}

/// What is wrong with a resource on one API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ChannelSign {
    /// So many percent fail, at least.
    Fails(u32),
    /// A request to etcd takes so many seconds, at least.
    Slow(u32),
    /// Its watch cache gets changes that are so many seconds old, at least.
    Behind(u32),
    FallsBack,
}

/// An API server whose channel for one resource is another than those of its siblings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Channel {
    server: Arc<str>,
    resource: Arc<str>,
    sign: ChannelSign,
    servers: usize,
}

impl Explain for Channel {
    fn cause(&self) -> &'static str {
        match self.sign {
            ChannelSign::Fails(_) => "Fails",
            ChannelSign::Slow(_) => "Slow",
            ChannelSign::Behind(_) => "Behind",
            ChannelSign::FallsBack => "FallsBack",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, resource, .. } = self;
        match self.sign {
            ChannelSign::Fails(percent) => write!(
                f,
                "API server {server} fails at least {percent} % of the requests for {resource}, and the others do not"
            ),
            ChannelSign::Slow(seconds) => write!(
                f,
                "API server {server} waits at least {seconds} s for etcd with {resource}, ten times as long as the others"
            ),
            ChannelSign::Behind(seconds) => write!(
                f,
                "API server {server} gets changes of {resource} at least {seconds} s late, and the others do not"
            ),
            ChannelSign::FallsBack => write!(
                f,
                "the watch cache for {resource} of API server {server} is behind, and those of the others are not"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let source = "etcd requests and answers of each API server";
        let number = match self.sign {
            ChannelSign::Fails(percent) => Evidence::watched("failing", Unit::Percent, percent, source),
            ChannelSign::Slow(seconds) => Evidence::watched("etcdMean", Unit::Seconds, seconds, source),
            ChannelSign::Behind(seconds) => Evidence::watched("behind", Unit::Seconds, seconds, source),
            ChannelSign::FallsBack => Evidence::watched("fallbacksFor", Unit::Seconds, 60, source),
        };
        vec![
            Evidence::name("apiServer", &self.server, "EndpointSlices of default/kubernetes"),
            Evidence::name("resource", &self.resource, source),
            number,
            Evidence::count("apiServers", self.servers, "EndpointSlices of default/kubernetes"),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let server = &self.server;
        let mut all: Vec<Advice> = Vec::new();
        if self.servers > 2 {
            all.push(
                format!("take API server {server} out of the load balancer, and see that the errors end")
                    .into(),
            );
        }
        all.push(format!("then restart API server {server} alone: it opens new connections to etcd").into());
        all.push("do not restart etcd or the other API servers: their connections work".into());
        all
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |sign| Channel {
        server: "192.0.2.2".into(),
        resource: "apps/deployments".into(),
        sign,
        servers: 3,
    };
    vec![
        Verdict::violated(of(ChannelSign::Fails(40))),
        Verdict::violated(of(ChannelSign::Slow(20))),
        Verdict::violated(of(ChannelSign::Behind(90))),
        Verdict::at_risk(of(ChannelSign::FallsBack)),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::control_plane::servers::world::{Played, play, says, start};
    use crate::sample::{Observer, PageScope, SampleSubject};

    const ID: &str = "cp-channel-divergence";
    const LONG_AGO: f64 = 1_799_000_000.0;
    const STARTED: Played<'_> = (Metric::StartTime, "", [LONG_AGO; 3]);

    /// Requests to etcd, failures and seconds, in a second, for `pods`; `leases` are served well by all.
    fn etcd(requests: [f64; 3], errors: [f64; 3], seconds: [f64; 3]) -> Vec<Played<'static>> {
        vec![
            STARTED,
            (Metric::EtcdRequests, "pods", requests),
            (Metric::EtcdErrors, "pods", errors),
            (Metric::EtcdSeconds, "pods", seconds),
            (Metric::EtcdRequests, "leases", [50.0; 3]),
            (Metric::EtcdErrors, "leases", [0.0; 3]),
            (Metric::EtcdSeconds, "leases", [0.5; 3]),
        ]
    }

    #[rstest]
    #[case::healthy([5.0; 3], [0.0; 3], [0.05; 3], "Met")]
    #[case::one_fails([5.0; 3], [0.0, 2.0, 0.0], [0.05; 3], "Violated critical Fails")]
    #[case::all_fail([5.0; 3], [2.0; 3], [0.05; 3], "Met")]
    #[case::one_is_slow([5.0; 3], [0.0; 3], [0.05, 30.0, 0.05], "Violated critical Slow")]
    #[case::all_are_slow([5.0; 3], [0.0; 3], [30.0; 3], "Met")]
    #[case::a_little_slower([5.0; 3], [0.0; 3], [0.05, 2.0, 0.05], "Met")]
    #[case::hardly_asked([0.01; 3], [0.0, 0.01, 0.0], [0.0; 3], "Met")]
    fn channels(
        #[case] requests: [f64; 3],
        #[case] errors: [f64; 3],
        #[case] seconds: [f64; 3],
        #[case] expected: &str,
    ) {
        assert_eq!(says(ID, &etcd(requests, errors, seconds)), expected);
    }

    #[test]
    fn timeouts_of_one_resource_are_enough() {
        let played = [
            STARTED,
            (Metric::ResourceRequests, "persistentvolumeclaims", [2.0; 3]),
            (Metric::GatewayTimeouts, "persistentvolumeclaims", [0.0, 0.0, 1.0]),
        ];
        let mut world = start();
        play(&mut world, 7, &played);
        assert_eq!(
            world.message(ID),
            "API server 192.0.2.3 fails at least 50 % of the requests for persistentvolumeclaims, and the others do not",
            "within three minutes"
        );
    }

    /// Revisions that the watch cache of `pods` has reached on each, at samples 30 s apart.
    fn caches(revisions: &[[f64; 3]]) -> String {
        let mut world = start();
        for (step, of_each) in revisions.iter().enumerate() {
            if step > 0 {
                world.wait(30);
            }
            let step = f64::from(u32::try_from(step).unwrap());
            let mut samples = Vec::new();
            for (at, revision) in (1_u8..).zip(of_each) {
                let address = [192, 0, 2, at].into();
                samples.push((Metric::StartTime, SampleSubject::Instance(address), LONG_AGO));
                let pods = SampleSubject::Resource(address, "pods");
                samples.push((Metric::EtcdRequests, pods, step));
                samples.push((Metric::WatchCacheRevision, pods, *revision));
            }
            world.measure(Observer::Prometheus, PageScope::Instances, &samples);
        }
        world.verdict(ID)
    }

    /// Revisions as they are after years: each is 4e9 and more.
    fn cache(of: impl Fn(f64) -> [f64; 3]) -> String {
        let revisions: Vec<_> = (0_u32..10)
            .map(|step| of(f64::from(step)).map(|one| one + 4e9))
            .collect();
        caches(&revisions)
    }

    #[test]
    fn a_cache_that_gets_old_changes_is_behind() {
        assert_eq!(cache(|step| [30.0 * step; 3]), "Met", "all keep up");
        let late = |step: f64| [30.0 * step, 9.0 * step, 30.0 * step];
        assert_eq!(cache(late), "Violated critical Behind");
        // One large change in a quiet cluster, and one sibling reads it a sample later.
        let once = |step: f64| if step < 9.0 { [1.0; 3] } else { [5.0, 1.0, 5.0] };
        assert_eq!(cache(once), "Met");
        // Its last change is long ago; the other has asked etcd for its newest revision since.
        let quiet = |step: f64| [1.0 + 30.0 * step, 1.0, 1.0 + 30.0 * step];
        assert_eq!(cache(quiet), "Met", "it stands still");
        let two = |step: f64| [30.0 * step, 9.0 * step, 9.0 * step];
        assert_eq!(cache(two), "Met", "two are behind: that is no channel of one");
    }

    #[test]
    fn one_large_list_is_no_channel() {
        let mut world = start();
        play(&mut world, 6, &etcd([0.1; 3], [0.0; 3], [0.005; 3]));
        world.wait(30);
        // Three more requests to etcd, of which one takes 40 s: the mean over 120 s is above 3 s.
        let pods = SampleSubject::Resource("192.0.2.2".parse().unwrap(), "pods");
        let once = [
            (Metric::EtcdRequests, pods, 18.0),
            (Metric::EtcdErrors, pods, 0.0),
            (Metric::EtcdSeconds, pods, 40.9),
        ];
        world.measure(Observer::Prometheus, PageScope::Instances, &once);
        assert_eq!(world.verdict(ID), "Met");
    }

    #[test]
    fn one_that_has_just_started_fills_its_caches() {
        let mut played = etcd([5.0; 3], [0.0; 3], [0.05, 30.0, 0.05]);
        played[0].2[1] = 1_799_999_900.0;
        assert_eq!(says(ID, &played), "Met");
    }

    #[test]
    fn a_cache_that_is_behind_alone_is_at_risk() {
        let mut played = etcd([5.0; 3], [0.0; 3], [0.05; 3]);
        played.push((Metric::ConsistentReadFallbacks, "pods", [0.0, 1.0, 0.0]));
        assert_eq!(says(ID, &played), "AtRisk warning FallsBack");
        played.pop();
        played.push((Metric::ConsistentReadFallbacks, "pods", [1.0; 3]));
        assert_eq!(says(ID, &played), "Met");
    }

    #[test]
    fn without_samples_of_one_it_is_unknown() {
        assert_eq!(
            says(ID, &etcd([5.0, f64::NAN, 5.0], [0.0; 3], [0.0; 3])),
            "Met",
            "leases are measured there"
        );
        assert_eq!(says(ID, &[STARTED]), "Unknown unknown");
    }
}
