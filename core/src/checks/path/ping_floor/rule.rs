//! What people read of a ping and of what a server permits.

use std::fmt;
use std::sync::Arc;

use super::super::margin::{above_floor, below};
use crate::judge::{Advice, Change, End, Evidence, Explain, Setting, Severity};
use crate::know::{Origin, Val};

/// A ping and a server's floor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PingRule {
    pub(super) client: Arc<str>,
    pub(super) floor: Val<i64>,
    pub(super) cause: PingFault,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PingFault {
    PingBelowFloor {
        interval: Val<i64>,
    },
    NarrowMargin {
        interval: Val<i64>,
    },
    PingNotDeclared {
        field: Arc<str>,
        /// Whether an interval that the server permits is in time for the path's tables.
        fits: bool,
    },
    NoLegalInterval {
        hop: Arc<str>,
        /// The same as a sentence names it.
        table: Arc<str>,
        idle: Val<i64>,
        /// Longest silence on the wire without pings; `None` when nothing declared ends it.
        silence: Option<Val<i64>>,
        /// Whether it is certain that nothing else keeps the connection alive.
        certain: bool,
    },
}

impl Explain for PingRule {
    fn cause(&self) -> &'static str {
        match self.cause {
            PingFault::PingBelowFloor { .. } => "PingBelowFloor",
            PingFault::NarrowMargin { .. } => "NarrowMargin",
            PingFault::PingNotDeclared { .. } => "PingNotDeclared",
            PingFault::NoLegalInterval { .. } => "NoLegalInterval",
        }
    }

    fn at_most(&self) -> Severity {
        match self.cause {
            PingFault::PingNotDeclared { .. } => Severity::Info,
            PingFault::PingBelowFloor { .. }
            | PingFault::NarrowMargin { .. }
            | PingFault::NoLegalInterval { .. } => Severity::Warning,
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, floor) = (&self.client, self.floor.value);
        let by = if self.floor.origin == Origin::Assumed {
            " by gRPC's default"
        } else {
            ""
        };
        match &self.cause {
            PingFault::PingBelowFloor { interval } => write!(
                f,
                "{client} pings every {} s, and the server hangs up on pings faster than {floor} s{by}",
                interval.value
            ),
            PingFault::NarrowMargin { interval } => write!(
                f,
                "{client} pings every {} s, too close to the {floor} s{by} below which the server hangs up: jitter is \
                 enough",
                interval.value
            ),
            PingFault::PingNotDeclared { .. } => write!(
                f,
                "the server hangs up on pings faster than {floor} s{by}; how often {client} pings is not declared"
            ),
            PingFault::NoLegalInterval { table, idle, .. } => write!(
                f,
                "no ping interval of {client} is right: the server permits one in {floor} s{by}, and {table} forgets after {} s",
                idle.value
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = vec![
            Evidence::seconds("floor", &self.floor),
            Evidence::name("client", &self.client, "policy"),
        ];
        match &self.cause {
            PingFault::PingBelowFloor { interval } | PingFault::NarrowMargin { interval } => {
                evidence.push(Evidence::seconds("interval", interval));
            }
            PingFault::PingNotDeclared { field, .. } => {
                evidence.push(Evidence::undeclared("interval", field.clone()));
            }
            PingFault::NoLegalInterval {
                hop,
                idle,
                silence,
                certain,
                ..
            } => {
                evidence.push(Evidence::seconds("idleTimeout", idle));
                evidence.push(Evidence::name("hop", hop, idle.source.clone()));
                evidence.push(match silence {
                    Some(silence) => Evidence::seconds("silence", silence),
                    None => Evidence::text(
                        "silence",
                        &Val::assumed("unbounded".into(), "keepalive or silence is not declared"),
                    ),
                });
                if !certain {
                    evidence.push(Evidence::undeclared(
                        "otherKeepalive",
                        "keepalive or silence is not declared",
                    ));
                }
            }
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let client = &self.client;
        let safe = above_floor(self.floor.value);
        match &self.cause {
            PingFault::NoLegalInterval { idle, .. } => {
                let half = (idle.value / 2).max(1);
                let keepalive = change(End::Client, Setting::TcpKeepalive, half.min(32_767));
                vec![
                    Advice::with(
                        format!(
                            "keep the connection alive by TCP keepalive at {half} s or sooner, which no gRPC server counts"
                        ),
                        keepalive,
                    ),
                    Advice::with(
                        format!(
                            "or lower the server's minimum ping interval to {} s first, and only then let {client} ping \
                             every {half} s, without calls too",
                            below(half)
                        ),
                        lower(below(half)).into_iter().chain(ping(half)),
                    ),
                ]
            }
            PingFault::PingBelowFloor { interval } | PingFault::NarrowMargin { interval } => {
                let lowered = below(interval.value);
                // Whether the hops permit slower pings is another check's matter: it is no change that is safe by itself.
                let slower = format!(
                    "let {client} ping every {safe} s or slower, if the path's idle timeouts allow it"
                );
                let mut advice = vec![slower.into()];
                if lowered >= 1 && above_floor(lowered) <= interval.value {
                    let text =
                        format!("lower the server's minimum ping interval to {lowered} s, and declare it");
                    advice.insert(0, Advice::with(text, lower(lowered)));
                }
                advice
            }
            PingFault::PingNotDeclared { fits: true, .. } => vec![Advice::with(
                format!(
                    "find out whether and how often {client} pings, and declare it; {safe} s or more, or Disabled, clears \
                     this"
                ),
                ping(safe),
            )],
            PingFault::PingNotDeclared { fits: false, .. } => vec![
                format!(
                    "find out whether and how often {client} pings, and declare it; a table on the way forgets sooner than \
                     the server permits pings"
                )
                .into(),
            ],
        }
    }
}

/// A setting of one end at so many seconds, one at least.
fn change(at: End, set: fn(u32) -> Setting, seconds: i64) -> Option<Change> {
    let set = set(u32::try_from(seconds.max(1)).ok()?);
    Some(Change { at, set })
}

fn ping(seconds: i64) -> Option<Change> {
    change(End::Client, Setting::Ping, seconds)
}

fn lower(seconds: i64) -> Option<Change> {
    change(End::Server, Setting::MinimumPingInterval, seconds)
}
