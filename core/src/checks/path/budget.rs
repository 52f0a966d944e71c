//! The idle budget of a path: how long it can be silent, and how long each hop remembers it.
//!
//! A path is cut into TCP segments: an L7 hop ends one connection and opens another, so keepalives count up to it and
//! its own after it. Within a segment the wire is silent for at most `G`, the lesser of the first keepalive that every
//! hop sees and the longest silence of the application. What was not declared is a span, not a default: the best and
//! the worst case are both kept.

use std::sync::Arc;

use super::tables;
use crate::facts::{FirstProbe, first_probe, members};
use crate::judge::{Look, Path};
use crate::know::{Gap, Reads, Source, Val};
use crate::policy::{Beat, Layer};
use crate::sources::service::Transport;

/// First probe of a socket that armed keepalive without a time of its own, seconds: `net.ipv4.tcp_keepalive_time`
/// (Linux `include/net/tcp.h`, `TCP_KEEPALIVE_TIME`). A Pod does not inherit the node's value.
pub const KERNEL_KEEPALIVE_SECONDS: i64 = 7200;

/// The setting of a network namespace that sockets without a time of their own take.
const SYSCTL: &str = "net.ipv4.tcp_keepalive_time";

/// What [`segments`] may read.
pub const USES: Reads = Reads::of(&[
    Source::Pods,
    Source::Nodes,
    Source::Deployments,
    Source::DaemonSets,
    Source::EndpointSlices,
]);

/// A time that lies between two ends; `None` is for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The least it can be; what an undeclared keepalive may be at best is 1 s.
    pub best: Option<Val<i64>>,
    /// The most it can be.
    pub worst: Option<Val<i64>>,
}

impl Span {
    const fn exactly(val: Option<Val<i64>>, again: Option<Val<i64>>) -> Self {
        Self {
            best: val,
            worst: again,
        }
    }

    fn known(val: Val<i64>) -> Self {
        Self::exactly(Some(val.clone()), Some(val))
    }

    const fn never() -> Self {
        Self::exactly(None, None)
    }

    /// Not said: at best every second, at worst never.
    fn unsaid(what: &str) -> Self {
        Self {
            best: Some(Val::assumed(1, format!("{what} is not declared; it may be on"))),
            worst: None,
        }
    }

    /// Said to be on, at a time that nobody told: at best every second, at worst after the kernel's own time.
    fn untold(why: &str) -> Self {
        Self {
            best: Some(Val::assumed(1, format!("{why}; it may set {SYSCTL}"))),
            worst: Some(Val::assumed(
                KERNEL_KEEPALIVE_SECONDS,
                format!("kernel default {SYSCTL}; {why}"),
            )),
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            best: least(self.best, other.best),
            worst: least(self.worst, other.worst),
        }
    }
}

fn least(one: Option<Val<i64>>, other: Option<Val<i64>>) -> Option<Val<i64>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.value < one.value { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// One stateful L4 hop of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What people call it.
    pub hop: Arc<str>,
    /// After how long it forgets an idle connection.
    pub idle: Result<Val<i64>, Gap>,
}

/// How the silence on a segment stands to its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Budget {
    /// It is longer than a table remembers, whatever was not declared.
    Forgotten,
    /// It is longer at worst: a keepalive that was not declared may be on or off.
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

/// One TCP segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// From where.
    pub from: Arc<str>,
    /// To where.
    pub to: Arc<str>,
    /// The first keepalive or ping on it.
    pub keepalive: Span,
    /// Longest silence on the wire: the lesser of keepalive and the application's silence.
    pub silence: Span,
    /// Its tables, from client to server.
    pub tables: Vec<Table>,
}

impl Segment {
    /// The table that forgets first, of those that are known: an upper bound of the segment's timeout.
    pub fn tightest(&self) -> Option<(&Table, &Val<i64>)> {
        self.tables
            .iter()
            .filter_map(|table| Some((table, table.idle.as_ref().ok()?)))
            .min_by_key(|(_, idle)| idle.value)
    }

    /// How its silence stands to its tables.
    pub fn budget(&self) -> Budget {
        let tightest = self.tightest().map(|(_, idle)| idle.value);
        let (best, worst) = (self.silence.best.as_ref(), self.silence.worst.as_ref());
        if tightest.is_some_and(|idle| reaches(best, idle)) {
            return Budget::Forgotten;
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

    /// Why one of its tables is not known.
    pub fn gap(&self) -> Option<&Gap> {
        self.tables.iter().find_map(|table| table.idle.as_ref().err())
    }
}

/// Whether a silence reaches a timeout; for ever always does.
fn reaches(silence: Option<&Val<i64>>, timeout: i64) -> bool {
    silence.is_none_or(|silence| silence.value >= timeout)
}

/// Strictly above 80 % of the timeout.
fn nears(silence: Option<&Val<i64>>, timeout: i64) -> bool {
    silence.is_none_or(|silence| silence.value.saturating_mul(10) > timeout.saturating_mul(8))
}

/// The longest silence of the application: the larger of its longest silence (else its longest request) and the time
/// an idle pooled connection is kept.
pub fn application_silence(path: &Path<'_>) -> Span {
    let connection = path.connection;
    let at = |field: &str| {
        format!(
            "policy {}/{} {}.{field}",
            path.policy.namespace, path.policy.name, connection.name
        )
    };
    let said = connection
        .longest_silence_seconds
        .map(|value| Val::declared(i64::from(value), at("longestSilenceSeconds")))
        .or_else(|| {
            let value = connection.longest_request_seconds?;
            Some(Val::declared(i64::from(value), at("longestRequestSeconds")))
        });
    let pooled = path.client.idle_timeout_seconds.map(|value| {
        Val::declared(
            i64::from(value),
            at(&format!("clients[{}].idleTimeoutSeconds", path.client.name)),
        )
    });
    match (said, pooled) {
        (Some(said), Some(pooled)) => Span::known(if pooled.value > said.value { pooled } else { said }),
        (Some(said), None) => Span::known(said),
        (None, pooled) => Span {
            best: Some(
                pooled.unwrap_or_else(|| Val::assumed(0, at("longestSilenceSeconds is not declared"))),
            ),
            worst: None,
        },
    }
}

/// The first keepalive or ping that one end sends.
fn beats(
    look: &Look<'_>,
    path: &Path<'_>,
    tcp: Option<Beat>,
    ping: Option<Beat>,
    end: &str,
    client: bool,
) -> Span {
    let at = |field: &str| {
        format!(
            "policy {}/{} {} {end}.{field}",
            path.policy.namespace, path.policy.name, path.connection.name
        )
    };
    let tcp = if path.port.transport == Transport::Udp {
        Span::never()
    } else {
        match tcp {
            Some(Beat::Disabled) => Span::never(),
            Some(Beat::Enabled(Some(seconds))) => {
                Span::known(Val::declared(i64::from(seconds), at("tcpKeepalive.idleSeconds")))
            }
            Some(Beat::Enabled(None)) => socket_default(look, path, client),
            None => Span::unsaid(&at("tcpKeepalive")),
        }
    };
    let ping = match ping {
        Some(Beat::Enabled(Some(seconds))) => {
            Span::known(Val::declared(i64::from(seconds), at("ping.intervalSeconds")))
        }
        Some(Beat::Enabled(None)) => Span::unsaid(&at("ping.intervalSeconds")),
        None if path.connection.protocol.has_ping() => Span::unsaid(&at("ping")),
        Some(Beat::Disabled) | None => Span::never(),
    };
    tcp.min(ping)
}

/// `net.ipv4.tcp_keepalive_time` of the client's Pods: the largest that one of them has, else the kernel's.
///
/// Pods that are not named, were not read, or use the node's network may have any value: the kernel's is then only the
/// worst of them. The server's Pods are not looked at.
fn socket_default(look: &Look<'_>, path: &Path<'_>, client: bool) -> Span {
    if !client {
        return Span::untold("the server's idleSeconds is not declared");
    }
    let Some(selector) = &path.client.pods else {
        return Span::untold("the client's podSelector and idleSeconds are not declared");
    };
    let pods = match members(look, path.key.namespace, selector) {
        Ok(pods) if pods.is_empty() => {
            return Span::untold("no Pod of the client exists, and its idleSeconds is not declared");
        }
        Ok(pods) => pods,
        Err(gap) => return Span::untold(&gap.to_string()),
    };
    let names = look.names();
    let mut untold = None;
    let mut largest: Option<Val<i64>> = None;
    for one in &pods {
        let shown = || format!("{} {}", one.kind, look.show(one.key));
        let told = match first_probe(names, one.template) {
            FirstProbe::Declared(seconds) => Val::declared(seconds, format!("{} sysctl {SYSCTL}", shown())),
            FirstProbe::Kernel => Val::default_of(
                KERNEL_KEEPALIVE_SECONDS,
                format!("kernel default {SYSCTL} (include/net/tcp.h)"),
            ),
            FirstProbe::ByCommand(Some(seconds)) => {
                Val::assumed(seconds, format!("{}: a command of it sets {SYSCTL}", shown()))
            }
            FirstProbe::ByCommand(None) => {
                untold = Some("a command of the client's Pods sets sysctls");
                continue;
            }
            FirstProbe::OfTheNode => {
                untold = Some("the client's Pods use the node's network");
                continue;
            }
        };
        let larger = |held: &Val<i64>| (held.value, &held.source) < (told.value, &told.source);
        if largest.as_ref().is_none_or(larger) {
            largest = Some(told);
        }
    }
    match (untold, largest) {
        (None, Some(largest)) => Span::known(largest),
        (None, None) => Span::untold("the client's idleSeconds is not declared"),
        (Some(why), largest) => {
            let of_the_node = Span::untold(why);
            Span {
                best: largest.or(of_the_node.best),
                worst: of_the_node.worst,
            }
        }
    }
}

/// The segments of a path, from client to server.
pub fn segments(look: &Look<'_>, path: &Path<'_>) -> Vec<Segment> {
    let client = path.client;
    let server = &path.connection.server;
    let silence = application_silence(path);
    let client_end: Arc<str> = if client.name.is_empty() {
        "client".into()
    } else {
        client.name.clone()
    };
    let mut from = client_end.clone();
    let mut near = beats(
        look,
        path,
        client.tcp_keepalive,
        client.ping,
        &format!("clients[{client_end}]"),
        true,
    );
    let mut tables = Vec::new();
    let mut segments = Vec::new();
    for hop in &path.connection.hops {
        let at = format!(
            "policy {}/{} hop {}",
            path.policy.namespace, path.policy.name, hop.name
        );
        match hop.layer {
            Layer::L4 => tables.push(Table {
                hop: hop.name.clone(),
                idle: hop
                    .idle_timeout_seconds
                    .map(|value| Val::declared(i64::from(value), format!("{at}.idleTimeoutSeconds")))
                    .ok_or_else(|| Gap::Opaque(format!("{at}: idleTimeoutSeconds is not declared").into())),
            }),
            Layer::L7 => {
                // What the proxy itself sends on either side is not declared anywhere.
                let own = Span::unsaid(&format!("{at}: keepalive"));
                segments.push(segment(
                    &from,
                    &hop.name,
                    near.min(own.clone()),
                    &silence,
                    std::mem::take(&mut tables),
                ));
                from = hop.name.clone();
                near = own;
            }
        }
    }
    let far = beats(look, path, server.tcp_keepalive, server.ping, "server", false);
    tables.extend(tables::of_service(look, path));
    let to: Arc<str> = look.show(path.key).into();
    segments.push(segment(&from, &to, near.min(far), &silence, tables));
    segments
}

fn segment(from: &Arc<str>, to: &Arc<str>, keepalive: Span, silence: &Span, tables: Vec<Table>) -> Segment {
    let wire = keepalive.clone().min(silence.clone());
    Segment {
        from: from.clone(),
        to: to.clone(),
        keepalive,
        silence: wire,
        tables,
    }
}
