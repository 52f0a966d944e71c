//! Label selectors with bounded, owned types.

use std::fmt;
use std::sync::Arc;

/// How a [`Requirement`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// Label key.
    pub key: Arc<str>,
    /// Comparison.
    pub operator: Operator,
    /// Values; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<Arc<str>>,
}

/// A label selector: every line must hold. An empty selector matches everything, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

impl fmt::Display for Selector {
    /// As the API takes it in a query: `a=b,c in (d,e),!f`; empty for everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (key, value) in &self.labels {
            write!(f, "{comma}{key}={value}")?;
            comma = ",";
        }
        for Requirement {
            key,
            operator,
            values,
        } in &self.expressions
        {
            f.write_str(comma)?;
            match operator {
                Operator::In => write!(f, "{key} in ({})", values.join(","))?,
                Operator::NotIn => write!(f, "{key} notin ({})", values.join(","))?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_as_the_api_takes_it() {
        let line = |key: &str, operator, values: &[&str]| Requirement {
            key: key.into(),
            operator,
            values: values.iter().map(|value| Arc::from(*value)).collect(),
        };
        let selector = Selector {
            labels: vec![("a".into(), "b".into()), ("x".into(), "y".into())],
            expressions: vec![
                line("c", Operator::In, &["d", "e"]),
                line("f", Operator::NotIn, &["g"]),
                line("h", Operator::Exists, &[]),
                line("i", Operator::DoesNotExist, &[]),
            ],
        };
        assert_eq!(selector.to_string(), "a=b,x=y,c in (d,e),f notin (g),h,!i");
        assert_eq!(Selector::default().to_string(), "");
    }
}
