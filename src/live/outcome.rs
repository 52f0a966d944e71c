//! How the reading of each source ended, given to the core when all lists of it are done.
//!
//! Given at the end and in the order of the lists, not in the order of their answers: which of several refusals a person
//! reads must not depend on which came first.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};

use super::list::List;
use crate::client::RequestError;

/// How one list ended.
#[derive(Debug)]
pub(super) struct ListOutcome {
    /// Its place among the lists.
    pub(super) at: usize,
    /// The list.
    pub(super) list: List,
    /// The end.
    pub(super) end: Result<(), RequestError>,
    /// The namespaces that were read in its place, each with its end.
    pub(super) instead: Vec<(String, Result<(), RequestError>)>,
}

/// What is known of a source after its lists.
#[derive(Debug, Default)]
struct SourceState {
    read: BTreeSet<String>,
    torn: BTreeSet<String>,
    why: Option<String>,
    /// Whether `-n` could help.
    hint: bool,
}

/// Gives the core how each source ended.
pub(super) fn conclude(core: &mut Core, mut outcomes: Vec<ListOutcome>) {
    outcomes.sort_by_key(|one| one.at);
    let mut states: BTreeMap<Source, SourceState> = BTreeMap::new();
    for outcome in outcomes {
        states
            .entry(outcome.list.resource.source)
            .or_default()
            .add(outcome);
    }
    for (source, state) in states {
        // A page that was no list has been reported already.
        if matches!(core.index().freshness(source), Freshness::Unreadable(_)) {
            continue;
        }
        let whole: Vec<&str> = state.read.difference(&state.torn).map(String::as_str).collect();
        let mut tell = |part: Part<&str>, freshness| {
            core.handle(Now::ONCE, Input::Freshness(source, part, freshness));
        };
        let Some(why) = &state.why else {
            core.handle(Now::ONCE, Input::Synced(source));
            continue;
        };
        if whole.is_empty() {
            let next = if state.hint {
                "; with -n NAME it is read in that namespace alone"
            } else {
                ""
            };
            tell(Part::Whole, Freshness::unreadable(&format!("{why}{next}")));
            continue;
        }
        let plural = if whole.len() == 1 { "" } else { "s" };
        let why = format!("{why}; read in namespace{plural} {} alone", whole.join(", "));
        tell(Part::Whole, Freshness::unreadable(&why));
        for namespace in whole {
            tell(Part::Namespace(namespace), Freshness::Complete);
        }
    }
}

impl SourceState {
    fn add(&mut self, outcome: ListOutcome) {
        let ListOutcome {
            list, end, instead, ..
        } = outcome;
        let by_namespace = list.resource.by_namespace();
        self.hint |= by_namespace && list.namespace.is_none() && instead.is_empty();
        if let Err(error) = &end {
            self.hint &= error.is_forbidden();
            self.why.get_or_insert_with(|| list.explain(error));
        }
        let own = list.namespace.filter(|_| by_namespace).map(|name| (name, end));
        for (namespace, end) in own.into_iter().chain(instead) {
            let names = if end.is_ok() {
                &mut self.read
            } else {
                &mut self.torn
            };
            names.insert(namespace);
        }
    }
}
