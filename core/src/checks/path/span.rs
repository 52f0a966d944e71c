//! A time that is not known exactly: the best and the worst that what was declared leaves open.

use crate::know::Val;

/// A time that lies between two ends; `None` is for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The least it can be; what an undeclared keepalive may be at best is 1 s.
    pub best: Option<Val<i64>>,
    /// The most it can be.
    pub worst: Option<Val<i64>>,
}

impl Span {
    pub(super) fn known(val: Val<i64>) -> Self {
        Self {
            best: Some(val.clone()),
            worst: Some(val),
        }
    }

    pub(super) const fn never() -> Self {
        Self {
            best: None,
            worst: None,
        }
    }

    /// A keepalive that is not declared: at best every second, at worst never.
    pub(super) fn undeclared(field: &str) -> Self {
        Self {
            best: Some(Val::assumed(1, format!("{field} is not declared; it may be on"))),
            worst: None,
        }
    }

    /// The shorter of two times.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            best: least(self.best, other.best),
            worst: least(self.worst, other.worst),
        }
    }

    /// The longer of two times.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            best: most(self.best, other.best),
            worst: most(self.worst, other.worst),
        }
    }
}

fn least(one: Option<Val<i64>>, other: Option<Val<i64>>) -> Option<Val<i64>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.value < one.value { other } else { one }),
        (one, other) => one.or(other),
    }
}

fn most(one: Option<Val<i64>>, other: Option<Val<i64>>) -> Option<Val<i64>> {
    let (one, other) = (one?, other?);
    Some(if other.value > one.value { other } else { one })
}

/// Whether a time reaches a timeout; for ever always does.
pub(super) fn reaches(time: Option<&Val<i64>>, timeout: i64) -> bool {
    time.is_none_or(|time| time.value >= timeout)
}

/// Whether a time is strictly above 80 % of a timeout.
pub(super) fn nears(time: Option<&Val<i64>>, timeout: i64) -> bool {
    time.is_none_or(|time| time.value.saturating_mul(10) > timeout.saturating_mul(8))
}
