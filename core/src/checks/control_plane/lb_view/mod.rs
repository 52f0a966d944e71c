//! `lb-view-mismatch`: the load balancer before the API servers uses all of them.

mod mismatch;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use super::servers::{node_of, on_each, runs_for, servers};
use crate::judge::{Check, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::sample::{Metric, Metrics, Observer, Reading, whole};
use mismatch::{SeenBy, ViewMismatch};

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
    examples: mismatch::examples,
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
- none of the kept connections reached one of them, by chance less than once in 1e9 (`n * (1 - 1/n)^k <= 1e-9`: 54 connections
  of three): AtRisk.
- The API servers that get none have started within 120 s: not judged, as the balancer has to find them first.
- One API server, or no connections are opened (`--instance-metrics`): not applicable. A certificate that API servers share,
  one that is none of theirs, or no address: Unknown, with the reason.

These numbers of connections are calculated for a balancer that chooses each time by chance; one that takes its targets in
turns needs fewer.

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
