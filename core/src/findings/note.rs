//! What a person may want to know beside the findings.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a person may want to know, without being wrong: names in policies that nothing has, exceptions that have ended. In
/// JSON and YAML it is its sentence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A sentence by itself.
    Sentence(String),
    /// What is said of one policy. What is said alike of several can be said once.
    OfPolicy {
        /// The policy, as `namespace/name`.
        policy: String,
        /// What is said of it.
        remark: Remark,
    },
}

/// What is said of a policy, to follow its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remark {
    /// The connection of the policy that it is about; `None` where it is about the policy as a whole, whose verb then begins
    /// [`Self::said`].
    pub connection: Option<String>,
    /// The words.
    pub said: String,
}

impl Remark {
    /// One about the policy as a whole: a verb and what follows.
    pub(crate) const fn whole(said: String) -> Self {
        Self {
            connection: None,
            said,
        }
    }

    /// The sentence about this subject, such as `policy shop/api`.
    pub fn of(&self, subject: impl fmt::Display) -> String {
        let said = &self.said;
        match &self.connection {
            None => format!("{subject} {said}"),
            Some(connection) => format!("{subject}, connection {connection}: {said}"),
        }
    }

    /// The sentence where it stands with the policy itself.
    pub(crate) fn of_itself(&self) -> String {
        let said = &self.said;
        match &self.connection {
            None => format!("it {said}"),
            Some(connection) => format!("its connection {connection}: {said}"),
        }
    }
}

impl From<String> for Note {
    fn from(sentence: String) -> Self {
        Self::Sentence(sentence)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sentence(sentence) => f.write_str(sentence),
            Self::OfPolicy { policy, remark } => f.write_str(&remark.of(format_args!("policy {policy}"))),
        }
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
