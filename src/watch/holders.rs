//! Which targets hold an object of a source that comes in parts, and since which of their lists.

use std::collections::HashMap;

use evenkeel_core::Input;
use evenkeel_core::know::Source;

use super::target::Id;

/// Where inputs go: `Core::handle`, or a test's list.
pub(super) type Sink<'a> = dyn FnMut(Input<'_>) + 'a;

/// A part of a source, by its namespace; empty is all of it.
pub(super) type SourcePart = (Source, String);

/// Namespace and name of an object, as the core names it.
pub(super) type ObjectName = (Box<str>, Box<str>);

/// Objects by the part that they are of, each with who holds it: a namespace's targets are released without a look at
/// the others.
#[derive(Debug, Default)]
pub(super) struct Holders {
    parts: HashMap<SourcePart, HashMap<ObjectName, Vec<(Id, u32)>>>,
    /// How many objects there are in all.
    objects: usize,
}

/// The part that holds most objects, and how many there are in all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Largest<'a> {
    pub(super) part: &'a SourcePart,
    pub(super) objects: usize,
    pub(super) in_all: usize,
}

impl Holders {
    /// How many objects of a part are held.
    pub(super) fn count(&self, place: &SourcePart) -> usize {
        self.parts.get(place).map_or(0, HashMap::len)
    }

    /// How many objects of all parts are held.
    pub(super) fn objects(&self) -> usize {
        self.objects
    }

    /// Of the parts of a source that `counts`, the one with most objects: of equals the last by name.
    pub(super) fn largest(&self, source: Source, counts: impl Fn(&str) -> bool) -> Option<Largest<'_>> {
        let parts = self
            .parts
            .iter()
            .filter(|one| one.0.0 == source && counts(&one.0.1));
        let sizes = parts.map(|(part, held)| (held.len(), part));
        let in_all = sizes.clone().map(|one| one.0).sum();
        sizes.max().map(|(objects, part)| Largest {
            part,
            objects,
            in_all,
        })
    }

    /// Lets go of everything that a part holds.
    pub(super) fn clear(&mut self, place: &SourcePart, sink: &mut Sink<'_>) {
        let gone = self.parts.remove(place).unwrap_or_default();
        self.objects -= gone.len();
        for key in gone.keys() {
            self.say_gone(place, key, sink);
        }
    }

    /// Whether an object is held.
    pub(super) fn has(&self, place: &SourcePart, key: &ObjectName) -> bool {
        self.parts.get(place).is_some_and(|held| held.contains_key(key))
    }

    /// A target holds an object, by its list of that number.
    pub(super) fn add(&mut self, place: &SourcePart, key: ObjectName, id: Id, list: u32) {
        if !self.parts.contains_key(place) {
            self.parts.insert(place.clone(), HashMap::new());
        }
        let Some(held) = self.parts.get_mut(place) else {
            return;
        };
        let before = held.len();
        let holders = held.entry(key).or_default();
        match holders.iter_mut().find(|holder| holder.0 == id) {
            Some(holder) => holder.1 = list,
            None => holders.push((id, list)),
        }
        self.objects += held.len() - before;
    }

    /// A target does not hold an object any more, nor do those that it has replaced: it is gone when none does.
    pub(super) fn remove(&mut self, place: &SourcePart, key: &ObjectName, id: Id, sink: &mut Sink<'_>) {
        let Some(held) = self.parts.get_mut(place) else {
            return;
        };
        let Some(holders) = held.get_mut(key) else { return };
        holders.retain(|holder| holder.0 != id);
        if holders.is_empty() {
            held.remove(key);
            self.objects -= 1;
            self.say_gone(place, key, sink);
            self.forget(place);
        }
    }

    /// A target releases what it held before its list of that number.
    pub(super) fn release(&mut self, place: &SourcePart, id: Id, before: u32, sink: &mut Sink<'_>) {
        let Some(held) = self.parts.get_mut(place) else {
            return;
        };
        let mut gone = Vec::new();
        held.retain(|key, holders| {
            holders.retain(|holder| holder.0 != id || holder.1 >= before);
            if holders.is_empty() {
                gone.push(key.clone());
            }
            !holders.is_empty()
        });
        self.objects -= gone.len();
        for key in &gone {
            self.say_gone(place, key, sink);
        }
        self.forget(place);
    }

    fn say_gone(&self, place: &SourcePart, key: &ObjectName, sink: &mut Sink<'_>) {
        // What does not say its namespace may be held elsewhere under the same key.
        let elsewhere = key.0.is_empty()
            && self
                .parts
                .iter()
                .any(|(other, held)| other.0 == place.0 && other != place && held.contains_key(key));
        if !elsewhere {
            sink(Input::Gone(place.0, &key.0, &key.1));
        }
    }

    fn forget(&mut self, place: &SourcePart) {
        if self.parts.get(place).is_some_and(HashMap::is_empty) {
            self.parts.remove(place);
        }
    }
}
