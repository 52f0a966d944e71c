//! `cordon-lb-safety`: a load balancer with traffic policy Local has two healthy nodes to send to.

use std::collections::BTreeSet;
use std::fmt;

use crate::index::Dep;
use crate::judge::{
    Case, Check, Evidence, Judge, Look, Memory, ServiceCase, Severities, Severity, UntypedCase, Verdict,
};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::sources::service::ServiceType;

/// The check.
pub static CHECK: Check = Check {
    id: "cordon-lb-safety",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices, Source::Nodes]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
};

const DOC: &str = "\
A load balancer with traffic policy Local has two healthy nodes to send to.

With `externalTrafficPolicy: Local` a node without a ready backend of its own refuses the load balancer's traffic. Who
cordons and drains the last node that has one cuts the Service off, though its other Pods may be on their way.

## Formula

For every Service of type LoadBalancer with `externalTrafficPolicy: Local` and a ready endpoint: `left` is the number
of nodes with a ready endpoint that are Ready, schedulable and not excluded from load balancers.

- `left = 0`: Violated;
- `left = 1` while other nodes with an endpoint are cordoned, not ready or excluded: AtRisk, `OneLeft`;
- `left = 1` because all endpoints are on one node: AtRisk, info, `OneNode`.

It does not apply to a cluster of one node, nor to a Service without a ready endpoint, where no node matters. An
endpoint that does not name its node makes it Unknown.

## What to do

1. Uncordon a node that has a ready backend, or wait for backends on other nodes, before draining the next one.
2. Spread the backends over nodes by topologySpreadConstraints, with at least two replicas.

## What not to do

Do not drain the node that is left.
";

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if case.service.kind != ServiceType::LoadBalancer || !case.service.external_local {
        return Ok(Verdict::NotApplicable(
            "no load balancer with externalTrafficPolicy Local",
        ));
    }
    if look.node_sums(Dep::NodeCount)?.count() < 2 {
        return Ok(Verdict::NotApplicable("the cluster has no second node"));
    }
    let mut with = BTreeSet::new();
    for endpoint in look.endpoints(case.key)?.iter().filter(|one| one.ready) {
        if endpoint.node.is_empty() {
            return Err(Gap::Opaque(
                format!(
                    "endpoint {} of {} does not name its node",
                    endpoint.address,
                    look.show(case.key)
                )
                .into(),
            ));
        }
        with.insert(endpoint.node);
    }
    if with.is_empty() {
        return Ok(Verdict::NotApplicable("no backend is ready, so no node matters"));
    }
    let mut left = Vec::new();
    for name in &with {
        if look.takes_traffic(*name)? {
            left.push(*name);
        }
    }
    let evidence = || {
        let last = left.first().map_or("none", |name| look.names().text(*name));
        vec![
            Evidence::count("nodesLeft", left.len(), "Nodes: Ready, schedulable, not excluded"),
            Evidence::count("nodesWithEndpoint", with.len(), "EndpointSlices: ready endpoints"),
            Evidence::text("last", &Val::declared(last.into(), "EndpointSlices")),
        ]
    };
    Ok(match (left.len(), with.len()) {
        (0, _) => Verdict::Violated(untyped("NoneLeft", evidence())),
        (1, 1) => Verdict::AtRisk(untyped("OneNode", evidence())),
        (1, _) => Verdict::AtRisk(untyped("OneLeft", evidence())),
        _ => Verdict::Met,
    })
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    let at_most = if cause == "OneNode" {
        Severity::Info
    } else {
        Severity::Critical
    };
    UntypedCase::at_most(at_most, cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match case.cause {
        "NoneLeft" => write!(
            f,
            "each of the {} nodes with a ready backend is cordoned, not ready or excluded from load balancers, and \
             the traffic policy is Local: draining them cuts the Service off",
            case.cite("nodesWithEndpoint"),
        ),
        "OneLeft" => write!(
            f,
            "of {} nodes with a ready backend only {} is schedulable and ready, and the traffic policy is Local",
            case.cite("nodesWithEndpoint"),
            case.show("last"),
        ),
        _ => write!(
            f,
            "all ready backends are on node {}, and the traffic policy is Local: without that node the load balancer \
             has none to send to",
            case.show("last"),
        ),
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let mut advice = Vec::new();
    if case.cause != "OneNode" {
        advice.push(
            "uncordon a node that has a ready backend, or wait until backends are ready on other nodes"
                .into(),
        );
    }
    if case.cause != "NoneLeft" {
        advice.push(format!("do not drain {} before that", case.show("last")));
    }
    advice.push("spread at least two replicas over nodes by topologySpreadConstraints".into());
    advice
}
