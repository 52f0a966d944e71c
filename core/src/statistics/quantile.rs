//! A quantile of a histogram: an interval, as its buckets say no more.

/// Between which bounds a quantile lies. Stacks drop buckets, and then it is a wide interval and no lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileBounds {
    /// It is greater than this.
    pub above: f64,
    /// It is at most this; infinite where only the last bucket holds it.
    pub at_most: f64,
}

/// Where a quantile (0 to 1) lies by cumulative buckets (upper bound, count so far) in ascending order. `None` without
/// any observation, or where bounds or counts do not ascend: then they are not of one histogram.
pub fn quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<QuantileBounds> {
    let total = buckets.last()?.1;
    let ascend = buckets.windows(2).all(|two| match two {
        [one, other] => one.0 < other.0 && one.1 <= other.1,
        _ => true,
    });
    let is_number = buckets
        .iter()
        .all(|one| !one.0.is_nan() && one.1 >= 0.0 && one.1.is_finite());
    if !ascend || !is_number || total <= 0.0 || !(0.0..=1.0).contains(&quantile) {
        return None;
    }
    let rank = quantile * total;
    let at = buckets.iter().position(|one| one.1 >= rank && one.1 > 0.0)?;
    let above = at.checked_sub(1).and_then(|before| buckets.get(before));
    Some(QuantileBounds {
        above: above.map_or(0.0, |one| one.0),
        at_most: buckets.get(at)?.0,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const USUAL: &[(f64, f64)] = &[(0.1, 50.0), (1.0, 90.0), (10.0, 99.0), (f64::INFINITY, 100.0)];

    #[rstest]
    #[case::median(USUAL, 0.5, Some((0.0, 0.1)))]
    #[case::above_the_first(USUAL, 0.51, Some((0.1, 1.0)))]
    #[case::on_a_bound(USUAL, 0.99, Some((1.0, 10.0)))]
    #[case::in_the_last(USUAL, 0.999, Some((10.0, f64::INFINITY)))]
    #[case::dropped_buckets(&[(0.1, 50.0), (f64::INFINITY, 100.0)], 0.99, Some((0.1, f64::INFINITY)))]
    #[case::nothing_observed(&[(0.1, 0.0), (f64::INFINITY, 0.0)], 0.5, None)]
    #[case::no_buckets(&[], 0.5, None)]
    #[case::two_histograms_mixed(&[(0.1, 5.0), (1.0, 4.0)], 0.5, None)]
    #[case::no_number(&[(f64::NAN, 5.0)], 0.5, None)]
    fn quantiles(#[case] buckets: &[(f64, f64)], #[case] at: f64, #[case] expected: Option<(f64, f64)>) {
        assert_eq!(
            quantile(buckets, at).map(|one| (one.above, one.at_most)),
            expected
        );
    }

    proptest! {
        #[test]
        fn what_was_observed_lies_within(mut values in prop::collection::vec(0.001..100.0_f64, 1..200), at in 0.0..1.0_f64) {
            let bounds = [0.01, 0.1, 1.0, 10.0, f64::INFINITY];
            let buckets: Vec<_> = bounds
                .iter()
                .map(|bound| (*bound, values.iter().filter(|value| *value <= bound).count() as f64))
                .collect();
            values.sort_by(f64::total_cmp);
            let rank = ((at * values.len() as f64).ceil() as usize).max(1) - 1;
            let found = quantile(&buckets, at).unwrap();
            prop_assert!(found.above < values[rank] && values[rank] <= found.at_most, "{found:?} {}", values[rank]);
        }
    }
}
