//! Values of Nodes of which no check says anything, by what is declared: a change from one to another judges nothing again.
//!
//! Thousands of Nodes are measured every half minute, and nearly all of them are well before and after.

use super::metric::Metric;

/// Percent of a connection table below which no forecast is made, and nothing said: a node that has just started fills its
/// table, and stops.
pub const TABLE_FORECAST_PERCENT: u32 = 30;

/// A mean of values is at most the largest of them, but for rounding: this part of a bound is surely below it.
const BELOW: f64 = 0.99;

/// The levels up to which a Node is well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CalmLevels {
    /// Part of a connection table.
    table: f64,
    /// Seconds in a second in which tasks wait for a CPU, for memory and for storage.
    waits: [f64; 3],
}

impl Default for CalmLevels {
    fn default() -> Self {
        Self::of(None, None)
    }
}

impl CalmLevels {
    /// By the bounds that are declared, in percent: of the table, and of waits for a CPU, memory and storage. Waits of which
    /// nothing is declared are read by no check.
    pub(crate) fn of(table: Option<u32>, waits: Option<[u32; 3]>) -> Self {
        let part = |percent: u32| f64::from(percent) / 100.0 * BELOW;
        let table = table.map_or(TABLE_FORECAST_PERCENT, |bound| bound.min(TABLE_FORECAST_PERCENT));
        Self {
            table: part(table),
            waits: waits.map_or([f64::INFINITY; 3], |waits| waits.map(part)),
        }
    }

    /// Up to which value, or growth in a second, a series is calm; `limit` is that of the Node's table, where it is known.
    /// Where it says nothing the metric itself does.
    pub(super) fn level(&self, metric: Metric, limit: impl FnOnce() -> Option<f64>) -> Option<f64> {
        let [cpu, memory, io] = self.waits;
        match metric {
            Metric::ConntrackEntries => limit().map(|limit| limit * self.table),
            Metric::CpuPressure => Some(cpu),
            Metric::MemoryPressure => Some(memory),
            Metric::IoPressure => Some(io),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::know::Mono;
    use crate::names::Name;
    use crate::sample::{Metrics, Observer, Page, PageScope, Sample, SampleSubject, Samples};

    const SUBJECT: SampleSubject<&str> = SampleSubject::Node("n1");

    /// Whether a Node is judged again for each of these samples, which come every 30 s: its table has 1,000 places.
    fn judged(levels: CalmLevels, metric: Metric, values: &[f64]) -> Vec<bool> {
        let mut samples = Samples::default();
        samples.observe(&[Observer::Prometheus]);
        samples.set_levels(levels);
        let page = |(at, value): (usize, &f64)| {
            let at = 30_000 * at as u64;
            let asked = 1_700_000_000_000 + at.cast_signed();
            let sample = |(metric, value)| Sample {
                metric,
                subject: SUBJECT,
                value,
                at: asked,
            };
            let page = Page {
                observer: Observer::Prometheus,
                metrics: Metrics::of(&[metric, Metric::ConntrackLimit]),
                scope: PageScope::Nodes,
                asked,
                samples: &[(Metric::ConntrackLimit, 1_000.0), (metric, *value)].map(sample),
                gap: None,
            };
            let node = |_: SampleSubject<&str>| Some(SampleSubject::Node(Name::MAX));
            let touched = samples.fold(Mono(at), &page, Some(PageScope::Nodes), node);
            !touched.nodes.is_empty()
        };
        values.iter().enumerate().map(page).collect()
    }

    #[rstest]
    #[case::well(None, &[100.0, 150.0, 290.0, 90.0], &[true, false, false, false])]
    #[case::it_may_be_forecast(None, &[100.0, 150.0, 310.0, 90.0], &[true, false, true, true])]
    #[case::declared_lower(Some(10), &[90.0, 110.0, 90.0, 90.0], &[true, true, true, true])]
    #[case::declared_higher(Some(90), &[100.0, 310.0, 400.0, 90.0], &[true, true, true, true])]
    fn a_table_that_is_well_is_not_judged_again(
        #[case] bound: Option<u32>,
        #[case] entries: &[f64],
        #[case] expected: &[bool],
    ) {
        let levels = CalmLevels::of(bound, None);
        assert_eq!(judged(levels, Metric::ConntrackEntries, entries), expected);
    }

    #[rstest]
    // The first growth is known of the second sample.
    #[case::below(Metric::CpuPressure, 0.5, &[true, true, false, false])]
    #[case::above(Metric::CpuPressure, 0.7, &[true, true, true, true])]
    #[case::each_has_its_own(Metric::MemoryPressure, 0.5, &[true, true, true, true])]
    #[case::storage(Metric::IoPressure, 0.39, &[true, true, false, false])]
    fn waits_that_are_allowed_are_not_judged_again(
        #[case] metric: Metric,
        #[case] growth: f64,
        #[case] expected: &[bool],
    ) {
        let counts = [0.0, 1.0, 2.0, 3.0].map(|at| at * 30.0 * growth);
        let levels = CalmLevels::of(None, Some([60, 20, 40]));
        assert_eq!(judged(levels, metric, &counts), expected);
        // Nothing reads what nobody has declared anything of, once it is there.
        assert_eq!(
            judged(CalmLevels::default(), metric, &counts),
            [true, true, false, false]
        );
    }
}
