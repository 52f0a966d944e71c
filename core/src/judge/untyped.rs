//! Cases of checks that have no type of their own yet: evidence is found by its word. Goes with the last of them.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::{Advice, Case, Datum, Evidence, Explain, Severity};

/// A case whose evidence is found by its word.
#[derive(Debug, Clone)]
pub struct UntypedCase {
    /// The cause.
    pub cause: &'static str,
    /// The evidence.
    pub evidence: Vec<Evidence>,
    texts: Texts,
    at_most: Severity,
}

#[derive(Debug, Clone, Copy)]
struct Texts {
    say: fn(&UntypedCase, &mut fmt::Formatter<'_>) -> fmt::Result,
    advise: fn(&UntypedCase) -> Vec<String>,
}

impl PartialEq for UntypedCase {
    fn eq(&self, other: &Self) -> bool {
        (self.cause, &self.evidence) == (other.cause, &other.evidence)
    }
}

impl Eq for UntypedCase {}

impl Hash for UntypedCase {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cause.hash(state);
        self.evidence.hash(state);
    }
}

impl UntypedCase {
    /// A case with a cause.
    pub fn case(
        cause: &'static str,
        evidence: Vec<Evidence>,
        say: fn(&Self, &mut fmt::Formatter<'_>) -> fmt::Result,
        advise: fn(&Self) -> Vec<String>,
    ) -> Case {
        Self::at_most(Severity::Critical, cause, evidence, say, advise)
    }

    /// The same, milder than its check usually is.
    pub fn at_most(
        at_most: Severity,
        cause: &'static str,
        evidence: Vec<Evidence>,
        say: fn(&Self, &mut fmt::Formatter<'_>) -> fmt::Result,
        advise: fn(&Self) -> Vec<String>,
    ) -> Case {
        Case::new(Self {
            cause,
            evidence,
            texts: Texts { say, advise },
            at_most,
        })
    }

    /// The evidence of that word.
    pub fn find(&self, what: &str) -> Option<&Evidence> {
        self.evidence.iter().find(|one| one.what == what)
    }

    /// Value and unit of that word, as text: `900 s`; `?` when there is none.
    pub fn show(&self, what: &str) -> String {
        self.find(what)
            .map_or_else(|| "?".into(), |one| format!("{}{}", one.value, one.unit))
    }

    /// Value, unit and where it was read: `900 s (ConfigMap ...)`.
    pub fn cite(&self, what: &str) -> String {
        self.find(what).map_or_else(
            || "?".into(),
            |one| format!("{}{} ({})", one.value, one.unit, one.source),
        )
    }

    /// The number of that word.
    pub fn number(&self, what: &str) -> Option<i64> {
        match self.find(what)?.value {
            Datum::Number(number) => Some(number),
            Datum::Text(_) => None,
        }
    }

    /// Whether any of it is merely assumed.
    pub fn assumes(&self) -> bool {
        self.evidence
            .iter()
            .any(|one| one.origin == crate::know::Origin::Assumed)
    }
}

impl Explain for UntypedCase {
    fn cause(&self) -> &'static str {
        self.cause
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.texts.say)(self, f)
    }

    fn evidence(&self) -> Vec<Evidence> {
        self.evidence.clone()
    }

    fn advice(&self) -> Vec<Advice> {
        (self.texts.advise)(self).into_iter().map(Into::into).collect()
    }

    fn at_most(&self) -> Severity {
        self.at_most
    }
}
