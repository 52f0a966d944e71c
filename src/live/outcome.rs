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
use crate::rights::ALONE;

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
    /// Single objects that were read, by namespace and name, and the namespaces in which one was not, with the first reason.
    objects: Vec<(String, String)>,
    objects_torn: BTreeMap<String, String>,
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
        let Some(why) = &state.why else {
            core.handle(Now::ONCE, Input::Synced(source));
            continue;
        };
        if !state.objects.is_empty() {
            // One object that is refused says nothing of the others.
            state.tell_objects(source, core);
            continue;
        }
        let mut tell = |part: Part<&str>, freshness| {
            core.handle(Now::ONCE, Input::Freshness(source, part, freshness));
        };
        if whole.is_empty() {
            let next = if state.hint { ALONE } else { "" };
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
    /// Says of a source that is read object by object what is known of which: as an operator does that watches them.
    fn tell_objects(&self, source: Source, core: &mut Core) {
        core.handle(Now::ONCE, Input::Synced(source));
        let mut tell = |part, freshness| core.handle(Now::ONCE, Input::Freshness(source, part, freshness));
        for (namespace, why) in &self.objects_torn {
            tell(Part::Namespace(&**namespace), Freshness::unreadable(why));
        }
        for (namespace, name) in &self.objects {
            tell(Part::Object(&**namespace, &**name), Freshness::Complete);
        }
    }

    fn add(&mut self, outcome: ListOutcome) {
        let ListOutcome {
            list, end, instead, ..
        } = outcome;
        if let (Some(namespace), Some(name)) = (&list.namespace, &list.name) {
            match &end {
                Ok(()) => self.objects.push((namespace.clone(), name.clone())),
                Err(error) => {
                    let why = || list.explain(error);
                    self.objects_torn.entry(namespace.clone()).or_insert_with(why);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use evenkeel_core::fleet::{NamedWants, Wants};

    use super::super::list;
    use super::*;
    use crate::client::Refusal;

    fn refused(message: &str) -> RequestError {
        RequestError::Refused(Refusal {
            code: 403,
            message: message.into(),
            after: None,
        })
    }

    /// What is known after single `ConfigMaps` of `kube-system` were asked for, of which these are refused.
    fn after(refused_names: &[&str]) -> Core {
        let names = ["cilium-config", "kube-proxy"].map(Arc::from);
        let wanted = NamedWants {
            names: names.into(),
            ..NamedWants::default()
        };
        let wants = Wants {
            config_maps: BTreeMap::from([("kube-system".into(), wanted)]),
            ..Wants::default()
        };
        let outcomes = list::wanted(&wants).into_iter().enumerate().map(|(at, list)| {
            let name = list.name.clone().unwrap_or_default();
            let end = if refused_names.contains(&&*name) {
                Err(refused(&format!("no {name}")))
            } else {
                Ok(())
            };
            ListOutcome {
                at,
                list,
                end,
                instead: Vec::new(),
            }
        });
        let mut core = Core::default();
        conclude(&mut core, outcomes.collect());
        core
    }

    /// Whether a ConfigMap of `kube-system` counts as read.
    fn is_read(core: &mut Core, name: &str) -> bool {
        let map = format!(r#"{{"metadata": {{"name": "{name}", "namespace": "kube-system"}}}}"#);
        core.handle(Now::ONCE, Input::object(Source::ConfigMaps, map.as_bytes()));
        let names = &core.index().names;
        let find = |text| names.find(text).expect("an interned name");
        let key = evenkeel_core::names::Key {
            namespace: find("kube-system"),
            name: find(name),
        };
        core.index().gap_at(Source::ConfigMaps, key).is_none()
    }

    #[test]
    fn one_refused_object_says_nothing_of_the_others() {
        let mut core = after(&["cilium-config"]);
        assert!(is_read(&mut core, "kube-proxy"));
        assert!(!is_read(&mut core, "cilium-config"));
        let unreadable = core.findings(Now::ONCE).unreadable;
        let reasons: Vec<_> = unreadable.iter().map(|one| &*one.reason).collect();
        assert_eq!(reasons, ["missing right: get configmaps (no cilium-config)"]);
    }

    #[test]
    fn where_all_are_refused_the_source_is() {
        let mut core = after(&["cilium-config", "kube-proxy"]);
        assert!(!is_read(&mut core, "kube-proxy"));
        assert_eq!(
            *core.index().freshness(Source::ConfigMaps),
            *core.index().worst_freshness(Source::ConfigMaps)
        );
    }
}
