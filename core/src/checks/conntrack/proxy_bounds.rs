//! `proxy-bounds`: every node runs the data plane that the platform declares.

use std::fmt;
use std::sync::Arc;

use super::on_nodes;
use crate::dataplane::ProxyMode;
use crate::fleet::Class;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Origin, Reads, Source, Val};
use crate::policy::Range;
use crate::sample::Metrics;

/// The check.
pub static CHECK: Check = Check {
    id: "proxy-bounds",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::ClusterPolicy]),
    uses: Reads::NONE,
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Every node runs the data plane that the platform declares.

A cluster is seldom of one piece: an upgrade that stopped half-way, a second node pool or an edit by hand leaves nodes
with another proxy mode or another idle timeout, and the same Service behaves differently by where the client runs.

## Formula

For every class of nodes of equal settings, against `dataPlane` of the ClusterTrafficHealthPolicy:

- the proxy mode differs from `proxyMode`, or the idle timeout of a Service connection is below
  `serviceIdleTimeoutSeconds.minimum` or above its `maximum`: Violated;
- the same with a value that is only assumed: AtRisk;
- a class whose value is not known: Unknown, unless another class decides.

Windows nodes have one mode only, which `proxyMode` does not cover. Where no connection table stands between client
and backend (socket load balancing) there is no idle timeout to bound. Without `dataPlane` in a cluster policy the
check does not apply.

## What to do

1. Decide which of the two is right: the declaration or the nodes.
2. Change the nodes' configuration pool by pool, beginning with one node.

## What not to do

Do not change the mode of running nodes in place: rules of the old mode may stay behind until the node restarts.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let Some(policy) = look.cluster_policy()? else {
        return Ok(Verdict::NotApplicable("no cluster policy declares a data plane"));
    };
    let wanted = &policy.data_plane;
    if wanted.proxy_mode.is_none() && wanted.service_idle_timeout_seconds.is_none() {
        return Ok(Verdict::NotApplicable(
            "the cluster policy declares neither proxy mode nor idle timeout",
        ));
    }
    let fleet = look.fleet();
    let mut gap = fleet.gap.clone();
    let mut worst: Option<Outside> = None;
    for class in &fleet.classes {
        let mode = wanted.proxy_mode.map(|mode| judge_mode(class, mode));
        let idle = wanted
            .service_idle_timeout_seconds
            .map(|range| judge_idle(class, range));
        for found in [mode, idle].into_iter().flatten() {
            match found {
                Ok(None) => {}
                // Classes are in a fixed order: the first case of the worse kind is reported.
                Ok(Some(found)) => {
                    if worst
                        .as_ref()
                        .is_none_or(|held| found.is_sure() && !held.is_sure())
                    {
                        worst = Some(found);
                    }
                }
                Err(one) => gap = gap.or(Some(one)),
            }
        }
    }
    match (worst, gap) {
        (Some(found), _) if found.is_sure() => Ok(Verdict::violated(found)),
        (Some(found), _) => Ok(Verdict::at_risk(found)),
        (None, Some(gap)) => Err(gap),
        (None, None) if fleet.classes.is_empty() => Err(Gap::Opaque("no node's data plane is known".into())),
        (None, None) => Ok(Verdict::Met),
    }
}

/// Nodes outside of what the platform declares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Outside {
    what: What,
    nodes: u32,
    sample: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum What {
    ProxyMode { runs: Val<ProxyMode>, wanted: ProxyMode },
    TooShort { idle: Val<i64>, least: i64 },
    TooLong { idle: Val<i64>, most: i64 },
}

impl Outside {
    fn of(class: &Class, what: What) -> Self {
        Self {
            what,
            nodes: class.nodes,
            sample: class.sample.clone(),
        }
    }

    const fn origin(&self) -> Origin {
        match &self.what {
            What::ProxyMode { runs, .. } => runs.origin,
            What::TooShort { idle, .. } | What::TooLong { idle, .. } => idle.origin,
        }
    }

    fn is_sure(&self) -> bool {
        self.origin() != Origin::Assumed
    }
}

fn judge_mode(class: &Class, wanted: ProxyMode) -> Known<Option<Outside>> {
    let runs = class.profile.mode.clone()?;
    let right = runs.value == wanted || runs.value == ProxyMode::Kernelspace;
    Ok((!right).then(|| Outside::of(class, What::ProxyMode { runs, wanted })))
}

fn judge_idle(class: &Class, range: Range) -> Known<Option<Outside>> {
    let Some(idle) = class.profile.service_idle_seconds.clone()? else {
        return Ok(None);
    };
    let what = match (range.minimum, range.maximum) {
        (Some(least), _) if idle.value < least => What::TooShort { idle, least },
        (_, Some(most)) if idle.value > most => What::TooLong { idle, most },
        _ => return Ok(None),
    };
    Ok(Some(Outside::of(class, what)))
}

impl Explain for Outside {
    fn cause(&self) -> &'static str {
        match self.what {
            What::ProxyMode { .. } => "ProxyMode",
            What::TooShort { .. } => "IdleTimeoutTooShort",
            What::TooLong { .. } => "IdleTimeoutTooLong",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = on_nodes(self.nodes as usize, &self.sample);
        match &self.what {
            What::ProxyMode { runs, wanted } => write!(
                f,
                "kube-proxy runs in mode {} on {on}, where {} is declared",
                runs.value.name(),
                wanted.name()
            ),
            What::TooShort { idle, least } => write!(
                f,
                "Service connections are forgotten after {} s on {on}, below the declared minimum of {least} s",
                idle.value
            ),
            What::TooLong { idle, most } => write!(
                f,
                "Service connections are forgotten after {} s on {on}, above the declared maximum of {most} s",
                idle.value
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let field = |name: &str| format!("ClusterTrafficHealthPolicy spec.dataPlane.{name}");
        let bound = |seconds: i64, name: &str| {
            let field = field(&format!("serviceIdleTimeoutSeconds.{name}"));
            Evidence::seconds("bound", &Val::declared(seconds, field))
        };
        let mut evidence = match &self.what {
            What::ProxyMode { runs, wanted } => vec![
                Evidence::text("proxyMode", &runs.clone().map(|mode| mode.name().into())),
                Evidence::name("wantedMode", &wanted.name().into(), field("proxyMode")),
            ],
            What::TooShort { idle, least } => {
                vec![Evidence::seconds("idleTimeout", idle), bound(*least, "minimum")]
            }
            What::TooLong { idle, most } => {
                vec![Evidence::seconds("idleTimeout", idle), bound(*most, "maximum")]
            }
        };
        let nodes = "nodes of equal settings";
        evidence.push(Evidence::count("nodes", self.nodes, nodes));
        let sample = if self.sample.is_empty() {
            "nodes were not read".into()
        } else {
            self.sample.join(", ").into()
        };
        evidence.push(Evidence::text(
            "sample",
            &Val {
                value: sample,
                origin: self.origin(),
                source: nodes.into(),
            },
        ));
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        if !self.is_sure() {
            advice.push("find out what these nodes really run: the value is assumed, not read".into());
        }
        advice.push(
            match &self.what {
                What::ProxyMode { runs, wanted } => format!(
                    "decide which is right: declare {} in spec.dataPlane.proxyMode, or move the nodes to {} pool by pool",
                    runs.value.name(),
                    wanted.name()
                ),
                What::TooShort { least: bound, .. } | What::TooLong { most: bound, .. } => format!(
                    "bring the idle timeout of these nodes to the declared bound of {bound} s, beginning with one node, \
                     or correct the bound"
                ),
            }
            .into(),
        );
        advice
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let idle = |seconds| Val::declared(seconds, "ConfigMap kube-system/kube-proxy ipvs.tcpTimeout");
    let assumed = |seconds| {
        Val::assumed(
            seconds,
            "ConfigMap kube-system/kube-proxy; no kube-proxy process was seen",
        )
    };
    let runs = Val::declared(ProxyMode::Ipvs, "ConfigMap kube-system/kube-proxy mode");
    let wanted = ProxyMode::Nftables;
    let of = |what, nodes, sample: &[&str]| Outside {
        what,
        nodes,
        sample: sample.iter().map(|name| Arc::from(*name)).collect(),
    };
    vec![
        Verdict::violated(of(
            What::ProxyMode {
                runs: runs.clone(),
                wanted,
            },
            3,
            &["node-1", "node-2"],
        )),
        Verdict::violated(of(What::ProxyMode { runs, wanted }, 1, &["node-1"])),
        Verdict::violated(of(
            What::TooShort {
                idle: idle(900),
                least: 3600,
            },
            3,
            &["node-1"],
        )),
        Verdict::violated(of(
            What::TooLong {
                idle: idle(86_400),
                most: 7200,
            },
            3,
            &["node-1"],
        )),
        Verdict::at_risk(of(
            What::TooShort {
                idle: assumed(900),
                least: 3600,
            },
            0,
            &[],
        )),
    ]
}
