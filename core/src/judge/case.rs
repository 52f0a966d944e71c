//! What a check found wrong: one type per check, from which all that people and machines read of it is made.
//!
//! A check's case holds what the judgement rests on as typed fields. Its message, its advice and its list of evidence
//! are functions of these fields, so a missing piece is a compile error and nothing is looked up by a string.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;

use super::{Advice, Severity};
use crate::know::{Origin, Unit, Val};
use crate::names::Key;

/// What one check found wrong with one subject.
///
/// Implement it for the check's own struct or enum, which derives `Debug`, `PartialEq`, `Eq` and `Hash`: two cases are
/// equal when their values are, and a change of value is seen as a change of the case.
pub trait Explain: Compare + fmt::Debug + Send + Sync + 'static {
    /// A stable `UpperCamelCase` word, for when one check has several causes; may be empty. Part of the API.
    fn cause(&self) -> &'static str {
        ""
    }

    /// The message: one sentence of at most [`MESSAGE`] characters with names of usual length; longer names are shortened
    /// where it is shown. What happens to which subject, the two numbers that collide, and where the tighter one comes
    /// from. No file names and no fields: they are evidence.
    ///
    /// # Errors
    /// Those of the formatter.
    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Every number and name that the verdict rests on, each with unit, origin and source: what `explain`, the wide
    /// table and JSON show.
    fn evidence(&self) -> Vec<Evidence>;

    /// The next steps for a person, the least invasive first; at least one.
    fn advice(&self) -> Vec<Advice>;

    /// The worst severity that this case may have, where its cause is milder than the check's other ones.
    fn at_most(&self) -> Severity {
        Severity::Critical
    }

    /// The Service that it is about instead of the cluster, which the check judges: what one namespace brings about says
    /// nothing of the others.
    fn service(&self) -> Option<Key> {
        None
    }

    /// The path of the type.
    #[cfg(test)]
    fn type_name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

/// Most characters of a message: two lines of a terminal.
pub const MESSAGE: usize = 160;

/// Comparison of cases whose types are not known; implemented for every type that can be one.
pub trait Compare: Any {
    /// Whether the other one has this type and value.
    fn same(&self, other: &dyn Any) -> bool;
    /// Feeds the value to a hasher.
    fn digest(&self, state: &mut dyn Hasher);
}

impl<T: Eq + Hash + Any> Compare for T {
    fn same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| self == other)
    }

    fn digest(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }
}

/// Why a verdict is bad: the check's own case, shared. Made for bad verdicts only.
#[derive(Debug, Clone)]
pub struct Case {
    explain: Arc<dyn Explain>,
    assumes: bool,
}

impl Case {
    /// The case of a check.
    pub fn new(explain: impl Explain) -> Self {
        let assumes = explain.evidence().iter().any(|one| one.origin == Origin::Assumed);
        Self {
            explain: Arc::new(explain),
            assumes,
        }
    }

    /// The case as the check's own type; `None` when it is another check's.
    pub fn of<T: Explain>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.explain;
        any.downcast_ref()
    }

    /// The name of the check's own type.
    #[cfg(test)]
    pub(crate) fn type_name(&self) -> &'static str {
        let path = self.explain.type_name();
        path.rsplit("::").next().unwrap_or(path)
    }

    /// Its stable cause; may be empty.
    pub fn cause(&self) -> &'static str {
        self.explain.cause()
    }

    /// What it rests on.
    pub fn evidence(&self) -> Vec<Evidence> {
        self.explain.evidence()
    }

    /// What a person can do.
    pub fn advice(&self) -> Vec<Advice> {
        self.explain.advice()
    }

    /// The worst severity that it may have.
    pub fn at_most(&self) -> Severity {
        self.explain.at_most()
    }

    /// The Service that it is about instead of the cluster.
    pub fn service(&self) -> Option<Key> {
        self.explain.service()
    }

    /// Whether any of its evidence is merely assumed: then it is never critical.
    pub const fn assumes(&self) -> bool {
        self.assumes
    }
}

/// The message with all names in full.
struct Whole<'a>(&'a dyn Explain);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.message(f)
    }
}

/// A text in at most [`MESSAGE`] characters, as far as words can be shortened: the longest ones lose their middle.
fn fit(text: &str) -> String {
    let lengths: Vec<usize> = text.split(' ').map(|word| word.chars().count()).collect();
    let spaces = lengths.len() - 1;
    let fits = |most: &usize| {
        let words: usize = lengths.iter().map(|length| length.min(most)).sum();
        words + spaces <= MESSAGE
    };
    let longest = lengths.iter().copied().max().unwrap_or_default();
    if fits(&longest) {
        return text.to_owned();
    }
    let most = (SHORT_WORD..longest).rev().find(fits).unwrap_or(SHORT_WORD);
    let words: Vec<String> = text.split(' ').map(|word| shorten(word, most)).collect();
    words.join(" ")
}

/// Words of so many characters are never shortened.
const SHORT_WORD: usize = 16;

/// A word without its middle, in so many characters.
fn shorten(word: &str, most: usize) -> String {
    let length = word.chars().count();
    if length <= most {
        return word.to_owned();
    }
    let (head, tail) = (most / 2, most - most / 2 - 1);
    let start = word.chars().take(head);
    start
        .chain(['…'])
        .chain(word.chars().skip(length - tail))
        .collect()
}

/// The message, in at most [`MESSAGE`] characters: names may have 253, and the evidence holds them in full.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fit(&Whole(&*self.explain).to_string()))
    }
}

impl PartialEq for Case {
    fn eq(&self, other: &Self) -> bool {
        let other: &dyn Any = &*other.explain;
        self.explain.same(other)
    }
}

impl Eq for Case {}

impl Hash for Case {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.explain.digest(state);
    }
}

/// One number or name that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// What it is, in lowerCamelCase.
    pub what: &'static str,
    /// The value.
    pub value: Datum,
    /// Its unit.
    pub unit: Unit,
    /// How it came to be known.
    pub origin: Origin,
    /// Where it was read.
    pub source: Arc<str>,
}

/// A number or a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Datum {
    /// A number.
    Number(i64),
    /// A name, a version, a mode.
    Text(Arc<str>),
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Evidence {
    /// A number with its provenance.
    pub fn number(what: &'static str, unit: Unit, val: &Val<i64>) -> Self {
        Self {
            what,
            value: Datum::Number(val.value),
            unit,
            origin: val.origin,
            source: val.source.clone(),
        }
    }

    /// A number of seconds with its provenance.
    pub fn seconds(what: &'static str, val: &Val<i64>) -> Self {
        Self::number(what, Unit::Seconds, val)
    }

    /// A name with its provenance.
    pub fn text(what: &'static str, val: &Val<Arc<str>>) -> Self {
        Self {
            what,
            value: Datum::Text(val.value.clone()),
            unit: Unit::None,
            origin: val.origin,
            source: val.source.clone(),
        }
    }

    /// A name as it is written in an object.
    pub fn name(what: &'static str, name: &Arc<str>, source: impl Into<Arc<str>>) -> Self {
        Self::text(what, &Val::declared(name.clone(), source))
    }

    /// A field that is not declared, and where it would stand: it may be better or worse than assumed.
    pub fn undeclared(what: &'static str, field: impl Into<Arc<str>>) -> Self {
        Self::text(what, &Val::assumed("not declared".into(), field))
    }

    /// A number that was watched.
    pub fn watched(
        what: &'static str,
        unit: Unit,
        value: impl TryInto<i64>,
        source: impl Into<Arc<str>>,
    ) -> Self {
        let value = value.try_into().unwrap_or(i64::MAX);
        Self::number(what, unit, &Val::measured(value, source))
    }

    /// A number counted from objects of a source.
    pub fn count(what: &'static str, value: impl TryInto<i64>, source: impl Into<Arc<str>>) -> Self {
        Self::number(
            what,
            Unit::Count,
            &Val::declared(value.try_into().unwrap_or(i64::MAX), source),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::usual("web is silent for 1800 s", "web is silent for 1800 s")]
    #[case::empty("", "")]
    fn what_fits_stays(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(fit(text), expected);
    }

    #[test]
    fn long_names_lose_their_middle() {
        let name = "a".repeat(253);
        let said = fit(&format!("node {name} and node {name} forget after 900 s"));
        assert_eq!(said.chars().count(), MESSAGE);
        assert!(
            said.starts_with("node aaa") && said.ends_with("a forget after 900 s"),
            "{said}"
        );
    }

    proptest! {
        #[test]
        fn it_fits_whenever_few_words_are_long(long in "\\PC{0,300}", short in "[a-z ]{0,100}") {
            let said = fit(&format!("{} {short}", long.replace(' ', "-")));
            prop_assert!(said.chars().count() <= MESSAGE, "{said}");
        }
    }
}
