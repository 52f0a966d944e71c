//! `cilium-ct-gc-lag`: on no node do Cilium's tables fill faster than they are collected.

use std::fmt;
use std::sync::Arc;

use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit};
use crate::names::Name;
use crate::sample::{Metric, Metrics, Reading, whole};
use crate::statistics::trend;

/// A table this full has little room left before entries that are in use give way (`LRU` maps).
const FULL: f64 = 0.8;
/// From here on a forecast is made: below, a busy hour looks like a table that fills.
const HALF: f64 = 0.5;
/// A table that will be full within so many seconds.
const SOON: f64 = 1800.0;
/// Collections that take this part of the time hardly end before the next one begins.
const BUSY: f64 = 0.5;
/// Over so many seconds.
const WINDOW: f64 = 300.0;

/// The check.
pub static CHECK: Check = Check {
    id: "cilium-ct-gc-lag",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::NONE,
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::CiliumTablePressure, Metric::CiliumGcSeconds]),
    baseline: true,
    judge: Judge::Node(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
On no node do Cilium's tables fill faster than they are collected.

Entries of connections that have ended stay in Cilium's maps until its garbage collection takes them. When new ones come
faster, the map is full of the dead, and the kernel evicts entries that are in use: replies are taken for new connections and
dropped.

## Formula

`pressure` is how full the fullest of the connection and NAT maps is, `busy` the part of the time that collections take.

- `pressure > 80 %`: Violated, `TableFull`.
- `busy > 50 %` over 300 s: Violated, `CollectionLags`.
- `pressure > 50 %`, and at the present growth (Theil and Sen, with the lower bound of its 95 % interval above zero) the map is
  full within 30 min: AtRisk, `TableFills`.
- A node without Cilium: not applicable. One of the two not measured, and the other no reason: Unknown.

It is measured by cilium-agent: `cilium_bpf_map_pressure` of its `ct` and `snat` maps and
`cilium_datapath_conntrack_gc_duration_seconds`. Versions that do not export the pressure of these maps leave it Unknown.

## What to do

1. Let clients reuse connections, or move one replica of the busiest workload to another node.
2. Where the map is full: raise `bpf-ct-global-tcp-max` and `bpf-ct-global-any-max`, or shorten `conntrack-gc-interval`, by a
   CiliumNodeConfig for one node first; both work after a restart of that node's agent.
3. Where collections lag: see whether the agent's CPU limit holds it up. A collection walks the whole map, so that a larger
   one takes longer.

## What not to do

Do not flush the maps, and do not restart all agents: each connection through them would break.
";

fn judge(look: &Look<'_>, node: Name) -> Known<Verdict> {
    let class = look.fleet().class(node);
    if class.is_none_or(|class| class.profile.cilium.is_none()) {
        return Ok(Verdict::NotApplicable("the node does not run Cilium"));
    }
    let mut gap: Option<Gap> = None;
    match look.on_node(Metric::CiliumTablePressure, node) {
        Ok(pressure) => {
            if let Some(verdict) = table(&pressure) {
                return Ok(verdict);
            }
        }
        Err(why) => drop(gap.get_or_insert(why)),
    }
    match look.on_node(Metric::CiliumGcSeconds, node) {
        Ok(seconds) if seconds.mean(WINDOW) > BUSY && seconds.span() >= WINDOW / 2.0 => {
            return Ok(Verdict::violated(CollectionLag {
                sign: LagSign::Collection,
                percent: whole((seconds.mean(WINDOW) * 100.0).min(100.0)) / 5 * 5,
                source: seconds.source(),
            }));
        }
        Ok(_) => {}
        Err(why) => drop(gap.get_or_insert(why)),
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

/// What a table's level says.
fn table(pressure: &Reading<'_>) -> Option<Verdict> {
    let case = |sign| CollectionLag {
        sign,
        percent: whole((pressure.value * 100.0).min(100.0)) / 5 * 5,
        source: pressure.source(),
    };
    if pressure.value > FULL {
        return Some(Verdict::violated(case(LagSign::Full)));
    }
    let growth = trend(&pressure.timed()).filter(|one| one.low > 0.0)?;
    let fills = pressure.value > HALF && (1.0 - pressure.value) / growth.slope < SOON;
    fills.then(|| Verdict::at_risk(case(LagSign::Fills)))
}

/// By what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum LagSign {
    Full,
    Fills,
    Collection,
}

/// Cilium's tables on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CollectionLag {
    sign: LagSign,
    /// How full the table is, or how much of the time is spent, rounded down to a multiple of five.
    percent: u32,
    source: Arc<str>,
}

impl Explain for CollectionLag {
    fn cause(&self) -> &'static str {
        match self.sign {
            LagSign::Full => "TableFull",
            LagSign::Fills => "TableFills",
            LagSign::Collection => "CollectionLags",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.percent;
        match self.sign {
            LagSign::Full => write!(
                f,
                "a connection map of Cilium is at least {percent} % full: entries that are in use give way near 100 %"
            ),
            LagSign::Fills => write!(
                f,
                "a connection map of Cilium is at least {percent} % full, and at this growth full within {SOON} s"
            ),
            LagSign::Collection => write!(
                f,
                "Cilium collects ended connections for at least {percent} % of the last {WINDOW} s, where {} % leaves room",
                whole(BUSY * 100.0)
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let what = match self.sign {
            LagSign::Full | LagSign::Fills => "pressure",
            LagSign::Collection => "busy",
        };
        vec![Evidence::watched(
            what,
            Unit::Percent,
            self.percent,
            self.source.clone(),
        )]
    }

    fn advice(&self) -> Vec<Advice> {
        let second: Advice = match self.sign {
            LagSign::Full | LagSign::Fills => {
                "raise bpf-ct-global-tcp-max and bpf-ct-global-any-max for this node first; it takes a restart of its agent"
            }
            LagSign::Collection => {
                "see whether a CPU limit holds cilium-agent up (container_cpu_cfs_throttled_periods_total); a larger map takes longer"
            }
        }
        .into();
        vec![
            "find which Pods open most connections from or to this node, and let their clients reuse them"
                .into(),
            second,
            "do not flush the maps: every connection through the node would break at once".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
fn examples() -> Vec<Verdict> {
    let of = |sign, percent| CollectionLag {
        sign,
        percent,
        source: "Prometheus, ciliumTablePressure".into(),
    };
    vec![
        Verdict::violated(of(LagSign::Full, 85)),
        Verdict::violated(of(LagSign::Collection, 60)),
        Verdict::at_risk(of(LagSign::Fills, 55)),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::handle::Input;
    use crate::sample::{Observer, PageScope, SampleSubject};
    use crate::world::{World, cilium, node};

    const ID: &str = "cilium-ct-gc-lag";

    /// Levels of the fullest map, and seconds of collection in a second, by samples 30 s apart.
    fn played(mut world: World, node: &str, levels: &[f64], busy: Option<f64>) -> String {
        world.input(Input::Observers(&[Observer::Prometheus]));
        for (step, level) in (0_u32..).zip(levels) {
            if step > 0 {
                world.wait(30);
            }
            let mut values = vec![(Metric::CiliumTablePressure, SampleSubject::Node(node), *level)];
            values.extend(busy.map(|busy| {
                let seconds = busy * 30.0 * f64::from(step);
                (Metric::CiliumGcSeconds, SampleSubject::Node(node), seconds)
            }));
            values.retain(|one| !one.2.is_nan());
            world.measure(Observer::Prometheus, PageScope::Nodes, &values);
        }
        world.verdict(ID)
    }

    fn rising(from: f64, by: f64) -> Vec<f64> {
        (0_u32..12).map(|step| from + by * f64::from(step)).collect()
    }

    #[rstest]
    #[case::room(vec![0.3; 12], Some(0.01), "Met")]
    #[case::full(vec![0.85; 3], Some(0.01), "Violated warning TableFull")]
    #[case::as_full_as_may_be(vec![0.8; 12], Some(0.01), "Met")]
    #[case::it_fills(rising(0.5, 0.01), Some(0.01), "AtRisk warning TableFills")]
    #[case::it_fills_slowly(rising(0.5, 0.0001), Some(0.01), "Met")]
    #[case::a_busy_hour(rising(0.1, 0.02), Some(0.01), "Met")]
    #[case::collection_lags(vec![0.3; 12], Some(0.7), "Violated warning CollectionLags")]
    #[case::collection_is_not_measured(vec![0.3; 12], None, "Unknown unknown")]
    #[case::the_level_is_not_measured(vec![f64::NAN; 12], Some(0.01), "Unknown unknown")]
    #[case::the_level_is_enough(vec![0.9; 3], None, "Violated warning TableFull")]
    fn tables(#[case] levels: Vec<f64>, #[case] busy: Option<f64>, #[case] expected: &str) {
        let world = cilium("v1.16.5", &json!({"kube-proxy-replacement": "true"}));
        assert_eq!(played(world, "a", &levels, busy), expected);
    }

    #[test]
    fn a_node_without_cilium_has_no_such_tables() {
        let world = World::watched(&[(Source::Nodes, node("n1", "z"))]);
        assert_eq!(played(world, "n1", &[0.9; 3], Some(0.9)), "NotApplicable");
    }
}
