//! One series: what one observer says of one metric of one subject.

use super::metric::{Metric, MetricKind};
use crate::know::Mono;

/// A sample may be so much later than the time of asking, in milliseconds: clocks of two machines that keep time by NTP
/// differ by less. What is later is from a clock that is wrong.
const FUTURE: i64 = 5_000;
/// A sample counts for at least so long after it was taken, in milliseconds.
const FRESH: u64 = 60_000;
/// And for at most so long. Prometheus itself goes on answering with a series for five minutes after it has ended
/// (`--query.lookback-delta`).
const FRESH_MOST: u64 = 150_000;

/// A moment of an observer's clock, in tenths of a second; only differences mean something, and they wrap after 13 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenths(u32);

impl Tenths {
    /// Of a time in milliseconds since the Unix epoch.
    pub const fn of(milliseconds: i64) -> Self {
        Self(milliseconds.div_euclid(100).cast_unsigned() as u32)
    }

    /// How much later it is than another, in tenths of a second; negative where it is earlier.
    pub const fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The later of two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.since(other) > 0 { self } else { other }
    }

    /// The earlier of two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.since(other) < 0 { self } else { other }
    }
}

/// One point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When the sample was taken.
    at: Tenths,
    /// Of a gauge the value, of a revision what it is above the series' base; of a counter its growth in a second since the
    /// point before.
    pub value: f32,
}

impl Point {
    /// When the sample was taken.
    pub const fn at(self) -> Tenths {
        self.at
    }

    /// Seconds since another point of the same observer; below zero where that is a later one.
    pub fn since(self, other: Self) -> f64 {
        f64::from(self.at.since(other.at)) / 10.0
    }
}

/// Samples that were not taken, by reason. Nothing is lost silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DroppedSamples {
    /// Later than the time of asking.
    pub future: u32,
    /// Older than one that was taken before.
    pub late: u32,
    /// Too old when they came.
    pub stale: u32,
    /// No finite number, or less than zero.
    pub not_a_number: u32,
    /// Of a subject that already had a value of this metric in the same page: none of them counts.
    pub duplicate: u32,
    /// Of a metric or subject that was not asked about.
    pub not_asked: u32,
    /// Of a subject that the API does not show.
    pub no_subject: u32,
    /// Beyond what is kept.
    pub beyond: u32,
    /// Too small or too large to be in the metric's unit.
    pub wrong_unit: u32,
    /// Counters that began anew: their growth over that interval is not known.
    pub resets: u32,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folded {
    /// It is a new point.
    New,
    /// It is the one that is held: nothing was scraped in between.
    Repeated,
    /// It is older than what is held.
    Late,
    /// It is later than the time of asking.
    Future,
    /// It is too old to count.
    Stale,
    /// It is new, and the counter began anew: nothing is known of its growth.
    Reset,
    /// It cannot be in the metric's unit.
    WrongUnit,
}

/// What is kept of a series: about 60 bytes, and 8 for each point.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// The last sample's value.
    last: f64,
    /// When it was taken, in milliseconds since the Unix epoch.
    at: i64,
    /// Milliseconds between the last two samples; 0 before there are two.
    interval: u32,
    /// Seconds between two askings.
    every: u16,
    /// Whether its observer has failed to bring the next sample.
    doubted: bool,
    /// Whether what came last cannot be in the metric's unit.
    in_another_unit: bool,
    /// Until when it counts.
    until: Mono,
    /// What the values of its points are above: zero but for revisions, which 32 bits cannot tell apart.
    base: f64,
    points: Vec<Point>,
}

/// Above this `f32` does not hold every whole number (24 bits of significand, IEEE 754).
const EXACT: f64 = 16_777_216.0;

/// For how long after it was taken a sample counts: two intervals and a half, so that one scrape that fails makes no gap.
fn lifetime(interval: u64) -> u64 {
    (interval.saturating_mul(5) / 2).clamp(FRESH, FRESH_MOST)
}

/// The same where it is not one scrape that has failed but the observer: two intervals.
fn doubted_lifetime(interval: u64) -> u64 {
    interval.saturating_mul(2).clamp(FRESH, FRESH_MOST)
}

impl Series {
    /// A series of one sample, asked for at this time, when so many milliseconds pass between two askings; or why it does
    /// not count.
    pub(super) fn begin(
        metric: Metric,
        (value, at): (f64, i64),
        asked: i64,
        now: Mono,
        every: u64,
    ) -> Result<Self, Folded> {
        let until = until(at, asked, now, every)?;
        let mut series = Self {
            last: value,
            at,
            interval: 0,
            every: (every / 1000) as u16,
            doubted: false,
            in_another_unit: false,
            until,
            base: 0.0,
            points: Vec::new(),
        };
        if metric.kind() == MetricKind::Gauge {
            series.push(metric, value);
        }
        Ok(series)
    }

    /// Takes the next sample.
    pub(super) fn fold(
        &mut self,
        metric: Metric,
        (value, at): (f64, i64),
        asked: i64,
        now: Mono,
        every: u64,
    ) -> Folded {
        if at < self.at {
            return Folded::Late;
        }
        if at == self.at {
            return Folded::Repeated;
        }
        let passed = at.abs_diff(self.at);
        let interval = passed.min(FRESH_MOST);
        let until = match until(at, asked, now, interval.max(every)) {
            Ok(until) => until,
            Err(why) => return why,
        };
        let before = std::mem::replace(&mut self.last, value);
        self.at = at;
        self.until = until;
        self.interval = interval as u32;
        self.every = (every / 1000) as u16;
        self.doubted = false;
        self.in_another_unit = false;
        if passed > FRESH_MOST {
            // What happened in between is not known.
            self.points.clear();
        }
        match metric.kind() {
            MetricKind::Gauge => self.push(metric, value),
            MetricKind::Counter if value < before => {
                self.points.clear();
                return Folded::Reset;
            }
            MetricKind::Counter if passed > FRESH_MOST => {}
            MetricKind::Counter => {
                let growth = (value - before) * 1000.0 / f64::from(self.interval);
                self.in_another_unit = growth > metric.bounds().1;
                if self.in_another_unit {
                    self.points.clear();
                    return Folded::WrongUnit;
                }
                self.push(metric, growth);
            }
        }
        Folded::New
    }

    fn push(&mut self, metric: Metric, value: f64) {
        let most = metric.points();
        if self.points.len() >= most {
            self.points.remove(0);
        } else if self.points.len() == self.points.capacity() {
            self.points.reserve_exact((most - self.points.len()).min(4));
        }
        self.rebase(metric, value);
        self.points.push(Point {
            at: Tenths::of(self.at),
            value: (value - self.base) as f32,
        });
    }

    /// Keeps the newest values of a revision exact.
    fn rebase(&mut self, metric: Metric, value: f64) {
        if !metric.is_revision() || (!self.points.is_empty() && (value - self.base).abs() < EXACT / 2.0) {
            return;
        }
        let moved = value - self.base;
        for point in &mut self.points {
            point.value = (f64::from(point.value) - moved) as f32;
        }
        self.base = value;
    }

    /// What the values of its points are above.
    pub(super) const fn base(&self) -> f64 {
        self.base
    }

    /// The last sample as it was taken.
    pub(super) const fn last(&self) -> f64 {
        self.last
    }

    /// Whether it counts at this time.
    pub(super) fn is_fresh(&self, now: Mono) -> bool {
        now < self.until
    }

    /// Whether what came last cannot be in the metric's unit, so that the next sample will not be either.
    pub(super) const fn is_in_another_unit(&self) -> bool {
        self.in_another_unit
    }

    /// Milliseconds between two samples, or between two askings where that is longer.
    fn pace(&self) -> u64 {
        u64::from(self.interval).max(u64::from(self.every) * 1000)
    }

    /// Whether the next sample should have come by the time of asking. How often they come is known from two of them.
    pub(super) fn is_overdue(&self, asked: i64) -> bool {
        let age = asked.saturating_sub(self.at).max(0).unsigned_abs();
        self.interval > 0 && age > self.pace() + self.pace() / 8
    }

    /// The observer has failed, and not one scrape: until it brings the next sample this one counts for two intervals. Says
    /// whether that is a change.
    pub(super) fn doubt(&mut self) -> bool {
        let doubted = std::mem::replace(&mut self.doubted, true);
        if !doubted {
            let less = lifetime(self.pace()) - doubted_lifetime(self.pace());
            self.until = Mono(self.until.0.saturating_sub(less));
        }
        !doubted
    }

    /// When the last sample was taken.
    pub(super) fn taken(&self) -> Mono {
        let lifetime = if self.doubted { doubted_lifetime } else { lifetime };
        Mono(self.until.0.saturating_sub(lifetime(self.pace())))
    }

    /// Until when it counts.
    pub(super) const fn until(&self) -> Mono {
        self.until
    }

    /// Its points, the oldest first. A counter has none before its second sample.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The present value of a gauge, the last growth of a counter.
    pub(super) fn value(&self, metric: Metric) -> Option<f64> {
        match metric.kind() {
            MetricKind::Gauge => Some(self.last),
            MetricKind::Counter => self.points.last().map(|point| f64::from(point.value)),
        }
    }

    /// Bytes on the heap beside the series itself.
    pub(super) const fn heap(&self) -> usize {
        self.points.capacity() * size_of::<Point>()
    }
}

/// Until when a sample counts, or why it does not.
fn until(at: i64, asked: i64, now: Mono, interval: u64) -> Result<Mono, Folded> {
    let age = asked.saturating_sub(at);
    if age < -FUTURE {
        return Err(Folded::Future);
    }
    let lifetime = lifetime(interval);
    let left = lifetime.saturating_sub(age.max(0).unsigned_abs());
    if left == 0 {
        return Err(Folded::Stale);
    }
    Ok(now.plus(left))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const GAUGE: Metric = Metric::ConntrackEntries;
    const COUNTER: Metric = Metric::Requests;
    const START: i64 = 1_800_000_000_000;

    fn series(metric: Metric, values: &[f64]) -> (Series, Vec<Folded>) {
        let at = |step: usize| START + 30_000 * i64::try_from(step).unwrap();
        let mut series = Series::begin(metric, (values[0], at(0)), at(0), Mono(0), 30_000).unwrap();
        let folded = values.iter().enumerate().skip(1);
        let folded = folded
            .map(|(step, value)| {
                let now = Mono(30_000 * step as u64);
                series.fold(metric, (*value, at(step)), at(step), now, 30_000)
            })
            .collect();
        (series, folded)
    }

    fn values(series: &Series) -> Vec<f32> {
        series.points().iter().map(|point| point.value).collect()
    }

    #[test]
    fn a_gauge_keeps_its_values_and_a_counter_its_growth() {
        let (gauge, _) = series(GAUGE, &[10.0, 20.0, 5.0]);
        assert_eq!(values(&gauge), [10.0, 20.0, 5.0]);
        assert_eq!(gauge.value(GAUGE), Some(5.0));
        let (counter, _) = series(COUNTER, &[1000.0, 1300.0, 1300.0]);
        assert_eq!(values(&counter), [10.0, 0.0]);
        assert_eq!(counter.value(COUNTER), Some(0.0));
        assert_eq!(
            series(COUNTER, &[7.0]).0.value(COUNTER),
            None,
            "one sample is no growth"
        );
    }

    #[test]
    fn no_task_waits_for_more_than_a_second_in_a_second() {
        let at = |step: i64| START + 30_000 * step;
        let metric = Metric::CpuPressure;
        let mut pressure = Series::begin(metric, (0.0, at(0)), at(0), Mono(0), 30_000).unwrap();
        let mut fold = |step: i64, value| {
            let now = Mono(at(step).abs_diff(START));
            pressure.fold(metric, (value, at(step)), at(step), now, 30_000)
        };
        assert_eq!(fold(1, 30.0), Folded::New);
        assert_eq!(fold(2, 30_030.0), Folded::WrongUnit, "milliseconds");
        assert_eq!(values(&pressure), [] as [f32; 0]);
    }

    #[test]
    fn the_growth_of_a_counter_that_restarted_is_unknown() {
        let (counter, folded) = series(COUNTER, &[1000.0, 1300.0, 60.0, 90.0]);
        assert_eq!(folded, [Folded::New, Folded::Reset, Folded::New]);
        assert_eq!(values(&counter), [1.0]);
    }

    #[rstest]
    #[case::twice(30, 30, Folded::Repeated)]
    #[case::late(29, 30, Folded::Late)]
    #[case::next(60, 60, Folded::New)]
    #[case::clocks_differ(65, 60, Folded::New)]
    #[case::from_the_future(66, 60, Folded::Future)]
    #[case::held_back(60, 134, Folded::New)]
    #[case::frozen(60, 135, Folded::Stale)]
    fn times(#[case] at: i64, #[case] asked: i64, #[case] expected: Folded) {
        let (mut gauge, _) = series(GAUGE, &[1.0, 2.0]);
        let ms = |seconds: i64| START + seconds * 1000;
        let now = Mono(asked.unsigned_abs() * 1000);
        let folded = gauge.fold(GAUGE, (3.0, ms(at)), ms(asked), now, 30_000);
        assert_eq!(folded, expected);
        assert_eq!(gauge.value(GAUGE) == Some(3.0), expected == Folded::New);
    }

    #[test]
    fn a_sample_counts_for_two_intervals_and_a_half_after_it_was_taken() {
        let (mut gauge, _) = series(GAUGE, &[1.0, 2.0]);
        assert_eq!(gauge.until(), Mono(30_000 + 75_000));
        // Taken 20 s before it was asked for.
        let at = START + 60_000;
        gauge.fold(GAUGE, (3.0, at), at + 20_000, Mono(80_000), 30_000);
        assert_eq!(gauge.until(), Mono(80_000 + 75_000 - 20_000));
        assert!(gauge.is_fresh(Mono(134_999)) && !gauge.is_fresh(Mono(135_000)));
    }

    #[test]
    fn revisions_of_large_clusters_stay_apart() {
        let revisions = [
            4_000_000_001.0,
            4_000_000_002.0,
            4_000_000_002.0,
            4_030_000_000.0,
            4_030_000_001.0,
        ];
        let (series, _) = series(Metric::WatchCacheRevision, &revisions);
        let held = series
            .points()
            .iter()
            .map(|point| series.base() + f64::from(point.value));
        let held: Vec<f64> = held.collect();
        assert_eq!(held[3..], revisions[3..], "the newest are exact");
        assert!((held[0] - revisions[0]).abs() <= 2.0, "{held:?}");
    }

    #[test]
    fn a_sample_that_is_doubted_counts_for_two_intervals_until_the_next() {
        let (mut gauge, _) = series(GAUGE, &[1.0, 2.0]);
        let before = gauge.until();
        for change in [true, false] {
            assert_eq!(gauge.doubt(), change);
            assert_eq!(gauge.until(), Mono(before.0 - 15_000));
            assert_eq!(gauge.taken(), Mono(30_000));
        }
        let at = START + 60_000;
        gauge.fold(GAUGE, (3.0, at), at, Mono(60_000), 30_000);
        assert_eq!(gauge.until(), Mono(60_000 + 75_000));
    }

    #[rstest]
    #[case::one_sample(&[1.0], 300, false)]
    #[case::just_come(&[1.0, 2.0], 33, false)]
    #[case::should_be_there(&[1.0, 2.0], 34, true)]
    fn the_next_sample_is_overdue_an_eighth_after_its_interval(
        #[case] values: &[f64],
        #[case] seconds: i64,
        #[case] expected: bool,
    ) {
        let (gauge, _) = series(GAUGE, values);
        let last = START + 30_000 * i64::try_from(values.len() - 1).unwrap();
        assert_eq!(gauge.is_overdue(last + seconds * 1000), expected);
    }

    #[test]
    fn after_a_long_silence_nothing_of_before_counts() {
        let (mut counter, _) = series(COUNTER, &[1.0, 2.0, 3.0]);
        let at = START + 60_000 + 200_000;
        assert_eq!(
            counter.fold(COUNTER, (900.0, at), at, Mono(260_000), 30_000),
            Folded::New
        );
        assert_eq!(values(&counter), [] as [f32; 0]);
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_its_growth_is_never_negative(
            values in prop::collection::vec((0.0..1e15_f64, 0..400_000_i64), 1..100),
        ) {
            let mut at = START;
            let mut series = Series::begin(COUNTER, (0.0, at), at, Mono(0), 30_000).unwrap();
            for (value, passed) in values {
                at += passed;
                let now = Mono((at - START).unsigned_abs());
                series.fold(COUNTER, (value, at), at, now, 30_000);
                prop_assert!(series.points().len() <= COUNTER.points());
                prop_assert!(series.points().iter().all(|point| point.value >= 0.0 && point.value.is_finite()));
                prop_assert!(series.until() >= now.plus(60_000) && series.until() <= now.plus(150_000));
            }
        }
    }
}
