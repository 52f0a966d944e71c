//! Interned text: a row holds a four-byte [`Name`] where an object holds a string.
//!
//! Names are never freed. Most of what is interned is bounded by what a cluster has (namespaces, nodes, zones, Services,
//! label keys). What grows over time are the names of EndpointSlices, of the Pods of proxies, network plugins and DNS,
//! and of those that policies select, with the values of their labels; never the addresses or names of other Pods.

use std::collections::HashMap;
use std::sync::Arc;

/// An interned string. Two names are equal exactly when their texts are; the order is that of first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Name(u32);

impl Name {
    /// The empty string: what an absent field is.
    pub const EMPTY: Self = Self(0);

    /// Greater than every name that was ever interned: the end of a range.
    pub(crate) const MAX: Self = Self(u32::MAX);

    /// Whether it is the empty string.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Names that checks look for before any object has brought them. A look for a name that nobody has used would leave
/// no trace, and what comes under that name later would judge nobody anew.
const WELL_KNOWN: [&str; 4] = ["default", "kubernetes", "kube-system", "kube-node-lease"];

/// The interned strings.
#[derive(Debug)]
pub struct Names {
    at: HashMap<Arc<str>, Name>,
    texts: Vec<Arc<str>>,
}

impl Default for Names {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        let mut names = Self {
            at: HashMap::from([(empty.clone(), Name::EMPTY)]),
            texts: vec![empty],
        };
        for text in WELL_KNOWN {
            names.intern(text);
        }
        names
    }
}

impl Names {
    /// The name of this text, made when it is new.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.at.get(text) {
            return *name;
        }
        let name = Name(self.texts.len() as u32);
        let text: Arc<str> = Arc::from(text);
        self.texts.push(text.clone());
        self.at.insert(text, name);
        name
    }

    /// The name of this text, if anybody has used it.
    pub fn find(&self, text: &str) -> Option<Name> {
        self.at.get(text).copied()
    }

    /// The text of a name; empty for a name of another table.
    pub fn text(&self, name: Name) -> &str {
        self.texts.get(name.0 as usize).map_or("", |text| text)
    }

    /// The shared text of a name.
    pub fn shared(&self, name: Name) -> Arc<str> {
        self.texts.get(name.0 as usize).cloned().unwrap_or_default()
    }

    /// How many texts are held, the empty one included.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Never: the empty text is always held.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// Namespace and name of an object; the namespace is empty for cluster-scoped objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key {
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
}

/// A short list of labels or annotations, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Pairs(Box<[(Name, Name)]>);

impl Pairs {
    /// Sorts and keeps the given pairs; of equal keys the last wins.
    pub fn new(mut pairs: Vec<(Name, Name)>) -> Self {
        pairs.reverse();
        pairs.sort_by_key(|pair| pair.0);
        pairs.dedup_by_key(|pair| pair.0);
        Self(pairs.into_boxed_slice())
    }

    /// The value of a key.
    pub fn get(&self, key: Name) -> Option<Name> {
        let at = self.0.binary_search_by_key(&key, |pair| pair.0).ok()?;
        self.0.get(at).map(|pair| pair.1)
    }

    /// The value of a key, as text.
    pub fn text<'n>(&self, names: &'n Names, key: &str) -> Option<&'n str> {
        self.get(names.find(key)?).map(|value| names.text(value))
    }

    /// Every pair.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Name)> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_name() {
        let mut names = Names::default();
        let before = names.len();
        let one = names.intern("a");
        assert_eq!(one, names.intern("a"));
        assert_ne!(one, names.intern("b"));
        assert_eq!(names.intern(""), Name::EMPTY);
        assert_eq!((names.text(one), names.len()), ("a", before + 2));
    }

    #[test]
    fn of_equal_keys_the_last_wins() {
        let mut names = Names::default();
        let (key, old, new) = (names.intern("k"), names.intern("old"), names.intern("new"));
        assert_eq!(Pairs::new(vec![(key, old), (key, new)]).get(key), Some(new));
    }
}
