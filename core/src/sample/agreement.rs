//! Two observers of one subject: whether they mean the same.

use super::Observer;
use super::metric::{Metric, MetricKind};
use super::series::Series;
use crate::know::Gap;

/// Two observers of a counter are compared once both have so many points: their scrapes are at different times.
const COMPARED: usize = 4;

/// What two observers say where they differ by more than is usual.
pub(super) fn differ(metric: Metric, one: (Observer, &Series), other: (Observer, &Series)) -> Option<Gap> {
    let value = |series: &Series| match metric.kind() {
        MetricKind::Gauge => series.value(metric),
        MetricKind::Counter => {
            let points = series.points();
            let sum: f64 = points.iter().map(|point| f64::from(point.value)).sum();
            (points.len() >= COMPARED).then(|| sum / f64::from(points.len() as u32))
        }
    };
    let (first, second) = (value(one.1)?, value(other.1)?);
    (!metric.agree(first, second)).then(|| {
        Gap::Unmeasured(
            format!(
                "{}: {} says {} and {} says {}, which differ by more than {} %",
                metric.name(),
                one.0,
                two_digits(first),
                other.0,
                two_digits(second),
                metric.tolerance_percent()
            )
            .into(),
        )
    })
}

/// A number by its first two digits: what moves with each sample would be another reason each time.
fn two_digits(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let step = 10_f64.powf(number.abs().log10().floor() - 1.0);
    let (mut places, mut whole) = (0, step);
    while whole < 1.0 && places < 12 {
        whole *= 10.0;
        places += 1;
    }
    format!("{:.places$}", (number / step).round() * step)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::two_digits;

    #[rstest]
    #[case(0.0, "0")]
    #[case(1300.0, "1300")]
    #[case(1_349.9, "1300")]
    #[case(99_999.0, "100000")]
    #[case(12.7, "13")]
    #[case(1.26, "1.3")]
    #[case(0.012_34, "0.012")]
    fn numbers_are_shown_by_two_digits(#[case] number: f64, #[case] expected: &str) {
        assert_eq!(two_digits(number), expected);
    }
}
