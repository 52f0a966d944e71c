//! What is wrong with a policy, as shown to its author.

use std::fmt;

/// One thing that is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path of the field, such as `spec.connections[0].clients[1].ping.intervalSeconds`; empty for the object itself.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// Whether the schema of this version has no such field: then a newer one may.
    is_unknown_field: bool,
}

impl Problem {
    /// A problem with the field of this path.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            is_unknown_field: false,
        }
    }

    /// A field of this path, which the schema does not have.
    pub(super) fn unknown_field(field: impl Into<String>) -> Self {
        Self {
            is_unknown_field: true,
            ..Self::new(field, "unknown field")
        }
    }

    /// The same with more to its message.
    pub(super) fn with(mut self, more: &str) -> Self {
        self.message.push_str(more);
        self
    }

    /// Whether it is one that the schema of this version does not have.
    pub(super) const fn is_unknown_field(&self) -> bool {
        self.is_unknown_field
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}
