//! `cp-instances-missing`: as many API servers serve as the platform declares.

use std::fmt;

use crate::index::Dep;
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, Severity, UntypedCase, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit, Val};
use crate::names::Key;

/// Schemes of `spec.providerID` in clouds that also sell the control plane as a service.
const MANAGED: [&str; 9] = [
    "aws",
    "azure",
    "gce",
    "digitalocean",
    "ibm",
    "linode",
    "qcloud",
    "scaleway",
    "vultr",
];
/// How Alibaba Cloud's IDs go on after the region: `cn-hangzhou.i-…`.
const ALIBABA: &str = ".i-";

/// The check.
pub static CHECK: Check = Check {
    id: "cp-instances-missing",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::ClusterPolicy]),
    // Not needed: where no number is declared, slices that nobody read are not missed.
    uses: Reads::of(&[Source::EndpointSlices, Source::Nodes, Source::Pods]),
    profiles: false,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
As many API servers serve as the platform declares.

Every API server writes its own address into the endpoints of the Service `kubernetes`. A load balancer in front of
them hides it when one stops: everything works, on what is left, until that goes too.

## Formula

`serving` is the number of ready addresses of default/kubernetes, `expected` is `controlPlane.expectedInstances` of the
ClusterTrafficHealthPolicy.

- `serving < expected`: Violated; critical when at most one is left.
- One address where the control plane may be managed by a cloud: Unknown, as many clouds show one address for all.
- Nothing declared: not applicable. No endpoints to be seen: Unknown.

## What to do

1. See which API server is missing: its Pod, its node, its certificate, its etcd.
2. Until it is back, do not touch those that serve.

## What not to do

Do not restart the last one because it is busy: it carries the load of the others.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let expected = look
        .cluster_policy()?
        .and_then(|policy| policy.control_plane.expected_instances);
    let Some(expected) = expected.filter(|expected| *expected > 0) else {
        return Ok(Verdict::NotApplicable("no number of API servers is declared"));
    };
    let names = look.names();
    let unseen = || Gap::Opaque("no endpoints of default/kubernetes are to be seen".into());
    let key = Key {
        namespace: names.find("default").ok_or_else(unseen)?,
        name: names.find("kubernetes").ok_or_else(unseen)?,
    };
    let endpoints = look.endpoints(key)?;
    if endpoints.is_empty() {
        return Err(unseen());
    }
    let serving = endpoints.iter().filter(|one| one.ready).count();
    if serving >= expected as usize {
        return Ok(Verdict::Met);
    }
    if serving == 1
        && let Some(cloud) = hidden(look)?
    {
        return Err(Gap::Opaque(
            format!(
                "one address may stand for all API servers of a managed control plane (nodes of {cloud})"
            )
            .into(),
        ));
    }
    Ok(Verdict::Violated(untyped(
        "",
        vec![
            Evidence::count("serving", serving, "EndpointSlices of default/kubernetes"),
            Evidence::number(
                "expected",
                Unit::Count,
                &Val::declared(
                    i64::from(expected),
                    "ClusterTrafficHealthPolicy spec.controlPlane.expectedInstances",
                ),
            ),
        ],
    )))
}

/// The cloud that may hide its API servers behind one address; `None` where a Pod of one is to be seen.
fn hidden<'a>(look: &Look<'a>) -> Known<Option<&'a str>> {
    let names = look.names();
    let clouds = look
        .node_sums(Dep::NodeProviders)?
        .providers()
        .filter_map(|provider| cloud(names.text(provider)));
    // Rows have no order.
    let Some(cloud) = clouds.min() else {
        return Ok(None);
    };
    let own = look.components()?.any(|(_, pod)| {
        pod.template
            .containers
            .iter()
            .any(|one| names.text(one.name) == "kube-apiserver")
    });
    Ok((!own).then_some(cloud))
}

/// The cloud that a provider ID speaks of.
fn cloud(provider: &str) -> Option<&str> {
    if provider.ends_with(ALIBABA) {
        return Some("Alibaba Cloud");
    }
    let scheme = provider.strip_suffix("://")?;
    MANAGED.contains(&scheme).then_some(scheme)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    let last = evidence.iter().any(|one| {
        one.what == "serving" && matches!(one.value, crate::judge::Datum::Number(left) if left <= 1)
    });
    let at_most = if last {
        Severity::Critical
    } else {
        Severity::Warning
    };
    UntypedCase::at_most(at_most, cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{} API servers serve, {} are expected",
        case.cite("serving"),
        case.cite("expected"),
    )
}

fn advise(_: &UntypedCase) -> Vec<String> {
    vec![
        "see which API server is missing and why: its Pod, its node, its certificate, its etcd".into(),
        "until it is back, do not restart or drain those that serve".into(),
    ]
}
