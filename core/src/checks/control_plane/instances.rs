//! `cp-instances-missing`: as many API servers serve as the platform declares.

use std::fmt;
use std::net::IpAddr;

use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Severity, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit, Val};
use crate::names::Key;
use crate::sample::Metrics;

/// The check.
pub static CHECK: Check = Check {
    id: "cp-instances-missing",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::ClusterPolicy]),
    // Not needed: where no number is declared, slices that were not read are not missed.
    uses: Reads::of(&[Source::EndpointSlices, Source::Nodes, Source::Pods]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
As many API servers serve as the platform declares.

Every API server writes its own address into the endpoints of the Service `kubernetes`. A load balancer in front of
them hides it when one stops: everything works, on what is left, until that goes too.

## Formula

`serving` is the number of ready addresses of default/kubernetes, `expected` is `controlPlane.expectedInstances` of the
ClusterTrafficHealthPolicy.

- `serving < expected`: Violated; critical when at most one is left.
- One address is counted as one API server where a node has it, or where a node of the control plane or a Pod of a
  kube-apiserver is to be seen; else Unknown: a managed or hosted control plane shows one address for all its API servers.
- One address that none of several nodes of the control plane has: Unknown. It may be a virtual one that all of them
  announce (`--advertise-address`).
- Nothing declared: not applicable. No endpoints to be seen: Unknown.

## What to do

1. See which API server is missing: its Pod, its node, its certificate, its etcd.
2. Until it is back, do not touch those that serve.
3. Where it is Unknown because one address may stand for all, leave `controlPlane.expectedInstances` out: the provider
   counts them, and evenkeel cannot.

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
    let mut serving = endpoints.iter().filter(|one| one.ready);
    let count = serving.clone().count();
    if count >= expected as usize {
        return Ok(Verdict::Met);
    }
    if let (Some(only), 1) = (serving.next(), count) {
        is_one(look, only.address)?;
    }
    Ok(Verdict::violated(Missing {
        listed: u32::try_from(count).unwrap_or(u32::MAX),
        expected,
    }))
}

/// That the only address is one API server; a gap where it may stand for several.
fn is_one(look: &Look<'_>, address: IpAddr) -> Known<()> {
    let names = look.names();
    let nodes = look.nodes();
    if let Ok(nodes) = &nodes {
        if nodes.iter().any(|(_, node)| node.addresses.contains(&address)) {
            return Ok(());
        }
        let control = nodes.iter().filter(|(_, node)| node.is_control_plane(names));
        let (count, silent) = control.fold((0, 0), |(count, silent), (_, node)| {
            (count + 1, silent + u32::from(node.addresses.is_empty()))
        });
        if count > 1 && silent == 0 {
            return Err(Gap::Undeclared(
                format!(
                    "one address may stand for all API servers: {address} is of none of the {count} nodes of the control plane"
                )
                .into(),
            ));
        }
        if count > 0 {
            return Ok(());
        }
    }
    let pod = look.components()?.any(|(_, pod)| {
        let mut containers = pod.template.containers.iter();
        !pod.ended && containers.any(|one| names.text(one.name) == "kube-apiserver")
    });
    if pod {
        return Ok(());
    }
    nodes?;
    Err(Gap::Undeclared(
        "one address may stand for all API servers: no node of the control plane and no Pod of a kube-apiserver is to be \
         seen"
            .into(),
    ))
}

/// API servers that are not among the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Missing {
    listed: u32,
    expected: u32,
}

impl Explain for Missing {
    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} expected API servers are among the endpoints of the Service kubernetes",
            self.listed, self.expected
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let expected = Val::declared(
            i64::from(self.expected),
            "ClusterTrafficHealthPolicy spec.controlPlane.expectedInstances",
        );
        vec![
            Evidence::count("serving", self.listed, "EndpointSlices of default/kubernetes"),
            Evidence::number("expected", Unit::Count, &expected),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "see which API server is missing and why: its Pod, its node, its certificate, its etcd".into(),
            "where all of them answer, see why they do not write their addresses: --endpoint-reconciler-type"
                .into(),
            "until it is back, do not restart or drain those that are left".into(),
        ]
    }

    fn at_most(&self) -> Severity {
        if self.listed <= 1 {
            Severity::Critical
        } else {
            Severity::Warning
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |listed| Missing { listed, expected: 3 };
    vec![Verdict::violated(of(1)), Verdict::violated(of(2))]
}
