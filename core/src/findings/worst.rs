//! The worst findings of each namespace, where there are more than are shown.
//!
//! A namespace at its ceilings has some ten thousand findings, and each is some kilobyte of text.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{SubjectRank, rank};
use crate::engine::{Engine, Reported};
use crate::index::Index;
use crate::judge::{Check, Severity, Subject};
use crate::names::{Key, Name};
use crate::policy::ceiling::fair_share;

/// As [`super::sort`] sorts them, but for exceptions.
type WorstRank<'a> = (Reverse<Severity>, &'static str, SubjectRank<'a>, Option<Key>);

type Bad<'a> = (&'static Check, Subject, &'a Reported);

/// At most so many of what is not Met, each namespace's worst, and how many more there are: each namespace has a fair share,
/// so that one with many does not hide those of another.
pub(crate) fn worst<'a>(index: &'a Index, engine: &'a Engine, most: usize) -> (Vec<Bad<'a>>, usize) {
    let mut counts: BTreeMap<Name, u64> = BTreeMap::new();
    for (_, subject, _) in engine.bad() {
        *counts.entry(subject.home().unwrap_or_default()).or_default() += 1;
    }
    let of_each = fair_share(most as u64, counts.values().copied());
    let mut kept: BTreeMap<Name, BTreeMap<WorstRank<'_>, Bad<'_>>> = BTreeMap::new();
    let mut beyond = 0;
    for (check, subject, held) in engine.bad() {
        let (rank, policy) = rank(index, subject);
        let here = kept.entry(subject.home().unwrap_or_default()).or_default();
        let severity = Reverse(check.severity_of(&held.verdict));
        here.insert((severity, check.id, rank, policy), (check, subject, held));
        if here.len() as u64 > of_each {
            here.pop_last();
            beyond += 1;
        }
    }
    let all = kept.into_values().flat_map(BTreeMap::into_values);
    (all.collect(), beyond)
}
