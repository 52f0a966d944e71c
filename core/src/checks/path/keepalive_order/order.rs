//! What people read of a pool and of the side that may close its connections first.

use std::fmt;
use std::sync::Arc;

use super::super::budget::Side;
use super::super::margin;
use crate::judge::{Advice, Change, End, Evidence, Explain, Setting};
use crate::know::Val;

/// A pool, and the side that accepts its connections and may close them first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub(super) pool: Party,
    pub(super) server: Party,
    /// After how long the first table between them forgets an idle connection, where that is known.
    pub(super) table: Option<i64>,
    /// The least that an L7 hop may close at: it ends streams that are silent for longer.
    pub(super) silence: i64,
    /// Whether the protocol announces that a connection ends.
    pub(super) announced: bool,
    pub(super) cause: Mismatch,
}

/// One of the two sides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Party {
    pub(super) name: Arc<str>,
    pub(super) idle: Idle,
    pub(super) field: Arc<str>,
    pub(super) end: Option<End>,
}

/// How long a side keeps an idle connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Idle {
    Seconds(Val<i64>),
    Never,
    Undeclared,
}

/// What is known of the two idle times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mismatch {
    ServerClosesFirst { pool: Option<i64>, server: i64 },
    NarrowMargin { pool: i64, server: i64 },
    PoolNotDeclared { server: i64 },
    ServerNotDeclared { pool: Option<i64> },
}

impl Party {
    pub(super) fn of(side: &Side) -> Self {
        let idle = match &side.idle {
            None => Idle::Undeclared,
            Some(span) => span.worst.clone().map_or(Idle::Never, Idle::Seconds),
        };
        Self {
            name: side.name.clone(),
            idle,
            field: side.idle_field.clone(),
            end: side.end.clone(),
        }
    }

    fn evidence(&self, what: &'static str) -> Evidence {
        match &self.idle {
            Idle::Seconds(idle) => Evidence::seconds(what, idle),
            Idle::Never => Evidence::name(what, &"Never".into(), self.field.clone()),
            Idle::Undeclared => Evidence::undeclared(what, self.field.clone()),
        }
    }
}

impl Explain for Order {
    fn cause(&self) -> &'static str {
        match self.cause {
            Mismatch::ServerClosesFirst { .. } => "ServerClosesFirst",
            Mismatch::NarrowMargin { .. } => "NarrowMargin",
            Mismatch::PoolNotDeclared { .. } => "PoolNotDeclared",
            Mismatch::ServerNotDeclared { .. } => "ServerNotDeclared",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.pool.name, &self.server.name);
        let kept = |pool: Option<i64>| pool.map_or("for ever".into(), |pool| format!("for {pool} s"));
        match self.cause {
            Mismatch::ServerClosesFirst { pool, server } => write!(
                f,
                "requests of {from} may meet a closed connection: {to} closes idle ones after {server} s, {from} reuses \
                 them {}",
                kept(pool)
            ),
            Mismatch::NarrowMargin { pool, server } => write!(
                f,
                "requests of {from} may meet a closed connection: {to} closes idle ones at {server} s, hardly after \
                 {from} drops them at {pool} s"
            ),
            Mismatch::PoolNotDeclared { server } => write!(
                f,
                "{to} closes idle connections after {server} s; how long {from} reuses them is not declared"
            ),
            Mismatch::ServerNotDeclared { pool } => write!(
                f,
                "{from} reuses idle connections {}; after how long {to} closes them is not declared",
                kept(pool)
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        vec![
            self.pool.evidence("poolIdleTimeout"),
            self.server.evidence("serverIdleTimeout"),
            Evidence::name("from", &self.pool.name, self.pool.field.clone()),
            Evidence::name("to", &self.server.name, self.server.field.clone()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let (from, to) = (&self.pool.name, &self.server.name);
        let idle = |party: &Party, seconds: i64| {
            let at = party.end.clone()?;
            let set = Setting::IdleTimeout(u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)?);
            Some(Change { at, set })
        };
        let retry = "let the caller repeat requests that may be repeated when a reused connection was closed";
        match self.cause {
            Mismatch::PoolNotDeclared { server } => vec![Advice::with(
                format!(
                    "find out how long {from} keeps idle connections and declare it; at most {} s clears this",
                    self.short(server)
                ),
                idle(&self.pool, self.short(server)),
            )],
            Mismatch::ServerNotDeclared { pool: Some(pool) } => vec![Advice::with(
                format!(
                    "find out after how long {to} closes idle connections and declare it; {} s or more clears this",
                    self.long(pool)
                ),
                // An L7 hop that closes may end streams whose silence is not declared: that is no change that is safe.
                idle(&self.server, self.long(pool)).filter(|change| change.at == End::Server),
            )],
            Mismatch::ServerNotDeclared { pool: None } => vec![
                format!(
                    "find out after how long {to} closes idle connections and declare it; idleTimeout Never clears this"
                )
                .into(),
            ],
            Mismatch::ServerClosesFirst { pool, server } => {
                let mut advice = vec![Advice::with(
                    format!("let {from} drop idle connections after {} s", self.short(server)),
                    idle(&self.pool, self.short(server)),
                )];
                advice.extend(pool.map(|pool| self.keep_longer(pool)));
                advice.push(retry.into());
                advice
            }
            Mismatch::NarrowMargin { pool, server } => vec![
                Advice::with(
                    format!("let {from} drop idle connections after {} s", self.short(server)),
                    idle(&self.pool, self.short(server)),
                ),
                self.keep_longer(pool),
                retry.into(),
            ],
        }
    }
}

impl Order {
    /// A pool time that is safely below the server's, and below what the tables between them remember.
    fn short(&self, server: i64) -> i64 {
        let own = below(server);
        self.table.map_or(own, |table| own.min(margin::below(table)))
    }

    /// A server's time that is safely above the pool's, and longer than any silence that it would end.
    fn long(&self, pool: i64) -> i64 {
        above(pool).max(self.silence)
    }

    /// A longer time of the side that closes. That a table on the way outlasts it too is another check's matter, so it
    /// is no change that is safe by itself.
    fn keep_longer(&self, pool: i64) -> Advice {
        format!(
            "or let {} keep idle connections for {} s or longer, if every hop's table does",
            self.server.name,
            self.long(pool)
        )
        .into()
    }
}

/// A server's time that is safely above a pool's.
const fn above(pool: i64) -> i64 {
    pool.saturating_add(margin::margin(pool)).saturating_add(1)
}

/// A pool time that is safely below a server's.
fn below(server: i64) -> i64 {
    margin::below(server).min(server - 2).max(0)
}
