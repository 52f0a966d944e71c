//! `cordon-lb-safety`: traffic from outside with traffic policy Local has two healthy nodes to go to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::dataplane::load_balancer::Targets;
use crate::index::Dep;
use crate::judge::{
    Advice, Check, Evidence, Explain, Judge, Look, Memory, ServiceCase, Severities, Severity, Verdict,
};
use crate::know::{Gap, Known, Reads, Source};
use crate::names::{Key, Name};
use crate::route::balancer_targets;
use crate::sample::Metrics;
use crate::sources::node::Stays;
use crate::sources::service::ServiceType;

/// The check.
pub static CHECK: Check = Check {
    id: "cordon-lb-safety",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices, Source::Nodes]),
    uses: Reads::NONE,
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
Traffic from outside with traffic policy Local has two healthy nodes to go to.

With `externalTrafficPolicy: Local` a node without a ready backend of its own refuses what comes from outside. Draining
the last node that has one cuts the Service off, even if its other Pods are about to start.

## Formula

For every Service of type LoadBalancer or NodePort with `externalTrafficPolicy: Local` and a ready endpoint, over the
nodes with a ready endpoint. A node *leaves* when it is cordoned, being deleted, or tainted for removal by Cluster
Autoscaler (`ToBeDeletedByClusterAutoscaler`), Karpenter (`karpenter.sh/disrupted`) or their like. The balancer *leaves
out* a node that is being deleted or labelled `node.kubernetes.io/exclude-from-external-load-balancers`, and at its next
change one with the taint of Cluster Autoscaler; a cordoned node it keeps (`controllers/service` of cloud-provider,
`stableNodeSetPredicates`).

- A load balancer leaves out every one of them: Violated, `NoneServed`: nothing reaches the Service now. MetalLB does the
  same from 0.14 on, unless configured otherwise.
- None is Ready and stays: Violated, `NoneLeft`: traffic flows until the drain.
- One is Ready and stays, while others leave, are left out or not Ready: AtRisk, `OneLeft`.
- All endpoints are on one node: AtRisk, info, `OneNode`.

It does not apply to a cluster of one node, to a Service without a ready endpoint, where no node matters, nor to a load
balancer that sends straight to Pods. An endpoint that does not name its node makes it Unknown.

## What to do

1. Uncordon a node that has a ready backend, or wait for backends on other nodes, before draining the next one.
2. Spread the backends over nodes by topologySpreadConstraints, with at least two replicas.
3. Where nodes of the control plane carry the backends, remove their exclusion label or run the backends elsewhere.

## What not to do

Do not drain the node that is left.
";

/// What is left for traffic from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Exposure {
    /// `namespace/name` of the Service.
    service: String,
    /// Nodes with a ready endpoint.
    with: usize,
    /// Of these: nodes that are Ready, stay, and are not left out.
    left: usize,
    /// Nodes that leave.
    leaving: usize,
    /// Nodes that are not Ready.
    down: usize,
    /// Nodes that the balancer leaves out.
    out: usize,
    /// The first that is left, by text; else the first of all.
    node: Arc<str>,
}

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    let service = case.service;
    let balanced = service.kind == ServiceType::LoadBalancer;
    if !service.external_local || !(balanced || service.kind == ServiceType::NodePort) {
        return Ok(Verdict::NotApplicable(
            "nothing from outside with externalTrafficPolicy Local",
        ));
    }
    if balanced && balancer_targets(look, service) == Targets::Pods {
        return Ok(Verdict::NotApplicable(
            "the load balancer sends straight to Pods: no node plays a part",
        ));
    }
    if look.node_sums(Dep::NodeCount)?.count() < 2 {
        return Ok(Verdict::NotApplicable("the cluster has no second node"));
    }
    let with = nodes_with_backend(look, case.key)?;
    if with.is_empty() {
        return Ok(Verdict::NotApplicable("no backend is ready, so no node matters"));
    }
    let found = exposure(look, case, balanced, &with)?;
    Ok(match found.left {
        0 => Verdict::violated(found),
        1 => Verdict::at_risk(found),
        _ => Verdict::Met,
    })
}

/// The nodes with a ready endpoint of a Service.
fn nodes_with_backend(look: &Look<'_>, service: Key) -> Known<BTreeSet<Name>> {
    let endpoints = look.endpoints(service)?;
    let mut with = BTreeSet::new();
    for endpoint in endpoints.iter().filter(|one| one.ready) {
        if endpoint.node.is_empty() {
            let (address, service) = (endpoint.address, look.show(service));
            return Err(Gap::Opaque(
                format!("endpoint {address} of {service} does not name its node").into(),
            ));
        }
        with.insert(endpoint.node);
    }
    Ok(with)
}

/// What is left of these nodes for traffic from outside; `balanced` where it comes by a load balancer.
fn exposure(
    look: &Look<'_>,
    case: &ServiceCase<'_>,
    balanced: bool,
    with: &BTreeSet<Name>,
) -> Known<Exposure> {
    let mut found = Exposure {
        service: look.show(case.key),
        with: with.len(),
        ..Exposure::default()
    };
    let mut left: Vec<Name> = Vec::new();
    for name in with {
        let seen = look.balancing(*name)?;
        // Who balances over node ports by other means knows nothing of labels.
        let out = balanced && seen.left_out;
        found.out += usize::from(out);
        match seen.stays {
            Stays::Down => found.down += 1,
            Stays::Leaves => found.leaving += 1,
            Stays::Stays if !out => left.push(*name),
            Stays::Stays => {}
        }
    }
    found.left = left.len();
    let names = look.names();
    let shown = left.iter().chain(with).take(left.len().max(1));
    found.node = names.shared(
        shown
            .copied()
            .min_by_key(|name| names.text(*name))
            .unwrap_or_default(),
    );
    Ok(found)
}

/// How little is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The load balancer leaves every node with a backend out.
    NoneServed,
    /// Every node with a backend leaves or is not Ready.
    None,
    /// There is one node with a backend.
    OneNode,
    /// One of several stays.
    One,
}

impl Exposure {
    const fn left(&self) -> Left {
        match self.left {
            0 if self.out == self.with => Left::NoneServed,
            0 => Left::None,
            _ if self.with == 1 => Left::OneNode,
            _ => Left::One,
        }
    }

    /// Why the other nodes do not count, as the end of a sentence.
    fn losses(&self) -> String {
        let all = [
            (self.leaving, "leaving"),
            (self.down, "not Ready"),
            (self.out, "left out by the balancer"),
        ];
        let some = all.iter().filter(|one| one.0 > 0);
        let some: Vec<_> = some.map(|(count, what)| format!("{count} {what}")).collect();
        if some.is_empty() {
            String::new()
        } else {
            format!(": {}", some.join(", "))
        }
    }
}

impl Explain for Exposure {
    fn cause(&self) -> &'static str {
        match self.left() {
            Left::NoneServed => "NoneServed",
            Left::None => "NoneLeft",
            Left::OneNode => "OneNode",
            Left::One => "OneLeft",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (with, node) = (self.with, &self.node);
        match self.left() {
            Left::NoneServed => write!(
                f,
                "nothing reaches it from outside: its load balancer leaves out each of the {with} nodes with a ready backend"
            ),
            Left::None if with == 1 => write!(
                f,
                "the only node with a ready backend does not stay{}; then nothing reaches the Service from outside",
                self.losses()
            ),
            Left::None => write!(
                f,
                "none of the {with} nodes with a ready backend stays{}; then nothing reaches the Service from outside",
                self.losses()
            ),
            Left::OneNode => write!(
                f,
                "all ready backends are on node {node}: without it nothing reaches the Service from outside"
            ),
            Left::One => write!(
                f,
                "only {node} of {with} nodes with a ready backend stays{}",
                self.losses()
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let slices = format!("EndpointSlices of {}", self.service);
        vec![
            Evidence::count("nodesWithEndpoint", self.with, slices.as_str()),
            Evidence::count("nodesLeft", self.left, "Nodes: Ready, not leaving, not left out"),
            Evidence::count(
                "nodesLeaving",
                self.leaving,
                "Nodes: spec.unschedulable, deletionTimestamp, taints of a removal",
            ),
            Evidence::count("nodesNotReady", self.down, "Nodes: status.conditions[Ready]"),
            Evidence::count(
                "nodesLeftOut",
                self.out,
                "Nodes: label node.kubernetes.io/exclude-from-external-load-balancers, deletionTimestamp",
            ),
            Evidence::name("node", &self.node, slices),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let spread = "spread at least two replicas over nodes by topologySpreadConstraints".into();
        match self.left() {
            Left::NoneServed => vec![
                "run backends on nodes without the label node.kubernetes.io/exclude-from-external-load-balancers, or \
                 remove it from these"
                    .into(),
            ],
            Left::OneNode => vec![format!("do not drain {} before others have a ready backend", self.node).into(), spread],
            Left::None => vec![
                "uncordon a node that has a ready backend, or wait until backends are ready on other nodes".into(),
                spread,
            ],
            Left::One => vec![
                "uncordon a node that has a ready backend, or wait until backends are ready on other nodes".into(),
                format!("do not drain {} before that", self.node).into(),
                spread,
            ],
        }
    }

    fn at_most(&self) -> Severity {
        if self.with == 1 && self.left == 1 {
            Severity::Info
        } else {
            Severity::Critical
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |with, leaving, down, out| Exposure {
        service: "shop/entry".into(),
        with,
        left: 0,
        leaving,
        down,
        out,
        node: "worker-4".into(),
    };
    let one = |exposure: Exposure| Exposure { left: 1, ..exposure };
    vec![
        Verdict::violated(of(3, 0, 0, 3)),
        Verdict::violated(of(2, 1, 1, 0)),
        Verdict::at_risk(one(of(3, 1, 0, 1))),
        Verdict::at_risk(one(of(1, 0, 0, 0))),
    ]
}
