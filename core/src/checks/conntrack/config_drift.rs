//! `proxy-config-drift`: every kube-proxy runs with the configuration that is written down.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::on_nodes;
use crate::dataplane::kube_proxy::command_line;
use crate::fleet::{config_map_of, is_alike, is_kube_proxy, made_by};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::names::{Key, Name};
use crate::sample::Metrics;
use crate::sources::workload::{Container, Pod};

/// The check.
pub static CHECK: Check = Check {
    id: "proxy-config-drift",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Pods]),
    uses: Reads::of(&[Source::ConfigMaps, Source::DaemonSets]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Every kube-proxy runs with the configuration that is written down.

kube-proxy reads the file named by `--config` once, when it starts. An edit of its ConfigMap changes what the next
kube-proxy does, not what the running ones do: nodes that restart later behave differently from their neighbours, and
what one reads in the ConfigMap is true of none or of some. The same holds of the DaemonSet with the update strategy
`OnDelete`: its Pods stay as they are until somebody deletes them.

## Formula

For every kube-proxy Pod whose `--config` lies in a ConfigMap volume: `written` is the latest time in the ConfigMap's
`metadata.managedFields`, `started` the Pod's `status.startTime`.

- `written > started`: AtRisk, with the number of such nodes. It is not Violated because neither a restart of the
  container within its Pod nor an edit that changed no setting can be seen in these times.
- Else a Pod of a DaemonSet with `updateStrategy.type: OnDelete` whose image, command, arguments or mounted ConfigMaps
  differ from the template: AtRisk, cause `OlderThanTemplate`. With `RollingUpdate` such a Pod is about to be replaced.
- A Pod or ConfigMap without such a time, or a file that lies on the node itself: Unknown, unless another Pod decides.
- kube-proxy with flags only is judged by its template alone.

`kubectl get -o yaml` leaves managed fields out; add `--show-managed-fields` when you save objects for an audit.

## What to do

1. Compare the running configuration (`/configz` on the node) with the ConfigMap, and the Pod with its DaemonSet.
2. Restart the kube-proxy of one node (delete its Pod where the template is newer), look at its traffic, then roll the DaemonSet out slowly.

## What not to do

Do not restart every kube-proxy at once: each of them rewrites all rules when it starts.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let names = look.names();
    let mut drift = Drift::default();
    let mut older = Older::default();
    let mut gap = None;
    for (key, pod) in look.components()?.filter(|(_, pod)| !pod.ended) {
        if let Some(found) = on_delete(look, key, pod) {
            older.add(look, found, pod.node);
        }
        for container in pod
            .template
            .containers
            .iter()
            .filter(|one| is_kube_proxy(names, one))
        {
            match lag(look, key, pod, container) {
                Ok(None) => {}
                Ok(Some(found)) => drift.add(&found, names.shared(pod.node)),
                // Rows have no order: of several gaps the first by text is reported.
                Err(one) => gap = Some(least(gap, one)),
            }
        }
    }
    if let Some(worst) = &drift.worst {
        return Ok(Verdict::at_risk(drift.stale(worst)));
    }
    if let Some(set) = older.daemon_set {
        return Ok(Verdict::at_risk(OlderThanTemplate {
            nodes: older.nodes.len(),
            sample: older.nodes.iter().take(SAMPLE).cloned().collect(),
            daemon_set: look.show(set).into(),
        }));
    }
    if let Some(gap) = gap {
        return Err(gap);
    }
    Ok(if drift.judged > 0 || older.judged > 0 {
        Verdict::Met
    } else {
        Verdict::NotApplicable("no kube-proxy was found that reads a ConfigMap or stays as its Pod was made")
    })
}

/// The first of two gaps by text.
fn least(held: Option<Gap>, one: Gap) -> Gap {
    match held {
        Some(held) if held.to_string() <= one.to_string() => held,
        _ => one,
    }
}

/// The kube-proxy Pods that stay as they were made until somebody deletes them.
#[derive(Default)]
struct Older {
    judged: usize,
    nodes: BTreeSet<Arc<str>>,
    /// The `DaemonSet` of those that differ from it; the first by name.
    daemon_set: Option<Key>,
}

impl Older {
    fn add(&mut self, look: &Look<'_>, (set, differs): (Key, bool), node: Name) {
        self.judged += 1;
        if !differs {
            return;
        }
        self.nodes.insert(look.names().shared(node));
        let first = self
            .daemon_set
            .is_none_or(|held| look.show(set) < look.show(held));
        if first {
            self.daemon_set = Some(set);
        }
    }
}

/// The `DaemonSet` of a kube-proxy that stays as its Pod was made, and whether its template says something else now.
fn on_delete(look: &Look<'_>, key: Key, pod: &Pod) -> Option<(Key, bool)> {
    let names = look.names();
    let set = made_by(names, key, pod)?;
    // Where DaemonSets were not read, ConfigMaps alone decide.
    let row = look.daemon_set(set).ok()??;
    if !row.on_delete {
        return None;
    }
    is_alike(names, key.namespace, &pod.template, &row.template).map(|alike| (set, !alike))
}

/// How much younger a ConfigMap is than the Pod that reads it, in seconds; negative when it is older.
struct Lag {
    seconds: i64,
    config_map: Arc<str>,
}

#[derive(Default)]
struct Drift {
    judged: usize,
    pods: usize,
    nodes: BTreeSet<Arc<str>>,
    worst: Option<Lag>,
}

impl Drift {
    fn add(&mut self, found: &Lag, node: Arc<str>) {
        self.judged += 1;
        if found.seconds <= 0 {
            return;
        }
        self.pods += 1;
        self.nodes.insert(node);
        let longer = self
            .worst
            .as_ref()
            .is_none_or(|held| (held.seconds, &held.config_map) < (found.seconds, &found.config_map));
        if longer {
            self.worst = Some(Lag {
                seconds: found.seconds,
                config_map: found.config_map.clone(),
            });
        }
    }

    fn stale(&self, worst: &Lag) -> Stale {
        Stale {
            nodes: self.nodes.len(),
            sample: self.nodes.iter().take(SAMPLE).cloned().collect(),
            pods: self.judged,
            config_map: worst.config_map.clone(),
            seconds: worst.seconds,
        }
    }
}

/// How many nodes a message names.
const SAMPLE: usize = 3;

/// How much younger its ConfigMap is than a Pod; `None` when it takes its settings from flags.
fn lag(look: &Look<'_>, key: Key, pod: &Pod, container: &Container) -> Known<Option<Lag>> {
    let argv: Vec<String> = container.argv.iter().map(ToString::to_string).collect();
    let Some(path) = command_line(&argv)?.config()? else {
        return Ok(None);
    };
    let place = || format!("Pod {}", look.show(key));
    let (config_map, _) = config_map_of(look.names(), ("Pod", key), &pod.template, container, &path)?;
    let shown = look.show(config_map);
    let row = look.config_map(config_map)?.ok_or_else(|| {
        Gap::Opaque(format!("ConfigMap {shown}, which {} reads, is not there", place()).into())
    })?;
    let written = row.written.ok_or_else(|| {
        Gap::Opaque(
            format!("ConfigMap {shown} does not say when it was written (metadata.managedFields)").into(),
        )
    })?;
    let started = pod.started.ok_or_else(|| {
        Gap::Opaque(format!("{} does not say when it started (status.startTime)", place()).into())
    })?;
    Ok(Some(Lag {
        seconds: written.0.saturating_sub(started.0),
        config_map: shown.into(),
    }))
}

/// Nodes whose kube-proxy is older than its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stale {
    nodes: usize,
    sample: Vec<Arc<str>>,
    pods: usize,
    config_map: Arc<str>,
    /// By how much at most.
    seconds: i64,
}

impl Explain for Stale {
    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kube-proxy on {} started up to {} s before ConfigMap {} was last written, and may run \
             an earlier text",
            on_nodes(self.nodes, &self.sample),
            self.seconds,
            self.config_map
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let pods = "Pods of kube-proxy, start of their containers";
        let written = format!("ConfigMap {} metadata.managedFields", self.config_map);
        vec![
            Evidence::count("staleNodes", self.nodes, pods),
            Evidence::count("judgedPods", self.pods, pods),
            Evidence::name("nodes", &self.sample.join(", ").into(), pods),
            Evidence::name("configMap", &self.config_map, "volume of the Pod"),
            Evidence::seconds("writtenAfterStart", &Val::declared(self.seconds, written)),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            format!(
                "compare what runs with what is written: /configz of kube-proxy on one of {}, and ConfigMap {}",
                self.sample.join(", "),
                self.config_map
            )
            .into(),
            "if they differ, restart kube-proxy on one node, watch its traffic, then roll the others out slowly".into(),
        ]
    }
}

/// Nodes whose kube-proxy Pod is older than the template of its `DaemonSet`, which replaces none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OlderThanTemplate {
    nodes: usize,
    sample: Vec<Arc<str>>,
    daemon_set: Arc<str>,
}

impl Explain for OlderThanTemplate {
    fn cause(&self) -> &'static str {
        "OlderThanTemplate"
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kube-proxy on {} differs from the template of DaemonSet {}, which replaces no Pod (updateStrategy OnDelete)",
            on_nodes(self.nodes, &self.sample),
            self.daemon_set
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let pods = "Pods of kube-proxy: image, command, mounted ConfigMaps";
        let strategy = format!("DaemonSet {} spec.updateStrategy.type", self.daemon_set);
        vec![
            Evidence::count("olderNodes", self.nodes, pods),
            Evidence::name("nodes", &self.sample.join(", ").into(), pods),
            Evidence::name("updateStrategy", &"OnDelete".into(), strategy),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            format!(
                "compare a Pod of kube-proxy on one of {} with DaemonSet {}: image, command, arguments, volumes",
                self.sample.join(", "),
                self.daemon_set
            )
            .into(),
            "delete the kube-proxy Pod of one node, watch its traffic, then delete the others a few at a time".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let stale = |nodes: usize, sample: &[&str]| Stale {
        nodes,
        sample: sample.iter().map(|name| Arc::from(*name)).collect(),
        pods: nodes + 3,
        config_map: "kube-system/kube-proxy".into(),
        seconds: 3600,
    };
    vec![
        Verdict::at_risk(stale(1, &["node-1"])),
        Verdict::at_risk(stale(2, &["node-1", "node-2"])),
        Verdict::at_risk(stale(40, &["node-1", "node-2", "node-3"])),
        Verdict::at_risk(OlderThanTemplate {
            nodes: 2,
            sample: vec!["node-1".into(), "node-2".into()],
            daemon_set: "kube-system/kube-proxy".into(),
        }),
    ]
}
