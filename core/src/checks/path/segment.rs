//! One TCP segment of a path: its ends, its silence, and what forgets or closes a silent connection on it.

use std::sync::Arc;

use super::keepalive::Keepalive;
use super::span::{Span, nears, reaches};
use super::tables::TableHop;
use crate::judge::End;
use crate::know::{Gap, Val};
use crate::route::Meets;

/// An L7 hop at one end of a segment that closes a connection without data. Keepalives carry none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// What people call the hop.
    pub hop: Arc<str>,
    /// After how long it closes.
    pub idle: Val<i64>,
    /// Longest time without data.
    pub silence: Span,
    /// The hop of the policy that it is.
    pub end: Option<End>,
}

/// How the silence on a segment stands to its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Budget {
    /// It is longer than a table remembers, whatever was not declared.
    Forgotten,
    /// It is longer at worst: something that was not declared decides, or where the client runs.
    Undeclared,
    /// It comes near.
    Narrow,
    /// It is well below.
    Kept,
    /// A table is not known, and none that is known decides it.
    Unknown(Gap),
    /// There is no table.
    NoTable,
}

/// One end of a segment: who it is, and what it declares of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What people call it.
    pub name: Arc<str>,
    /// Where a policy declares it; `None` for what no policy describes.
    pub end: Option<End>,
    /// How long it keeps an idle connection; `None` where that is not declared.
    pub idle: Option<Span>,
    /// Where that is, or would be, declared.
    pub idle_field: Arc<str>,
    /// After how long it ends a connection whatever happens on it.
    pub(super) age: Option<Val<i64>>,
    pub(super) keepalive: Keepalive,
    /// Whether it is known to reuse idle connections for as long as `idle` says.
    pub(super) reuses: bool,
}

impl Side {
    /// One of which nothing is declared.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            end: None,
            idle: None,
            idle_field: "policy".into(),
            age: None,
            keepalive: Keepalive::never(),
            reuses: false,
        }
    }

    /// Whether it may send TCP keepalives that are not declared.
    pub fn keepalive_is_undeclared(&self) -> bool {
        self.keepalive.tcp.best.is_some() && self.keepalive.tcp.worst.is_none()
    }
}

/// One TCP segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Who opens its connections.
    pub from: Side,
    /// Who accepts them.
    pub to: Side,
    /// The first keepalive or ping on it, while a call is open.
    pub keepalive: Span,
    /// The same while none is.
    pub idle_keepalive: Span,
    /// Longest silence while a request or session goes on.
    pub stream: Span,
    /// Longest time that a connection waits in a pool.
    pub pool: Span,
    /// Longest silence on the wire.
    pub silence: Span,
    /// Its tables, from client to server.
    pub tables: Vec<TableHop>,
    /// L7 hops at its ends that close a connection without data.
    pub closings: Vec<Closing>,
    /// The first of the times after which one of these closes any connection without data, seconds, whatever is known of
    /// silence.
    pub closes_after: Option<i64>,
}

impl Segment {
    /// The table that forgets first, of those that are known: an upper bound of the segment's timeout.
    pub fn tightest(&self) -> Option<(&TableHop, &Val<i64>)> {
        self.first_to_forget(|_| true)
    }

    /// The same of those that the connection is known to meet, wherever its client runs.
    pub fn tightest_met(&self) -> Option<(&TableHop, &Val<i64>)> {
        self.first_to_forget(|table| table.meets == Meets::Surely)
    }

    fn first_to_forget(&self, counts: impl Fn(&TableHop) -> bool) -> Option<(&TableHop, &Val<i64>)> {
        self.tables
            .iter()
            .filter(|table| counts(table))
            .filter_map(|table| Some((table, table.idle.as_ref().ok()?)))
            .min_by_key(|(table, idle)| (idle.value, table.meets != Meets::Surely, idle.origin))
    }

    /// The first time after which one of its tables forgets any connection without data, or a hop at one of its ends
    /// closes it, of those that are known; seconds.
    pub fn least_timeout(&self) -> Option<i64> {
        let table = self.tightest().map(|(_, idle)| idle.value);
        table.into_iter().chain(self.closes_after).min()
    }

    /// How its silence stands to its tables.
    pub fn budget(&self) -> Budget {
        let tightest = self.tightest().map(|(_, idle)| idle.value);
        let met = self.tightest_met().map(|(_, idle)| idle.value);
        let (best, worst) = (self.silence.best.as_ref(), self.silence.worst.as_ref());
        if met.is_some_and(|idle| reaches(best, idle)) {
            return Budget::Forgotten;
        }
        if let Some(gap) = self.excuse() {
            return Budget::Unknown(gap.clone());
        }
        if tightest.is_some_and(|idle| reaches(worst, idle)) {
            return Budget::Undeclared;
        }
        match (self.gap(), tightest) {
            (Some(gap), _) => Budget::Unknown(gap.clone()),
            (None, None) => Budget::NoTable,
            (None, Some(idle)) if nears(worst, idle) => Budget::Narrow,
            (None, Some(_)) => Budget::Kept,
        }
    }

    /// Why it is not known whether a connection that is silent for too long is forgotten, where only tables that are not
    /// known can excuse it.
    pub fn excuse(&self) -> Option<&Gap> {
        let best = self.silence.best.as_ref();
        self.tables
            .iter()
            .find_map(|table| match (&table.meets, &table.idle) {
                (Meets::NotKnown(gap), Ok(idle)) if reaches(best, idle.value) => Some(gap),
                _ => None,
            })
    }

    /// Why one of its tables is not known.
    pub fn gap(&self) -> Option<&Gap> {
        self.tables.iter().find_map(|table| table.idle.as_ref().err())
    }
}
