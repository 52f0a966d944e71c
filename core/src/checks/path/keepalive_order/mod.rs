//! `keepalive-order`: who reuses a connection gives it up before the other side closes it.

mod order;

use super::budget::{USES, segments};
use super::margin;
use crate::judge::{Check, End, Judge, Look, Memory, Path, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::policy::Protocol;
use crate::sample::Metrics;
use crate::sources::service::Transport;
use order::{Idle, Mismatch, Order, Party};

/// The check.
pub static CHECK: Check = Check {
    id: "keepalive-order",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: USES,
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
    #[cfg(test)]
    examples: || crate::checks::messages::by_scenes("keepalive-order"),
};

const DOC: &str = "\
A pool drops idle connections before the other side closes them.

A client or proxy with a pool sends its next request on an idle connection. When the server closes that connection at
the same moment, the request meets a closed socket: the caller sees a reset, a proxy answers 502, and a request that
must not be repeated is lost. It happens a few times in a million, under no load at all, and is hard to reproduce.

## Formula

The path is cut at its L7 hops: client, first L7 hop, ..., server. On each reuse hop `near` is how long the side that
opened the connection keeps it idle, and `far` is after how long the side that accepted it closes it. An L7 hop has two
such times: `idleTimeoutSeconds` towards its client, `upstream.idleTimeoutSeconds` of its own pool.

- `far <= near`: Violated, warning, `ServerClosesFirst`.
- `far <= near + 1 s`: Violated, warning, `NarrowMargin`. A way there and back and timers of whole seconds use it up.
- `far <= near + 10 % of near`: AtRisk, info, `NarrowMargin`. It holds as long as neither side's timer is late.
- HTTP2 and gRPC: all three are AtRisk, info. Who closes says so first (GOAWAY, RFC 9113 section 6.8), and requests that
  it did not take up are safe to send again, which most clients do by themselves.
- Only one of the two is declared: AtRisk with origin Assumed, info; the other may be on either side of it.
- Neither is declared: Unknown where the path declares another idle time, else NotApplicable: there is nothing to
  compare.

TCP is forwarded one to one: there an L7 hop has no pool of its own. A load balancer that ends connections is an L7 hop.
`idleTimeout: Never` of a pool is longer than any timeout.

## What to do

1. Lower the idle time of the client's or proxy's pool to 80 % of the server's idle timeout. Nothing else changes.
2. Or raise the server's idle timeout above it by a good second and 10 %.
3. Let the caller retry requests that may be repeated when a reused connection was closed before any answer.

## What not to do

Do not turn reuse off: every request would then open a connection of its own, and with it a handshake and a table
entry.
";

#[expect(
    clippy::unnecessary_wraps,
    reason = "every judge has the signature of the table"
)]
fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    if path.port.transport == Transport::Udp {
        return Ok(Verdict::NotApplicable("UDP has no connection to reuse"));
    }
    let pairs: Vec<_> = segments(look, path)
        .iter()
        .filter(|segment| segment.from.reuses)
        .map(|segment| {
            let table = segment.tightest().map(|(_, idle)| idle.value);
            (Party::of(&segment.from), Party::of(&segment.to), table)
        })
        .collect();
    let undeclared = |party: &Party| party.idle == Idle::Undeclared;
    if pairs
        .iter()
        .all(|(near, far, _)| undeclared(near) && undeclared(far))
    {
        return Ok(Verdict::NotApplicable("no idle time is declared"));
    }
    let silence = path.connection.longest_silence_seconds.map_or(0, i64::from);
    let announced = matches!(path.connection.protocol, Protocol::Http2 | Protocol::Grpc);
    let (mut risk, mut gap) = (None, None);
    for (near, far, table) in &pairs {
        match judge_pair(near, far, *table, silence, announced) {
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

fn judge_pair(near: &Party, far: &Party, table: Option<i64>, silence: i64, announced: bool) -> Verdict {
    let cause = match (&near.idle, &far.idle) {
        (_, Idle::Never) => return Verdict::Met,
        // A pool that keeps nothing reuses nothing.
        (Idle::Seconds(pool), _) if pool.value <= 0 => return Verdict::Met,
        (Idle::Seconds(pool), Idle::Seconds(server)) => {
            let (pool, server) = (pool.value, server.value);
            if server <= pool {
                let pool = Some(pool);
                Mismatch::ServerClosesFirst { pool, server }
            } else if server <= pool.saturating_add(margin::margin(pool)) {
                Mismatch::NarrowMargin { pool, server }
            } else {
                return Verdict::Met;
            }
        }
        (Idle::Never, Idle::Seconds(server)) => Mismatch::ServerClosesFirst {
            pool: None,
            server: server.value,
        },
        (Idle::Undeclared, Idle::Seconds(server)) => Mismatch::PoolNotDeclared { server: server.value },
        (Idle::Seconds(pool), Idle::Undeclared) => Mismatch::ServerNotDeclared {
            pool: Some(pool.value),
        },
        (Idle::Never, Idle::Undeclared) => Mismatch::ServerNotDeclared { pool: None },
        (Idle::Undeclared, Idle::Undeclared) => {
            return Verdict::Unknown(Gap::Opaque(
                format!("neither {} nor {} is declared", near.field, far.field).into(),
            ));
        }
    };
    let order = Order {
        pool: near.clone(),
        server: far.clone(),
        table,
        silence: if far.end == Some(End::Server) {
            0
        } else {
            margin::above(silence)
        },
        announced,
        cause,
    };
    let certain = match cause {
        Mismatch::ServerClosesFirst { .. } => true,
        // More than that works until one side's timer is late.
        Mismatch::NarrowMargin { pool, server } => server <= pool.saturating_add(margin::LEAST),
        Mismatch::PoolNotDeclared { .. } | Mismatch::ServerNotDeclared { .. } => false,
    };
    if certain && !announced {
        Verdict::violated(order)
    } else {
        Verdict::at_risk(order)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::know::Source;
    use crate::policy::{Client, Connection, Door, Hop, Limit, Protocol, Server, Upstream};
    use crate::world::{World, client, connection, l4, l7, policy, service};

    fn verdict(pool: Option<u32>, hops: Vec<Hop>, server: Option<u32>) -> String {
        verdict_of(Protocol::Http1, pool, hops, server)
    }

    fn verdict_of(protocol: Protocol, pool: Option<u32>, hops: Vec<Hop>, server: Option<u32>) -> String {
        let client = Client {
            idle_timeout: pool.map(Limit::Seconds),
            ..client("web")
        };
        let connection = Connection {
            hops,
            server: Server {
                idle_timeout: server.map(Limit::Seconds),
                ..Server::default()
            },
            ..connection(protocol, client)
        };
        World::complete()
            .with(Source::Services, service("api", json!({})))
            .policy(policy(vec![connection]))
            .verdict("keepalive-order")
    }

    #[rstest]
    #[case(Protocol::Http2, Some(60), "AtRisk info ServerClosesFirst")]
    #[case(Protocol::Grpc, Some(66), "AtRisk info NarrowMargin")]
    #[case(Protocol::Grpc, Some(67), "Met")]
    fn an_end_that_is_announced_is_hardly_a_fault(
        #[case] protocol: Protocol,
        #[case] server: Option<u32>,
        #[case] expected: &str,
    ) {
        assert_eq!(verdict_of(protocol, Some(60), Vec::new(), server), expected);
    }

    #[rstest]
    #[case(Some(90), Some(620), "Met")]
    #[case(Some(60), Some(60), "Violated warning ServerClosesFirst")]
    #[case(Some(90), Some(5), "Violated warning ServerClosesFirst")]
    #[case(Some(60), Some(61), "Violated warning NarrowMargin")]
    #[case(Some(60), Some(62), "AtRisk info NarrowMargin")]
    #[case(Some(60), Some(66), "AtRisk info NarrowMargin")]
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

    /// An L7 hop that closes its clients' connections, and keeps its own.
    fn proxy(name: &str, front: Option<u32>, back: Option<Limit>) -> Hop {
        Hop {
            upstream: Upstream {
                idle_timeout: back,
                ..Upstream::default()
            },
            ..l7(name, front, None)
        }
    }

    const S60: Option<Limit> = Some(Limit::Seconds(60));

    #[rstest]
    #[case::ordered(vec![proxy("edge", Some(120), S60)], "Met")]
    #[case::edge_closes_on_the_client(vec![proxy("edge", Some(60), S60)], "Violated warning ServerClosesFirst")]
    #[case::server_closes_on_the_edge(vec![proxy("edge", Some(120), Some(Limit::Seconds(700)))], "Violated warning ServerClosesFirst")]
    #[case::pool_without_end(vec![proxy("edge", Some(120), Some(Limit::Never))], "Violated warning ServerClosesFirst")]
    #[case::its_front_says_nothing_of_its_pool(vec![proxy("edge", Some(700), None)], "AtRisk info PoolNotDeclared")]
    #[case::half_known(vec![proxy("one", Some(120), S60), proxy("two", Some(500), S60)], "Met")]
    #[case::undeclared(vec![proxy("edge", None, None)], "AtRisk info ServerNotDeclared")]
    #[case::a_known_pair_decides(vec![proxy("one", None, None), proxy("two", None, Some(Limit::Seconds(700)))], "Violated warning ServerClosesFirst")]
    #[case::l4_reuses_nothing(vec![l4("firewall", Some(1))], "Met")]
    fn proxies_stand_between(#[case] hops: Vec<Hop>, #[case] expected: &str) {
        assert_eq!(verdict(Some(90), hops, Some(620)), expected);
    }

    /// Behind a Classic Load Balancer a server has to keep idle connections longer than the 60 s of its listener.
    #[rstest]
    #[case::requests(json!({"backend-protocol": "http"}), 5, "Violated warning ServerClosesFirst")]
    #[case::longer(json!({"backend-protocol": "http"}), 75, "Met")]
    #[case::bytes(json!({}), 5, "Met")]
    fn the_pool_of_a_load_balancer(
        #[case] asked: serde_json::Value,
        #[case] server: u32,
        #[case] expected: &str,
    ) {
        let client = Client {
            from: Door::LoadBalancer,
            idle_timeout: Some(Limit::Seconds(30)),
            ..client("web")
        };
        let connection = Connection {
            server: Server {
                idle_timeout: Some(Limit::Seconds(server)),
                ..Server::default()
            },
            ..connection(Protocol::Http1, client)
        };
        let mut served = service("api", json!({"type": "LoadBalancer"}));
        for (key, value) in asked.as_object().unwrap() {
            let key = format!("service.beta.kubernetes.io/aws-load-balancer-{key}");
            served["metadata"]["annotations"] = json!({key: value});
        }
        served["status"]["loadBalancer"]["ingress"] =
            json!([{"hostname": "a-1.eu-west-1.elb.amazonaws.com"}]);
        let mut world = World::complete()
            .with(Source::Services, served)
            .policy(policy(vec![connection]));
        assert_eq!(world.verdict("keepalive-order"), expected);
    }

    #[rstest]
    #[case::nothing_to_compare(None, "NotApplicable")]
    #[case::a_pool_that_keeps_nothing(Some(0), "Unknown unknown")]
    fn an_undeclared_rest(#[case] pool: Option<u32>, #[case] expected: &str) {
        assert_eq!(verdict(pool, vec![l7("edge", None, None)], None), expected);
    }

    /// An L7 hop ends what is silent for too long: the longer time that is advised to it outlasts any silence by a quarter.
    #[rstest]
    #[case::no_silence(None, vec![proxy("edge", Some(60), S60)], None, "let edge keep idle connections for 67 s")]
    #[case::long_silence(Some(100), vec![proxy("edge", Some(60), S60)], None, "let edge keep idle connections for 126 s")]
    #[case::a_server_ends_no_stream(
        Some(100),
        Vec::new(),
        Some(60),
        "let shop/api keep idle connections for 67 s"
    )]
    fn a_longer_time_outlasts_silence(
        #[case] silence: Option<u32>,
        #[case] hops: Vec<Hop>,
        #[case] server: Option<u32>,
        #[case] expected: &str,
    ) {
        let client = Client {
            idle_timeout: S60,
            ..client("web")
        };
        let connection = Connection {
            longest_silence_seconds: silence,
            hops,
            server: Server {
                idle_timeout: server.map(Limit::Seconds),
                ..Server::default()
            },
            ..connection(Protocol::Http1, client)
        };
        let advice = World::complete()
            .with(Source::Services, service("api", json!({})))
            .policy(policy(vec![connection]))
            .advised("keepalive-order");
        assert!(advice[1].to_string().contains(expected), "{advice:?}");
    }
}
