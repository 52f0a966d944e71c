//! Label selectors with bounded, owned types.

use std::sync::Arc;

/// How a [`Requirement`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The label exists and its value is among the values.
    In,
    /// The label is absent or its value is not among the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// One line of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// Label key.
    pub key: Arc<str>,
    /// Comparison.
    pub operator: Operator,
    /// Values; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<Arc<str>>,
}

/// A label selector: every line must hold. An empty selector matches everything, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selector {
    /// Labels that must have exactly these values.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Further requirements.
    pub expressions: Vec<Requirement>,
}

impl Selector {
    /// Whether an object with these labels is selected; `get` gives a label's value.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.labels.iter().all(|(key, value)| get(key) == Some(value))
            && self.expressions.iter().all(|line| {
                let value = get(&line.key);
                let among = value.is_some_and(|value| line.values.iter().any(|one| &**one == value));
                match line.operator {
                    Operator::In => among,
                    Operator::NotIn => !among,
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }
}
