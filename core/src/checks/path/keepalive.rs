//! What one end of a TCP segment sends by itself while its connection is silent.

use super::declared;
use super::span::Span;
use crate::fleet::{FirstProbe, first_probe};
use crate::judge::{Look, Path};
use crate::know::{Known, Val};
use crate::policy::{Beat, Protocol};
use crate::route::{Member, members};
use crate::sources::service::Transport;

/// First probe of a socket that armed keepalive without a time of its own, seconds: `net.ipv4.tcp_keepalive_time`
/// (Linux `include/net/tcp.h`, `TCP_KEEPALIVE_TIME`). A Pod does not inherit the node's value.
pub(super) const KERNEL_KEEPALIVE_SECONDS: i64 = 7200;

/// The setting of a network namespace that sockets without a time of their own take.
pub(super) const SYSCTL: &str = "net.ipv4.tcp_keepalive_time";

/// What an end declares of its keepalives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared {
    /// TCP keepalive.
    pub(super) tcp: Option<Beat>,
    /// Pings, or the heartbeat of an application.
    pub(super) ping: Option<Beat>,
    /// Whether pings go on while no call is open.
    pub(super) without_calls: Option<bool>,
    /// Whose sockets these are.
    pub(super) sockets: Sockets,
}

/// Whose sockets an end has, which decides where a keepalive without a time takes it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sockets {
    /// Those of the client's Pods.
    Client,
    /// Those of the Pods that the Service selects.
    Server,
    /// Those of something that the cluster does not show.
    Hidden,
}

/// What an end sends into a silent connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keepalive {
    /// First TCP keepalive.
    pub(super) tcp: Span,
    /// First ping while a call is open.
    pub(super) ping: Span,
    /// First ping while none is.
    pub(super) idle_ping: Span,
}

impl Keepalive {
    /// An end of which nothing is known.
    pub(super) fn undeclared(at: &str) -> Self {
        Self {
            tcp: Span::undeclared(at),
            ping: Span::never(),
            idle_ping: Span::never(),
        }
    }

    /// One that sends nothing.
    pub(super) const fn never() -> Self {
        Self {
            tcp: Span::never(),
            ping: Span::never(),
            idle_ping: Span::never(),
        }
    }

    /// The first of anything while a call is open.
    pub(super) fn with_calls(&self) -> Span {
        self.tcp.clone().min(self.ping.clone())
    }

    /// The first of anything while none is.
    pub(super) fn without_calls(&self) -> Span {
        self.tcp.clone().min(self.idle_ping.clone())
    }
}

/// What an end sends; `at` is where it is declared.
pub(super) fn keepalive(look: &Look<'_>, path: &Path<'_>, declared: Declared, at: &str) -> Keepalive {
    let tcp = if path.port.transport == Transport::Udp {
        Span::never()
    } else {
        match declared.tcp {
            Some(Beat::Disabled) => Span::never(),
            Some(Beat::Enabled(Some(seconds))) => Span::known(Val::declared(
                i64::from(seconds),
                format!("{at}.tcpKeepalive.idleSeconds"),
            )),
            Some(Beat::Enabled(None)) => of_the_sockets(look, path, declared.sockets),
            None => Span::undeclared(&format!("{at}.tcpKeepalive")),
        }
    };
    let ping = match declared.ping {
        Some(Beat::Enabled(Some(seconds))) => Span::known(Val::declared(
            i64::from(seconds),
            format!("{at}.ping.intervalSeconds"),
        )),
        Some(Beat::Enabled(None)) => Span::undeclared(&format!("{at}.ping.intervalSeconds")),
        None if path.connection.protocol.has_ping() => Span::undeclared(&format!("{at}.ping")),
        Some(Beat::Disabled) | None => Span::never(),
    };
    // gRPC clients stop to ping when no call is open unless configured otherwise (grpc doc/keepalive.md,
    // PERMIT_WITHOUT_CALLS); servers differ by language. Other pings and heartbeats know no calls.
    let idle_ping = match (declared.without_calls, path.connection.protocol) {
        (Some(false), _) => Span::never(),
        (None, Protocol::Grpc) => Span {
            best: ping.best.clone(),
            worst: None,
        },
        (Some(true) | None, _) => ping.clone(),
    };
    Keepalive { tcp, ping, idle_ping }
}

/// Declared as on, at an unknown time: at best every second, at worst after the kernel's own time.
fn unknown_time(why: &str) -> Span {
    Span {
        best: Some(Val::assumed(1, format!("{why}; it may set {SYSCTL}"))),
        worst: Some(Val::assumed(
            KERNEL_KEEPALIVE_SECONDS,
            format!("kernel default {SYSCTL}; {why}"),
        )),
    }
}

/// The kernel's own time, which every network namespace starts with.
pub(super) fn kernel_default() -> Val<i64> {
    Val::default_of(
        KERNEL_KEEPALIVE_SECONDS,
        format!("kernel default {SYSCTL} (include/net/tcp.h)"),
    )
}

/// `net.ipv4.tcp_keepalive_time` of the Pods that have the sockets: the largest that one of them has.
///
/// Pods that are not named, do not exist now, were not read, or use the node's network may have any value: the kernel's
/// is then only the worst of them.
fn of_the_sockets(look: &Look<'_>, path: &Path<'_>, sockets: Sockets) -> Span {
    let whose = match sockets {
        Sockets::Client => "the client's",
        Sockets::Server => "the server's",
        Sockets::Hidden => return unknown_time("idleSeconds is not declared"),
    };
    let pods = match pods_of(look, path, sockets) {
        Ok(Some(pods)) => pods,
        Ok(None) => return unknown_time(&format!("{whose} Pods and idleSeconds are not declared")),
        Err(gap) => return unknown_time(&gap.to_string()),
    };
    if pods.is_empty() {
        return unknown_time(&format!("none of {whose} Pods exists now"));
    }
    let mut largest: Option<Val<i64>> = None;
    let mut unknown = None;
    for one in &pods {
        let shown = || format!("{} {}", one.kind, look.show(one.key));
        let time = match first_probe(look.names(), one.template) {
            FirstProbe::Declared(seconds) => Val::declared(seconds, format!("{} sysctl {SYSCTL}", shown())),
            FirstProbe::Kernel => kernel_default(),
            FirstProbe::ByCommand(seconds) => {
                // A command may fail, or write elsewhere.
                unknown = Some("a command of the Pod seems to set it");
                let Some(seconds) = seconds else { continue };
                Val::assumed(seconds, format!("{}: a command of it sets {SYSCTL}", shown()))
            }
            FirstProbe::OfTheNode => {
                unknown = Some("the Pods use the node's network");
                continue;
            }
        };
        if largest.as_ref().is_none_or(|held| gives_way(held, &time)) {
            largest = Some(time);
        }
    }
    match (unknown, largest) {
        (None, Some(largest)) => Span::known(largest),
        (why, largest) => {
            let at_worst = unknown_time(why.unwrap_or("idleSeconds is not declared"));
            Span {
                best: largest.or(at_worst.best),
                worst: at_worst.worst,
            }
        }
    }
}

/// Whether a time gives way to another one: the longest counts, and of equal ones the first by name.
pub(super) fn gives_way(held: &Val<i64>, to: &Val<i64>) -> bool {
    held.value < to.value || held.value == to.value && held.source > to.source
}

/// The living Pods that have the sockets of an end, or what would make them; `None` where it is not declared which they are.
pub(super) fn pods_of<'a>(
    look: &Look<'a>,
    path: &Path<'_>,
    sockets: Sockets,
) -> Known<Option<Vec<Member<'a>>>> {
    let of_the_service;
    let selector = match sockets {
        Sockets::Client => path.client.pods.as_ref(),
        Sockets::Server => {
            of_the_service = path.service.pod_selector(look.names());
            of_the_service.as_ref()
        }
        Sockets::Hidden => None,
    };
    let Some(selector) = selector else {
        return Ok(None);
    };
    members(look, path.key.namespace, selector).map(Some)
}

/// Pings that a gRPC server permits by default: one in 5 minutes
/// (`GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS` and gRPC-Go's `EnforcementPolicy.MinTime`).
const GRPC_PING_FLOOR_SECONDS: i64 = 300;

/// The least interval of pings that the server permits, in seconds; `None` where it is not known to have one.
pub(super) fn ping_floor(path: &Path<'_>) -> Option<Val<i64>> {
    match path.connection.server.minimum_ping_interval_seconds {
        Some(floor) => Some(Val::declared(
            i64::from(floor),
            declared(path, "server.minimumPingIntervalSeconds"),
        )),
        None if path.connection.protocol == Protocol::Grpc => Some(Val::assumed(
            GRPC_PING_FLOOR_SECONDS,
            "gRPC default, five minutes; server.minimumPingIntervalSeconds is not declared",
        )),
        None => None,
    }
}
