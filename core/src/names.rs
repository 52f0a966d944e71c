//! Interned text: a row holds a four-byte [`Name`] where an object holds a string.
//!
//! A cluster makes new names for ever: of EndpointSlices, of the Pods of Jobs, of label values. So a text is forgotten
//! when nothing holds its name any more (`sweep`), and its number is given to another text. What holds names
//! says so through its [`Hash`], which passes over every field (`InUse`): a field that is added cannot be left out.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Longest text that is interned, in bytes. What Kubernetes names has at most 253 (`validation.DNS1123SubdomainMaxLength`,
/// staging/src/k8s.io/apimachinery/pkg/util/validation), a label value 63; annotations that are read hold numbers and
/// short lists, but their writer may put 256 KiB there (`TotalAnnotationSizeLimitB`, api/validation/objectmeta.go).
pub const LONGEST: usize = 4096;

/// How many characters of a text that is too long are shown.
const SHOWN: usize = 24;

/// New texts after which a sweep is worth its time, at least.
const FEW: usize = 4096;

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
pub struct Names {
    at: HashMap<Arc<str>, Name>,
    /// By number; empty where the number is free.
    texts: Vec<Arc<str>>,
    free: Vec<Name>,
    /// How many texts there may be before those that nothing holds are dropped.
    sweep_at: usize,
    /// The last text that was refused: its length in bytes and how it begins.
    refused: Option<(usize, String)>,
}

impl fmt::Debug for Names {
    /// How many there are: names that are in use are printed by what uses them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} texts", self.len())
    }
}

impl Default for Names {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        let mut names = Self {
            at: HashMap::from([(empty.clone(), Name::EMPTY)]),
            texts: vec![empty],
            free: Vec::new(),
            sweep_at: FEW,
            refused: None,
        };
        for text in WELL_KNOWN {
            names.intern(text);
        }
        names
    }
}

impl Names {
    /// The name of this text, made when it is new. One that is longer than [`LONGEST`] is not kept: it is the empty name,
    /// and `take_refused` says so.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.at.get(text) {
            return *name;
        }
        if text.len() > LONGEST {
            self.refused = Some((text.len(), text.chars().take(SHOWN).collect()));
            return Name::EMPTY;
        }
        let text: Arc<str> = Arc::from(text);
        let name = if let Some(name) = self.free.pop()
            && let Some(slot) = self.texts.get_mut(name.0 as usize)
        {
            *slot = text.clone();
            name
        } else {
            self.texts.push(text.clone());
            Name((self.texts.len() - 1) as u32)
        };
        self.at.insert(text, name);
        name
    }

    /// The last text that was refused since this was asked before: its length in bytes and how it begins.
    pub(crate) fn take_refused(&mut self) -> Option<(usize, String)> {
        self.refused.take()
    }

    /// Whether so many texts have come since the last sweep that another is worth its time: a quarter of what was left,
    /// so that the cost of a sweep is spread over as many new texts.
    pub(crate) fn is_sweep_due(&self) -> bool {
        self.at.len() >= self.sweep_at
    }

    /// Forgets the texts that nothing holds. Their numbers are used again: whatever keeps a [`Name`] must have been shown to
    /// `held`.
    pub(crate) fn sweep(&mut self, held: &InUse) {
        let known = 1 + WELL_KNOWN.len();
        let empty = self.shared(Name::EMPTY);
        for (at, text) in self.texts.iter_mut().enumerate().skip(known) {
            let name = Name(at as u32);
            if !text.is_empty() && !held.has(name) {
                self.at.remove(text);
                *text = empty.clone();
                self.free.push(name);
            }
        }
        let left = self.at.len();
        self.sweep_at = left + FEW.max(left / 4);
        self.at.shrink_to(self.sweep_at);
        self.free.shrink_to(self.sweep_at);
    }

    /// The name of this text, if anybody has used it.
    pub fn find(&self, text: &str) -> Option<Name> {
        self.at.get(text).copied()
    }

    /// The text of a name; empty for a name of another table.
    pub fn text(&self, name: Name) -> &str {
        self.texts.get(name.0 as usize).map_or("", |text| text)
    }

    /// The text of the name that is printed with this number, if it is in use: so that a test can ask whether every name
    /// that a value prints still means something.
    pub fn numbered(&self, number: u32) -> Option<&str> {
        let text = self.text(Name(number));
        (number == 0 || !text.is_empty()).then_some(text)
    }

    /// The shared text of a name.
    pub fn shared(&self, name: Name) -> Arc<str> {
        self.texts.get(name.0 as usize).cloned().unwrap_or_default()
    }

    /// How many texts are held, the empty one included.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Never: the empty text is always held.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

/// The names that something holds.
///
/// It is a [`Hasher`], because hashing passes over every field of a value: of what it is shown it keeps each number of 32
/// bits, which every [`Name`] is. Another number of that size that happens to be equal keeps a text longer than
/// needed, and does no harm.
#[derive(Debug)]
pub(crate) struct InUse(Vec<bool>);

impl InUse {
    /// None of these yet.
    pub(crate) fn none_of(names: &Names) -> Self {
        Self(vec![false; names.texts.len()])
    }

    /// Notes the names in a value.
    pub(crate) fn note(&mut self, value: &impl Hash) {
        value.hash(self);
    }

    /// Notes the names in every value.
    pub(crate) fn all<T: Hash>(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.note(&value);
        }
    }

    fn has(&self, name: Name) -> bool {
        self.0.get(name.0 as usize).copied().unwrap_or_default()
    }
}

impl Hasher for InUse {
    fn write_u32(&mut self, number: u32) {
        if let Some(held) = self.0.get_mut(number as usize) {
            *held = true;
        }
    }

    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        0
    }
}

/// How many bytes a value takes with its names, about: each counts as if no other value had it.
///
/// A [`Hasher`] as [`InUse`] is, so that no field can be left out. Another number of 32 bits counts as the name that it
/// happens to be.
pub(crate) struct Weight<'a> {
    names: &'a Names,
    bytes: usize,
}

/// What a text costs beside its bytes: two counters, a place by number and a place by text.
const TEXT: usize = 64;

/// What a row costs beside its names.
const ROW: usize = 128;

impl<'a> Weight<'a> {
    /// That of one value.
    pub(crate) fn of(value: &impl Hash, names: &'a Names) -> u32 {
        let mut weight = Self { names, bytes: ROW };
        value.hash(&mut weight);
        u32::try_from(weight.bytes).unwrap_or(u32::MAX)
    }
}

impl Hasher for Weight<'_> {
    fn write_u32(&mut self, number: u32) {
        let text = self.names.text(Name(number));
        if !text.is_empty() {
            self.bytes += TEXT + text.len();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }

    fn finish(&self) -> u64 {
        self.bytes as u64
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
    fn what_nothing_holds_is_forgotten_and_its_number_used_again() {
        let mut names = Names::default();
        let before = names.len();
        let [kept, lost] = ["kept", "lost"].map(|text| names.intern(text));
        let mut held = InUse::none_of(&names);
        held.all([(
            7_u64,
            Some(Key {
                namespace: Name::EMPTY,
                name: kept,
            }),
        )]);
        // The end of a range is no name.
        held.note(&Name::MAX);
        names.sweep(&held);
        assert_eq!((names.text(kept), names.find("kept")), ("kept", Some(kept)));
        assert_eq!((names.text(lost), names.find("lost")), ("", None));
        assert_eq!(
            names.find("kube-system").map(|name| names.text(name)),
            Some("kube-system")
        );
        assert_eq!(
            (names.intern("new"), names.text(lost), names.len()),
            (lost, "new", before + 2)
        );
    }

    #[test]
    fn many_texts_that_come_and_go_leave_nothing() {
        let mut names = Names::default();
        for at in 0..10 * FEW {
            if names.is_sweep_due() {
                names.sweep(&InUse::none_of(&names));
            }
            names.intern(&format!("pod-{at}"));
        }
        assert!(names.len() <= 1 + WELL_KNOWN.len() + FEW, "{}", names.len());
        assert!(names.texts.len() <= 2 * FEW, "{}", names.texts.len());
    }

    #[test]
    fn a_text_that_is_too_long_is_not_kept() {
        let mut names = Names::default();
        let before = names.len();
        names.intern(&"a".repeat(LONGEST));
        assert_eq!((names.take_refused(), names.len()), (None, before + 1));
        assert_eq!(names.intern(&"a".repeat(LONGEST + 1)), Name::EMPTY);
        let refused = names.take_refused();
        assert_eq!(refused, Some((LONGEST + 1, "a".repeat(SHOWN))));
        assert_eq!((names.take_refused(), names.len()), (None, before + 1));
    }

    #[test]
    fn of_equal_keys_the_last_wins() {
        let mut names = Names::default();
        let (key, old, new) = (names.intern("k"), names.intern("old"), names.intern("new"));
        assert_eq!(Pairs::new(vec![(key, old), (key, new)]).get(key), Some(new));
    }
}
