//! `dns-n1-headroom`: cluster DNS survives the loss of one Pod and of one node.

mod shortage;

use std::collections::{BTreeMap, BTreeSet};

use crate::index::Dep;
use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::names::{Key, Name, Names, Pairs};
use crate::route::{PortBackends, backends_by_port};
use crate::sample::{Metric, Metrics, whole};
use crate::sources::workload::{Deployment, Pod};
#[cfg(test)]
pub(crate) use shortage::examples;
use shortage::{DnsCause, DnsShortage};

/// The check.
pub static CHECK: Check = Check {
    id: "dns-n1-headroom",
    severity: Severities::CRITICAL,
    needs: Reads::NONE,
    uses: Reads::of(&[
        Source::Services,
        Source::EndpointSlices,
        Source::Deployments,
        Source::Pods,
        Source::Nodes,
    ]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::helpful(&[Metric::DnsMemory]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Cluster DNS survives the loss of one Pod and of one node.

When cluster DNS is gone, every client fails at its next lookup, and caches only hide when it began. It seldom fails
by one Pod: the survivors get the load of the lost one, and retries on top.

## Formula

What answers at the address of the cluster's DNS Service is DNS, whatever runs behind it: `ready` are the ready
endpoints of port 53 of the Service `kube-system/kube-dns` (else `coredns`, RKE2's `rke2-coredns-rke2-coredns`, or
OpenShift's `openshift-dns/dns-default`). `wanted` are all its endpoints, or the replicas of the Deployments of cluster
DNS in kube-system (label `k8s-app: kube-dns` on their Pods, or the name `coredns`), whichever is more. Where the
Service or its EndpointSlices were not read, the Deployments and their Pods alone are counted. Where all replicas are
ready, up to a quarter more that are starting are a rollout and not wanted.

- `ready = 0`: Violated, critical, `NoneReady`; or `NoEndpoints` where Pods are ready that the Service does not select.
  Unknown of a Deployment that shows neither a status nor a Pod, as a manifest does;
- `ready <= wanted / 4`: Violated, critical, `FewLeft`: each carries four times its load or more, and retries;
- `wanted < 2`: AtRisk, warning, `OneReplica`;
- `ready < wanted`: AtRisk, `NotAllReady`; a warning from a tenth on, else info, as of many Pods one always moves;
- `memory * n / (n - 1) * 2 > limit`: AtRisk, warning, `LittleMemory`: `memory` is the most that one of the `n` ready Pods held in
  the last 12 min, `limit` the least memory limit of CoreDNS. With one Pod less and the load doubled, as when clients retry, it is
  killed for want of memory, and the others after it. Not judged where it is not measured
  (`container_memory_working_set_bytes` of cAdvisor, by Prometheus);
- one node holds so many that without it a quarter or less is left: AtRisk, info, `OneNode`; kubeadm and kind start out
  with all of them on one;
- the cluster has one node: AtRisk, info, `SingleNode`, and nothing else of the last five: it takes all along.

Where there is neither such a Service nor such a Deployment the check does not apply.

## What to do

1. Run at least two replicas, spread over nodes.
2. Give them memory well above what they use: they fail together when a limit is met, as the load is the same.

## What not to do

Do not restart DNS Pods to rebalance them under load: their caches are what keeps clients alive.
";

/// Services of cluster DNS, the usual one first: kubeadm and the managed clusters (`cmd/kubeadm/app/phases/addons/dns`),
/// the chart of CoreDNS, that of RKE2, and OpenShift's operator.
const SERVICES: [(&str, &str); 4] = [
    ("kube-system", "kube-dns"),
    ("kube-system", "coredns"),
    ("kube-system", "rke2-coredns-rke2-coredns"),
    ("openshift-dns", "dns-default"),
];

/// The port of DNS (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;

/// The share of what is wanted at which what is left is too little: one over this.
const FEW: u64 = 4;

/// The Deployments of cluster DNS.
type Sets<'a> = Vec<(Key, &'a Deployment)>;

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let sets = deployments(look);
    match service(look) {
        Ok(Some(key)) => match dns_backends(look, key) {
            Ok(Some(backends)) => by_service(look, key, &backends, &sets.unwrap_or_default()),
            Ok(None) => by_deployments(look, &sets?),
            Err(gap) => sets.map_or(Err(gap.clone()), |sets| {
                if sets.is_empty() {
                    Err(gap)
                } else {
                    by_deployments(look, &sets)
                }
            }),
        },
        Ok(None) | Err(_) => by_deployments(look, &sets?),
    }
}

/// The Service of cluster DNS. What could not be read hides none that was.
fn service(look: &Look<'_>) -> Known<Option<Key>> {
    let names = look.names();
    let mut gap = None;
    for (namespace, name) in SERVICES {
        let (Some(namespace), Some(name)) = (names.find(namespace), names.find(name)) else {
            continue;
        };
        let key = Key { namespace, name };
        match look.service(key) {
            Ok(Some(_)) => return Ok(Some(key)),
            Ok(None) => {}
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    gap.map_or(Ok(None), Err)
}

/// Its backends at the port of DNS: of UDP and TCP those of which fewer are ready.
fn dns_backends(look: &Look<'_>, key: Key) -> Known<Option<PortBackends>> {
    let Some(service) = look.service(key)? else {
        return Ok(None);
    };
    let case = ServiceCase {
        key,
        service,
        policy: None,
    };
    let by_port = backends_by_port(look, &case)?.into_iter();
    let of_dns =
        by_port.filter(|one| one.ports.is_empty() || one.ports.iter().any(|port| port.port == DNS_PORT));
    Ok(of_dns.min_by_key(|one| one.usable.len()))
}

fn by_service(look: &Look<'_>, key: Key, backends: &PortBackends, sets: &Sets<'_>) -> Known<Verdict> {
    let ready = backends.usable.len() as u64;
    let there = ready + backends.waiting.len() as u64;
    let replicas: u64 = sets.iter().map(|(_, set)| u64::from(set.replicas)).sum();
    // In a rollout a quarter more Pods than wanted may be there (`maxSurge`).
    let surge = there - ready <= replicas.div_ceil(4);
    let wanted = if ready >= replicas && replicas > 0 && surge {
        ready
    } else {
        there.max(replicas)
    };
    let service = look.show(key);
    let shortage = |why| DnsShortage {
        counted: format!("EndpointSlices of {service}").into(),
        of: format!("Service {service}"),
        ready,
        wanted,
        why,
    };
    if ready == 0 {
        if there == 0 {
            is_no_manifest(look, sets)?;
        }
        // Pods may not have been read: then no more is known than that nothing answers.
        let pods = pods(look, sets).map_or(0, |all| all.iter().filter(|pod| pod.ready).count());
        let why = if pods > 0 {
            DnsCause::NoEndpoints { pods }
        } else {
            DnsCause::NoneReady
        };
        return Ok(Verdict::violated(shortage(why)));
    }
    let places = || {
        let mut places = BTreeMap::new();
        for one in &backends.usable {
            *places.entry(one.node).or_insert(0_u64) += 1;
        }
        Ok(places)
    };
    shares(look, &shortage, ready, wanted, places)
}

fn by_deployments(look: &Look<'_>, sets: &Sets<'_>) -> Known<Verdict> {
    if sets.is_empty() {
        return Ok(Verdict::NotApplicable("no cluster DNS was found"));
    }
    let wanted: u64 = sets.iter().map(|(_, set)| u64::from(set.replicas)).sum();
    let reported: u64 = sets.iter().map(|(_, set)| u64::from(set.ready_replicas)).sum();
    let ready_pods = || -> Known<Vec<&Pod>> {
        let mut all = pods(look, sets)?;
        all.retain(|pod| pod.ready);
        Ok(all)
    };
    // A status without readyReplicas is zero; where even that is missing, the Pods decide.
    let ready = if reported == 0 {
        ready_pods()?.len() as u64
    } else {
        reported
    };
    let shown = shown(sets, look);
    let shortage = |why| DnsShortage {
        counted: format!("Deployment {shown} status.readyReplicas").into(),
        of: format!("Deployment {shown}"),
        ready,
        wanted,
        why,
    };
    if ready == 0 {
        is_no_manifest(look, sets)?;
        return Ok(Verdict::violated(shortage(DnsCause::NoneReady)));
    }
    let places = || {
        let mut places = BTreeMap::new();
        for pod in ready_pods()? {
            *places.entry(pod.node).or_insert(0_u64) += 1;
        }
        Ok(places)
    };
    shares(look, &shortage, ready, wanted, places)
}

/// Judges how many of those that are wanted are ready, and how they are spread.
fn shares(
    look: &Look<'_>,
    shortage: &dyn Fn(DnsCause) -> DnsShortage,
    ready: u64,
    wanted: u64,
    places: impl FnOnce() -> Known<BTreeMap<Name, u64>>,
) -> Known<Verdict> {
    if ready.saturating_mul(FEW) <= wanted {
        return Ok(Verdict::violated(shortage(DnsCause::FewLeft)));
    }
    if look.node_sums(Dep::NodeCount)?.count() < 2 {
        return Ok(Verdict::at_risk(shortage(DnsCause::SingleNode)));
    }
    if wanted < 2 {
        return Ok(Verdict::at_risk(shortage(DnsCause::OneReplica)));
    }
    if ready < wanted {
        return Ok(Verdict::at_risk(shortage(DnsCause::NotAllReady)));
    }
    if let Some(little) = little_memory(look, ready) {
        return Ok(Verdict::at_risk(shortage(little)));
    }
    let places = places()?;
    let names = look.names();
    // Of equal ones the first by text.
    let fullest = places
        .iter()
        .filter(|(node, _)| !node.is_empty())
        .min_by_key(|(node, count)| (u64::MAX - **count, names.text(**node)));
    let seen: u64 = places.values().sum();
    Ok(match fullest {
        Some((node, there)) if (seen - there).saturating_mul(FEW) <= seen => {
            let node = names.shared(*node);
            Verdict::at_risk(shortage(DnsCause::OneNode { node, there: *there }))
        }
        _ => Verdict::Met,
    })
}

/// Where one Pod less and twice the load is more than a Pod may hold; nothing where it is not known.
fn little_memory(look: &Look<'_>, ready: u64) -> Option<DnsCause> {
    let held = look.on_cluster(Metric::DnsMemory).ok()?;
    let most = held.levels().map(|one| one.1).fold(held.value, f64::max);
    let sets = deployments(look).ok()?;
    let names = look.names();
    let containers = sets.iter().flat_map(|(_, set)| set.template.containers.iter());
    let limits = containers.filter_map(|one| bytes(names.text(one.memory_limit)));
    let limit = limits.min_by(f64::total_cmp)?;
    let ready = f64::from(u32::try_from(ready).unwrap_or(u32::MAX));
    let after = most * ready / (ready - 1.0).max(1.0) * 2.0;
    (after > limit).then(|| DnsCause::LittleMemory {
        percent: whole((most * 100.0 / limit).min(100.0)) / 5 * 5,
        limit: whole(limit / 1_048_576.0),
    })
}

/// A quantity of memory in bytes (`k8s.io/apimachinery/pkg/api/resource`): a number with a binary or a decimal suffix.
fn bytes(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 9] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("", 1.0),
    ];
    SUFFIXES.iter().find_map(|(suffix, factor)| {
        let number: f64 = text.strip_suffix(suffix)?.parse().ok()?;
        (number.is_finite() && number > 0.0).then_some(number * factor)
    })
}

/// Unknown where Deployments show neither a status nor a Pod, as those do that were never applied.
fn is_no_manifest(look: &Look<'_>, sets: &Sets<'_>) -> Known<()> {
    if sets.is_empty() || sets.iter().any(|(_, set)| set.observed) || !pods(look, sets)?.is_empty() {
        return Ok(());
    }
    Err(Gap::Opaque(
        format!(
            "Deployment {} has no status, and no Pod of it is to be seen: it may be a manifest",
            shown(sets, look)
        )
        .into(),
    ))
}

/// The Deployments of cluster DNS. They count in kube-system alone: a Deployment elsewhere may have the same name.
fn deployments<'a>(look: &Look<'a>) -> Known<Sets<'a>> {
    let names = look.names();
    Ok(look
        .deployments()?
        .iter()
        .filter(|(key, set)| is_dns(*key, set, names))
        .collect())
}

fn is_dns(key: Key, set: &Deployment, names: &Names) -> bool {
    names.text(key.namespace) == "kube-system"
        && (names.text(key.name) == "coredns"
            || set.template.labels.text(names, "k8s-app") == Some("kube-dns"))
}

/// The Pods of these Deployments, ready or not.
fn pods<'a>(look: &Look<'a>, sets: &[(Key, &Deployment)]) -> Known<Vec<&'a Pod>> {
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

/// The Deployments, as shown to people.
fn shown(sets: &[(Key, &Deployment)], look: &Look<'_>) -> String {
    let mut shown: Vec<String> = sets.iter().map(|(key, _)| look.show(*key)).collect();
    shown.sort();
    shown.join(", ")
}
