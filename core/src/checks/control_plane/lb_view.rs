//! `lb-view-mismatch`: the load balancer before the API servers uses all of them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::servers::{node_of, on_each, runs_for, servers};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Severity, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit};
use crate::sample::{Metric, Metrics, Observer, Reading, whole};

/// How rarely chance alone may look like this: once in so many looks.
const CHANCE: f64 = 1e9;
/// A balancer that has changed between API servers so often from one connection to the next does spread: an address that fails
/// over changes once, and one that keeps clients by their address never.
const SPREADS: f64 = 10.0;
/// Over so many seconds requests and new connections are compared.
const WINDOW: f64 = 300.0;
/// From what share on, as a multiple of an equal one, clients use one API server as our own connections do.
const HOT: f64 = 1.8;
/// Up to what share new connections are spread.
const SPREAD: f64 = 1.4;
/// A balancer may take so many seconds to find an API server that has started: probes are 10 s to 30 s apart as a rule, and
/// several must succeed.
const FOUND: f64 = 120.0;

/// The check.
pub static CHECK: Check = Check {
    id: "lb-view-mismatch",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::EndpointSlices, Source::ClusterPolicy]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[
        Metric::BalancerHandshakes,
        Metric::BalancerChanges,
        Metric::Requests,
        Metric::AcceptedConnections,
        Metric::StartTime,
    ]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
The load balancer before the API servers uses all of them.

A load balancer whose health check is wrong sends everything to one of several API servers. All of them answer by their own
addresses, nothing is down, and one failure takes the whole control plane away.

## Formula

The load balancer cannot be asked, so it is observed: every 5 s a fresh TLS connection is opened to its address and closed
again, without a request and without credentials. The certificate that it shows is compared with those that the API servers show
by their own addresses. The address is `controlPlane.loadBalancer` of the ClusterTrafficHealthPolicy, else the one in ConfigMap
`kube-public/cluster-info`.

With `n` API servers, and `k` the fewest connections of which all reach the same one by chance less than once in 1e9
(`n^(k-1) >= 1e9`: 31 of two, 20 of three, 14 of five):

- the last `k` connections all reached one of them: Violated. Critical where it is sure: the balancer has changed between
  API servers from one connection to the next at least ten times since evenkeel measures, or its address is declared and
  the requests or new connections of all clients go to that one as well (1.8 times an equal share or more). Else a
  warning: a balancer that keeps clients by their address looks the same, and so does an address that fails over (kube-vip,
  keepalived).
- new connections to the machines of the API servers (`Tcp PassiveOpens`) are shared evenly: met, as the balancer keeps clients
  by their address.
- none of the kept connections reached one of them, by chance less than once in 1e9 (54 connections of three): AtRisk.
- The API servers that get none have started within 120 s: not judged, as the balancer has to find them first.
- One API server, or no connections are opened (`--instance-metrics`): not applicable. A certificate that API servers share,
  one that is none of theirs, or no address: Unknown, with the reason.

## What to do

1. Ask the balancer which targets it holds for healthy, and mend its health check (`/readyz`, the right port and protocol).
2. Where the address fails over by design, or keeps clients by their address, accept the finding with an exception.

## What not to do

Do not restart or drain the API server that is used: the balancer has no other target.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let servers = servers(look)?;
    if servers.len() < 2 {
        return Ok(Verdict::NotApplicable("there is only one API server"));
    }
    if !look.is_observed_by(Observer::LoadBalancer) {
        return Ok(Verdict::NotApplicable(
            "no connections are opened to a load balancer: --instance-metrics",
        ));
    }
    let handshakes = on_each(look, Metric::BalancerHandshakes, &servers)?;
    let n = f64::from(u32::try_from(servers.len()).unwrap_or(u32::MAX));
    let Some(last) = newest(&handshakes, same_by_chance(n)) else {
        return Err(Gap::TooFewSamples(Metric::BalancerHandshakes.name().into()));
    };
    let total: u32 = last.iter().map(|one| one.1).sum();
    if let Some((hot, _)) = last.iter().find(|one| one.1 == total) {
        return one_is_used(look, &servers, *hot, total, n);
    }
    let all = newest(&handshakes, none_by_chance(n)).unwrap_or_default();
    let total = all.iter().map(|one| one.1).sum();
    for (cold, _) in all.iter().filter(|one| one.1 == 0) {
        if runs_for(look, *cold)? >= FOUND {
            return Ok(Verdict::at_risk(ViewMismatch::Unused {
                server: cold.to_string().into(),
                handshakes: total,
                servers: servers.len(),
            }));
        }
    }
    Ok(Verdict::Met)
}

/// All connections reach one of them.
fn one_is_used(look: &Look<'_>, servers: &[IpAddr], hot: IpAddr, handshakes: u32, n: f64) -> Known<Verdict> {
    let mut found = false;
    for cold in servers.iter().filter(|one| **one != hot) {
        found |= runs_for(look, *cold)? >= FOUND;
    }
    if !found {
        return Ok(Verdict::NotApplicable("the other API servers have just started"));
    }
    let clients = clients(look, servers, hot, n)?;
    if clients == OtherClients::Elsewhere {
        return Ok(Verdict::Met);
    }
    let spreads = look.on_cluster(Metric::BalancerChanges)?.value >= SPREADS;
    let declared = look
        .cluster_policy()?
        .is_some_and(|policy| policy.load_balancer.is_some());
    Ok(Verdict::violated(ViewMismatch::OneUsed {
        server: hot.to_string().into(),
        handshakes,
        servers: servers.len(),
        by: if spreads {
            SeenBy::Change
        } else if declared && clients == OtherClients::There {
            SeenBy::Clients
        } else {
            SeenBy::Handshakes
        },
    }))
}

/// Where other clients go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtherClients {
    /// To the same API server.
    There,
    /// To others as well.
    Elsewhere,
    /// It is not measured; or what is open already hides it.
    Unknown,
}

/// Where other clients go: by new connections, else by requests, which long-lived connections may hold where they are.
fn clients(look: &Look<'_>, servers: &[IpAddr], hot: IpAddr, n: f64) -> Known<OtherClients> {
    let mut accepted = Vec::new();
    for server in servers {
        if let Some(node) = node_of(look, *server)?
            && let Ok(reading) = look.on_node(Metric::AcceptedConnections, node)
        {
            accepted.push((*server, reading.mean(WINDOW)));
        }
    }
    if accepted.len() == servers.len()
        && let Some(share) = share(&accepted, hot)
    {
        if share * n >= HOT {
            return Ok(OtherClients::There);
        }
        if share * n <= SPREAD {
            return Ok(OtherClients::Elsewhere);
        }
    }
    let requests = on_each(look, Metric::Requests, servers);
    let rates = requests.map(|all| {
        all.iter()
            .map(|(at, one)| (*at, one.mean(WINDOW)))
            .collect::<Vec<_>>()
    });
    Ok(match rates.as_deref().map(|rates| share(rates, hot)) {
        Ok(Some(share)) if share * n >= HOT => OtherClients::There,
        _ => OtherClients::Unknown,
    })
}

/// The part of one of them; none where there is nothing.
fn share(rates: &[(IpAddr, f64)], of: IpAddr) -> Option<f64> {
    let total: f64 = rates.iter().map(|one| one.1).sum();
    let own = rates.iter().find(|one| one.0 == of)?.1;
    (total > 0.0).then(|| own / total)
}

/// How many of the newest connections reached each, in whole samples up to the fewest that are enough; `None` where there are not
/// so many.
fn newest(all: &[(IpAddr, Reading<'_>)], enough: f64) -> Option<Vec<(IpAddr, u32)>> {
    let mut counts: Vec<(IpAddr, u32)> = all.iter().map(|one| (one.0, 0)).collect();
    for back in 0.. {
        for ((_, reading), (_, count)) in all.iter().zip(&mut counts) {
            let points = reading.points;
            let at = points.len().checked_sub(back + 2)?;
            let [before, after] = points.get(at..at + 2)? else {
                return None;
            };
            *count += whole((f64::from(after.value) * after.since(*before)).round());
        }
        let total: u32 = counts.iter().map(|one| one.1).sum();
        if f64::from(total) >= enough {
            break;
        }
    }
    Some(counts)
}

/// How many connections reach the same of so many by chance once in [`CHANCE`].
fn same_by_chance(n: f64) -> f64 {
    1.0 + (CHANCE.ln() / n.ln()).ceil()
}

/// How many connections miss one of so many by chance once in [`CHANCE`].
fn none_by_chance(n: f64) -> f64 {
    ((n * CHANCE).ln() / -(1.0 - 1.0 / n).ln()).ceil()
}

/// By what it is known that the balancer uses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SeenBy {
    /// It has used others before.
    Change,
    /// All clients of a declared load balancer go there.
    Clients,
    /// Our own connections alone: it may be meant so.
    Handshakes,
}

/// A balancer that uses not all of the API servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ViewMismatch {
    /// It uses one.
    OneUsed {
        server: Arc<str>,
        handshakes: u32,
        servers: usize,
        by: SeenBy,
    },
    /// It leaves one out.
    Unused {
        server: Arc<str>,
        handshakes: u32,
        servers: usize,
    },
}

impl ViewMismatch {
    const fn parts(&self) -> (&Arc<str>, u32, usize) {
        match self {
            Self::OneUsed {
                server,
                handshakes,
                servers,
                ..
            }
            | Self::Unused {
                server,
                handshakes,
                servers,
            } => (server, *handshakes, *servers),
        }
    }
}

impl Explain for ViewMismatch {
    fn cause(&self) -> &'static str {
        match self {
            Self::OneUsed {
                by: SeenBy::Change | SeenBy::Clients,
                ..
            } => "OneUsed",
            Self::OneUsed {
                by: SeenBy::Handshakes,
                ..
            } => "OneUsedOrMeant",
            Self::Unused { .. } => "OneUnused",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, _, servers) = self.parts();
        match self {
            Self::OneUsed {
                by: SeenBy::Change | SeenBy::Clients,
                ..
            } => write!(
                f,
                "the load balancer sends every new connection to API server {server}, and {} others are ready",
                servers - 1
            ),
            Self::OneUsed {
                by: SeenBy::Handshakes,
                ..
            } => write!(
                f,
                "all our connections reach API server {server} of {servers}: the balancer uses no other, keeps clients, or fails over"
            ),
            Self::Unused { handshakes, .. } => write!(
                f,
                "none of {handshakes} connections to the load balancer reached API server {server}, one of {servers} that are ready"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let (server, handshakes, servers) = self.parts();
        let source = "certificates in TLS handshakes with the load balancer and with each API server";
        let mut evidence = vec![
            Evidence::name("apiServer", server, source),
            Evidence::watched("handshakes", Unit::Count, handshakes, source),
            Evidence::count("apiServers", servers, "EndpointSlices of default/kubernetes"),
        ];
        let seen = match self {
            Self::OneUsed { by, .. } => match by {
                SeenBy::Change => Some("it has used others before"),
                SeenBy::Clients => Some("requests or new connections of all clients"),
                SeenBy::Handshakes => None,
            },
            Self::Unused { .. } => None,
        };
        evidence.extend(seen.map(|seen| Evidence::name("alsoSeenBy", &seen.into(), source)));
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let (server, ..) = self.parts();
        let ask = "ask the load balancer which API servers it holds for healthy, and mend its health check";
        match self {
            Self::OneUsed { by, .. } => {
                let mut advice: Vec<Advice> = vec![ask.into()];
                if *by == SeenBy::Handshakes {
                    advice.push(
                        "where the address fails over or keeps clients by design, accept this with an exception".into(),
                    );
                }
                advice.push(
                    format!(
                        "do not restart or drain API server {server}: the load balancer has no other target"
                    )
                    .into(),
                );
                advice
            }
            Self::Unused { .. } => vec![
                ask.into(),
                "leave the API servers alone: all of them answer".into(),
            ],
        }
    }

    fn at_most(&self) -> Severity {
        match self {
            Self::OneUsed {
                by: SeenBy::Handshakes,
                ..
            } => Severity::Warning,
            _ => Severity::Critical,
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
fn examples() -> Vec<Verdict> {
    let used = |by| {
        Verdict::violated(ViewMismatch::OneUsed {
            server: "192.0.2.1".into(),
            handshakes: 21,
            servers: 3,
            by,
        })
    };
    let mut all = [SeenBy::Change, SeenBy::Clients, SeenBy::Handshakes]
        .map(used)
        .to_vec();
    all.push(Verdict::at_risk(ViewMismatch::Unused {
        server: "192.0.2.3".into(),
        handshakes: 54,
        servers: 3,
    }));
    all
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::control_plane::servers::world::start;
    use crate::handle::Input;
    use crate::policy::ClusterPolicy;
    use crate::sample::{PageGap, PageScope, SampleSubject, Why};
    use crate::world::World;

    const ID: &str = "lb-view-mismatch";
    const LONG_AGO: f64 = 1_799_000_000.0;
    const SERVERS: [IpAddr; 3] = {
        const fn of(at: u8) -> IpAddr {
            IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, at))
        }
        [of(1), of(2), of(3)]
    };

    fn observed() -> World {
        let mut world = start();
        world.input(Input::Observers(&[
            Observer::Prometheus,
            Observer::Instance,
            Observer::LoadBalancer,
        ]));
        world
    }

    /// Three connections in 15 s, shared so, for so many samples; how often the balancer has changed; requests in a second.
    struct Played {
        samples: u32,
        handshakes: [f64; 3],
        changes: f64,
        requests: [f64; 3],
        accepted: Option<[f64; 3]>,
        started: [f64; 3],
    }

    const ALL_ON_ONE: Played = Played {
        samples: 9,
        handshakes: [3.0, 0.0, 0.0],
        changes: 0.0,
        requests: [20.0; 3],
        accepted: None,
        started: [LONG_AGO; 3],
    };

    fn play(world: &mut World, played: &Played) {
        for step in 0..played.samples {
            if step > 0 {
                world.wait(15);
            }
            let step = f64::from(step);
            let of_each = |metric, values: [f64; 3]| {
                let each = SERVERS.into_iter().zip(values);
                each.map(move |(at, value)| (metric, SampleSubject::Instance(at), value))
                    .collect::<Vec<_>>()
            };
            let grown = |rates: [f64; 3]| rates.map(|one| one * step);
            let handshakes = of_each(Metric::BalancerHandshakes, grown(played.handshakes));
            world.measure(Observer::LoadBalancer, PageScope::Instances, &handshakes);
            let changes = [(Metric::BalancerChanges, SampleSubject::Cluster, played.changes)];
            world.measure(Observer::LoadBalancer, PageScope::Cluster, &changes);
            let requests = of_each(Metric::Requests, grown(played.requests.map(|one| one * 15.0)));
            world.measure(Observer::Instance, PageScope::Instances, &requests);
            if let Some(rates) = played.accepted {
                let accepted = ["m0", "m1", "m2"]
                    .into_iter()
                    .zip(grown(rates.map(|one| one * 15.0)));
                let accepted = accepted
                    .map(|(node, value)| (Metric::AcceptedConnections, SampleSubject::Node(node), value));
                world.measure(
                    Observer::Prometheus,
                    PageScope::Nodes,
                    &accepted.collect::<Vec<_>>(),
                );
            }
            let started = of_each(Metric::StartTime, played.started);
            world.measure(Observer::Instance, PageScope::Instances, &started);
        }
    }

    fn says(played: &Played) -> String {
        let mut world = observed();
        play(&mut world, played);
        world.verdict(ID)
    }

    #[rstest]
    #[case::shared(Played { handshakes: [1.0; 3], samples: 20, ..ALL_ON_ONE }, "Met")]
    #[case::on_two_of_three(Played { handshakes: [2.0, 1.0, 0.0], samples: 20, ..ALL_ON_ONE }, "AtRisk warning OneUnused")]
    #[case::on_two_for_a_short_time(Played { handshakes: [2.0, 1.0, 0.0], samples: 17, ..ALL_ON_ONE }, "Met")]
    #[case::too_few(Played { samples: 8, ..ALL_ON_ONE }, "Unknown")]
    #[case::enough_of_three(Played { samples: 9, ..ALL_ON_ONE }, "Violated warning OneUsedOrMeant")]
    #[case::it_did_spread(Played { changes: 10.0, ..ALL_ON_ONE }, "Violated critical OneUsed")]
    #[case::it_failed_over_once(Played { changes: 1.0, ..ALL_ON_ONE }, "Violated warning OneUsedOrMeant")]
    #[case::the_others_have_just_started(
        Played { changes: 90.0, started: [LONG_AGO, 1_800_000_060.0, 1_800_000_060.0], ..ALL_ON_ONE }, "NotApplicable"
    )]
    fn shares(#[case] played: Played, #[case] expected: &str) {
        assert_eq!(says(&played), expected);
    }

    #[rstest]
    #[case::all_clients_go_there([60.0, 2.0, 2.0], "Violated critical OneUsed")]
    #[case::open_connections_may_hide_it([20.0; 3], "Violated warning OneUsedOrMeant")]
    fn a_declared_balancer_is_none_that_fails_over(#[case] requests: [f64; 3], #[case] expected: &str) {
        let mut world = observed().platform(ClusterPolicy {
            load_balancer: Some("api.example.com:6443".into()),
            ..ClusterPolicy::default()
        });
        play(
            &mut world,
            &Played {
                requests,
                ..ALL_ON_ONE
            },
        );
        assert_eq!(world.verdict(ID), expected);
    }

    /// Clients are kept by their address, and there are many of them.
    #[rstest]
    #[case::spread([9.0, 8.0, 10.0], "Met")]
    #[case::on_one([27.0, 0.5, 0.5], "Violated critical OneUsed")]
    #[case::neither([16.0, 8.0, 3.0], "Violated warning OneUsedOrMeant")]
    fn new_connections_of_all_clients_tell(#[case] accepted: [f64; 3], #[case] expected: &str) {
        let mut world = observed().platform(ClusterPolicy {
            load_balancer: Some("api.example.com:6443".into()),
            ..ClusterPolicy::default()
        });
        let accepted = Some(accepted);
        play(
            &mut world,
            &Played {
                accepted,
                ..ALL_ON_ONE
            },
        );
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn without_connections_of_our_own_it_does_not_apply() {
        assert_eq!(start().verdict(ID), "NotApplicable");
    }

    #[test]
    fn a_certificate_that_is_shared_is_unknown_with_the_reason() {
        let mut world = observed();
        let gap = PageGap {
            why: Why::SameCertificate,
            detail: "192.0.2.1, 192.0.2.2",
        };
        world.input(Input::Samples(&crate::sample::Page {
            observer: Observer::LoadBalancer,
            metrics: Metrics::of(&[Metric::BalancerHandshakes]),
            scope: PageScope::Instances,
            asked: world.milliseconds(),
            samples: &[],
            gap: Some(gap),
        }));
        assert_eq!(
            world.message(ID),
            "cannot be judged: not measured: balancerHandshakes: the load balancer shows a certificate that several API servers share: 192.0.2.1, 192.0.2.2"
        );
    }

    #[test]
    fn the_one_that_is_used_is_never_to_be_restarted() {
        let mut world = observed();
        play(
            &mut world,
            &Played {
                changes: 40.0,
                ..ALL_ON_ONE
            },
        );
        let found = world.findings(ID);
        assert!(
            found[0]
                .message
                .contains("every new connection to API server 192.0.2.1"),
            "{}",
            found[0].message
        );
        assert!(
            found[0]
                .advice
                .iter()
                .any(|one| one.starts_with("do not restart or drain")),
            "{:?}",
            found[0].advice
        );
    }

    #[rstest]
    #[case(2.0, 31.0)]
    #[case(3.0, 20.0)]
    #[case(5.0, 14.0)]
    fn connections_that_are_no_chance(#[case] n: f64, #[case] expected: f64) {
        assert!(
            (same_by_chance(n) - expected).abs() < 0.1,
            "{}",
            same_by_chance(n)
        );
        // The chance of fewer is above one in 1e9.
        assert!(n.powf(2.0 - expected) > 1.0 / CHANCE && n.powf(1.0 - expected) <= 1.0 / CHANCE);
    }
}
