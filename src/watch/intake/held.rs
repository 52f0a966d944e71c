//! A target that is watched: what is known of it, and which of its objects are wanted.

use std::collections::BTreeSet;

use evenkeel_core::index::Freshness;
use evenkeel_core::policy::Selector;

use super::super::line;
use super::super::pods::Selected;
use super::super::target::Target;

/// Which ceiling was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overfull {
    /// That of a namespace: what came first is kept.
    Namespace,
    /// That of all namespaces, of which this one had most: nothing of it is kept.
    All,
}

/// A target that is watched.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) target: Target,
    /// Of Pods, which are wanted.
    pub(super) selected: Option<Selected>,
    pub(super) freshness: Freshness,
    /// Whether it has been read completely, or refused.
    pub(super) is_read: bool,
    pub(super) list: u32,
    /// Why objects of it were left out, where there are too many.
    pub(super) overfull: Option<Overfull>,
}

impl Held {
    /// Whether objects come that are not wanted.
    fn has_others(&self) -> bool {
        self.selected.is_some() && self.target.labels.is_empty()
    }

    /// Whether an object is one of those that are wanted. One that cannot be read may be.
    pub(super) fn wants(&self, object: &[u8]) -> bool {
        let Some(selected) = self.selected.as_ref().filter(|_| self.has_others()) else {
            return true;
        };
        if selected.contains(&Selector::default()) {
            return true;
        }
        line::labels(object).is_none_or(|labels| {
            let get = |key: &str| labels.get(key).map(String::as_str);
            selected.iter().any(|one| one.matches(get))
        })
    }

    /// Whether what it watches and has read holds all of that.
    pub(super) fn covers(&self, target: &Target, selected: Option<&Selected>) -> bool {
        let Some(wanted) = selected.filter(|_| self.has_others()) else {
            return self.target == *target;
        };
        self.target == *target && self.selected.as_ref().is_some_and(|held| covers(held, wanted))
    }
}

/// Whether all that these select is among what those do.
pub(super) fn covers(held: &BTreeSet<Selector>, wanted: &BTreeSet<Selector>) -> bool {
    held.contains(&Selector::default()) || wanted.is_subset(held)
}
