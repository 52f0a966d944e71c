//! `node-pressure`: on no node do tasks wait longer for CPU, memory or storage than the platform declares.

use std::fmt;
use std::sync::Arc;

use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sample::{Metric, Metrics, whole};

/// The check.
pub static CHECK: Check = Check {
    id: "node-pressure",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Nodes, Source::ClusterPolicy]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::CpuPressure, Metric::MemoryPressure, Metric::IoPressure]),
    baseline: false,
    judge: Judge::Node(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
On no node do tasks wait longer for CPU, memory or storage than the platform declares.

The kernel's pressure stall information (PSI, `some`) is the share of time in which at least one task waited. It rises before
the conditions `MemoryPressure` and `DiskPressure` of the Node do, and there is no condition for CPU at all. Kubelets that
wait miss their heartbeats, and the node's Pods go where the next node will wait.

## Formula

`pressure` is the mean share over the last `nodes.pressure.forSeconds` of the ClusterTrafficHealthPolicy, and over the last
300 s where more is declared, as samples of twelve looks are kept.

- `pressure` of memory above `memorySomePercent`, of storage above `ioSomePercent`, or of CPU above `cpuSomePercent`:
  Violated, for the first of them.
- One of the three is not measured and no other is too high: Unknown.
- No `nodes.pressure` declared: not applicable, and nothing is asked for.

It is measured by node_exporter (collector `pressure`: `node_pressure_cpu_waiting_seconds_total` and the like, since 0.17;
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
    let declared = look.cluster_policy()?.and_then(|policy| policy.nodes.pressure);
    let Some(declared) = declared else {
        return Ok(Verdict::NotApplicable("no pressure is declared"));
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
            return Ok(Verdict::violated(Waits {
                resource,
                bound,
                window: seconds,
                percent: whole((reading.mean(window) * 100.0).min(100.0)) / 5 * 5,
                source: reading.source(),
            }));
        }
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

/// Tasks that wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waits {
    resource: StalledResource,
    /// The share of time, rounded down to a multiple of five: each sample would bring another number.
    percent: u32,
    bound: u32,
    window: u32,
    source: Arc<str>,
}

impl Explain for Waits {
    fn cause(&self) -> &'static str {
        match self.resource {
            StalledResource::Memory => "Memory",
            StalledResource::Storage => "Storage",
            StalledResource::Cpu => "Cpu",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tasks of the node waited for {} in at least {} % of the last {} s, where at most {} % is declared",
            self.resource.name(),
            self.percent,
            self.window,
            self.bound
        )
    }

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
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            format!(
                "see which Pods of the node use most {}, and set their requests and limits by it",
                self.resource.name()
            )
            .into(),
            "move one replica of the largest workload to a node with room".into(),
            "do not drain the node unless others have room by measure: its load goes with its Pods".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |resource| {
        Verdict::violated(Waits {
            resource,
            percent: 60,
            bound: 40,
            window: 60,
            source: "Prometheus, memoryPressure".into(),
        })
    };
    StalledResource::ALL.map(of).to_vec()
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
