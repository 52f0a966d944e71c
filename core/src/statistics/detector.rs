//! Uneven shares, found as soon as the evidence allows and with a stated rate of false alarms.
//!
//! A mixture of Shiryaev-Roberts e-detectors (Shin, Ramdas and Rinaldo, "E-detectors"; anytime-valid multinomial tests of
//! Lindon and Malek): for each backend and each factor by which its share may have changed, the statistic
//! `M <- (M + weight) * likelihood ratio` is kept, and there is an alarm when their sum over one backend reaches [`THRESHOLD`].
//! Whatever rule stops it, the mean number of ticks between false alarms is at least the threshold; there is no window to choose, and
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

/// By how much evidence may exceed the threshold, as a logarithm: what has been wrong for long must not take as long to be right
/// again. To cut it off leaves the guarantee as it is.
const ABOVE: f64 = 6.0;

/// The evidence against one backend: for each of [`FACTORS`] the logarithm of its statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShareEvidence([f32; FACTORS.len()]);

impl Default for ShareEvidence {
    fn default() -> Self {
        Self([FLOOR as f32; FACTORS.len()])
    }
}

impl ShareEvidence {
    /// The logarithm of the sum of its statistics.
    pub fn log(&self) -> f64 {
        let most = self.0.iter().fold(FLOOR, |most, log| most.max(f64::from(*log)));
        let sum: f64 = self.0.iter().map(|log| (f64::from(*log) - most).exp()).sum();
        most + sum.ln()
    }

    /// Whether it alone has reached [`THRESHOLD`].
    pub fn is_enough(&self) -> bool {
        self.log() >= THRESHOLD.ln()
    }

    /// Whether it has gone back so far that there is nothing more to report: between the two an alarm stays as it is.
    pub fn is_over(&self) -> bool {
        self.log() < THRESHOLD.ln() / 2.0
    }

    /// The factor that fits best; 0 for nothing at all.
    pub fn factor(&self) -> f64 {
        let each = self.0.iter().zip(FACTORS);
        each.max_by(|a, b| a.0.total_cmp(b.0)).map_or(1.0, |one| one.1)
    }
}

/// One backend in one tick.
#[derive(Debug)]
pub struct TickShare<'a> {
    /// The evidence against it so far.
    pub evidence: &'a mut ShareEvidence,
    /// What it got: a count of independent placements, or a count divided by its dispersion.
    pub count: f64,
    /// Its share under the configured law; shares need not sum to one. Zero for one that is not to be compared now.
    pub share: f64,
}

/// How much one tick may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickWeight {
    /// Half of what an alarm takes. Counters are scraped at different times, and where all connections of a minute come in one
    /// second, one tick may put them all to one backend; the next one puts it right. To cut a likelihood ratio off leaves
    /// the guarantee as it is.
    Half,
    /// All of it: levels that were read once, each as evidence of its own.
    All,
}

/// Takes what each of some backends got in one tick. `tolerance` is by how much a share may deviate and still be healthy, as a
/// part of it.
pub fn tick(tolerance: f64, backends: &mut [TickShare<'_>], at_most: TickWeight) {
    let total: f64 = backends.iter().map(|one| one.count).sum();
    let shares: f64 = backends.iter().map(|one| one.share).sum();
    if total <= 0.0 || shares <= 0.0 || !total.is_finite() || !shares.is_finite() {
        return;
    }
    let weight = -((backends.len() * FACTORS.len()) as f64).ln();
    let most = match at_most {
        // With this twice, what began with its weight reaches the threshold.
        TickWeight::Half => (THRESHOLD.ln() - weight) / 2.0 + 0.1,
        TickWeight::All => f64::INFINITY,
    };
    for TickShare {
        evidence,
        count,
        share,
    } in backends.iter_mut().filter(|one| one.share > 0.0)
    {
        let fair = *share / shares;
        for (log, factor) in evidence.0.iter_mut().zip(FACTORS) {
            let Some((other, null)) = shifted(fair, factor, tolerance) else {
                *log = FLOOR as f32;
                continue;
            };
            // One backend against all others: a binomial likelihood ratio.
            let ratio = *count * (other / null).ln() + (total - *count) * ((1.0 - other) / (1.0 - null)).ln();
            let sum = sum_of_logs(f64::from(*log), weight) + ratio.min(most);
            *log = sum.clamp(FLOOR, THRESHOLD.ln() + ABOVE) as f32;
        }
    }
}

/// A tolerance in percent as a part of a share.
pub fn tolerance(percent: u32) -> f64 {
    f64::from(percent.min(95)) / 100.0
}

/// The evidence against each of some backends.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    tolerance: f64,
    evidence: Vec<ShareEvidence>,
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
            tolerance: tolerance(tolerance_percent),
            evidence: vec![ShareEvidence::default(); backends],
        }
    }

    /// Takes what each backend got in one tick, with its share under the configured law. Counts of another number of backends
    /// are not taken.
    pub fn tick(&mut self, counts: &[f64], expected: &[f64]) {
        if counts.len() != self.evidence.len() || expected.len() != counts.len() {
            return;
        }
        let each = self.evidence.iter_mut().zip(counts.iter().zip(expected));
        let mut backends: Vec<TickShare<'_>> = each
            .map(|(evidence, (count, share))| TickShare {
                evidence,
                count: *count,
                share: *share,
            })
            .collect();
        tick(self.tolerance, &mut backends, TickWeight::Half);
    }

    /// The alarm, if the evidence against one of them has reached the threshold.
    pub fn alarm(&self) -> Option<Alarm> {
        let each = self.evidence.iter().enumerate();
        let worst = each.max_by(|a, b| a.1.log().total_cmp(&b.1.log()))?;
        worst.1.is_enough().then(|| Alarm {
            backend: worst.0,
            factor: worst.1.factor(),
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

/// By how much more the shares of one tick differ from those of the next than chance makes them differ: at least one. Counters
/// that are scraped at different times show a burst of connections in different ticks, and counts that are divided by this say
/// no more than they can. The median over all two neighbours, so that one change of shares for good is no unsteadiness.
pub fn unsteadiness(ticks: &[Vec<f64>]) -> f64 {
    let mut each: Vec<f64> = ticks
        .windows(2)
        .filter_map(|two| differ(two.first()?, two.last()?))
        .collect();
    each.sort_unstable_by(f64::total_cmp);
    each.get(each.len() / 2).map_or(1.0, |median| median.max(1.0))
}

/// Pearson's statistic for two ticks of the same shares, as a part of what chance exceeds in one of twenty cases.
fn differ(one: &[f64], other: &[f64]) -> Option<f64> {
    let [first, second]: [f64; 2] = [one, other].map(|tick| tick.iter().sum());
    let all = first + second;
    if first <= 0.0 || second <= 0.0 || one.len() != other.len() {
        return None;
    }
    let (mut sum, mut used) = (0.0, 0);
    for (a, b) in one.iter().zip(other) {
        let share = (a + b) / all;
        if share > 0.0 {
            used += 1;
            sum += (a - first * share).powi(2) / (first * share)
                + (b - second * share).powi(2) / (second * share);
        }
    }
    (used > 1).then(|| sum / rarely_exceeded(f64::from(used - 1)))
}

/// The 95 % quantile of the chi-squared distribution, by Wilson and Hilferty (1931).
pub(super) fn rarely_exceeded(freedom: f64) -> f64 {
    const Z: f64 = 1.644_854;
    let part = 2.0 / (9.0 * freedom);
    freedom * Z.mul_add(part.sqrt(), 1.0 - part).powi(3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::world::Chance;

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
            let logs = |detector: &Detector| detector.evidence.iter().flat_map(|one| one.0).collect::<Vec<f32>>();
            for (a, b) in logs(&one).into_iter().zip(logs(&other)) {
                prop_assert!(a.is_finite() && (a - b).abs() <= 1e-3 * a.abs().max(1.0), "{a} {b}");
            }
        }

        #[test]
        fn more_on_one_backend_is_more_evidence_against_it(count in 0.0..50.0_f64, more in 1.0..50.0_f64) {
            let after = |count: f64| {
                let mut detector = Detector::of(4, 25);
                detector.tick(&[count, 100.0, 100.0, 100.0], &[1.0; 4]);
                detector.evidence[0].0
            };
            let (low, high) = (after(count), after(count + more));
            for (at, factor) in FACTORS.into_iter().enumerate() {
                let more = if factor > 1.0 { high[at] >= low[at] } else { high[at] <= low[at] };
                prop_assert!(more, "factor {factor}: {low:?} {high:?}");
            }
        }
    }
}
