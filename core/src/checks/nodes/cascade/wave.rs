//! The last wave of failures: nodes that failed one after the other, each after it had been filled.

use std::collections::BTreeSet;

use crate::history::Failure;
use crate::know::Mono;
use crate::names::Name;
use crate::policy::Cascade;

/// Failures within so many milliseconds of the first have its cause; later ones may be its effect.
const FIRST: u64 = 60_000;
/// Fewest endpoints that a node must have received: a percentage of next to nothing is nothing.
const RECEIVED: u32 = 3;

/// Nodes that failed one after the other, each step within the window of the one before.
#[derive(Debug, Default)]
pub(super) struct Wave {
    pub(super) from: Mono,
    pub(super) last: Mono,
    /// Those that failed with the first one.
    pub(super) first: BTreeSet<Name>,
    /// Later ones that had been filled.
    pub(super) filled: BTreeSet<Name>,
    /// Later ones that had not.
    pub(super) others: BTreeSet<Name>,
    /// By how much the filled ones had grown at least, in percent.
    pub(super) growth: u32,
    /// Whether all growth is known.
    pub(super) seen: bool,
}

impl Wave {
    /// The last wave of these failures, which are in the order of time.
    pub(super) fn last(failures: &[&Failure], rule: &Cascade) -> Option<Self> {
        let window = u64::from(rule.window_seconds) * 1000;
        let is_filled = |one: &Failure| one.grown >= RECEIVED && growth(one) >= rule.received_pods_percent;
        // The steps of the last wave, from its end backwards.
        let mut steps: Vec<&Failure> = Vec::new();
        for one in failures.iter().rev().filter(|one| is_filled(one)) {
            match steps.last() {
                Some(next) if next.at.since(one.at) > window => break,
                _ => {}
            }
            if cause_of(failures, one, window).is_some() {
                steps.push(one);
            }
        }
        let (last, begin) = (steps.first()?.at, steps.last()?.at);
        // Of several first steps at one moment the earliest cause counts, whatever their order in the list.
        let begins = steps.iter().filter(|one| one.at == begin);
        let from = begins.filter_map(|one| cause_of(failures, one, window)).min()?;
        let mut wave = Self {
            from,
            last,
            growth: steps.iter().map(|one| growth(one)).min().unwrap_or(0),
            seen: true,
            ..Self::default()
        };
        for one in failures.iter().filter(|one| one.at >= from && one.at <= last) {
            wave.seen &= one.seen;
            let first = one.at.since(wave.from) <= FIRST;
            let set = if first {
                &mut wave.first
            } else if is_filled(one) {
                &mut wave.filled
            } else {
                &mut wave.others
            };
            set.insert(one.node);
        }
        wave.filled.retain(|node| !wave.first.contains(node));
        wave.others
            .retain(|node| !wave.first.contains(node) && !wave.filled.contains(node));
        (!wave.filled.is_empty()).then_some(wave)
    }
}

/// When the first of the failures was that may have filled this node: of another node, within the window before it, and
/// not just now.
fn cause_of(failures: &[&Failure], one: &Failure, window: u64) -> Option<Mono> {
    failures
        .iter()
        .map(|other| (other.at, other.node, one.at.since(other.at)))
        .find(|(_, node, ago)| *node != one.node && *ago > FIRST && *ago <= window)
        .map(|(at, ..)| at)
}

/// By how much the endpoints of a node had grown, in percent.
fn growth(failure: &Failure) -> u32 {
    failure.grown.saturating_mul(100) / failure.before.max(1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::names::Names;

    const RULE: Cascade = Cascade {
        window_seconds: 600,
        minimum_nodes: 3,
        received_pods_percent: 30,
    };

    /// A failure of a node at a moment, in milliseconds; a filled one has doubled.
    fn failures(all: &[(u64, &str, bool)]) -> Vec<Failure> {
        let mut names = Names::default();
        let failure = |(at, node, filled): &(u64, &str, bool)| Failure {
            at: Mono(*at),
            node: names.intern(node),
            before: 10,
            grown: if *filled { 10 } else { 0 },
            seen: true,
        };
        all.iter().map(failure).collect()
    }

    /// From when on a failure may have filled a node that fails later, and until when.
    #[rstest]
    #[case::at_once("b", 60_000, false)]
    #[case::a_moment_later("b", 60_001, true)]
    #[case::at_the_end_of_the_window("b", 600_000, true)]
    #[case::after_the_window("b", 600_001, false)]
    #[case::the_same_node("a", 100_000, false)]
    fn what_a_failure_may_fill(#[case] node: &str, #[case] later: u64, #[case] expected: bool) {
        let all = failures(&[(0, "a", false), (later, node, true)]);
        let all: Vec<&Failure> = all.iter().collect();
        assert_eq!(cause_of(&all, all[1], 600_000), expected.then_some(Mono(0)));
    }

    /// When the last wave began: steps further apart than the window are two waves.
    #[rstest]
    #[case::one_step(&[(0, "a", false), (100_000, "b", true)], Some(0))]
    #[case::a_window_apart(&[(0, "a", false), (100_000, "b", true), (700_000, "c", true)], Some(0))]
    #[case::further_apart(
        &[(0, "a", false), (100_000, "b", true), (900_000, "c", false), (1_000_000, "d", true)],
        Some(900_000)
    )]
    #[case::without_a_cause(&[(100_000, "b", true)], None)]
    fn the_last_wave_begins(#[case] all: &[(u64, &str, bool)], #[case] expected: Option<u64>) {
        let all = failures(all);
        let all: Vec<&Failure> = all.iter().collect();
        let wave = Wave::last(&all, &RULE);
        assert_eq!(wave.map(|wave| wave.from), expected.map(Mono));
    }
}
