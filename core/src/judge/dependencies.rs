//! What a verdict depends on.

use std::collections::BTreeSet;

use crate::index::Deps;
use crate::know::{Reads, Source};
use crate::names::{Key, Name};

/// What a verdict depends on: only when some of it changes can the verdict change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Dependencies {
    /// Whole sources, what is derived from many rows, and the subject's own.
    pub deps: Deps,
    /// Services other than the one under judgement that were looked at, they or their endpoints.
    pub services: BTreeSet<Key>,
    /// Namespaces other than that of the Service under judgement of which Pods were looked at.
    pub pods_in: BTreeSet<Name>,
    /// Which gaps would change it.
    pub gaps: Gaps,
    /// The same of namespaces other than that of the Service under judgement.
    pub gaps_in: BTreeSet<(Source, Name)>,
}

/// Sources of which a gap changes a verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Gaps {
    /// Those that were asked about as a whole.
    pub whole: Reads,
    /// Those that were asked about the namespace of the Service under judgement alone.
    pub own: Reads,
}

impl Gaps {
    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            whole: self.whole.with(other.whole),
            own: self.own.with(other.own),
        }
    }
}

impl Dependencies {
    /// Adds what another verdict depends on.
    pub(crate) fn add(&mut self, other: Self) {
        self.deps = self.deps.with(other.deps);
        self.services.extend(other.services);
        self.pods_in.extend(other.pods_in);
        self.gaps = self.gaps.with(other.gaps);
        self.gaps_in.extend(other.gaps_in);
    }
}
