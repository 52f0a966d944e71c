//! `backend-policy-induced-skew`: the uneven shares that a Service's own settings ask for.

mod skew;
#[cfg(test)]
mod tests;

use super::shares::SendingNodes;
use super::{Groups, PortBackends, backends_by_port};
use crate::dataplane::load_balancer::Targets;
use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::route::{balancer_targets, follows_hints};
use crate::sample::Metrics;
use crate::sources::service::{Service, ServiceType};
use crate::sources::slice::Endpoint;
#[cfg(test)]
pub(crate) use skew::examples;
use skew::{Law, Skew};

/// Largest expected share that is no skew yet, in percent of the mean share.
const EVEN_PERCENT: u64 = 120;
/// Classes of load balancers of which one node announces an address and gets all of its traffic: Cilium's L2
/// announcements ("L2 Announcements", `loadBalancerClass`), kube-vip in its default mode ("ARP Mode").
const ONE_NODE_CLASSES: [&str; 2] = ["io.cilium/l2-announcer", "kube-vip.io/kube-vip-class"];

/// The check.
pub static CHECK: Check = Check {
    id: "backend-policy-induced-skew",
    severity: Severities::ALWAYS_INFO,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes, Source::L2Advertisements]),
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
What a Service's own settings do to the shares of its backends.

Local traffic policies, topology hints and affinity trade an even spread for a short way or for the client's address.
The uneven load that follows is what was asked for, not a fault; this check says how large it is to be expected, so that
no Pod is recycled for it.

## Formula

Reported is the largest expected share of a backend, in percent of the mean `1/n` of `n` backends; above 120 %: AtRisk,
info. Of several ports the worst is reported.

- `ExternalLocal`, `InternalLocal`: each of the `m` nodes with a backend gets the same traffic, and a backend on a node
  with `p` of them `1/(m p)` of it: `n / (m * least p)`. What comes to nodes without a backend is dropped, which
  `backend-local-holes` reports.
- `ExternalLocal` where MetalLB answers on layer 2 (an L2Advertisement is there), or a `loadBalancerClass` of Cilium's L2
  announcements or of kube-vip: all traffic of an address enters at one node, so a backend may get `1 / least p`.
- Load balancers that send straight to Pods (NLB with `ip` targets and the like) ignore `externalTrafficPolicy`.
- `SameNode`, `ZoneHints`: every node sends the same. By `pkg/proxy/topology.go` a node keeps to the backends hinted for
  itself, where every ready endpoint has a hint for nodes; one without falls back to those hinted for its zone, where
  every ready endpoint has a hint for zones; a zone without any falls back to all. A `trafficDistribution` that no hints
  follow has no effect. Where every node's Services go through Cilium, hints count only with its
  `enable-service-topology: true`.
- `ClientAffinity` (`sessionAffinity: ClientIP`, and more than one backend): in the worst case all clients come from one
  address.
- A backend without node makes the expectation by node Unknown.

That every node sends or gets the same traffic is assumed, and so is every verdict of this check.

## What to do

1. Nothing, where the short way is worth it. Read balance against these shares.
2. Else spread the Pods evenly over nodes or zones: `topologySpreadConstraints`.
3. For affinity, see what the clients' addresses look like behind NAT or an ingress.

## What not to do

Do not recycle the backends with the larger share: the next ones at the same place get the same.
";

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    let service = case.service;
    if !service.has_data_plane() {
        return Ok(Verdict::NotApplicable(
            "a headless or ExternalName Service balances nothing",
        ));
    }
    let by_port = backends_by_port(look, case)?;
    if by_port.iter().all(|one| one.usable.len() < 2) {
        return Ok(Verdict::NotApplicable(
            "fewer than two backends share the traffic",
        ));
    }
    let (mut found, mut gap, mut any) = (None::<Skew>, None::<Gap>, service.affinity_seconds.is_some());
    for port in by_port.iter().filter(|one| one.usable.len() > 1) {
        for skew in skews(look, case, port, &mut any) {
            match skew {
                Ok(skew) if skew.percent <= EVEN_PERCENT => {}
                Ok(skew) if found.as_ref().is_some_and(|held| held.percent >= skew.percent) => {}
                Ok(skew) => found = Some(skew),
                Err(one) => gap = gap.or(Some(one)),
            }
        }
    }
    let most = by_port
        .iter()
        .map(|one| one.usable.len() as u64)
        .max()
        .unwrap_or_default();
    let affinity = || {
        service.affinity_seconds.map(|seconds| Skew {
            service: look.show(case.key),
            law: Law::ClientAffinity { seconds },
            setting: "sessionAffinity: ClientIP".into(),
            percent: most.saturating_mul(100),
            backends: most,
            place: None,
        })
    };
    match found.or_else(affinity) {
        Some(skew) => Ok(Verdict::at_risk(skew)),
        None if !any => Ok(Verdict::NotApplicable(
            "every client may reach every backend alike",
        )),
        None => gap.map_or(Ok(Verdict::Met), Err),
    }
}

/// What each setting does to the backends of a port; `any` becomes true where there is one.
fn skews(look: &Look<'_>, case: &ServiceCase<'_>, port: &PortBackends, any: &mut bool) -> Vec<Known<Skew>> {
    let service = case.service;
    let mut found = Vec::new();
    if let Some(law) = external(look, service) {
        found.push(local(look, case, port, law));
    }
    if service.internal_local {
        found.push(match look.fleet().ignores_internal_local() {
            Some(gap) => Err(gap),
            None => local(look, case, port, Law::InternalLocal),
        });
    } else if let Some(skew) = hinted(look, case, port) {
        found.push(skew);
    }
    *any |= !found.is_empty();
    found
}

/// What `externalTrafficPolicy: Local` means here, where it means anything.
fn external(look: &Look<'_>, service: &Service) -> Option<Law> {
    let outside = match service.kind {
        ServiceType::NodePort => true,
        ServiceType::LoadBalancer => balancer_targets(look, service) == Targets::Nodes,
        ServiceType::ClusterIp | ServiceType::ExternalName => false,
    };
    if !service.external_local || !outside {
        return None;
    }
    let class = look.names().text(service.load_balancer_class);
    let balanced = service.kind == ServiceType::LoadBalancer;
    let by_class = balanced && ONE_NODE_CLASSES.contains(&class);
    // Where it could not be read whether there is one, a balancer is taken for one that asks every node.
    let metallb = balanced
        && (class.is_empty() || class.contains("metallb"))
        && look
            .l2_advertisements()
            .is_ok_and(|all| all.iter().any(|(key, _)| look.trusts(key.namespace)));
    Some(if by_class || metallb {
        Law::OneNode
    } else {
        Law::ExternalLocal
    })
}

/// The skew of a Local traffic policy.
fn local(look: &Look<'_>, case: &ServiceCase<'_>, port: &PortBackends, law: Law) -> Known<Skew> {
    let all = &port.usable;
    let groups = Groups::by(all, |one| one.node);
    if let Some(gap) = groups.gap(look, case.key, "nodeName") {
        return Err(gap);
    }
    let (name, size) = groups.emptiest(look).unwrap_or_default();
    let (total, places) = (all.len() as u64, groups.sizes.len() as u64);
    // One node is all there is to enter at.
    let entered = if law == Law::OneNode { 1 } else { places };
    let setting = if law == Law::InternalLocal {
        "internalTrafficPolicy: Local"
    } else {
        "externalTrafficPolicy: Local"
    };
    let share = (total * 100).div_euclid((entered * u64::from(size)).max(1));
    Ok(Skew {
        service: look.show(case.key),
        law,
        setting: setting.into(),
        percent: if places > 1 { share } else { 100 },
        backends: total,
        place: Some((look.names().shared(name), places, size)),
    })
}

/// The skew of topology hints; `None` where proxies follow none.
fn hinted(look: &Look<'_>, case: &ServiceCase<'_>, port: &PortBackends) -> Option<Known<Skew>> {
    let all = &port.usable;
    // One endpoint without a hint of a kind, and proxies ignore that kind. Which setting made them does not matter.
    let by_node = all.iter().all(|one| !one.node_hint.is_empty());
    let by_zone = all.iter().all(|one| !one.hint.is_empty());
    // Few Services have hints: the others need not be judged again when the fleet changes.
    if !(by_node || by_zone) || !follows_hints(look.fleet()) {
        return None;
    }
    let names = look.names();
    let kind = if by_node { "node" } else { "zone" };
    let setting = match names.text(case.service.traffic_distribution) {
        "" => format!("{kind} hints of every endpoint"),
        text => format!("trafficDistribution: {text}"),
    };
    let shares = SendingNodes::of(look, all, by_node).map(|clients| clients.shares(all, by_node, by_zone));
    let most = shares.map(|shares| {
        let place = |one: &Endpoint| if by_node { one.node_hint } else { one.hint };
        let ranked = shares.iter().zip(all).map(|(share, one)| (*share, place(one)));
        let (share, name) = ranked
            .min_by_key(|(share, name)| (u64::MAX - share, names.text(*name)))
            .unwrap_or_default();
        let groups = Groups::by(all, place);
        let there = groups.sizes.get(&name).copied().unwrap_or_default();
        Skew {
            service: look.show(case.key),
            law: if by_node { Law::SameNode } else { Law::ZoneHints },
            setting: setting.into(),
            percent: share,
            backends: all.len() as u64,
            place: Some((names.shared(name), groups.sizes.len() as u64, there)),
        }
    });
    Some(most)
}
