//! `node-pressure`: no node is short of CPU, memory, storage or processes.

use std::fmt;
use std::sync::Arc;

use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sample::{Metric, Metrics, Reading, whole};
use crate::sources::node::PressureConditions;

/// The check.
pub static CHECK: Check = Check {
    id: "node-pressure",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::of(&[Source::ClusterPolicy]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::helpful(&[Metric::CpuPressure, Metric::MemoryPressure, Metric::IoPressure]),
    baseline: true,
    judge: Judge::Node(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No node is short of CPU, memory, storage or processes.

The kernel's pressure stall information (PSI, `some`) is the share of time in which at least one task waited. It rises before
the conditions `MemoryPressure` and `DiskPressure` of the Node do, and there is no condition for CPU at all. Kubelets that
wait miss their heartbeats, and the node's Pods go where the next node will wait.

## Formula

`pressure` is the mean share over the last `nodes.pressure.forSeconds` of the ClusterTrafficHealthPolicy, and over the last
300 s where more is declared, as samples of twelve looks are kept.

- `pressure` of memory above `memorySomePercent`, of storage above `ioSomePercent`, or of CPU above `cpuSomePercent`:
  Violated, for the first of them.
- The kubelet reports `MemoryPressure`, `DiskPressure` or `PIDPressure`: AtRisk. It evicts Pods until that ends.
- One of the three is not measured and nothing else is found: Unknown.
- No `nodes.pressure` declared, or nothing measures: the conditions alone are judged, and nothing is asked for.

What the kubelet reports stands beside what is measured in the evidence: PSI without the condition is a node that is slow
before it is short.

It is measured by node_exporter (collector `pressure`: `node_pressure_cpu_waiting_seconds_total` and the like, since 0.18;
Linux 4.20 or later with PSI switched on) or by the agent.

## What to do

1. See which Pods of the node use what is short: `kubectl top pods -A --field-selector spec.nodeName=NODE`.
2. Set requests and limits of the largest, or move one of its replicas.

## What not to do

Do not drain the node in a full cluster: its Pods bring their load to nodes that have no room for it.
";

/// The longest time that is looked back on, in seconds: eleven intervals of 30 s between the twelve points that are kept,
/// less one that may be missing.
const KEPT: u32 = 300;

/// What is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StalledResource {
    Memory,
    Storage,
    Cpu,
}

impl StalledResource {
    const ALL: [Self; 3] = [Self::Memory, Self::Storage, Self::Cpu];

    const fn metric(self) -> Metric {
        match self {
            Self::Memory => Metric::MemoryPressure,
            Self::Storage => Metric::IoPressure,
            Self::Cpu => Metric::CpuPressure,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Cpu => "CPU",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Memory => "memorySomePercent",
            Self::Storage => "ioSomePercent",
            Self::Cpu => "cpuSomePercent",
        }
    }
}

fn judge(look: &Look<'_>, node: Name) -> Known<Verdict> {
    let conditions = look.node(node)?.map(|row| row.pressure).unwrap_or_default();
    let measured = measured(look, node, conditions);
    if let Ok(Some(waits)) = measured {
        return Ok(Verdict::violated(waits));
    }
    let reported = [
        (conditions.memory, ReportedCondition::Memory),
        (conditions.disk, ReportedCondition::Disk),
        (conditions.processes, ReportedCondition::Processes),
    ];
    if let Some((_, reported)) = reported.into_iter().find(|one| one.0) {
        return Ok(Verdict::at_risk(NodePressure::Condition { reported }));
    }
    measured.map(|_| Verdict::Met)
}

/// What is measured against what is declared; nothing where nothing is declared, or nothing measures.
fn measured(look: &Look<'_>, node: Name, conditions: PressureConditions) -> Known<Option<NodePressure>> {
    let declared = look.cluster_policy()?.and_then(|policy| policy.nodes.pressure);
    let Some(declared) = declared.filter(|_| look.is_observed()) else {
        return Ok(None);
    };
    let mut gap = None;
    for resource in StalledResource::ALL {
        let bound = match resource {
            StalledResource::Memory => declared.memory_some_percent,
            StalledResource::Storage => declared.io_some_percent,
            StalledResource::Cpu => declared.cpu_some_percent,
        };
        let reading = match look.on_node(resource.metric(), node) {
            Ok(reading) => reading,
            Err(why) => {
                gap.get_or_insert(why);
                continue;
            }
        };
        let seconds = declared.for_seconds.min(KEPT);
        let window = f64::from(seconds);
        // The first growth is of a whole interval, which its point alone does not show.
        if reading.mean(window) * 100.0 > f64::from(bound) && reading.span() >= window {
            return Ok(Some(NodePressure::Waits(Waits {
                resource,
                bound,
                window: seconds,
                percent: percent(&reading, window),
                reported: match resource {
                    StalledResource::Memory => conditions.memory,
                    StalledResource::Storage => conditions.disk,
                    StalledResource::Cpu => false,
                },
                source: reading.source(),
            })));
        }
    }
    gap.map_or(Ok(None), Err)
}

/// The share of time, rounded down to a multiple of five: each sample would bring another number.
fn percent(reading: &Reading<'_>, window: f64) -> u32 {
    whole((reading.mean(window) * 100.0).min(100.0)) / 5 * 5
}

/// What a kubelet reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ReportedCondition {
    Memory,
    Disk,
    Processes,
}

impl ReportedCondition {
    const fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Processes => "PIDPressure",
        }
    }

    const fn short_of(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "storage",
            Self::Processes => "process IDs",
        }
    }
}

/// A node that is short of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum NodePressure {
    /// Its kubelet reports it.
    Condition { reported: ReportedCondition },
    /// Its tasks wait.
    Waits(Waits),
}

/// Tasks that wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waits {
    resource: StalledResource,
    /// The share of time.
    percent: u32,
    bound: u32,
    window: u32,
    /// Whether the kubelet reports it, too.
    reported: bool,
    source: Arc<str>,
}

impl Explain for NodePressure {
    fn cause(&self) -> &'static str {
        match self {
            Self::Condition { reported } => reported.condition(),
            Self::Waits(waits) => match waits.resource {
                StalledResource::Memory => "Memory",
                StalledResource::Storage => "Storage",
                StalledResource::Cpu => "Cpu",
            },
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Condition { reported } => write!(
                f,
                "the node's kubelet reports {}: it is short of {} and evicts Pods until that ends",
                reported.condition(),
                reported.short_of()
            ),
            Self::Waits(waits) => write!(
                f,
                "tasks of the node waited for {} in at least {} % of the last {} s, where at most {} % is declared",
                waits.resource.name(),
                waits.percent,
                waits.window,
                waits.bound
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        match self {
            Self::Condition { reported } => vec![Evidence::name(
                "condition",
                &reported.condition().into(),
                "Node status.conditions",
            )],
            Self::Waits(waits) => waits.evidence(),
        }
    }

    fn advice(&self) -> Vec<Advice> {
        let short = match self {
            Self::Condition { reported } => reported.short_of(),
            Self::Waits(waits) => waits.resource.name(),
        };
        vec![
            format!("see which Pods of the node use most {short}, and set their requests and limits by it")
                .into(),
            "move one replica of the largest workload to a node with room".into(),
            "do not drain the node unless others have room by measure: its load goes with its Pods".into(),
        ]
    }
}

impl Waits {
    fn evidence(&self) -> Vec<Evidence> {
        let field = format!(
            "ClusterTrafficHealthPolicy spec.nodes.pressure.{}",
            self.resource.field()
        );
        let bound = Val::declared(i64::from(self.bound), field);
        vec![
            Evidence::watched("pressure", Unit::Percent, self.percent, self.source.clone()),
            Evidence::watched("window", Unit::Seconds, self.window, self.source.clone()),
            Evidence::number("bound", Unit::Percent, &bound),
            Evidence::name(
                "reported",
                &if self.reported {
                    "by the kubelet, too"
                } else {
                    "not by the kubelet"
                }
                .into(),
                "Node status.conditions",
            ),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |resource| {
        Verdict::violated(NodePressure::Waits(Waits {
            resource,
            percent: 60,
            bound: 40,
            window: 60,
            reported: resource == StalledResource::Memory,
            source: "Prometheus, memoryPressure".into(),
        }))
    };
    let reported = [
        ReportedCondition::Memory,
        ReportedCondition::Disk,
        ReportedCondition::Processes,
    ];
    let reported = reported.map(|one| Verdict::at_risk(NodePressure::Condition { reported: one }));
    StalledResource::ALL.map(of).into_iter().chain(reported).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::handle::Input;
    use crate::policy::{ClusterPolicy, NodesPolicy, Pressure};
    use crate::sample::{Observer, PageScope, SampleSubject};
    use crate::world::{World, node};

    const ID: &str = "node-pressure";

    fn declared(for_seconds: u32) -> ClusterPolicy {
        ClusterPolicy {
            nodes: NodesPolicy {
                pressure: Some(Pressure {
                    cpu_some_percent: 60,
                    memory_some_percent: 20,
                    io_some_percent: 60,
                    for_seconds,
                }),
                ..NodesPolicy::default()
            },
            ..ClusterPolicy::default()
        }
    }

    /// Shares of CPU, memory and storage, by that many looks after the first one, 30 s apart.
    fn played(for_seconds: u32, looks: u32, shares: [Option<f64>; 3]) -> World {
        let mut world = World::watched(&[(Source::Nodes, node("n1", "z"))]).platform(declared(for_seconds));
        world.input(Input::Observers(&[Observer::Prometheus]));
        for step in 0..=looks {
            if step > 0 {
                world.wait(30);
            }
            let metrics = [Metric::CpuPressure, Metric::MemoryPressure, Metric::IoPressure];
            let values: Vec<_> = metrics
                .into_iter()
                .zip(shares)
                .filter_map(|(metric, share)| {
                    Some((metric, SampleSubject::Node("n1"), share? * 30.0 * f64::from(step)))
                })
                .collect();
            world.measure(Observer::Prometheus, PageScope::Nodes, &values);
        }
        world
    }

    #[rstest]
    #[case::quiet([Some(0.1), Some(0.0), Some(0.05)], "Met")]
    #[case::as_declared([Some(0.59), Some(0.19), Some(0.59)], "Met")]
    #[case::cpu([Some(0.7), Some(0.0), Some(0.0)], "Violated warning Cpu")]
    #[case::memory_first([Some(0.7), Some(0.3), Some(0.9)], "Violated warning Memory")]
    #[case::storage_alone_is_measured([None, None, Some(0.9)], "Violated warning Storage")]
    #[case::the_others_may_be_high([None, None, Some(0.1)], "Unknown unknown")]
    fn pressure(#[case] shares: [Option<f64>; 3], #[case] expected: &str) {
        assert_eq!(played(60, 4, shares).verdict(ID), expected);
    }

    #[test]
    fn milliseconds_are_no_share_of_time_and_are_not_waited_out() {
        let mut played = played(60, 4, [Some(500.0); 3]);
        assert_eq!(
            played.message(ID),
            "cannot be judged: not measured: memoryPressure: Prometheus has it in another unit"
        );
    }

    fn short_of(condition: &str) -> World {
        let mut short = node("n1", "z");
        let conditions = short["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(serde_json::json!({"type": condition, "status": "True"}));
        World::watched(&[(Source::Nodes, short)])
    }

    #[rstest]
    #[case("MemoryPressure", "AtRisk warning MemoryPressure")]
    #[case("DiskPressure", "AtRisk warning DiskPressure")]
    #[case("PIDPressure", "AtRisk warning PIDPressure")]
    #[case("NetworkUnavailable", "Met")]
    fn what_a_kubelet_reports_needs_no_measuring(#[case] condition: &str, #[case] expected: &str) {
        assert_eq!(short_of(condition).verdict(ID), expected);
        // What is measured would say more, and is missing.
        let mut world = short_of(condition).platform(declared(60));
        world.input(Input::Observers(&[Observer::Prometheus]));
        let expected = if expected == "Met" {
            "Unknown unknown"
        } else {
            expected
        };
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn an_hour_is_judged_by_what_is_kept_of_it() {
        let shares = [Some(0.9), Some(0.0), Some(0.0)];
        assert_eq!(played(3_600, 8, shares).verdict(ID), "Met");
        assert_eq!(played(3_600, 30, shares).verdict(ID), "Violated warning Cpu");
    }

    #[test]
    fn what_is_not_declared_is_not_even_asked_for() {
        let mut world = World::watched(&[(Source::Nodes, node("n1", "z"))]);
        world.input(Input::Observers(&[Observer::Prometheus]));
        let wants = world.core.take_wants().unwrap();
        assert!(
            !wants
                .samples
                .get(&PageScope::Nodes)
                .unwrap()
                .metrics
                .has(Metric::CpuPressure)
        );
        let mut world = world.platform(declared(60));
        let wants = world.core.take_wants().unwrap();
        assert!(
            wants
                .samples
                .get(&PageScope::Nodes)
                .unwrap()
                .metrics
                .has(Metric::CpuPressure)
        );
    }
}
