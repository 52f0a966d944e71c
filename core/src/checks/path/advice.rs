//! What helps a connection that is silent for too long, by what its segment is made of.
//!
//! Nothing is advised that cannot help there: no TCP words for UDP, no keepalive of the client for a segment that
//! another hop opens, no ping faster than the server permits, no sysctl where Kubernetes refuses it.

use std::sync::Arc;

use super::balancer::ends_pings;
use super::budget::Segment;
use super::keepalive::{SYSCTL, Sockets, ping_floor, pods_of};
use super::margin::{above, above_floor, below};
use super::tables::in_a_sentence;
use crate::judge::{Advice, Change, End, Look, Path, Setting};
use crate::policy::{Beat, Door};
use crate::sources::service::Transport;

/// Most seconds of a TCP keepalive: Linux `include/net/tcp.h`, `MAX_TCP_KEEPIDLE`.
const MAX_KEEPALIVE_SECONDS: i64 = 32_767;

/// What a segment leaves to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent traits of a segment"
)]
pub(super) struct Remedies {
    from: Arc<str>,
    to: Arc<str>,
    /// Who opens the segment's connections, where a policy describes it.
    opener: Option<End>,
    /// Whether the backends of the Service accept them.
    to_server: bool,
    udp: bool,
    /// The timeout that is to be met.
    idle: i64,
    /// Whether a declared ping is data of the application.
    heartbeats: bool,
    /// Which ends may send keepalives that are not declared.
    undeclared: [bool; 2],
    /// A pool's idle time that both the timeout and the other side's idle timeout allow, where a pool decides.
    pool: Option<i64>,
    pool_decides: bool,
    /// Who accepts, where its idle timeout is not declared: it has to be longer than the pool's.
    closer: Option<End>,
    closer_is_known: bool,
    /// The least timeout of all segments: what a declared silence has to stay below.
    least: i64,
    /// The least timeout of the segment's tables, where it has any that is known.
    table: Option<i64>,
    /// The least interval of pings or heartbeats that is safely above what the server permits.
    permitted: i64,
    /// A ping that the server permits and the timeout allows.
    ping: Option<i64>,
    /// The interval of pings that are sent already.
    sent: Option<u32>,
    /// Whether the client's Pods, the server's, can have a sysctl of their own and take their time from it.
    sysctl: [bool; 2],
}

fn change(at: &End, set: impl FnOnce(u32) -> Setting, seconds: i64) -> Option<Change> {
    Some(Change {
        at: at.clone(),
        set: set(u32::try_from(seconds).ok()?),
    })
}

impl Remedies {
    pub(super) fn of(
        look: &Look<'_>,
        path: &Path<'_>,
        all: &[Segment],
        segment: &Segment,
        idle: i64,
    ) -> Self {
        let least = all.iter().filter_map(Segment::least_timeout).min();
        let connection = path.connection;
        let server_idle = segment.to.idle.as_ref().and_then(|span| span.best.as_ref());
        let pool = server_idle.map_or(below(idle), |server| below(idle).min(below(server.value)));
        let reaches = |span: &super::span::Span| super::span::reaches(span.worst.as_ref(), idle);
        let proxied = ends_pings(look, path);
        let floor = ping_floor(path).map_or(0, |floor| floor.value);
        let ping = (idle / 2).max(above_floor(floor)).max(1);
        let by_client = segment.from.end == Some(End::Client);
        let unset = |beat: Option<Beat>| beat == Some(Beat::Enabled(None));
        let own = |sockets| match pods_of(look, path, sockets) {
            Ok(Some(pods)) => !pods.is_empty() && pods.iter().all(|one| !one.template.host_network),
            Ok(None) | Err(_) => false,
        };
        Self {
            from: segment.from.name.clone(),
            to: segment.to.name.clone(),
            opener: segment.from.end.clone(),
            to_server: segment.to.end == Some(End::Server),
            udp: path.port.transport == Transport::Udp,
            idle,
            heartbeats: !connection.protocol.has_ping(),
            undeclared: [
                segment.from.keepalive_is_undeclared(),
                segment.to.keepalive_is_undeclared(),
            ],
            pool: (pool > 0).then_some(pool),
            closer: (segment.to.end == Some(End::Server)).then_some(End::Server),
            closer_is_known: segment.to.idle.is_some(),
            least: least.unwrap_or(idle),
            table: segment.tightest().map(|(_, idle)| idle.value),
            pool_decides: reaches(&segment.pool) && !reaches(&segment.stream),
            permitted: above_floor(floor),
            ping: (connection.protocol.has_ping() && by_client && !proxied && ping <= below(idle))
                .then_some(ping),
            sent: match path.client.ping {
                Some(Beat::Enabled(Some(seconds))) if by_client => Some(seconds),
                _ => None,
            },
            sysctl: [
                by_client
                    && path.client.from == Door::Cluster
                    && unset(path.client.tcp_keepalive)
                    && own(Sockets::Client),
                unset(connection.server.tcp_keepalive) && own(Sockets::Server),
            ],
        }
    }

    /// Half of the timeout: what a keepalive is to come at. `None` where that is less than a second, the shortest that
    /// there is.
    fn half(&self) -> Option<i64> {
        let half = (self.idle / 2).min(MAX_KEEPALIVE_SECONDS);
        (half > 0).then_some(half)
    }

    /// The ends of the segment that can be configured to send keepalives.
    fn ends(&self) -> [Option<(&str, &End)>; 2] {
        const SERVER: &End = &End::Server;
        [
            self.opener.as_ref().map(|end| (&*self.from, end)),
            self.to_server.then_some((&*self.to, SERVER)),
        ]
    }

    pub(super) fn declare_keepalive(&self) -> Option<Advice> {
        let half = self.half()?;
        let (who, end) = self
            .ends()
            .into_iter()
            .zip(self.undeclared)
            .find_map(|(end, undeclared)| end.filter(|_| undeclared))?;
        Some(Advice::with(
            format!(
                "find out whether {who} sends TCP keepalives, and declare its tcpKeepalive; a first one at {half} s or \
                 sooner clears this"
            ),
            change(end, Setting::TcpKeepalive, half),
        ))
    }

    pub(super) fn declare_silence(&self) -> Option<Advice> {
        let seconds = below(self.least);
        (seconds > 0).then(|| {
            Advice::with(
                format!("declare longestSilenceSeconds; at most {seconds} s clears this"),
                change(&End::Connection, Setting::LongestSilence, seconds),
            )
        })
    }

    pub(super) fn declare_pool(&self) -> Option<Advice> {
        let seconds = self.pool?;
        Some(self.pool_of(
            format!(
                "find out how long {} keeps idle connections, and declare it; at most {seconds} s clears this",
                self.from
            ),
            seconds,
        ))
    }

    /// A pool's idle time; where the other side's is not declared, that has to be longer.
    fn pool_of(&self, text: String, seconds: i64) -> Advice {
        let Some(opener) = &self.opener else {
            return text.into();
        };
        let own = change(opener, Setting::IdleTimeout, seconds);
        if self.closer_is_known {
            return Advice::with(text, own);
        }
        let Some(closer) = &self.closer else {
            return text.into();
        };
        let longer = seconds.saturating_add(seconds / 10).saturating_add(2);
        Advice::with(
            format!("{text}; {} has to keep them for {longer} s or longer", self.to),
            own.into_iter()
                .chain(change(closer, Setting::IdleTimeout, longer)),
        )
    }

    /// Only where the wait in a pool is what lasts too long.
    pub(super) fn shorten_pool(&self) -> Option<Advice> {
        let seconds = self.pool.filter(|_| self.opener.is_some())?;
        self.pool_decides.then(|| {
            let text = format!("let {} drop idle connections after {seconds} s", self.from);
            self.pool_of(text, seconds)
        })
    }

    pub(super) fn ping_without_calls(&self) -> Option<Advice> {
        let (end, seconds) = (self.opener.as_ref()?, self.sent?);
        Some(Advice::with(
            format!(
                "let {} ping without calls too (gRPC: permit_without_stream) where the server permits it, and declare \
                 ping.withoutCalls",
                self.from
            ),
            change(end, Setting::Ping, i64::from(seconds)),
        ))
    }

    /// Keepalives of either end, pings where they are permitted, and where their time is set.
    pub(super) fn keepalives(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        let Some(half) = self.half() else {
            return advice;
        };
        if self.udp {
            if let Some(End::Client) = self.opener
                && half >= self.permitted
            {
                advice.push(Advice::with(
                    format!("let {} send a datagram every {half} s or sooner", self.from),
                    change(&End::Client, Setting::Ping, half),
                ));
            }
            return advice;
        }
        for (who, end) in self.ends().into_iter().flatten() {
            advice.push(Advice::with(
                format!("let {who} send its first TCP keepalive at {half} s or sooner, and declare it"),
                change(end, Setting::TcpKeepalive, half),
            ));
        }
        if let (Some(seconds), Some(end)) = (self.ping, &self.opener) {
            advice.push(Advice::with(
                format!(
                    "or let {} ping every {seconds} s, without calls too, which its server's minimum interval permits",
                    self.from
                ),
                change(end, Setting::Ping, seconds),
            ));
        }
        let whose = [&self.from, &self.to];
        for (who, own) in whose.into_iter().zip(self.sysctl) {
            if own {
                let end = if Arc::ptr_eq(who, &self.to) {
                    "the server's Pods"
                } else {
                    "its Pods"
                };
                advice.push(
                    format!(
                        "or, where {who} sets no time itself, set {SYSCTL} to {half} in {end} \
                         (securityContext.sysctls)"
                    )
                    .into(),
                );
            }
        }
        advice
    }

    /// Data of the application, where nothing else counts.
    pub(super) fn data(&self) -> Option<Advice> {
        // Data goes all the way, so it has to be in time for every hop.
        let half = self.half()?.min(self.least / 2);
        if half < 1 {
            return None;
        }
        let text = format!("let the application send data every {half} s or sooner, such as a heartbeat");
        Some(if self.heartbeats && half >= self.permitted {
            Advice::with(
                text + ", and declare it as ping of the client",
                change(&End::Client, Setting::Ping, half),
            )
        } else {
            text.into()
        })
    }

    /// A longer idle timeout of an L7 hop, unless a table beside it would forget what it then keeps.
    pub(super) fn close_later(&self, hop: &str, end: Option<&End>, silence: Option<i64>) -> Option<Advice> {
        let above = above(silence?);
        if self.table.is_some_and(|idle| above >= below(idle)) {
            return None;
        }
        Some(Advice::with(
            format!("or let {hop} close connections without data after {above} s or later"),
            end.and_then(|end| change(end, Setting::IdleTimeout, above)),
        ))
    }

    /// A longer timeout of a table: the last thing to do.
    pub(super) fn raise(hop: &Arc<str>, end: Option<&End>, silence: Option<i64>) -> Option<Advice> {
        let above = above(silence?);
        let table = in_a_sentence(hop, end);
        Some(Advice::with(
            format!(
                "last, let {table} forget connections after {above} s or later; entries of dead ones then stay as long"
            ),
            end.and_then(|end| change(end, Setting::IdleTimeout, above)),
        ))
    }
}
