//! `backend-starved-newcomer`: a new backend reaches its share.

mod starved;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::measured::{MeasuredService, SharesAsked, TookShare, asked};
use crate::dataplane::PortPin;
use crate::fleet::Class;
use crate::history::{BackendShare, ServiceShares};
use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Verdict, declares};
use crate::know::{Known, Reads, Source};
use crate::policy::Protocol;
use crate::sample::{Metric, Metrics};
use starved::{StarvedBy, StarvedNewcomer};

/// A backend alone at its place that got nothing, where its share of all would have been so many: as many as it takes to
/// be sure of one that is not alone.
const ALONE: f64 = 31.0;

/// For so many seconds no client may have opened a connection until that is reported.
const IDLE: f64 = 240.0;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-starved-newcomer",
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
    examples: starved::examples,
};

const DOC: &str = "\
A new backend reaches its share.

After a scale-up the new Pods are ready, and the old ones stay as loaded as before: the money is spent and nothing is won.
Why the new ones get nothing decides what helps, and to scale out further never does.

## Formula

A newcomer is a backend that the operator saw become ready, and that has not once had half of its share since. Once it has
been ready for `newcomerGraceSeconds`, it is compared with the others as in `backend-share-skew`, by the same evidence and
with the same rate of false alarms. Where it gets less than its share:

- `NotReached`: others of its place get new connections, and it does not: Violated, warning. The proxies of nodes do not
  send to it.
- `Pinned`: what carries connections keeps clients on the backends that they have: `sessionAffinity: ClientIP`, an IPVS scheduler
  that hashes addresses, or a Cilium that keeps a source port on its old backend (`ct-port-recycle-pin`): AtRisk, info.
- `LongLived`: requests are counted, and clients send them on the connections that they have: AtRisk, info.
- `Local`: by traffic policy or hints it is the only backend of its place, it got nothing, and its equal share would have
  been at least 31: AtRisk, info. No client enters there.
- `NoNewConnections`: a policy declares GRPC or HTTP2, connections are counted, and no client has opened any for 240 s or
  longer: AtRisk, info. Clients keep those that they have.

It is measured as `backend-share-skew` is; that page says by what, and what is Unknown.

## What to do

1. NotReached: see `kubeproxy_sync_proxy_rules_last_timestamp_seconds` on the nodes of the clients, and restart a proxy that no
   longer syncs, one first.
2. LongLived, NoNewConnections: let the server end connections after 5 to 30 minutes with jitter, or balance requests.
3. Pinned: wait for the table to forget, or see whether affinity is needed.
4. Local: spread the Pods as the clients are, or drop the policy.

## What not to do

Do not recycle the newcomer: the next one gets as little. Do not recycle the old ones all at once, and do not scale out further.
";

fn judge<'a>(look: &Look<'a>, case: &ServiceCase<'a>) -> Known<Verdict> {
    let measured = match asked(look, case)? {
        SharesAsked::Not(why) => return Ok(Verdict::NotApplicable(why)),
        SharesAsked::Of(measured) => measured,
    };
    let now = look.now.mono;
    let is_newcomer = |one: &BackendShare| one.never_reached(now, measured.grace());
    let found = |pod, why, took| StarvedNewcomer {
        pod,
        grace_seconds: measured.bounds.grace_seconds,
        why,
        took,
        source: measured.source(),
    };
    if let Some((pod, took)) = measured.first_wrong(|one| one.gets_less() && is_newcomer(one)) {
        let why = why(look, &measured);
        let found = found(pod.clone(), why, Some(TookShare::of(&measured, pod, took)));
        return Ok(if why == StarvedBy::NotReached {
            Verdict::violated(found)
        } else {
            Verdict::at_risk(found)
        });
    }
    let all = measured.shares.map_or(&[][..], ServiceShares::backends);
    let newcomers = all.iter().filter(|one| is_newcomer(one));
    let names: Vec<Arc<str>> = newcomers.clone().filter_map(|one| measured.name(one)).collect();
    let alone = newcomers
        .filter(|one| is_alone(&measured, one))
        .find_map(|one| measured.name(one));
    if let Some(pod) = alone {
        return Ok(Verdict::at_risk(found(pod, StarvedBy::Local, None)));
    }
    if let Some(pod) = names.into_iter().min()
        && measured.metric == Metric::BackendConnections
        && is_idle(all)
        && carries_many(look, case)
    {
        return Ok(Verdict::at_risk(found(pod, StarvedBy::NoNewConnections, None)));
    }
    measured.complete()?;
    Ok(Verdict::Met)
}

/// Why a newcomer gets less than others of its place.
fn why(look: &Look<'_>, measured: &MeasuredService<'_>) -> StarvedBy {
    if measured.law.keeps.is_some() {
        return StarvedBy::Pinned;
    }
    if measured.metric != Metric::BackendConnections {
        return StarvedBy::LongLived;
    }
    let pins = |class: &Class| {
        let cilium = class
            .profile
            .cilium
            .as_ref()
            .and_then(|cilium| cilium.as_ref().ok());
        let pin = cilium.and_then(|cilium| cilium.port_pin.as_ref().ok());
        pin.is_some_and(|pin| pin.value != PortPin::None)
    };
    if look.fleet().classes.iter().any(pins) {
        StarvedBy::Pinned
    } else {
        StarvedBy::NotReached
    }
}

/// Whether a backend that got nothing is the only one of its place, while an equal share of all would have been something.
fn is_alone(measured: &MeasuredService<'_>, one: &BackendShare) -> bool {
    let all = measured.shares.map_or(&[][..], ServiceShares::backends);
    let total: f64 = all.iter().map(|one| one.lately().count).sum();
    let equal = total / f64::from(u32::try_from(all.len()).unwrap_or(u32::MAX));
    let alone = all.iter().filter(|other| other.place() == one.place()).count() == 1;
    let lately = one.lately();
    measured.law.places.any() && alone && lately.seconds > 0.0 && lately.count <= 0.0 && equal >= ALONE
}

/// Whether no client has opened a connection for as long as that is remembered.
fn is_idle(all: &[BackendShare]) -> bool {
    let longest = all.iter().map(|one| one.lately().seconds).fold(0.0, f64::max);
    longest >= IDLE && all.iter().all(|one| one.lately().total <= 0.0)
}

/// Whether a policy declares connections that carry many requests each.
fn carries_many(look: &Look<'_>, case: &ServiceCase<'_>) -> bool {
    let connections = case.policy.map_or(&[][..], |policy| &policy.connections);
    let many = |protocol| matches!(protocol, Protocol::Grpc | Protocol::Http2);
    connections.iter().filter(|one| many(one.protocol)).any(|one| {
        let mut ports = case.service.ports.iter();
        ports.any(|port| declares(one, port, look.names()))
    })
}
