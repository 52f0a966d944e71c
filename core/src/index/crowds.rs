//! Objects beyond those that are remembered each by itself as not understood: how many, and nothing else.
//!
//! An object that is refused costs a few hundred bytes with its name and the reason, and a namespace may have any number of
//! them: 100,000 would take 30 MiB beside the namespace's share. So of each kind that teams write a few are remembered in full,
//! and of the others a number made of the name. Each is a gap all the same, and while there is one, no endpoint of the
//! namespace is known: of which Services such EndpointSlices are is not remembered.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::shares::TEAMS;
use crate::know::Source;
use crate::names::{InUse, Name};

/// Most objects of a kind and namespace that are remembered in full: more than a person reads.
pub(crate) const MOST_OPAQUE: usize = 256;

/// What a name is made of: always the same for the same name.
type NameHash = u64;

/// The objects of one kind in one namespace, each with whether a list that has begun since may leave it out.
type Crowd = BTreeMap<NameHash, bool>;

/// All of them, by kind and namespace; none is empty.
#[derive(Debug, Default)]
pub(crate) struct Crowds(BTreeMap<(Source, Name), Crowd>);

fn hash(name: &str) -> NameHash {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(name)
}

impl Crowds {
    /// Takes an object where so many of its kind and namespace are remembered in full already. Says whether it was taken.
    pub(crate) fn take(&mut self, source: Source, namespace: Name, name: &str, remembered: usize) -> bool {
        let is_taken = remembered >= MOST_OPAQUE && TEAMS.has(source) && namespace != Name::EMPTY;
        if is_taken {
            self.0
                .entry((source, namespace))
                .or_default()
                .insert(hash(name), false);
        }
        is_taken
    }

    /// An object is gone, or is understood. Says whether it was the last, where it was one.
    pub(crate) fn release(&mut self, source: Source, namespace: Name, name: &str) -> Option<bool> {
        let crowd = self.0.get_mut(&(source, namespace))?;
        crowd.remove(&hash(name))?;
        let was_last = crowd.is_empty();
        if was_last {
            self.0.remove(&(source, namespace));
        }
        Some(was_last)
    }

    /// A list of a kind begins: what it does not name is gone when it ends.
    pub(crate) fn begin(&mut self, source: Source) {
        let crowds = self.0.iter_mut().filter(|one| one.0.0 == source);
        for (_, crowd) in crowds {
            for unnamed in crowd.values_mut() {
                *unnamed = true;
            }
        }
    }

    /// A list of a kind has ended. Returns the namespaces of which nothing is left.
    pub(crate) fn sweep(&mut self, source: Source) -> Vec<Name> {
        let crowds = self.0.iter_mut().filter(|one| one.0.0 == source);
        let mut gone = Vec::new();
        for (at, crowd) in crowds {
            crowd.retain(|_, unnamed| !*unnamed);
            if crowd.is_empty() {
                gone.push(at.1);
            }
        }
        self.0.retain(|_, crowd| !crowd.is_empty());
        gone
    }

    /// How many there are of a kind in a namespace.
    pub(crate) fn count(&self, source: Source, namespace: Name) -> usize {
        self.0.get(&(source, namespace)).map_or(0, BTreeMap::len)
    }

    /// Whether this object is one of them.
    pub(crate) fn holds(&self, source: Source, namespace: Name, name: &str) -> bool {
        let crowd = self.0.get(&(source, namespace));
        crowd.is_some_and(|crowd| crowd.contains_key(&hash(name)))
    }

    /// How many there are in all.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// The namespaces that have some.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = Name> {
        self.0.keys().map(|at| at.1)
    }

    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.0.keys().map(|at| at.1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::Index;
    use crate::know::Now;
    use crate::names::Key;
    use crate::{Core, Input};

    const KINDS: [Source; 2] = [Source::Services, Source::EndpointSlices];

    /// An object that is not understood.
    fn give(core: &mut Core, source: Source, namespace: &str, at: usize) {
        let json = json!({"metadata": {"namespace": namespace, "name": format!("s{at}")}, "spec": 7, "endpoints": 7});
        core.handle(Now::ONCE, Input::object(source, json.to_string().as_bytes()));
    }

    fn key(index: &Index, namespace: &str, name: &str) -> Key {
        let find = |text| index.names.find(text).unwrap_or_default();
        Key {
            namespace: find(namespace),
            name: find(name),
        }
    }

    fn remembered(index: &Index, source: Source, namespace: &str) -> (usize, usize) {
        let namespace = index.names.find(namespace).unwrap_or_default();
        let rows = index.opaque_in(source, namespace).count();
        (rows, index.crowds.count(source, namespace))
    }

    #[test]
    fn of_many_that_are_refused_a_few_are_remembered_and_all_are_a_gap_of_their_namespace() {
        let mut core = Core::live(Now::ONCE);
        let most = MOST_OPAQUE + 50;
        for source in KINDS {
            core.handle(Now::ONCE, Input::Begin(source));
            core.handle(Now::ONCE, Input::Synced(source));
            for at in (0..most).chain(0..most) {
                give(&mut core, source, "a-team", at);
            }
            give(&mut core, source, "shop", 0);
            assert_eq!(remembered(core.index(), source, "a-team"), (MOST_OPAQUE, 50));
            assert_eq!(remembered(core.index(), source, "shop"), (1, 0));
        }
        let index = core.index();
        let last = key(index, "a-team", &format!("s{}", most - 1));
        let gap = index.gap_at(Source::Services, last).map(|gap| gap.to_string());
        assert!(gap.is_some_and(|gap| gap.contains("more than 256")));
        assert!(index.endpoints(key(index, "a-team", "s0")).is_err());
        let other = key(index, "pay", "s0");
        assert_eq!(index.gap_at(Source::Services, other), None);
        assert!(
            index.endpoints(other).is_ok(),
            "another namespace has nothing to do with it"
        );

        // Those that are remembered go, and the others are as before.
        for at in 0..MOST_OPAQUE {
            core.handle(
                Now::ONCE,
                Input::Gone(Source::Services, "a-team", &format!("s{at}")),
            );
        }
        assert_eq!(remembered(core.index(), Source::Services, "a-team"), (0, 50));
        assert!(
            core.index()
                .refused_in(Source::Services, last.namespace)
                .is_some()
        );
        for at in MOST_OPAQUE..most {
            core.handle(
                Now::ONCE,
                Input::Gone(Source::Services, "a-team", &format!("s{at}")),
            );
        }
        assert_eq!(core.index().refused_in(Source::Services, last.namespace), None);
        // A list that names none of them.
        core.handle(Now::ONCE, Input::Begin(Source::EndpointSlices));
        assert_eq!(
            remembered(core.index(), Source::EndpointSlices, "a-team"),
            (MOST_OPAQUE, 50)
        );
        core.handle(Now::ONCE, Input::Synced(Source::EndpointSlices));
        assert_eq!(remembered(core.index(), Source::EndpointSlices, "a-team"), (0, 0));
        assert!(core.index().crowds.0.is_empty());
    }

    #[test]
    fn what_teams_do_not_write_and_what_has_no_namespace_is_remembered_each() {
        let mut crowds = Crowds::default();
        for (source, namespace) in [(Source::Services, Name::EMPTY), (Source::Policies, Name::MAX)] {
            assert!(!crowds.take(source, namespace, "a", MOST_OPAQUE), "{source}");
        }
        assert!(!crowds.take(Source::Pods, Name::MAX, "a", MOST_OPAQUE - 1));
        assert!(crowds.take(Source::Pods, Name::MAX, "a", MOST_OPAQUE));
        assert_eq!(crowds.release(Source::Pods, Name::MAX, "b"), None);
        assert_eq!(crowds.release(Source::Pods, Name::MAX, "a"), Some(true));
    }
}
