//! How much of the time for judging a namespace has had.

use std::collections::BTreeMap;

use crate::know::Mono;
use crate::names::{InUse, Name};

/// What a verdict takes of its namespace's credit, in microseconds: 8,000 verdicts a second, about a tenth of a core
/// (`make bench`). A namespace at all its ceilings has some 90,000 verdicts, so one change of all of them in 11 s.
const OF_A_VERDICT: u64 = 125;

/// The most credit that a namespace has, in microseconds of [`OF_A_VERDICT`]s: what changes now and then never waits.
const FULL: u64 = 4_000_000;

/// The longest that a namespace waits for credit, in microseconds: more than all verdicts of one at its ceilings take.
const LONGEST_WAIT: u64 = 15_000_000;

/// To how many verdicts a namespace is judged at once.
#[cfg(test)]
pub(super) const MOST_AT_ONCE: usize = (FULL / OF_A_VERDICT) as usize;

/// How often those that have all of their credit are forgotten, in milliseconds.
const SWEEP: u64 = 10_000;

/// The namespaces that have spent some of their credit.
#[derive(Debug, Default)]
pub(super) struct Credits {
    /// When each has all of it again, in microseconds of monotonic time: the one number of a token bucket (ITU-T I.371, the
    /// generic cell rate algorithm).
    full_at: BTreeMap<Name, u64>,
    swept: Mono,
}

impl Credits {
    /// Takes what judging took from a namespace's credit. Returns from when it has some again: now, unless it has had more
    /// than it has.
    pub(super) fn spend(&mut self, now: Mono, home: Name, verdicts: usize) -> Mono {
        let at = micros(now);
        if now.0 >= self.swept.0.saturating_add(SWEEP) {
            self.swept = now;
            self.full_at.retain(|_, full| *full > at);
        }
        let took = u64::try_from(verdicts)
            .unwrap_or(u64::MAX)
            .saturating_mul(OF_A_VERDICT);
        let full = self.full_at.entry(home).or_default();
        let most = at.saturating_add(FULL + LONGEST_WAIT);
        *full = (*full).max(at).saturating_add(took).min(most);
        Mono(full.saturating_sub(FULL).div_ceil(1_000).max(now.0))
    }

    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.full_at.keys().copied());
    }
}

fn micros(at: Mono) -> u64 {
    at.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;

    #[test]
    fn credit_comes_back_with_time() {
        let mut names = Names::default();
        let [shop, other] = ["shop", "other"].map(|name| names.intern(name));
        let mut credits = Credits::default();
        let now = Mono(5_000);
        for (verdicts, again) in [
            (MOST_AT_ONCE, 5_000),
            // A second's worth more than there was.
            (8_000, 6_000),
            (8, 6_001),
        ] {
            assert_eq!(credits.spend(now, shop, verdicts), Mono(again), "{verdicts}");
        }
        assert_eq!(credits.spend(now, other, 1), now, "each has its own");
        // After four seconds more it has everything back, and not more than that.
        let later = Mono(60_000);
        assert_eq!(credits.spend(later, shop, MOST_AT_ONCE), later);
        assert_eq!(credits.spend(later, shop, 8_000), Mono(61_000));
    }

    #[test]
    fn those_that_have_all_of_it_are_forgotten() {
        let mut names = Names::default();
        let mut credits = Credits::default();
        for at in 0..1_000_u64 {
            let home = names.intern(&format!("n{at}"));
            credits.spend(Mono(at * 1_000), home, 100);
        }
        assert!(credits.full_at.len() <= 11, "{}", credits.full_at.len());
    }
}
