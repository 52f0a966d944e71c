//! `backend-share-skew`: each backend of a Service gets its share.

mod skew;
#[cfg(test)]
mod tests;

use super::measured::{CountedAs, MeasuredService, SharesAsked, TookShare, asked};
use crate::history::{BackendShare, ServiceShares};
use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::sample::{Metric, Metrics};
use skew::ShareSkew;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-share-skew",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices, Source::Pods]),
    uses: Reads::of(&[
        Source::Nodes,
        Source::Policies,
        Source::Deployments,
        Source::DaemonSets,
    ]),
    profiles: true,
    history: Memory::Needed,
    samples: Metrics::of(&[
        Metric::BackendConnections,
        Metric::BackendRequests,
        Metric::BackendActive,
    ]),
    baseline: false,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples: skew::examples,
};

const DOC: &str = "\
Each backend of a Service gets its share of the connections.

Readiness says that a backend answers its probe, not that it gets anything. A backend that gets nothing fails no request and is
seen by no alert on errors; one that gets twice its share is slow, and more replicas do not help it.

## Formula

A team names a metric of its Pods in `balance.podMetric`. The shares are those by which the nodes choose, and whose place is
the same (see below): `1/n` of what `n` backends get together. Every 15 s, what each has got since the last time is compared
with its share, and the evidence grows or shrinks: a mixture Shiryaev-Roberts detector, whose null is not an even share but
the nearest one within `tolerancePercent`. It alarms at a statistic of 3.15e10, which chance alone reaches less than once a
year in a cluster of 10,000 Services, as calculated: the mean time between false alarms is that many ticks or more.

- new connections (`counts: Connections`): Violated, warning. Cause `NoTraffic` for a backend that gets nothing, `Starved` for
  less than its share, `Hot` for more.
- open connections (`measure: ActiveConnections`): the same, each look by itself.
- requests (`counts: Requests`): AtRisk, info, cause `Requests`: one connection brings many, so they are divided by how much
  they come in clusters, and their shares follow the connections that clients keep, not the nodes' choice.

So many new connections for each backend tell, at a tolerance of 25 %: with three backends about 30 where one gets nothing, 70
where one gets twice its share; with ten, 30 and 300; half of a share takes 800. At least two scrapes agree.

By what nodes choose is read of the data plane: kube-proxy with iptables or nftables and Cilium take each connection by
itself, IPVS in turns. `lc`, `wlc`, `sed`, `nq` and `twos` of IPVS even out open connections: Unknown for new ones, so declare
`measure: ActiveConnections`. With `sessionAffinity: ClientIP` or `sh`, shares follow the clients: not applicable. With Local
traffic policies and topology hints only backends of one node, or with the same hint, are compared. Clients of a headless
Service and load balancers that send straight to Pods choose by a rule of their own: Unknown.

Not compared are backends that are not ready, terminating, or ready for less than `newcomerGraceSeconds`, and those whose
counter began anew or was not scraped, until it was scraped twice. A backend without any series is Unknown, never zero: let
the metric begin at 0.

It is measured by the Prometheus that the operator asks (`--prometheus`; any 2.x or 3.x), from the metric of the Pods' own
exporter: `nginx_connections_accepted` (nginx-prometheus-exporter 0.11 or later), `envoy_listener_downstream_cx_total` (Envoy),
`haproxy_frontend_connections_total` (HAProxy 2.0 or later), `redis_connections_received_total` (redis_exporter 1.x), or one of
the application's own; of requests `grpc_server_handled_total` (go-grpc-prometheus). The query names the Pods behind the Service, in the policy's namespace. An audit has no history, and does not judge
this. At most 8 Services of a namespace and 128 of a cluster are measured.

## What to do

1. NoTraffic, Starved: connect to that Pod directly. If it answers, see whether the proxies of the nodes know it:
   `backend-starved-newcomer`, `proxy-config-drift`, a node whose kube-proxy does not sync.
2. Hot: see which clients it has. One client that opens many connections from one address behind a balancer that hashes
   addresses, or a backend that closes connections early, so that they come again.
3. Requests: let the server end connections after some minutes (`backend-no-rebalance-path`), or balance requests.

## What not to do

Do not recycle all backends at once, and not the healthy ones for the load that the others do not take.
";

fn judge<'a>(look: &Look<'a>, case: &ServiceCase<'a>) -> Known<Verdict> {
    let measured = match asked(look, case)? {
        SharesAsked::Not(why) => return Ok(Verdict::NotApplicable(why)),
        SharesAsked::Of(measured) => measured,
    };
    if measured.law.keeps.is_some() {
        return Ok(Verdict::NotApplicable(
            "clients keep their backend, so that shares follow the clients",
        ));
    }
    if let (Some(scheduler), true) = (&measured.law.fewest, measured.metric != Metric::BackendActive) {
        let why = format!(
            "IPVS {scheduler} evens out open connections and not new ones: declare balance.measure ActiveConnections"
        );
        return Err(Gap::Opaque(why.into()));
    }
    if measured.places().values().all(|count| *count < 2) {
        return Ok(Verdict::NotApplicable(
            "no two backends are at one place, as traffic policy or hints have it",
        ));
    }
    if let Some(skew) = skew(look, &measured) {
        return Ok(match skew.took.counted {
            CountedAs::Requests => Verdict::at_risk(skew),
            CountedAs::Connections | CountedAs::Open => Verdict::violated(skew),
        });
    }
    measured.complete()?;
    Ok(Verdict::Met)
}

/// The backend whose share is another.
fn skew(look: &Look<'_>, measured: &MeasuredService<'_>) -> Option<ShareSkew> {
    let now = look.now.mono;
    // Of one that has never had its share the other check speaks, which looks for why.
    let counts = |one: &BackendShare| !(one.gets_less() && one.never_reached(now, measured.grace()));
    let (pod, took) = measured.first_wrong(counts)?;
    let all = measured.shares.map_or(&[][..], ServiceShares::backends);
    let gets_less = took.count < took.due;
    let alike = all
        .iter()
        .filter(|one| one.wrong.is_some() && one.gets_less() == gets_less && counts(one));
    Some(ShareSkew {
        took: TookShare::of(measured, pod, took),
        more: alike.count().saturating_sub(1),
    })
}
