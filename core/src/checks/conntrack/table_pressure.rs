//! `ct-table-pressure`: no node's connection table is nearly full, or will be soon.

use std::fmt;
use std::sync::Arc;

use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sample::{Metric, Metrics, Reading, TABLE_FORECAST_PERCENT, whole, whole_large};
use crate::statistics;

/// Highest healthy occupancy where no policy says another, in percent.
const USUAL: u32 = 75;
/// From here on a burst fills the table before somebody has come, in percent.
const CRITICAL: u32 = 90;
/// A table that is full within so many seconds is not waited for.
const SOON: f64 = 1800.0;
/// A forecast needs to have seen the table for so many seconds.
const SEEN: f64 = 150.0;

/// The check.
pub static CHECK: Check = Check {
    id: "ct-table-pressure",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes, Source::ClusterPolicy]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::ConntrackEntries, Metric::ConntrackLimit]),
    baseline: true,
    judge: Judge::Node(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No node's connection table is nearly full, or will be soon.

When the table of Linux (`nf_conntrack`) is full, the kernel drops the first packet of each new connection: clients wait
for seconds and try again, probes fail, and the node looks broken although CPU and memory are idle.

## Formula

`occupancy` is entries over limit of the node. `bound` is `conntrack.maxOccupancyPercent` of the
ClusterTrafficHealthPolicy, else 75 %.

- `occupancy >= 90 %`, or at a bound that is higher: Violated.
- `occupancy >= bound`: AtRisk.
- `occupancy >= 30 %` and the table is full within 30 min by its trend: AtRisk. The trend is the slope of Theil and Sen over the
  last 24 samples, of which the lower end of the 95 % interval counts; it takes six samples over 150 s.

It is measured by node_exporter (collector `conntrack`: `node_nf_conntrack_entries` and `node_nf_conntrack_entries_limit`,
since 0.12) or by the agent. Cilium's tables are others.

## What to do

1. Raise `nf_conntrack_max` on one such node (`sysctl net.netfilter.nf_conntrack_max`; kube-proxy sets it from
   `conntrack.maxPerCore`) and see that it holds. An entry takes about 320 bytes of kernel memory.
2. Find who opens the connections, and let clients reuse them; move one replica of the busiest workload.

## What not to do

Do not flush the table: every connection through the node would break at once. Do not drain the node: its connections open
anew on the others, whose tables then fill.
";

fn judge(look: &Look<'_>, node: Name) -> Known<Verdict> {
    let declared = look
        .cluster_policy()?
        .and_then(|policy| policy.conntrack.max_occupancy_percent);
    let bound = declared.unwrap_or(USUAL);
    let limit = look.on_node(Metric::ConntrackLimit, node)?;
    let entries = look.on_node(Metric::ConntrackEntries, node)?;
    // A limit of zero is none (`nf_conntrack_core.c`).
    if limit.value < 1.0 {
        return Ok(Verdict::Met);
    }
    let percent = whole((entries.value * 100.0 / limit.value).min(100.0));
    let case = |full_in| TablePressure {
        percent: percent / 5 * 5,
        declared,
        limit: whole_large(limit.value),
        full_in,
        source: entries.source(),
    };
    if percent >= CRITICAL.max(bound) {
        return Ok(Verdict::violated(case(None)));
    }
    if percent >= bound {
        return Ok(Verdict::at_risk(case(None)));
    }
    // Of most tables no forecast is needed, and none is made.
    let forecast = percent >= TABLE_FORECAST_PERCENT;
    let full_in = forecast.then(|| full_in(&entries, limit.value)).flatten();
    Ok(full_in.map_or(Verdict::Met, |seconds| {
        Verdict::at_risk(case(Some(whole((seconds / 300.0).ceil()) * 5)))
    }))
}

/// In how many seconds the table is full, if that is soon.
fn full_in(entries: &Reading<'_>, limit: f64) -> Option<f64> {
    let trend = statistics::trend(&entries.timed()).filter(|_| entries.span() >= SEEN)?;
    let seconds = (limit - entries.value) / trend.low;
    (trend.low > 0.0 && seconds <= SOON).then_some(seconds)
}

/// A table that is nearly full.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TablePressure {
    /// Its occupancy, rounded down to a multiple of five: each sample would bring another number.
    percent: u32,
    /// Highest healthy occupancy that a policy says.
    declared: Option<u32>,
    limit: u64,
    /// Minutes until it is full, rounded up to a multiple of five, where that is the reason.
    full_in: Option<u32>,
    source: Arc<str>,
}

impl Explain for TablePressure {
    fn cause(&self) -> &'static str {
        if self.full_in.is_some() { "Filling" } else { "Full" }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the node's connection table holds at least {} % of its {} entries",
            self.percent, self.limit
        )?;
        match self.full_in {
            Some(minutes) => write!(f, " and is full within {minutes} min by its trend"),
            None => write!(
                f,
                ", where at most {} % is healthy",
                self.declared.unwrap_or(USUAL)
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let bound = match self.declared {
            Some(percent) => Val::declared(
                i64::from(percent),
                "ClusterTrafficHealthPolicy spec.conntrack.maxOccupancyPercent",
            ),
            None => Val::default_of(i64::from(USUAL), "default of conntrack.maxOccupancyPercent"),
        };
        let mut all = vec![
            Evidence::watched("occupancy", Unit::Percent, self.percent, self.source.clone()),
            Evidence::watched("limit", Unit::Count, self.limit, self.source.clone()),
            Evidence::number("bound", Unit::Percent, &bound),
        ];
        all.extend(self.full_in.map(|minutes| {
            Evidence::watched("fullWithin", Unit::Seconds, minutes * 60, self.source.clone())
        }));
        all
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            format!(
                "raise net.netfilter.nf_conntrack_max on this node first, to {} for example, and watch it",
                self.limit.saturating_mul(2)
            )
            .into(),
            "find which Pods open most connections (conntrack -L | awk '{print $5}' | sort | uniq -c on the node), and let \
             their clients reuse them"
                .into(),
            "do not flush the table and do not drain the node: its connections would open anew elsewhere".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |percent, declared, full_in| TablePressure {
        percent,
        declared,
        limit: 262_144,
        full_in,
        source: "Prometheus, conntrackEntries".into(),
    };
    vec![
        Verdict::violated(of(90, None, None)),
        Verdict::at_risk(of(75, None, None)),
        Verdict::at_risk(of(60, Some(50), None)),
        Verdict::at_risk(of(45, None, Some(20))),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::handle::Input;
    use crate::policy::{ClusterPolicy, ConntrackPolicy};
    use crate::sample::{Observer, PageScope, SampleSubject, Why};
    use crate::world::{World, node};

    const ID: &str = "ct-table-pressure";
    const LIMIT: f64 = 1000.0;

    fn start() -> World {
        let mut world = World::watched(&[(Source::Nodes, node("n1", "z"))]);
        world.input(Input::Observers(&[Observer::Prometheus]));
        world
    }

    fn sample(world: &mut World, entries: f64) {
        let on = SampleSubject::Node("n1");
        let values = [
            (Metric::ConntrackEntries, on, entries),
            (Metric::ConntrackLimit, on, LIMIT),
        ];
        world.measure(Observer::Prometheus, PageScope::Nodes, &values);
    }

    #[rstest]
    #[case::usual(500.0, None, "Met")]
    #[case::below(749.0, None, "Met")]
    #[case::at_the_bound(750.0, None, "AtRisk warning Full")]
    #[case::nearly_full(900.0, None, "Violated critical Full")]
    #[case::more_than_full(1100.0, None, "Violated critical Full")]
    #[case::declared_lower(600.0, Some(50), "AtRisk warning Full")]
    #[case::declared_higher(930.0, Some(95), "Met")]
    #[case::above_the_higher(950.0, Some(95), "Violated critical Full")]
    fn occupancy(#[case] entries: f64, #[case] bound: Option<u32>, #[case] expected: &str) {
        let mut world = start().platform(ClusterPolicy {
            conntrack: ConntrackPolicy {
                max_occupancy_percent: bound,
                ..ConntrackPolicy::default()
            },
            ..ClusterPolicy::default()
        });
        sample(&mut world, entries);
        assert_eq!(world.verdict(ID), expected);
    }

    #[rstest]
    #[case::flat(400.0, 0.0, "Met")]
    #[case::full_in_twenty_minutes(400.0, 10.0, "AtRisk warning Filling")]
    #[case::full_in_two_hours(400.0, 2.0, "Met")]
    #[case::a_node_that_has_just_started(10.0, 15.0, "Met")]
    #[case::emptying(700.0, -10.0, "Met")]
    fn forecasts(#[case] from: f64, #[case] growth: f64, #[case] expected: &str) {
        let mut world = start();
        for step in 0..8 {
            // Now and then a sample is off by a little.
            sample(&mut world, from + growth * f64::from(step) + f64::from(step % 2));
            world.wait(30);
        }
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn a_table_that_fills_is_said_before_it_is_three_quarters_full() {
        let mut world = start();
        let mut entries = 300.0;
        sample(&mut world, entries);
        world.wait(30);
        while world.says(ID).is_empty() {
            assert!(entries < 750.0, "nothing was said");
            sample(&mut world, entries);
            entries += 15.0;
            world.wait(30);
        }
        assert_eq!(world.says(ID), "AtRisk warning Filling");
        assert!(entries < 450.0, "{entries}");
    }

    #[test]
    fn without_samples_it_is_unknown_once_and_not_for_each_node() {
        let mut world = start().with(Source::Nodes, node("n2", "z"));
        assert_eq!(world.says(ID), "Unknown unknown");
        let metrics = CHECK.samples;
        world.no_answer(Observer::Prometheus, PageScope::Nodes, metrics, Why::Refused);
        assert_eq!(
            world.message(ID),
            "cannot be judged: not measured: conntrackEntries: Prometheus refuses to answer: HTTP 503"
        );
        sample(&mut world, 10.0);
        assert_eq!(world.says(ID), "Unknown unknown");
        assert_eq!(
            world.message(ID),
            "cannot be judged: not measured: conntrackLimit: Prometheus has no such series",
            "of the node that is not among the samples"
        );
    }

    #[test]
    fn without_an_observer_it_does_not_judge() {
        let mut world = World::watched(&[(Source::Nodes, node("n1", "z"))]);
        assert_eq!(world.verdict(ID), "nothing");
        assert!(
            world
                .core
                .take_wants()
                .is_none_or(|wants| wants.samples.is_empty())
        );
        world.input(Input::Observers(&[Observer::Prometheus]));
        let wants = world.core.take_wants().unwrap();
        let nodes = wants.samples.get(&PageScope::Nodes).unwrap();
        assert!(nodes.metrics.has(Metric::ConntrackEntries) && nodes.metrics.has(Metric::ConntrackLimit));
        world.input(Input::Observers(&[]));
        assert!(world.core.take_wants().unwrap().samples.is_empty());
    }
}
