//! `keepalive-order`: who reuses a connection gives it up before the other side closes it.

use std::fmt;
use std::sync::Arc;

use super::{declared, nobody};
use crate::judge::{
    Advice, Change, Check, End, Evidence, Explain, Judge, Look, Memory, Path, Setting, Severities, Verdict,
};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::policy::Layer;
use crate::sources::service::Transport;

/// The check.
pub static CHECK: Check = Check {
    id: "keepalive-order",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
};

const DOC: &str = "\
Who keeps idle connections for reuse gives them up before the other side closes them.

A client or proxy with a pool sends its next request on an idle connection. When the server closes that connection at
the same moment, the request meets a closed socket: the caller sees a reset, a proxy answers 502, and a request that
must not be repeated is lost. It happens a few times in a million, under no load at all, and is hard to reproduce.

## Formula

The path is cut at its L7 hops: client, first L7 hop, ..., server. On each reuse hop `near` is how long the side that
opened the connection keeps it idle, and `far` is after how long the side that accepted it closes it.

- `far <= near + max(1 s, 10 % of near)`: Violated, warning. Cause `ServerClosesFirst` where `far <= near`, else
  `NarrowMargin`.
- Only one of the two is declared: AtRisk with origin Assumed, info; the other may be on either side of it.
- Neither is declared: Unknown where the path declares another idle time, else NotApplicable: there is nothing to
  compare.

An L7 hop's `idleTimeoutSeconds` counts on both of its sides.

## What to do

1. Lower the idle time of the client's or proxy's pool to 80 % of the server's idle timeout. Nothing else changes.
2. Or raise the server's idle timeout above it by a good second and 10 %.
3. Let the caller retry requests that may be repeated when a reused connection was closed before any answer.

## What not to do

Do not turn reuse off: every request would then open a connection of its own, and with it a handshake and a table
entry.
";

/// One end of a reuse hop and for how long it keeps an idle connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Side {
    name: Arc<str>,
    idle: Option<Val<i64>>,
    field: String,
    end: End,
}

impl Side {
    fn evidence(&self, what: &'static str) -> Evidence {
        self.idle.as_ref().map_or_else(
            || Evidence::undeclared(what, self.field.as_str()),
            |idle| Evidence::seconds(what, idle),
        )
    }
}

/// A pool, and the side that accepts its connections and may close them first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Order {
    pool: Side,
    server: Side,
    cause: Cause,
}

/// What is known of the two idle times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Cause {
    ServerClosesFirst { pool: i64, server: i64 },
    NarrowMargin { pool: i64, server: i64 },
    PoolNotDeclared { server: i64 },
    ServerNotDeclared { pool: i64 },
}

fn sides(look: &Look<'_>, path: &Path<'_>) -> Vec<Side> {
    let mut sides = Vec::new();
    let mut side = |name: Arc<str>, seconds: Option<u32>, field: String, end: End| {
        sides.push(Side {
            name,
            idle: seconds.map(|value| Val::declared(i64::from(value), field.as_str())),
            field,
            end,
        });
    };
    let client = path.client;
    let name = nobody(&client.name);
    let field = declared(path, &format!("clients[{name}].idleTimeoutSeconds"));
    side(name, client.idle_timeout_seconds, field, End::Client);
    for hop in path.connection.hops.iter().filter(|hop| hop.layer == Layer::L7) {
        let field = declared(path, &format!("hops[{}].idleTimeoutSeconds", hop.name));
        let end = End::Hop(hop.name.clone());
        side(hop.name.clone(), hop.idle_timeout_seconds, field, end);
    }
    let server = path.connection.server.idle_timeout_seconds;
    let field = declared(path, "server.idleTimeoutSeconds");
    side(look.show(path.key).into(), server, field, End::Server);
    sides
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every judge has the signature of the table"
)]
fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    if path.port.transport == Transport::Udp {
        return Ok(Verdict::NotApplicable("UDP has no connection to reuse"));
    }
    let sides = sides(look, path);
    if sides.iter().all(|side| side.idle.is_none()) {
        return Ok(Verdict::NotApplicable("nobody declares an idle time"));
    }
    let (mut risk, mut gap) = (None, None);
    for pair in sides.windows(2) {
        let [near, far] = pair else { continue };
        match judge_pair(near, far) {
            Verdict::Violated(case) => return Ok(Verdict::Violated(case)),
            Verdict::AtRisk(case) => risk = risk.or(Some(case)),
            Verdict::Unknown(one) => gap = gap.or(Some(one)),
            Verdict::Met | Verdict::NotApplicable(_) => {}
        }
    }
    Ok(match (risk, gap) {
        (Some(case), _) => Verdict::AtRisk(case),
        (None, Some(gap)) => Verdict::Unknown(gap),
        (None, None) => Verdict::Met,
    })
}

/// The larger of 1 s and 10 %, rounded up.
fn margin(near: i64) -> i64 {
    near.saturating_add(9).div_euclid(10).max(1)
}

fn judge_pair(near: &Side, far: &Side) -> Verdict {
    let cause = match (&near.idle, &far.idle) {
        // A pool that keeps nothing reuses nothing.
        (Some(pool), _) if pool.value <= 0 => return Verdict::Met,
        (Some(pool), Some(server)) => {
            let (pool, server) = (pool.value, server.value);
            if server <= pool {
                Cause::ServerClosesFirst { pool, server }
            } else if server <= pool.saturating_add(margin(pool)) {
                Cause::NarrowMargin { pool, server }
            } else {
                return Verdict::Met;
            }
        }
        (None, Some(server)) => Cause::PoolNotDeclared { server: server.value },
        (Some(pool), None) => Cause::ServerNotDeclared { pool: pool.value },
        (None, None) => {
            return Verdict::Unknown(Gap::Opaque(
                format!("neither {} nor {} is declared", near.field, far.field).into(),
            ));
        }
    };
    let order = Order {
        pool: near.clone(),
        server: far.clone(),
        cause,
    };
    match cause {
        Cause::ServerClosesFirst { .. } | Cause::NarrowMargin { .. } => Verdict::violated(order),
        Cause::PoolNotDeclared { .. } | Cause::ServerNotDeclared { .. } => Verdict::at_risk(order),
    }
}

impl Explain for Order {
    fn cause(&self) -> &'static str {
        match self.cause {
            Cause::ServerClosesFirst { .. } => "ServerClosesFirst",
            Cause::NarrowMargin { .. } => "NarrowMargin",
            Cause::PoolNotDeclared { .. } => "PoolNotDeclared",
            Cause::ServerNotDeclared { .. } => "ServerNotDeclared",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.pool.name, &self.server.name);
        match self.cause {
            Cause::ServerClosesFirst { pool, server } => write!(
                f,
                "requests of {from} may meet a closed connection: {to} closes idle ones after {server} s, {from} reuses \
                 them for {pool} s"
            ),
            Cause::NarrowMargin { pool, server } => write!(
                f,
                "requests of {from} may meet a closed connection: {to} closes idle ones at {server} s, hardly after \
                 {from} drops them at {pool} s"
            ),
            Cause::PoolNotDeclared { server } => write!(
                f,
                "{to} closes idle connections after {server} s; how long {from} reuses them is not declared"
            ),
            Cause::ServerNotDeclared { pool } => write!(
                f,
                "{from} reuses idle connections for {pool} s; after how long {to} closes them is not declared"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        vec![
            self.pool.evidence("poolIdleTimeout"),
            self.server.evidence("serverIdleTimeout"),
            Evidence::name("from", &self.pool.name, self.pool.field.as_str()),
            Evidence::name("to", &self.server.name, self.server.field.as_str()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let (from, to) = (&self.pool.name, &self.server.name);
        let idle = |side: &Side, seconds: i64| {
            u32::try_from(seconds).ok().map(|seconds| Change {
                at: side.end.clone(),
                set: Setting::IdleTimeout(seconds),
            })
        };
        match self.cause {
            Cause::PoolNotDeclared { server } => vec![Advice::with(
                format!(
                    "find out how long {from} keeps idle connections and declare it; at most {} s clears this",
                    below(server)
                ),
                idle(&self.pool, below(server)),
            )],
            Cause::ServerNotDeclared { pool } => vec![Advice::with(
                format!(
                    "find out after how long {to} closes idle connections and declare it; more than {} s clears this",
                    above(pool) - 1
                ),
                idle(&self.server, above(pool)),
            )],
            Cause::ServerClosesFirst { pool, server } | Cause::NarrowMargin { pool, server } => vec![
                Advice::with(
                    format!("let {from} drop idle connections after {} s", below(server)),
                    idle(&self.pool, below(server)),
                ),
                Advice::with(
                    format!(
                        "or let {to} keep idle connections for {} s or longer",
                        above(pool)
                    ),
                    idle(&self.server, above(pool)),
                ),
                "let the caller repeat requests that may be repeated when a reused connection was closed"
                    .into(),
            ],
        }
    }
}

/// A server's time that is safely above a pool's.
fn above(pool: i64) -> i64 {
    pool.saturating_add(margin(pool)).saturating_add(1)
}

/// A pool time that is safely below a server's.
fn below(server: i64) -> i64 {
    (server.saturating_mul(8) / 10).min(server - 2).max(0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::checks::fixture::{World, client, connection, l4, l7, policy, service};
    use crate::know::Source;
    use crate::policy::{Client, Connection, Hop, Protocol, Server};

    fn verdict(pool: Option<u32>, hops: Vec<Hop>, server: Option<u32>) -> String {
        let client = Client {
            idle_timeout_seconds: pool,
            ..client("web")
        };
        let connection = Connection {
            hops,
            server: Server {
                idle_timeout_seconds: server,
                ..Server::default()
            },
            ..connection(Protocol::Http1, client)
        };
        World::complete()
            .with(Source::Services, &service("api", json!({})))
            .policy(policy(vec![connection]))
            .verdict("keepalive-order")
    }

    #[rstest]
    #[case(Some(90), Some(620), "Met")]
    #[case(Some(60), Some(60), "Violated warning ServerClosesFirst")]
    #[case(Some(90), Some(5), "Violated warning ServerClosesFirst")]
    #[case(Some(60), Some(66), "Violated warning NarrowMargin")]
    #[case(Some(60), Some(67), "Met")]
    #[case(Some(4), Some(5), "Violated warning NarrowMargin")]
    #[case(Some(4), Some(6), "Met")]
    #[case(Some(60), None, "AtRisk info ServerNotDeclared")]
    #[case(None, Some(60), "AtRisk info PoolNotDeclared")]
    #[case(None, None, "NotApplicable")]
    #[case(Some(0), None, "Met")]
    #[case(Some(u32::MAX), Some(u32::MAX), "Violated warning ServerClosesFirst")]
    #[case(Some(1), Some(0), "Violated warning ServerClosesFirst")]
    fn a_direct_client(#[case] pool: Option<u32>, #[case] server: Option<u32>, #[case] expected: &str) {
        assert_eq!(verdict(pool, Vec::new(), server), expected);
    }

    #[rstest]
    #[case::ordered(vec![l7("edge", Some(120), None)], "Met")]
    #[case::edge_closes_on_the_client(vec![l7("edge", Some(60), None)], "Violated warning ServerClosesFirst")]
    #[case::server_closes_on_the_edge(vec![l7("edge", Some(700), None)], "Violated warning ServerClosesFirst")]
    #[case::half_known(vec![l7("one", Some(120), None), l7("two", Some(500), None)], "Met")]
    #[case::undeclared(vec![l7("edge", None, None)], "AtRisk info ServerNotDeclared")]
    #[case::a_known_pair_decides(vec![l7("one", None, None), l7("two", Some(700), None)], "Violated warning ServerClosesFirst")]
    #[case::l4_reuses_nothing(vec![l4("firewall", Some(1))], "Met")]
    fn proxies_stand_between(#[case] hops: Vec<Hop>, #[case] expected: &str) {
        assert_eq!(verdict(Some(90), hops, Some(620)), expected);
    }

    #[rstest]
    #[case::nothing_to_compare(None, "NotApplicable")]
    #[case::a_pool_that_keeps_nothing(Some(0), "Unknown unknown")]
    fn an_undeclared_rest(#[case] pool: Option<u32>, #[case] expected: &str) {
        assert_eq!(verdict(pool, vec![l7("edge", None, None)], None), expected);
    }
}
