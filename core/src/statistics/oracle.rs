//! Our statistics against a library's distributions.

use proptest::prelude::*;
use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, Discrete};

use super::detector::rarely_exceeded;
use super::{FACTORS, ShareEvidence, THRESHOLD, TickShare, TickWeight, dispersion, tick};
use crate::world::Chance;

const TOLERANCE: f64 = 0.25;

/// The evidence against the first of `backends` after one tick in which it got `count` of `total`.
fn after(backends: usize, count: u64, total: u64, at_most: TickWeight) -> ShareEvidence {
    let mut evidence = vec![ShareEvidence::default(); backends];
    let others = (total - count) as f64 / (backends - 1) as f64;
    let mut ticks: Vec<TickShare<'_>> = evidence
        .iter_mut()
        .enumerate()
        .map(|(at, evidence)| TickShare {
            evidence,
            count: if at == 0 { count as f64 } else { others },
            share: 1.0,
        })
        .collect();
    tick(TOLERANCE, &mut ticks, at_most);
    evidence.swap_remove(0)
}

proptest! {
    /// The likelihood ratio is that of two binomial distributions: of the share under a factor, and of the nearest healthy one.
    #[test]
    fn evidence_is_a_ratio_of_likelihoods(backends in 2..20_usize, total in 1..200_u64, part in 0.0..1.0_f64) {
        let count = (part * total as f64) as u64;
        let fair = 1.0 / backends as f64;
        let ratios = FACTORS.iter().filter_map(|factor| {
            let null = fair * if *factor > 1.0 { 1.0 + TOLERANCE } else { 1.0 - TOLERANCE };
            let other = fair * factor.max(0.01);
            let apart = (*factor > 1.0) == (other > null);
            let binomial = |share| Binomial::new(share, total).unwrap().ln_pmf(count);
            (apart && null < 1.0 && other < 1.0).then(|| (binomial(other) - binomial(null)).exp())
        });
        let weight = 1.0 / (backends * FACTORS.len()) as f64;
        let expected = (ratios.sum::<f64>() * weight).ln();
        let found = after(backends, count, total, TickWeight::All).log();
        // What is far below and above changes nothing, and is cut off.
        let cut = |log: f64| log.clamp(-50.0, THRESHOLD.ln());
        prop_assert!((cut(found) - cut(expected)).abs() < 1e-3, "{found} is not {expected}");
    }

    /// Whatever share is healthy, evidence does not grow on the average: its expectation stays below what it began with. This is
    /// what the rate of false alarms rests on, and it holds with what is cut off as well.
    #[test]
    fn evidence_does_not_grow_where_shares_are_healthy(
        backends in 2..12_usize, total in 1..80_u64, within in -1.0..1.0_f64, half in any::<bool>(),
    ) {
        let share = (1.0 + TOLERANCE * within) / backends as f64;
        let at_most = if half { TickWeight::Half } else { TickWeight::All };
        let true_counts = Binomial::new(share, total).unwrap();
        let mean: f64 = (0..=total)
            .map(|count| true_counts.pmf(count) * after(backends, count, total, at_most).log().exp())
            .sum();
        let began = FACTORS.len() as f64 / (backends * FACTORS.len()) as f64;
        prop_assert!(mean <= began * (1.0 + 1e-4), "{mean} is more than {began}");
    }

    #[test]
    fn the_quantile_is_that_of_the_distribution(freedom in 1..2000_u32) {
        let exact = ChiSquared::new(f64::from(freedom)).unwrap().inverse_cdf(0.95);
        prop_assert!((rarely_exceeded(f64::from(freedom)) / exact - 1.0).abs() < 0.03, "{exact}");
    }

    /// Counts that are placed independently are as dispersed as the chi-squared distribution has it.
    #[test]
    fn independent_counts_are_not_dispersed(seed in any::<u64>(), backends in 2..10_usize, ticks in 8..24_usize) {
        let mut chance = Chance(seed);
        let counts: Vec<Vec<f64>> = (0..ticks).map(|_| chance.place(60, &vec![1.0; backends])).collect();
        let freedom = ((ticks - 1) * (backends - 1)) as f64;
        let most = ChiSquared::new(freedom).unwrap().inverse_cdf(1.0 - 1e-7) / freedom;
        let found = dispersion(&counts).unwrap();
        prop_assert!((1.0..=most.max(1.0)).contains(&found), "{found} of at most {most}");
    }
}
