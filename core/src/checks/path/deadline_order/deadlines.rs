//! What people read of deadlines that do not fit the request or each other.

use std::fmt;
use std::sync::Arc;

use crate::judge::{Advice, Change, End, Evidence, Explain, Setting, Severity};
use crate::know::Val;

/// One deadline of the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Deadline {
    pub(super) name: Arc<str>,
    pub(super) field: Arc<str>,
    pub(super) end: Option<End>,
    pub(super) value: Option<Val<i64>>,
}

impl Deadline {
    fn evidence(&self, what: &'static str) -> Evidence {
        self.value.as_ref().map_or_else(
            || Evidence::undeclared(what, self.field.clone()),
            |value| Evidence::seconds(what, value),
        )
    }

    /// The same deadline at another value.
    fn set(&self, seconds: i64) -> Option<Change> {
        Some(Change {
            at: self.end.clone()?,
            set: Setting::RequestTimeout(u32::try_from(seconds).ok()?),
        })
    }
}

/// Deadlines that do not fit the request or each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Deadlines {
    CutsRequest {
        at: Deadline,
        timeout: i64,
        request: Val<i64>,
    },
    InnerOutlastsOuter {
        outer: Deadline,
        inner: Deadline,
        times: (i64, i64),
    },
    Tie {
        outer: Deadline,
        inner: Deadline,
        time: i64,
    },
    DeadlineNotDeclared {
        at: Deadline,
        request: Val<i64>,
        /// A value that fits between its neighbours, in seconds.
        fits: Option<i64>,
    },
    RequestNotDeclared {
        at: Deadline,
        timeout: i64,
        field: Arc<str>,
    },
}

impl Explain for Deadlines {
    fn cause(&self) -> &'static str {
        match self {
            Self::CutsRequest { .. } => "DeadlineCutsRequest",
            Self::InnerOutlastsOuter { .. } => "InnerOutlastsOuter",
            Self::Tie { .. } => "DeadlinesTie",
            Self::DeadlineNotDeclared { .. } => "DeadlineNotDeclared",
            Self::RequestNotDeclared { .. } => "RequestNotDeclared",
        }
    }

    fn at_most(&self) -> Severity {
        match self {
            Self::CutsRequest { .. } | Self::InnerOutlastsOuter { .. } | Self::Tie { .. } => {
                Severity::Warning
            }
            Self::DeadlineNotDeclared { .. } | Self::RequestNotDeclared { .. } => Severity::Info,
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutsRequest { at, timeout, request } => write!(
                f,
                "{} gives up on a request after {timeout} s, and one may take {} s; keepalives do not reset this",
                at.name, request.value
            ),
            Self::InnerOutlastsOuter {
                outer,
                inner,
                times: (before, after),
            } => write!(
                f,
                "{} gives up after {before} s, while {} behind it goes on for up to {after} s",
                outer.name, inner.name
            ),
            Self::Tie { outer, inner, time } => write!(
                f,
                "{} and {} behind it both give up after {time} s: which of them is first is chance",
                outer.name, inner.name
            ),
            Self::DeadlineNotDeclared { at, request, .. } => write!(
                f,
                "a request may take {} s; after how long {} gives up on it is not declared",
                request.value, at.name
            ),
            Self::RequestNotDeclared { at, timeout, .. } => write!(
                f,
                "{} gives up on a request after {timeout} s; how long one may take is not declared",
                at.name
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let name = |what, one: &Deadline| Evidence::name(what, &one.name, one.field.clone());
        match self {
            Self::CutsRequest { at, request, .. } | Self::DeadlineNotDeclared { at, request, .. } => vec![
                at.evidence("requestTimeout"),
                Evidence::seconds("longestRequest", request),
                name("at", at),
            ],
            Self::InnerOutlastsOuter { outer, inner, .. } | Self::Tie { outer, inner, .. } => vec![
                outer.evidence("outerTimeout"),
                inner.evidence("innerTimeout"),
                name("outer", outer),
                name("inner", inner),
            ],
            Self::RequestNotDeclared { at, field, .. } => vec![
                at.evidence("requestTimeout"),
                Evidence::undeclared("longestRequest", field.clone()),
                name("at", at),
            ],
        }
    }

    fn advice(&self) -> Vec<Advice> {
        match self {
            // Above the longest request and still in order with its neighbours: only who knows all of them can say by
            // how much.
            Self::CutsRequest { at, request, .. } => vec![
                format!(
                    "let the request return at once and report progress, or raise the request timeout of {} above {} s",
                    at.name, request.value
                )
                .into(),
                "keep every outer deadline above the inner ones; shorter keepalives do not help".into(),
            ],
            Self::InnerOutlastsOuter { outer, inner, .. } | Self::Tie { outer, inner, .. } => vec![
                format!(
                    "set the request timeout of {} a few seconds below that of {}, if it still covers the longest request",
                    inner.name, outer.name
                )
                .into(),
                format!(
                    "or raise that of {} a few seconds above that of {}",
                    outer.name, inner.name
                )
                .into(),
            ],
            Self::RequestNotDeclared { at, timeout, .. } => {
                let longest = timeout.saturating_sub(1);
                let change = u32::try_from(longest).ok().filter(|seconds| *seconds > 0);
                let change = change.map(|seconds| Change {
                    at: End::Connection,
                    set: Setting::LongestRequest(seconds),
                });
                vec![Advice::with(
                    format!(
                        "declare longestRequestSeconds; less than the {timeout} s of {} clears this",
                        at.name
                    ),
                    change,
                )]
            }
            Self::DeadlineNotDeclared { at, request, fits } => vec![Advice::with(
                format!(
                    "find out the request timeout of {} and declare it; more than {} s clears this",
                    at.name, request.value
                ),
                fits.and_then(|seconds| at.set(seconds)),
            )],
        }
    }
}
