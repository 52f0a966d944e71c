//! The idle budget of a path: how long it can be silent, and how long each hop remembers it.
//!
//! A path is cut into segments: an L7 hop ends one connection and opens another, so keepalives count up to it and its
//! own after it. Silence has two parts. A stream may be silent while a request or session goes on; a pooled connection is
//! silent while no request uses it, until one end closes it. What was not declared is a span, not a default: the best
//! and the worst case are both kept.

use super::balancer::{Balancer, balancer};
use super::keepalive::{Declared, Keepalive, Sockets, keepalive};
pub use super::segment::{Budget, Closing, Segment, Side};
pub use super::span::Span;
pub use super::tables::TableHop;
use super::tables::of_the_nodes;
use super::{client_name, declared};
use crate::dataplane::load_balancer::Forwards;
use crate::judge::{End, Look, Path};
use crate::know::{Gap, Reads, Source, Val};
use crate::policy::{Beat, Hop, Layer, Limit, Protocol};
use crate::route::Meets;

/// What [`segments`] may read.
pub const USES: Reads = Reads::of(&[
    Source::Pods,
    Source::Nodes,
    Source::Deployments,
    Source::DaemonSets,
    Source::EndpointSlices,
]);

/// Longest silence of the application while a request or session goes on.
///
/// A longest request bounds it, as a request may carry bytes all along: at best there is no silence in it.
pub fn application_silence(path: &Path<'_>) -> Span {
    let connection = path.connection;
    if let Some(value) = connection.longest_silence_seconds {
        let field = declared(path, "longestSilenceSeconds");
        return Span::known(Val::declared(i64::from(value), field));
    }
    let none = declared(path, "longestSilenceSeconds is not declared");
    Span {
        best: Some(Val::assumed(0, none)),
        worst: connection
            .longest_request_seconds
            .map(|value| Val::declared(i64::from(value), declared(path, "longestRequestSeconds"))),
    }
}

/// A declared limit as a span; `None` where it is not declared.
fn span_of(limit: Option<Limit>, field: &str) -> Option<Span> {
    Some(match limit? {
        Limit::Seconds(seconds) => Span::known(Val::declared(i64::from(seconds), field)),
        Limit::Never => Span::never(),
    })
}

fn age_of(limit: Option<Limit>, field: &str) -> Option<Val<i64>> {
    let seconds = limit.and_then(Limit::seconds)?;
    Some(Val::declared(i64::from(seconds), field))
}

/// One end of a segment that closes it without data.
struct Close {
    /// Who closes.
    side: Side,
    /// After how long.
    idle: Val<i64>,
    /// Whether it forwards bytes as they are: then pings are data to it.
    passes_pings: bool,
}

/// What [`assemble`] has found of a segment.
struct Stretch {
    from: Side,
    to: Side,
    /// Whether the pool of its connections is the client's.
    of_client: bool,
    tables: Vec<TableHop>,
    closes: [Option<Close>; 2],
}

/// What stands between client and Service.
enum Element {
    Table(TableHop),
    Proxy(Box<Proxy>),
}

/// An L7 hop with its two connections.
struct Proxy {
    /// The side that accepts the client's connections.
    front: Side,
    /// The side that opens connections towards the Service.
    back: Side,
    /// Whether it pools these.
    pools: bool,
    /// After how long it closes a connection of its client, or its own, without data.
    closes: [Option<Val<i64>>; 2],
    /// Whether it forwards bytes as they are: then pings pass, and are data to it.
    passes_pings: bool,
}

/// The segments of a path, from client to server.
pub fn segments(look: &Look<'_>, path: &Path<'_>) -> Vec<Segment> {
    let mut elements: Vec<Element> = path
        .connection
        .hops
        .iter()
        .filter_map(|hop| declared_hop(look, path, hop))
        .collect();
    match balancer(look, path) {
        Balancer::None => {}
        Balancer::First(table) => elements.insert(0, Element::Table(table)),
        Balancer::Last(table) => elements.push(Element::Table(table)),
        Balancer::Proxy(listener) => {
            let side = |idle: &Val<i64>, reuses| Side {
                name: listener.name.into(),
                end: None,
                idle: Some(Span::known(idle.clone())),
                idle_field: idle.source.clone(),
                age: None,
                keepalive: Keepalive::never(),
                reuses,
            };
            elements.push(Element::Proxy(Box::new(Proxy {
                front: side(&listener.idle, false),
                back: side(&listener.upstream_idle, listener.reuses_upstream),
                pools: listener.forwards == Forwards::Requests,
                closes: [
                    Some(listener.idle.clone()),
                    (listener.forwards == Forwards::Bytes).then(|| listener.upstream_idle.clone()),
                ],
                passes_pings: listener.forwards == Forwards::Bytes,
            })));
        }
    }
    let last = of_the_nodes(look, path);
    assemble(look, path, elements, last)
}

fn assemble(look: &Look<'_>, path: &Path<'_>, elements: Vec<Element>, last: Vec<TableHop>) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut from = client_side(look, path);
    let to = server_side(look, path);
    let through = pings_through(path, &elements, [&from, &to]);
    let mut own_pool = true;
    let mut closes = None;
    let mut tables = Vec::new();
    for element in elements {
        match element {
            Element::Table(table) => tables.push(table),
            Element::Proxy(proxy) => {
                let [front, back] = proxy.closes;
                let passes_pings = proxy.passes_pings;
                let close = |side: &Side, idle| Close {
                    side: side.clone(),
                    idle,
                    passes_pings,
                };
                let front = front.map(|idle| close(&proxy.front, idle));
                let back = back.map(|idle| close(&proxy.back, idle));
                let stretch = Stretch {
                    from,
                    to: proxy.front,
                    of_client: own_pool,
                    tables: std::mem::take(&mut tables),
                    closes: [closes, front],
                };
                segments.push(segment(path, stretch, &through));
                closes = back;
                from = proxy.back;
                own_pool = !proxy.pools;
            }
        }
    }
    tables.extend(last);
    let stretch = Stretch {
        from,
        to,
        of_client: own_pool,
        tables,
        closes: [closes, None],
    };
    segments.push(segment(path, stretch, &through));
    segments
}

/// The first of the pings of client and server that every segment of the path sees: while a call is open, and while none
/// is. Heartbeats of an application are data, which every hop passes on; HTTP/2 pings pass only where bytes do.
fn pings_through(path: &Path<'_>, elements: &[Element], ends: [&Side; 2]) -> [Span; 2] {
    let passes = elements.iter().all(|element| match element {
        Element::Table(_) => true,
        Element::Proxy(proxy) => proxy.passes_pings,
    });
    let first = |of: fn(&Keepalive) -> &Span| {
        let [client, server] = ends.map(|side| of(&side.keepalive).clone());
        client.min(server)
    };
    let with_calls = passes || !path.connection.protocol.has_ping();
    [
        (with_calls, first(|one| &one.ping)),
        (passes, first(|one| &one.idle_ping)),
    ]
    .map(|(sees, first)| if sees { first } else { Span::never() })
}

fn client_side(look: &Look<'_>, path: &Path<'_>) -> Side {
    let client = path.client;
    let name = client_name(&client.name);
    let at = declared(path, &format!("clients[{name}]"));
    let idle_field = format!("{at}.idleTimeoutSeconds");
    Side {
        idle: span_of(client.idle_timeout, &idle_field),
        idle_field: idle_field.into(),
        age: age_of(
            client.max_connection_age,
            &format!("{at}.maxConnectionAgeSeconds"),
        ),
        keepalive: keepalive(
            look,
            path,
            Declared {
                tcp: client.tcp_keepalive,
                ping: client.ping,
                without_calls: client.ping_without_calls,
                sockets: Sockets::Client,
            },
            &at,
        ),
        name,
        end: Some(End::Client),
        reuses: true,
    }
}

fn server_side(look: &Look<'_>, path: &Path<'_>) -> Side {
    let server = &path.connection.server;
    let at = declared(path, "server");
    let idle_field = format!("{at}.idleTimeoutSeconds");
    Side {
        name: look.show(path.key).into(),
        end: Some(End::Server),
        idle: span_of(server.idle_timeout, &idle_field),
        idle_field: idle_field.into(),
        age: age_of(
            server.max_connection_age,
            &format!("{at}.maxConnectionAgeSeconds"),
        ),
        keepalive: keepalive(
            look,
            path,
            Declared {
                tcp: server.tcp_keepalive,
                ping: server.ping,
                without_calls: server.ping_without_calls,
                sockets: Sockets::Server,
            },
            &at,
        ),
        reuses: false,
    }
}

/// A hop as the policy declares it; `None` for one that is declared to forget nothing.
fn declared_hop(look: &Look<'_>, path: &Path<'_>, hop: &Hop) -> Option<Element> {
    let at = format!(
        "policy {}/{} hop {}",
        path.policy.namespace, path.policy.name, hop.name
    );
    if hop.layer == Layer::L7 {
        return Some(Element::Proxy(Box::new(declared_proxy(look, path, hop, &at))));
    }
    let idle = match hop.idle_timeout {
        Some(Limit::Never) => return None,
        Some(Limit::Seconds(seconds)) => Ok(Val::declared(
            i64::from(seconds),
            format!("{at}.idleTimeoutSeconds"),
        )),
        None => Err(Gap::Opaque(
            format!("{at}: idleTimeoutSeconds is not declared").into(),
        )),
    };
    Some(Element::Table(TableHop {
        hop: hop.name.clone(),
        idle,
        end: Some(End::Hop(hop.name.clone())),
        meets: Meets::Surely,
    }))
}

/// An L7 hop as the policy declares it; `at` is where.
fn declared_proxy(look: &Look<'_>, path: &Path<'_>, hop: &Hop, at: &str) -> Proxy {
    let field = format!("{at}.idleTimeoutSeconds");
    let upstream = &hop.upstream;
    let up = format!("{at}.upstream");
    let pools = pools(path.connection.protocol);
    let back = Side {
        name: hop.name.clone(),
        end: Some(End::Upstream(hop.name.clone())),
        idle: span_of(upstream.idle_timeout, &format!("{up}.idleTimeoutSeconds")),
        idle_field: format!("{up}.idleTimeoutSeconds").into(),
        age: age_of(
            upstream.max_connection_age,
            &format!("{up}.maxConnectionAgeSeconds"),
        ),
        keepalive: keepalive(
            look,
            path,
            Declared {
                tcp: upstream.tcp_keepalive,
                ping: upstream.ping,
                without_calls: upstream.ping_without_calls,
                sockets: Sockets::Hidden,
            },
            &up,
        ),
        reuses: pools,
    };
    let of_back = || age_of(upstream.idle_timeout, &format!("{up}.idleTimeoutSeconds"));
    Proxy {
        closes: [age_of(hop.idle_timeout, &field), (!pools).then(of_back).flatten()],
        front: Side {
            name: hop.name.clone(),
            end: Some(End::Hop(hop.name.clone())),
            idle: span_of(hop.idle_timeout, &field),
            idle_field: field.into(),
            age: None,
            keepalive: Keepalive::undeclared(&format!("{at}: keepalive towards its client")),
            reuses: false,
        },
        back,
        pools,
        passes_pings: !pools,
    }
}

/// Whether an L7 hop keeps connections of this protocol in a pool; others it forwards one to one.
pub(super) const fn pools(protocol: Protocol) -> bool {
    match protocol {
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => true,
        Protocol::Tcp | Protocol::Udp => false,
    }
}

/// How long a connection waits in the pool of who opened it, until one of the two ends closes it.
fn pool(path: &Path<'_>, from: &Side, to: &Side, of_client: bool, stream: &Span) -> Span {
    let own = match &from.idle {
        Some(idle) => idle.clone(),
        // A client's longest silence is that of an open connection, whatever it waits for.
        None if of_client && path.connection.longest_silence_seconds.is_some() => Span {
            best: Some(Val::assumed(0, "the connection may carry a call all the time")),
            worst: stream.worst.clone(),
        },
        None => Span {
            best: Some(Val::assumed(
                0,
                format!("{}: no idle time is declared", from.name),
            )),
            worst: None,
        },
    };
    let ended = to.idle.clone().unwrap_or_else(Span::never);
    let age = |side: &Side| side.age.clone().map_or_else(Span::never, Span::known);
    own.min(ended).min(age(from)).min(age(to))
}

/// `ping` and `idle_ping` are what [`pings_through`] has found.
fn segment(path: &Path<'_>, stretch: Stretch, [ping, idle_ping]: &[Span; 2]) -> Segment {
    let Stretch {
        from,
        to,
        of_client,
        tables,
        closes,
    } = stretch;
    let application = application_silence(path);
    let pool = pool(path, &from, &to, of_client, &application);
    let one_to_one = !pools(path.connection.protocol);
    // Without requests an end that closes idle connections ends every silence.
    let stream = match &to.idle {
        Some(idle) if one_to_one && to.end == Some(End::Server) => application.clone().min(idle.clone()),
        _ => application.clone(),
    };
    let keepalive = from.keepalive.with_calls().min(to.keepalive.with_calls());
    let keepalive = keepalive.min(ping.clone());
    let idle_keepalive = from.keepalive.without_calls().min(to.keepalive.without_calls());
    let idle_keepalive = idle_keepalive.min(idle_ping.clone());
    let silence = keepalive
        .clone()
        .min(stream.clone())
        .max(idle_keepalive.clone().min(pool.clone()));
    let closes_after = closes.iter().flatten().map(|close| close.idle.value).min();
    let closings = closes
        .into_iter()
        .flatten()
        .filter(|_| one_to_one || path.connection.longest_silence_seconds.is_some())
        .map(|close| Closing {
            hop: close.side.name.clone(),
            idle: close.idle,
            silence: data_silence(path, &application, close.passes_pings),
            end: close.side.end,
        })
        .collect();
    Segment {
        from,
        to,
        keepalive,
        idle_keepalive,
        stream,
        pool,
        silence,
        tables,
        closings,
        closes_after,
    }
}

/// Longest time without data: heartbeats of an application are data, TCP keepalives are not, and HTTP/2 pings only to
/// who forwards bytes as they are.
fn data_silence(path: &Path<'_>, application: &Span, passes_pings: bool) -> Span {
    let counts = passes_pings || !path.connection.protocol.has_ping();
    let heartbeat = |beat: Option<Beat>, field: &str| match beat {
        Some(Beat::Enabled(Some(seconds))) if counts => {
            Span::known(Val::declared(i64::from(seconds), declared(path, field)))
        }
        Some(Beat::Enabled(None)) if counts => Span::undeclared(&declared(path, field)),
        _ => Span::never(),
    };
    application
        .clone()
        .min(heartbeat(path.client.ping, "clients[].ping.intervalSeconds"))
        .min(heartbeat(
            path.connection.server.ping,
            "server.ping.intervalSeconds",
        ))
}
