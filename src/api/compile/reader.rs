//! Reads single values and collects what is wrong with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel_core::policy as core;

use super::super::{LabelSelector, Problem, text};

/// Collects problems while values are read; a value with a problem is read as a harmless stand-in.
#[derive(Default)]
pub(super) struct ProblemReader {
    problems: Vec<Problem>,
}

impl ProblemReader {
    pub(super) fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(field, message));
    }

    pub(super) fn problems(&mut self) -> &mut Vec<Problem> {
        &mut self.problems
    }

    /// The compiled form when nothing is wrong, else all problems.
    pub(super) fn finish<T>(mut self, compiled: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(compiled);
        }
        self.problems.sort();
        self.problems.dedup();
        Err(self.problems)
    }

    /// A number that cannot be negative.
    pub(super) fn number(&mut self, path: &str, value: i32) -> u32 {
        u32::try_from(value).unwrap_or_else(|_| {
            self.problem(path, "must not be negative");
            0
        })
    }

    /// As [`Self::number`], where there is one.
    pub(super) fn optional(&mut self, path: &str, value: Option<i32>) -> Option<u32> {
        value.map(|value| self.number(path, value))
    }

    /// A port's number.
    pub(super) fn port(&mut self, path: &str, value: i32) -> u16 {
        match u16::try_from(value) {
            Ok(number) if number > 0 => number,
            _ => {
                self.problem(path, "must be a port from 1 to 65535");
                0
            }
        }
    }

    /// Names that may occur once each.
    pub(super) fn names(&mut self, path: &str, names: &[String]) -> Vec<Arc<str>> {
        self.unique(path, names.iter().map(String::as_str));
        names.iter().map(|name| Arc::from(&**name)).collect()
    }

    /// The names of a list's entries, each of which may occur once.
    pub(super) fn unique<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            if !seen.insert(name) {
                self.problem(format!("{path}[{index}]"), "occurs twice");
            }
        }
    }

    /// A label selector. Keys that can be no label's would silently select nothing.
    pub(super) fn selector(&mut self, path: &str, selector: &LabelSelector) -> core::Selector {
        for key in selector
            .match_labels
            .keys()
            .filter(|key| !text::can_be_label_key(key))
        {
            self.problem(
                format!("{path}.matchLabels"),
                format!("{key} cannot be the key of a label"),
            );
        }
        for (index, line) in selector.match_expressions.iter().enumerate() {
            if !text::can_be_label_key(&line.key) {
                let field = format!("{path}.matchExpressions[{index}].key");
                self.problem(field, format!("{} cannot be the key of a label", line.key));
            }
        }
        core::Selector {
            labels: selector
                .match_labels
                .iter()
                .map(|(key, value)| (Arc::from(&**key), Arc::from(&**value)))
                .collect(),
            expressions: selector
                .match_expressions
                .iter()
                .map(|line| core::Requirement {
                    key: Arc::from(&*line.key),
                    operator: line.operator.into(),
                    values: line.values.iter().map(|value| Arc::from(&**value)).collect(),
                })
                .collect(),
        }
    }
}
