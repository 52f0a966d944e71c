//! `dns-n1-headroom`: cluster DNS survives the loss of one Pod and of one node.

use std::collections::BTreeSet;
use std::fmt;

use crate::index::Dep;
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, Severity, UntypedCase, Verdict};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::names::{Key, Name, Names, Pairs};
use crate::sources::workload::{Deployment, Pod};

/// The check.
pub static CHECK: Check = Check {
    id: "dns-n1-headroom",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Deployments]),
    uses: Reads::of(&[Source::Pods, Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
Cluster DNS survives the loss of one Pod and of one node.

When cluster DNS is gone, every client fails at its next lookup, and caches only hide when it began. It seldom fails
by one Pod: the survivors get the load of the lost one, and retries on top.

## Formula

Over the Deployments of cluster DNS (label `k8s-app: kube-dns` on their Pods, or `coredns` in kube-system):

- no Pod is ready: Violated; but Unknown of a Deployment that shows neither a status nor a Pod, as a manifest does;
- fewer than two replicas: AtRisk, `OneReplica`;
- fewer Pods ready than replicas: AtRisk, `NotAllReady`;
- all ready Pods on one node: AtRisk, info, `OneNode`; kubeadm and kind start out like this.

A cluster of one node cannot do better: the last two do not speak there, nor does `OneReplica`. Where DNS runs in no
such Deployment the check does not apply.

## What to do

1. Run at least two replicas, spread over nodes.
2. Give them memory well above what they use: they fail together when a limit is met, as the load is the same.

## What not to do

Do not restart DNS Pods to rebalance them under load: their caches are what keeps clients alive.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let names = look.names();
    let sets: Vec<(Key, &Deployment)> = look
        .deployments()?
        .iter()
        .filter(|(key, set)| is_dns(*key, set, names))
        .collect();
    if sets.is_empty() {
        return Ok(Verdict::NotApplicable("no Deployment of cluster DNS was found"));
    }
    let replicas: u64 = sets.iter().map(|(_, set)| u64::from(set.replicas)).sum();
    let told: u64 = sets.iter().map(|(_, set)| u64::from(set.ready_replicas)).sum();
    // A status without readyReplicas is zero; where even that is missing, the Pods decide.
    let ready = if told == 0 {
        pods(look, &sets)?.len() as u64
    } else {
        told
    };
    if ready == 0 && !sets.iter().any(|(_, set)| set.observed) && !exists(look, &sets)? {
        return Err(Gap::Opaque(
            format!(
                "Deployment {} has no status, and no Pod of it is to be seen: it may be a manifest",
                shown(&sets, look)
            )
            .into(),
        ));
    }
    if ready == 0 {
        return Ok(Verdict::Violated(case(
            "NoneReady",
            &sets,
            look,
            replicas,
            ready,
            None,
        )));
    }
    let alone = look.node_sums(Dep::NodeCount)?.count() < 2;
    if replicas < 2 && !alone {
        return Ok(Verdict::AtRisk(case(
            "OneReplica",
            &sets,
            look,
            replicas,
            ready,
            None,
        )));
    }
    if alone {
        return Ok(Verdict::NotApplicable("the cluster has no second node"));
    }
    if ready < replicas {
        return Ok(Verdict::AtRisk(case(
            "NotAllReady",
            &sets,
            look,
            replicas,
            ready,
            None,
        )));
    }
    let nodes: BTreeSet<Name> = pods(look, &sets)?.iter().map(|pod| pod.node).collect();
    Ok(match nodes.first() {
        Some(node) if nodes.len() == 1 => {
            Verdict::AtRisk(case("OneNode", &sets, look, replicas, ready, Some(*node)))
        }
        _ => Verdict::Met,
    })
}

fn is_dns(key: Key, set: &Deployment, names: &Names) -> bool {
    set.template.labels.text(names, "k8s-app") == Some("kube-dns")
        || (names.text(key.name) == "coredns" && names.text(key.namespace) == "kube-system")
}

/// The ready Pods of these Deployments.
fn pods<'a>(look: &Look<'a>, sets: &[(Key, &Deployment)]) -> Known<Vec<&'a Pod>> {
    let mut all = all_pods(look, sets)?;
    all.retain(|pod| pod.ready);
    Ok(all)
}

/// Whether any of their Pods is there, ready or not.
fn exists(look: &Look<'_>, sets: &[(Key, &Deployment)]) -> Known<bool> {
    Ok(!all_pods(look, sets)?.is_empty())
}

fn all_pods<'a>(look: &Look<'a>, sets: &[(Key, &Deployment)]) -> Known<Vec<&'a Pod>> {
    let namespaces: BTreeSet<Name> = sets.iter().map(|(key, _)| key.namespace).collect();
    let mut found = Vec::new();
    for namespace in namespaces {
        let pods = look
            .pods_in(namespace)?
            .filter(|(key, pod)| belongs(sets, *key, pod));
        found.extend(pods.map(|(_, pod)| pod));
    }
    Ok(found)
}

/// Whether a Pod that has not ended is one of these Deployments: it carries the labels of a template.
fn belongs(sets: &[(Key, &Deployment)], key: Key, pod: &Pod) -> bool {
    let carries = |labels: &Pairs| {
        !labels.is_empty()
            && labels
                .iter()
                .all(|(name, value)| pod.template.labels.get(name) == Some(value))
    };
    !pod.ended
        && sets
            .iter()
            .any(|(set, row)| set.namespace == key.namespace && carries(&row.template.labels))
}

/// The Deployments, as told to people.
fn shown(sets: &[(Key, &Deployment)], look: &Look<'_>) -> String {
    let mut shown: Vec<String> = sets.iter().map(|(key, _)| look.show(*key)).collect();
    shown.sort();
    shown.join(", ")
}

fn case(
    cause: &'static str,
    sets: &[(Key, &Deployment)],
    look: &Look<'_>,
    replicas: u64,
    ready: u64,
    node: Option<Name>,
) -> Case {
    let shown = shown(sets, look);
    let place = |field: &str| format!("Deployment {shown} {field}");
    let mut evidence = vec![
        Evidence::count("replicas", replicas, place("spec.replicas")),
        Evidence::count("ready", ready, place("status.readyReplicas")),
        Evidence::text(
            "deployments",
            &Val::declared(shown.as_str().into(), "label k8s-app: kube-dns, or name coredns"),
        ),
    ];
    if let Some(node) = node {
        let node = Val::declared(look.names().shared(node), "Pods of DNS, spec.nodeName");
        evidence.push(Evidence::text("node", &node));
    }
    untyped(cause, evidence)
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
        "NoneReady" => write!(f, "no Pod of cluster DNS is ready, of {}", case.cite("replicas")),
        "OneReplica" => write!(
            f,
            "cluster DNS runs with {} replicas: whenever that Pod goes, lookups fail",
            case.cite("replicas")
        ),
        "NotAllReady" => write!(
            f,
            "{} of {} Pods of cluster DNS are ready; the others carry their load",
            case.show("ready"),
            case.cite("replicas")
        ),
        _ => write!(
            f,
            "all {} ready Pods of cluster DNS are on {}: that node takes DNS with it",
            case.show("ready"),
            case.cite("node")
        ),
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    match case.cause {
        "NoneReady" | "NotAllReady" => vec![
            format!(
                "see why Pods of {} are not ready: events, memory limit, readiness probe",
                case.show("deployments")
            ),
            "leave the ready ones alone: their caches keep clients alive".into(),
        ],
        "OneReplica" => vec!["scale cluster DNS to two replicas or more, on different nodes".into()],
        _ => vec![format!(
            "let one Pod of {} move: a rollout restart with anti-affinity by node, at a quiet hour",
            case.show("deployments")
        )],
    }
}
