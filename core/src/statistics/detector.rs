//! Uneven shares, found as soon as the evidence allows and with a stated rate of false alarms.
//!
//! A mixture of Shiryaev-Roberts e-detectors (Shin, Ramdas and Rinaldo, "E-detectors"; anytime-valid multinomial tests of
//! Lindon and Malek): for each backend and each factor by which its share may have changed, the statistic
//! `M <- (M + weight) * likelihood ratio` is kept, and there is an alarm when their sum reaches [`THRESHOLD`]. Whatever rule
//! stops it, the mean number of ticks between false alarms is at least the threshold; there is no window to choose, and
//! the sum takes care of how many hypotheses there are.
//!
//! The null is not "even" but "within the declared tolerance": each ratio compares with the nearest share that is still
//! healthy. With large counts every harmless skew is significant, and without this half of all healthy Services would
//! alarm.

/// `A`: one false alarm in a cluster-year where 10,000 Services are judged every 10 s, `10_000 * 3.154e6`; its logarithm is 24.2.
pub const THRESHOLD: f64 = 3.15e10;

/// Factors by which a share may have changed. Zero stands for a backend that gets nothing.
pub const FACTORS: [f64; 8] = [0.0, 0.25, 0.5, 0.7, 1.5, 2.0, 3.0, 6.0];

/// A dead backend may get a stray connection: so little of its share is taken for nothing.
const NOTHING: f64 = 0.01;

/// Logarithms below this change no sum that matters.
const FLOOR: f64 = -60.0;

/// What is kept of one Service: eight numbers for each of its backends.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    /// By how much a share may deviate and still be healthy, as a part of it.
    tolerance: f64,
    /// The logarithm of each statistic, by backend and factor.
    logs: Vec<[f32; FACTORS.len()]>,
}

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// Whose share it is, by its place.
    pub backend: usize,
    /// The factor that fits best; 0 for nothing at all.
    pub factor: f64,
}

impl Detector {
    /// A detector for so many backends and a tolerance in percent.
    pub fn of(backends: usize, tolerance_percent: u32) -> Self {
        Self {
            tolerance: f64::from(tolerance_percent.min(95)) / 100.0,
            logs: vec![[FLOOR as f32; FACTORS.len()]; backends],
        }
    }

    /// How many backends it watches.
    pub fn backends(&self) -> usize {
        self.logs.len()
    }

    /// Takes what each backend got in one tick: counts of independent placements, or counts divided by their dispersion.
    /// `expected` are their shares under the configured law and need not sum to one. Counts of another number of backends are
    /// not taken: a change of backends takes a new detector.
    pub fn tick(&mut self, counts: &[f64], expected: &[f64]) {
        let total: f64 = counts.iter().sum();
        let shares: f64 = expected.iter().sum();
        let fits = counts.len() == self.logs.len() && expected.len() == counts.len();
        if !fits || total <= 0.0 || shares <= 0.0 || !total.is_finite() {
            return;
        }
        let weight = -((self.logs.len() * FACTORS.len()) as f64).ln();
        for (logs, (count, share)) in self.logs.iter_mut().zip(counts.iter().zip(expected)) {
            let fair = share / shares;
            for (log, factor) in logs.iter_mut().zip(FACTORS) {
                let Some((other, null)) = shifted(fair, factor, self.tolerance) else {
                    *log = FLOOR as f32;
                    continue;
                };
                // One backend against all others: a binomial likelihood ratio.
                let ratio =
                    count * (other / null).ln() + (total - count) * ((1.0 - other) / (1.0 - null)).ln();
                *log = (sum_of_logs(f64::from(*log), weight) + ratio).max(FLOOR) as f32;
            }
        }
    }

    /// The alarm, if the evidence has reached the threshold.
    pub fn alarm(&self) -> Option<Alarm> {
        let all = || self.logs.iter().flatten().map(|log| f64::from(*log));
        let most = all().fold(FLOOR, f64::max);
        let sum: f64 = all().map(|log| (log - most).exp()).sum();
        if most + sum.ln() < THRESHOLD.ln() {
            return None;
        }
        let places = self.logs.iter().enumerate();
        let each = places.flat_map(|(backend, logs)| logs.iter().zip(FACTORS).map(move |one| (backend, one)));
        let worst = each.max_by(|a, b| a.1.0.total_cmp(b.1.0))?;
        Some(Alarm {
            backend: worst.0,
            factor: worst.1.1,
        })
    }
}

/// The share under the alternative, and the nearest healthy one; `None` where they are too near to tell.
fn shifted(fair: f64, factor: f64, tolerance: f64) -> Option<(f64, f64)> {
    let null = fair
        * if factor > 1.0 {
            1.0 + tolerance
        } else {
            1.0 - tolerance
        };
    let other = fair * factor.max(NOTHING);
    let apart = if factor > 1.0 { other > null } else { other < null };
    (apart && null < 1.0 && other < 1.0 && null > 0.0).then_some((other, null))
}

/// The logarithm of the sum of two numbers of which the logarithms are given.
fn sum_of_logs(one: f64, other: f64) -> f64 {
    let (more, less) = if one > other { (one, other) } else { (other, one) };
    more + (less - more).exp().ln_1p()
}

/// The dispersion of counts over ticks: the variance of one backend's share of a tick over that of independent placements,
/// averaged; at least one. Requests on keep-alive connections come in clusters, and dividing their counts by it makes them count
/// for as much as independent ones do. `None` with fewer than eight ticks that hold anything.
pub fn dispersion(ticks: &[Vec<f64>]) -> Option<f64> {
    let used: Vec<&Vec<f64>> = ticks
        .iter()
        .filter(|tick| tick.iter().sum::<f64>() > 0.0)
        .collect();
    let backends = used.first()?.len();
    if used.len() < 8 || backends < 2 || used.iter().any(|tick| tick.len() != backends) {
        return None;
    }
    let mut sum = 0.0;
    let all: f64 = used.iter().flat_map(|tick| tick.iter()).sum();
    let share: Vec<f64> = (0..backends)
        .map(|at| used.iter().filter_map(|tick| tick.get(at)).sum::<f64>() / all)
        .collect();
    for tick in &used {
        let total: f64 = tick.iter().sum();
        // Pearson's statistic of the tick, whose mean is the number of backends less one when placements are independent.
        let terms = tick.iter().zip(&share).filter(|one| *one.1 > 0.0);
        sum += terms
            .map(|(count, share)| (count - total * share).powi(2) / (total * share))
            .sum::<f64>();
    }
    let freedom = ((used.len() - 1) * (backends - 1)) as f64;
    Some((sum / freedom).max(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// A sequence of numbers that look random, in (0, 1): the generator of Knuth's MMIX.
    pub(super) struct Chance(pub u64);

    impl Chance {
        pub(super) fn next(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }

        /// So many placements by these shares.
        fn place(&mut self, placements: u32, shares: &[f64]) -> Vec<f64> {
            let total: f64 = shares.iter().sum();
            let mut counts = vec![0.0; shares.len()];
            for _ in 0..placements {
                let mut left = self.next() * total;
                let at = shares.iter().position(|share| {
                    left -= share;
                    left < 0.0
                });
                counts[at.unwrap_or(shares.len() - 1)] += 1.0;
            }
            counts
        }
    }

    /// Ticks until an alarm, at most so many, with one backend's share at `factor` of its own.
    fn ticks_until(n: usize, mean: u32, factor: f64, most: u32, seed: u64) -> Option<(u32, Alarm)> {
        let mut chance = Chance(seed);
        let mut shares = vec![1.0; n];
        shares[1] = factor;
        let mut detector = Detector::of(n, 25);
        for tick in 1..=most {
            let placed = chance.place(mean * n as u32, &shares);
            detector.tick(&placed, &vec![1.0; n]);
            if let Some(alarm) = detector.alarm() {
                return Some((tick, alarm));
            }
        }
        None
    }

    #[rstest]
    #[case::dead(0.0, 10, 0.0)]
    #[case::twice(2.0, 40, 2.0)]
    #[case::three_times(3.0, 15, 3.0)]
    fn a_backend_with_another_share_is_named(#[case] factor: f64, #[case] within: u32, #[case] fits: f64) {
        for seed in 1..20 {
            let (ticks, alarm) = ticks_until(10, 10, factor, 200, seed).expect("an alarm");
            assert!(ticks <= within, "{ticks} ticks");
            assert_eq!(alarm.backend, 1);
            assert!((alarm.factor - fits).abs() <= 1.0, "{alarm:?}");
        }
    }

    #[rstest]
    #[case::even(1.0, 10)]
    #[case::even_and_busy(1.0, 200)]
    #[case::a_benign_skew_within_the_tolerance(1.15, 200)]
    #[case::and_the_other_way(0.85, 200)]
    fn balanced_traffic_raises_no_alarm(#[case] factor: f64, #[case] mean: u32) {
        for seed in 1..6 {
            assert_eq!(ticks_until(10, mean, factor, 720, seed), None);
        }
    }

    #[test]
    fn keep_alive_clusters_are_one_placement_each() {
        let mut chance = Chance(7);
        // Connections are even; each brings fifty requests or so.
        let ticks: Vec<Vec<f64>> = (0..300)
            .map(|_| {
                let mut counts = chance.place(20, &[1.0; 5]);
                for count in &mut counts {
                    *count *= 50.0;
                }
                counts
            })
            .collect();
        let dispersion = dispersion(&ticks).unwrap();
        assert!((30.0..80.0).contains(&dispersion), "{dispersion}");
        let (mut plain, mut scaled) = (Detector::of(5, 25), Detector::of(5, 25));
        let (mut early, mut late) = (0, 0);
        for tick in &ticks {
            plain.tick(tick, &[1.0; 5]);
            let fewer: Vec<f64> = tick.iter().map(|count| count / dispersion).collect();
            scaled.tick(&fewer, &[1.0; 5]);
            early += u32::from(plain.alarm().is_some());
            late += u32::from(scaled.alarm().is_some());
        }
        assert!(early > 0, "requests are not independent");
        assert_eq!(late, 0);
    }

    #[test]
    fn another_number_of_backends_is_not_taken() {
        let mut detector = Detector::of(3, 25);
        let before = detector.clone();
        detector.tick(&[1.0, 2.0], &[1.0, 1.0]);
        detector.tick(&[0.0; 3], &[1.0; 3]);
        detector.tick(&[1.0; 3], &[0.0; 3]);
        assert_eq!(detector, before);
    }

    #[test]
    fn few_ticks_have_no_dispersion() {
        assert_eq!(dispersion(&[]), None);
        assert_eq!(dispersion(&vec![vec![1.0, 2.0]; 7]), None);
        assert_eq!(dispersion(&vec![vec![0.0, 0.0]; 20]), None);
        assert_eq!(
            dispersion(&vec![vec![5.0, 5.0]; 20]),
            Some(1.0),
            "more even than chance counts as chance"
        );
    }

    proptest! {
        #[test]
        fn shares_need_no_scale_and_numbers_stay_numbers(
            counts in prop::collection::vec(0.0..1e6_f64, 2..12), scale in 0.01..100.0_f64, ticks in 1..20_u32,
        ) {
            let shares = vec![1.0; counts.len()];
            let scaled = vec![scale; counts.len()];
            let (mut one, mut other) = (Detector::of(counts.len(), 25), Detector::of(counts.len(), 25));
            for _ in 0..ticks {
                one.tick(&counts, &shares);
                other.tick(&counts, &scaled);
            }
            for (a, b) in one.logs.iter().flatten().zip(other.logs.iter().flatten()) {
                prop_assert!(a.is_finite() && (a - b).abs() <= 1e-3 * a.abs().max(1.0), "{a} {b}");
            }
        }

        #[test]
        fn more_on_one_backend_is_more_evidence_against_it(count in 0.0..50.0_f64, more in 1.0..50.0_f64) {
            let after = |count: f64| {
                let mut detector = Detector::of(4, 25);
                detector.tick(&[count, 100.0, 100.0, 100.0], &[1.0; 4]);
                detector.logs[0]
            };
            let (low, high) = (after(count), after(count + more));
            for (at, factor) in FACTORS.into_iter().enumerate() {
                let more = if factor > 1.0 { high[at] >= low[at] } else { high[at] <= low[at] };
                prop_assert!(more, "factor {factor}: {low:?} {high:?}");
            }
        }
    }
}
