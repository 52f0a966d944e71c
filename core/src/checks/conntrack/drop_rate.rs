//! `ct-drop-rate`: no node drops packets because a connection table is full.

use std::fmt;
use std::sync::Arc;

use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit};
use crate::names::Name;
use crate::sample::{Metric, Metrics, Reading};

/// For how long it must go on, in seconds: one burst is over by then.
const LASTS: f64 = 120.0;

/// The check.
pub static CHECK: Check = Check {
    id: "ct-drop-rate",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::NONE,
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::of(&[
        Metric::ConntrackDrops,
        Metric::ConntrackEarlyDrops,
        Metric::CiliumTableDrops,
    ]),
    baseline: true,
    judge: Judge::Node(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No node drops packets because a connection table is full.

A dropped first packet is tried again after 1 s, 3 s and 7 s: users see latencies of whole seconds, and no process logs
anything.

## Formula

All rates are those of the node, between two samples.

- Drops of the kernel's table (`drop`) or of Cilium's tables grow between all samples of the last 120 s: Violated.
- Entries give way to new ones before their time (`early_drop`) in the same way: AtRisk. The kernel then still takes new
  connections, at the cost of those that have not been answered yet.

Unknown where the kernel's table is not measured, and on a node of Cilium where Cilium's is not: a table that is not measured may
be the full one. It is measured by node_exporter (collector `conntrack`:
`node_nf_conntrack_stat_drop` and `node_nf_conntrack_stat_early_drop`, since 1.2), by cilium-agent
(`cilium_drop_count_total` of reasons `CT: Map insertion failed` and `No mapping for NAT masquerade`) or by the agent.

## What to do

1. See `ct-table-pressure`: raise the table's limit on one such node, and see that drops end.
2. Where Cilium drops, raise `bpf-ct-global-tcp-max` and shorten `conntrack-gc-interval`; both work after a restart of that
   node's agent.

## What not to do

Do not flush the table, and do not restart its owner on all nodes at once.
";

fn judge(look: &Look<'_>, node: Name) -> Known<Verdict> {
    let kernel = look.on_node(Metric::ConntrackDrops, node);
    let early = look.on_node(Metric::ConntrackEarlyDrops, node);
    let cilium = look.on_node(Metric::CiliumTableDrops, node);
    for (reading, table) in [(&kernel, FullTable::Kernel), (&cilium, FullTable::Cilium)] {
        if let Ok(reading) = reading
            && let Some(case) = lasting(reading, table)
        {
            return Ok(Verdict::violated(case));
        }
    }
    if let Ok(reading) = &early
        && let Some(case) = lasting(reading, FullTable::Early)
    {
        return Ok(Verdict::at_risk(case));
    }
    // One that is measured and well says nothing of the other. Cilium in place of kube-proxy leaves the kernel's table empty.
    match cilium_of(look, node) {
        Some(CiliumShare::Every) => drop(cilium?),
        Some(CiliumShare::Some) => {
            cilium?;
            kernel?;
        }
        None if kernel.is_err() && cilium.is_ok() => {}
        None => drop(kernel?),
    }
    Ok(Verdict::Met)
}

/// Which connections of a node Cilium keeps in its tables.
enum CiliumShare {
    /// Those of Pods and of Services.
    Every,
    /// Those of Pods, beside kube-proxy or in a way that is not known.
    Some,
}

/// Whether a node runs Cilium.
fn cilium_of(look: &Look<'_>, node: Name) -> Option<CiliumShare> {
    let cilium = look.fleet().class(node)?.profile.cilium.as_ref()?;
    let replaces = cilium
        .as_ref()
        .ok()
        .and_then(|one| one.replaces_kube_proxy.as_ref().ok());
    Some(match replaces {
        Some(replaces) if replaces.value => CiliumShare::Every,
        _ => CiliumShare::Some,
    })
}

fn lasting(reading: &Reading<'_>, table: FullTable) -> Option<DroppedPackets> {
    (reading.above_for(0.0) >= LASTS).then(|| DroppedPackets {
        table,
        at_least: step(reading.mean(LASTS)),
        source: reading.source(),
    })
}

/// A power of ten that a rate reaches, at least one: each sample would bring another number.
fn step(rate: f64) -> u32 {
    let mut step = 1_u32;
    while f64::from(step) * 10.0 <= rate && step < 1_000_000 {
        step *= 10;
    }
    step
}

/// Whose table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum FullTable {
    Kernel,
    Cilium,
    Early,
}

/// Packets or entries that are lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DroppedPackets {
    table: FullTable,
    /// In a second, rounded down to a power of ten.
    at_least: u32,
    source: Arc<str>,
}

impl Explain for DroppedPackets {
    fn cause(&self) -> &'static str {
        match self.table {
            FullTable::Kernel => "KernelTable",
            FullTable::Cilium => "CiliumTable",
            FullTable::Early => "EarlyDrop",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.table {
            FullTable::Kernel => "packets are dropped as the node's connection table is full",
            FullTable::Cilium => "packets are dropped as Cilium's connection table is full",
            FullTable::Early => {
                "entries of the node's connection table give way to new ones before their time"
            }
        };
        let order = if self.at_least == 1 { "about" } else { "at least" };
        write!(f, "{what}: {order} {} in a second, for {LASTS} s", self.at_least)
    }

    fn evidence(&self) -> Vec<Evidence> {
        vec![
            Evidence::watched("drops", Unit::PerSecond, self.at_least, self.source.clone()),
            Evidence::watched("window", Unit::Seconds, LASTS as i64, self.source.clone()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let raise = match self.table {
            FullTable::Kernel | FullTable::Early => {
                "raise net.netfilter.nf_conntrack_max on this node first, and see that drops end"
            }
            FullTable::Cilium => {
                "raise bpf-ct-global-tcp-max and bpf-ct-global-any-max for this node first; it takes a restart of its agent"
            }
        };
        vec![
            raise.into(),
            "find which Pods open most connections from or to this node, and let their clients reuse them"
                .into(),
            "do not flush the table: every connection through the node would break at once".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |table, at_least| DroppedPackets {
        table,
        at_least,
        source: "Prometheus, conntrackDrops".into(),
    };
    vec![
        Verdict::violated(of(FullTable::Kernel, 10)),
        Verdict::violated(of(FullTable::Cilium, 1)),
        Verdict::at_risk(of(FullTable::Early, 1)),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::handle::Input;
    use crate::sample::{Observer, PageScope, SampleSubject};
    use crate::world::{World, cilium, node};

    const ID: &str = "ct-drop-rate";

    /// A sample every 30 s, of these values.
    fn played(metric: Metric, values: &[f64]) -> World {
        let mut world = World::watched(&[(Source::Nodes, node("n1", "z"))]);
        world.input(Input::Observers(&[Observer::Prometheus]));
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                world.wait(30);
            }
            world.measure(
                Observer::Prometheus,
                PageScope::Nodes,
                &[(metric, SampleSubject::Node("n1"), *value)],
            );
        }
        world
    }

    const RISING: &[f64] = &[0.0, 30.0, 60.0, 90.0, 120.0, 150.0];

    #[rstest]
    #[case::none(Metric::ConntrackDrops, &[7.0; 6], "Met")]
    #[case::two_minutes(Metric::ConntrackDrops, RISING, "Violated critical KernelTable")]
    #[case::not_yet(Metric::ConntrackDrops, &[0.0, 30.0, 60.0, 90.0, 120.0], "Met")]
    #[case::one_burst(Metric::ConntrackDrops, &[0.0, 900.0, 900.0, 900.0, 900.0, 900.0], "Met")]
    #[case::cilium(Metric::CiliumTableDrops, RISING, "Violated critical CiliumTable")]
    #[case::the_node_restarted(Metric::ConntrackDrops, &[0.0, 30.0, 60.0, 90.0, 5.0, 35.0], "Met")]
    fn drops(#[case] metric: Metric, #[case] values: &[f64], #[case] expected: &str) {
        assert_eq!(played(metric, values).verdict(ID), expected);
    }

    #[test]
    fn early_drops_alone_leave_drops_unknown_unless_they_go_on() {
        assert_eq!(
            played(Metric::ConntrackEarlyDrops, RISING).says(ID),
            "AtRisk warning EarlyDrop"
        );
        assert_eq!(
            played(Metric::ConntrackEarlyDrops, &[1.0; 6]).says(ID),
            "Unknown unknown"
        );
    }

    /// A node of Cilium, beside kube-proxy or in its place, of which some of the tables are measured.
    fn on_cilium(replaces: &str, metrics: &[Metric]) -> String {
        let data = serde_json::json!({"kube-proxy-replacement": replaces});
        let mut world = cilium("v1.16.5", &data);
        world.input(Input::Observers(&[Observer::Prometheus]));
        for step in 0..3 {
            if step > 0 {
                world.wait(30);
            }
            let values: Vec<_> = metrics
                .iter()
                .map(|metric| (*metric, SampleSubject::Node("a"), 7.0))
                .collect();
            world.measure(Observer::Prometheus, PageScope::Nodes, &values);
        }
        world.verdict(ID)
    }

    #[rstest]
    #[case::the_kernels_alone("false", &[Metric::ConntrackDrops], "Unknown unknown")]
    #[case::ciliums_alone("false", &[Metric::CiliumTableDrops], "Unknown unknown")]
    #[case::both("false", &[Metric::ConntrackDrops, Metric::CiliumTableDrops], "Met")]
    #[case::in_place_of_kube_proxy("true", &[Metric::CiliumTableDrops], "Met")]
    #[case::and_the_kernels_says_nothing("true", &[Metric::ConntrackDrops], "Unknown unknown")]
    fn a_table_that_is_not_measured_may_be_full(
        #[case] replaces: &str,
        #[case] metrics: &[Metric],
        #[case] expected: &str,
    ) {
        assert_eq!(on_cilium(replaces, metrics), expected);
    }

    #[test]
    fn it_ends_with_the_drops() {
        let mut world = played(Metric::ConntrackDrops, RISING);
        assert!(!world.says(ID).is_empty());
        world.wait(30);
        let still = [(Metric::ConntrackDrops, SampleSubject::Node("n1"), 150.0)];
        world.measure(Observer::Prometheus, PageScope::Nodes, &still);
        assert_eq!(world.verdict(ID), "Met");
    }
}
