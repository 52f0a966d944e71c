//! Verdicts that many subjects share are held once: a policy over a thousand Services finds the same in each of them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::judge::Verdict;

/// So few verdicts are never swept.
const FEW: usize = 64;

/// The verdicts that are held.
#[derive(Debug, Default)]
pub(super) struct Interner {
    verdicts: HashSet<Arc<Verdict>>,
    /// How many there may be before those that are held no more are dropped.
    sweep_at: usize,
}

impl Interner {
    /// The one form of a verdict.
    pub(super) fn intern(&mut self, verdict: Arc<Verdict>) -> Arc<Verdict> {
        if let Some(held) = self.verdicts.get(&verdict) {
            return held.clone();
        }
        if self.verdicts.len() >= self.sweep_at.max(FEW) {
            self.verdicts.retain(|one| Arc::strong_count(one) > 1);
            // Twice what is left: what a sweep costs is spread over as many verdicts.
            self.sweep_at = self.verdicts.len() * 2;
        }
        self.verdicts.insert(verdict.clone());
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Advice, Evidence, Explain};

    #[derive(Debug, PartialEq, Eq, Hash)]
    struct Nodes(usize);

    impl Explain for Nodes {
        fn message(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{} nodes", self.0)
        }

        fn evidence(&self) -> Vec<Evidence> {
            vec![Evidence::count("nodes", self.0, "Nodes")]
        }

        fn advice(&self) -> Vec<Advice> {
            Vec::new()
        }
    }

    fn verdict(at: usize) -> Arc<Verdict> {
        Arc::new(Verdict::violated(Nodes(at)))
    }

    #[test]
    fn equal_verdicts_are_shared_and_unused_ones_dropped() {
        let mut interner = Interner::default();
        let first = interner.intern(verdict(0));
        assert!(Arc::ptr_eq(&first, &interner.intern(verdict(0))));
        assert!(!Arc::ptr_eq(&first, &interner.intern(verdict(1))));
        for at in 2..10_000 {
            interner.intern(verdict(at));
        }
        assert!(interner.verdicts.len() <= 2 * FEW, "{}", interner.verdicts.len());
        assert!(Arc::ptr_eq(&first, &interner.intern(verdict(0))));
    }
}
