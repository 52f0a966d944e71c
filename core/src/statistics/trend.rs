//! How a level grows: a line through few points of which some may be far off.

/// A slope with its 95 % interval, in units of the value for one unit of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// The median of the slopes between any two points.
    pub slope: f64,
    /// Its lower bound.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
}

/// Fewest points that make a trend: with fewer no interval of 95 % exists (Sen 1968, table of Kendall's statistic).
const FEWEST: usize = 6;

/// The standard normal distribution's 97.5 % quantile.
const Z: f64 = 1.959_964;

/// The slope of points (time, value), by Theil and Sen: the median of all pairwise slopes, with the interval of Sen (1968,
/// "Estimates of the regression coefficient based on Kendall's tau", equation 2.6). Up to 29 % of the points may be
/// arbitrarily wrong. `None` with fewer than six points, or when all are of one time.
pub fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    if points.len() < FEWEST {
        return None;
    }
    let mut slopes: Vec<f64> = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (at, later) in points.iter().enumerate() {
        for earlier in points.iter().take(at) {
            let time = later.0 - earlier.0;
            if time != 0.0 {
                slopes.push((later.1 - earlier.1) / time);
            }
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let count = slopes.len();
    let n = points.len() as f64;
    // Half the width of the interval, in ranks.
    let ranks = Z * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    // Sen counts slopes from one, an index from zero: the lower bound is the slope of rank (count - ranks) / 2.
    let low = (((count as f64 - ranks) / 2.0).floor() - 1.0).max(0.0) as usize;
    let high = (f64::midpoint(count as f64, ranks).ceil() as usize).min(count.checked_sub(1)?);
    let middle = count / 2;
    let slope = if count % 2 == 1 {
        *slopes.get(middle)?
    } else {
        f64::midpoint(*slopes.get(middle - 1)?, *slopes.get(middle)?)
    };
    Some(Trend {
        slope,
        low: *slopes.get(low)?,
        high: *slopes.get(high)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(slope: f64, count: u32) -> Vec<(f64, f64)> {
        (0..count)
            .map(|at| (f64::from(at) * 30.0, 100.0 + slope * f64::from(at) * 30.0))
            .collect()
    }

    #[test]
    fn a_line_has_its_slope_and_one_wrong_point_changes_little() {
        let mut points = line(2.0, 12);
        let exact = trend(&points).unwrap();
        assert!(
            (exact.slope - 2.0).abs() < 1e-9 && (exact.low - exact.high).abs() < 1e-9,
            "{exact:?}"
        );
        points[5].1 = 1e6;
        let held = trend(&points).unwrap();
        assert!((held.slope - 2.0).abs() < 1e-9 && held.low > 1.9, "{held:?}");
    }

    #[test]
    fn the_interval_is_one_of_95_percent() {
        use statrs::distribution::{ContinuousCDF, Normal};
        let quantile = Normal::new(0.0, 1.0).unwrap().inverse_cdf(0.975);
        assert!((Z - quantile).abs() < 1e-6, "{quantile}");
    }

    #[test]
    fn few_points_or_one_time_have_no_trend() {
        assert_eq!(trend(&line(2.0, 5)), None);
        assert_eq!(trend(&[(1.0, 2.0); 8]), None);
    }

    proptest! {
        #[test]
        fn it_scales_with_its_values_and_its_interval_holds_it(
            values in prop::collection::vec(0.0..1e6_f64, 6..24), scale in 0.1..100.0_f64,
        ) {
            let points: Vec<_> = values.iter().enumerate().map(|(at, value)| (at as f64 * 30.0, *value)).collect();
            let scaled: Vec<_> = points.iter().map(|(at, value)| (*at, value * scale)).collect();
            let (one, other) = (trend(&points).unwrap(), trend(&scaled).unwrap());
            prop_assert!(one.low <= one.slope && one.slope <= one.high);
            prop_assert!((one.slope * scale - other.slope).abs() <= 1e-6 * other.slope.abs().max(1.0));
        }
    }
}
