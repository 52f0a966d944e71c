//! What people read of a load balancer that uses not all of the API servers.

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain, Severity};
use crate::know::Unit;

/// By what it is known that the balancer uses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SeenBy {
    /// It has used others before.
    Change,
    /// All clients of a declared load balancer go there.
    Clients,
    /// Our own connections alone: it may be meant so.
    Handshakes,
}

/// A balancer that uses not all of the API servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ViewMismatch {
    /// It uses one.
    OneUsed {
        server: Arc<str>,
        handshakes: u32,
        servers: usize,
        by: SeenBy,
    },
    /// It leaves one out.
    Unused {
        server: Arc<str>,
        handshakes: u32,
        servers: usize,
    },
}

impl ViewMismatch {
    const fn parts(&self) -> (&Arc<str>, u32, usize) {
        match self {
            Self::OneUsed {
                server,
                handshakes,
                servers,
                ..
            }
            | Self::Unused {
                server,
                handshakes,
                servers,
            } => (server, *handshakes, *servers),
        }
    }
}

impl Explain for ViewMismatch {
    fn cause(&self) -> &'static str {
        match self {
            Self::OneUsed {
                by: SeenBy::Change | SeenBy::Clients,
                ..
            } => "OneUsed",
            Self::OneUsed {
                by: SeenBy::Handshakes,
                ..
            } => "OneUsedOrMeant",
            Self::Unused { .. } => "OneUnused",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, _, servers) = self.parts();
        match self {
            Self::OneUsed {
                by: SeenBy::Change | SeenBy::Clients,
                ..
            } => write!(
                f,
                "the load balancer sends every new connection to API server {server}, and {} others are ready",
                servers - 1
            ),
            Self::OneUsed {
                by: SeenBy::Handshakes,
                ..
            } => write!(
                f,
                "all our connections reach API server {server} of {servers}: the balancer uses no other, keeps clients, or fails over"
            ),
            Self::Unused { handshakes, .. } => write!(
                f,
                "none of {handshakes} connections to the load balancer reached API server {server}, one of {servers} that are ready"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let (server, handshakes, servers) = self.parts();
        let source = "certificates in TLS handshakes with the load balancer and with each API server";
        let mut evidence = vec![
            Evidence::name("apiServer", server, source),
            Evidence::watched("handshakes", Unit::Count, handshakes, source),
            Evidence::count("apiServers", servers, "EndpointSlices of default/kubernetes"),
        ];
        let seen = match self {
            Self::OneUsed { by, .. } => match by {
                SeenBy::Change => Some("it has used others before"),
                SeenBy::Clients => Some("requests or new connections of all clients"),
                SeenBy::Handshakes => None,
            },
            Self::Unused { .. } => None,
        };
        evidence.extend(seen.map(|seen| Evidence::name("alsoSeenBy", &seen.into(), source)));
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let (server, ..) = self.parts();
        let ask = "ask the load balancer which API servers it holds for healthy, and mend its health check";
        match self {
            Self::OneUsed { by, .. } => {
                let mut advice: Vec<Advice> = vec![ask.into()];
                if *by == SeenBy::Handshakes {
                    advice.push(
                        "where the address fails over or keeps clients by design, accept this with an exception".into(),
                    );
                }
                advice.push(
                    format!(
                        "do not restart or drain API server {server}: the load balancer has no other target"
                    )
                    .into(),
                );
                advice
            }
            Self::Unused { .. } => vec![
                ask.into(),
                "leave the API servers alone: all of them answer".into(),
            ],
        }
    }

    fn at_most(&self) -> Severity {
        match self {
            Self::OneUsed {
                by: SeenBy::Handshakes,
                ..
            } => Severity::Warning,
            _ => Severity::Critical,
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(super) fn examples() -> Vec<Verdict> {
    let used = |by| {
        Verdict::violated(ViewMismatch::OneUsed {
            server: "192.0.2.1".into(),
            handshakes: 21,
            servers: 3,
            by,
        })
    };
    let mut all = [SeenBy::Change, SeenBy::Clients, SeenBy::Handshakes]
        .map(used)
        .to_vec();
    all.push(Verdict::at_risk(ViewMismatch::Unused {
        server: "192.0.2.3".into(),
        handshakes: 54,
        servers: 3,
    }));
    all
}
