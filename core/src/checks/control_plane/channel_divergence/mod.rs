//! `cp-channel-divergence`: no API server is slow with one resource that the others serve well.

mod channel;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::servers::{runs_for, servers};
use crate::judge::{Check, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source};
use crate::names::Name;
use crate::sample::{Metric, Metrics, whole};
use channel::{Channel, ChannelSign};

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
    examples: channel::examples,
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
`apiserver_watch_cache_resource_version` and `apiserver_watch_cache_consistent_read_total` (both since 1.31) of each API server, from Prometheus or from its own `/metrics`.

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
