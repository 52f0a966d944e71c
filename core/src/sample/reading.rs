//! What a check sees of a series: its present value, and how it came to be.

use std::sync::Arc;

use super::Observer;
use super::metric::{Metric, MetricKind};
use super::series::{Point, Tenths};

/// A fresh series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading<'a> {
    /// What was measured.
    pub metric: Metric,
    /// By whom.
    pub observer: Observer,
    /// Of a gauge the present value; of a counter its last growth in a second.
    pub value: f64,
    /// What was before, the oldest first and the present last. Values of revisions are above `base`.
    pub points: &'a [Point],
    /// What the values of its points are above; zero but for revisions.
    pub(super) base: f64,
    /// The last sample as it was taken: of a counter the count itself.
    pub last: f64,
}

impl Reading<'_> {
    /// How many seconds its points span: of a counter, those of which the growth is known after its first point.
    pub fn span(&self) -> f64 {
        match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => last.since(*first),
            _ => 0.0,
        }
    }

    /// The mean over about the last so many seconds, weighted by time; the present value where nothing before it is known.
    pub fn mean(&self, seconds: f64) -> f64 {
        let (mut sum, mut time) = (0.0, 0.0);
        for two in self.points.windows(2).rev() {
            let [before, after] = two else { continue };
            if time >= seconds {
                break;
            }
            let passed = after.since(*before);
            let value = match self.metric.kind() {
                MetricKind::Counter => f64::from(after.value),
                MetricKind::Gauge => f64::midpoint(f64::from(before.value), f64::from(after.value)),
            };
            sum += value * passed;
            time += passed;
        }
        if time > 0.0 { sum / time } else { self.value }
    }

    /// Its points with their values as they were taken: revisions are exact.
    pub fn levels(&self) -> impl DoubleEndedIterator<Item = (Point, f64)> + use<'_> {
        let base = self.base;
        self.points
            .iter()
            .map(move |point| (*point, base + f64::from(point.value)))
    }

    /// When the last sample was taken.
    pub fn last(&self) -> Option<Tenths> {
        self.points.last().map(|point| point.at())
    }

    /// How many seconds passed between the last two samples.
    pub fn interval(&self) -> Option<f64> {
        let two = self.points.last_chunk::<2>()?;
        Some(two[1].since(two[0]))
    }

    /// By how much a counter grew between two moments, as if it had grown evenly between any two samples: so counters that
    /// were scraped at different times are compared over the same time. `None` where samples do not cover it.
    pub fn growth(&self, from: Tenths, to: Tenths) -> Option<f64> {
        let (first, last) = (self.points.first()?.at(), self.points.last()?.at());
        if from.since(first) < 0 || last.since(to) < 0 {
            return None;
        }
        let grown = self.points.windows(2).map(|two| {
            let [before, after] = two else { return 0.0 };
            let begin = before.at().max(from);
            let end = after.at().min(to);
            f64::from(end.since(begin).max(0)) / 10.0 * f64::from(after.value)
        });
        Some(grown.sum())
    }

    /// Its points as (seconds since the first, value).
    pub fn timed(&self) -> Vec<(f64, f64)> {
        let first = self.points.first().copied();
        let timed = |point: &Point| Some((point.since(first?), f64::from(point.value)));
        self.points.iter().filter_map(timed).collect()
    }

    /// For how many seconds up to now every point has been above this.
    pub fn above_for(&self, value: f64) -> f64 {
        let above = self.points.iter().rev();
        let above = above.take_while(|point| f64::from(point.value) > value);
        match (above.last(), self.points.last()) {
            (Some(first), Some(last)) => last.since(*first),
            _ => 0.0,
        }
    }

    /// Who measured what, for evidence.
    pub fn source(&self) -> Arc<str> {
        format!("{}, {}", self.observer, self.metric.name()).into()
    }
}

/// A value from zero up, cut to a whole number: what is shown, and what is compared. More than fits is the most that does.
#[expect(clippy::cast_sign_loss, reason = "below zero it is zero: such casts saturate")]
pub const fn whole(value: f64) -> u32 {
    value as u32
}

/// The same of bytes and entries, which may be more.
#[expect(clippy::cast_sign_loss, reason = "below zero it is zero: such casts saturate")]
pub const fn whole_large(value: f64) -> u64 {
    value as u64
}
