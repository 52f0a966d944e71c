//! `keepalive-ping-floor`: pings come no faster than the server bears, and fast enough for the path.

use std::fmt;
use std::sync::Arc;

use super::budget::{Segment, Table, USES, segments};
use super::{declared, nobody};
use crate::judge::{
    Case, Check, Evidence, Judge, Look, Memory, Path, Severities, Severity, UntypedCase, Verdict,
};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::policy::{Beat, Client, Layer, Protocol};

/// Pings that a gRPC server bears by default: one in 5 minutes (`GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS`
/// and gRPC-Go's `EnforcementPolicy.MinTime`).
const GRPC_FLOOR_SECONDS: i64 = 300;

/// The check.
pub static CHECK: Check = Check {
    id: "keepalive-ping-floor",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: USES,
    profiles: true,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
};

const DOC: &str = "\
Pings come no faster than the server bears, and some legal interval keeps the path alive.

A gRPC server counts pings that come faster than its floor, and after a few it hangs up: GOAWAY with
`ENHANCE_YOUR_CALM`, `too_many_pings`. The usual way into it is a well-meant fix: somebody shortens the client's
keepalive because a load balancer forgets idle connections, and every call starts to fail instead of a few.

## Formula

`K` is the client's ping interval, `floor` the server's `minimumPingIntervalSeconds`, `T` the least idle timeout of the
path's L4 hops. Where no floor is declared, gRPC's default of 300 s is assumed; other protocols have none.

- `K < floor`: Violated, warning, cause `PingBelowFloor`; AtRisk where the floor is assumed.
- `floor >= T`, and nothing but a ping could keep the connection alive: Violated, warning, cause `NoLegalInterval`. No
  `K` with `floor <= K < T` exists. AtRisk where the floor, or whether something else keeps it alive, is not declared.
- Where the ping itself was not declared: AtRisk, info, against a declared floor; Unknown when neither is declared.
- An L7 hop ends the client's pings: NotApplicable, since they never reach the server.

## What to do

1. Change the server first: lower its floor (gRPC-Go `EnforcementPolicy.MinTime`, gRPC core
   `grpc.http2.min_recv_ping_interval_without_data_ms`), and permit pings without calls if clients idle.
2. Then, and only then, set the client's interval: at least the floor, at most half of `T`.
3. Declare both.

## What not to do

Do not shorten the client's interval while the server still has its old floor.
";

#[expect(
    clippy::unnecessary_wraps,
    reason = "every judge has the signature of the table"
)]
#[allow(clippy::match_same_arms, reason = "the order of the arms is their weight")]
fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    if path.connection.hops.iter().any(|hop| hop.layer == Layer::L7) {
        return Ok(Verdict::NotApplicable(
            "an L7 hop ends the client's pings before the server",
        ));
    }
    let floor = match path.connection.server.minimum_ping_interval_seconds {
        Some(floor) => Val::declared(
            i64::from(floor),
            declared(path, "server.minimumPingIntervalSeconds"),
        ),
        None if path.connection.protocol == Protocol::Grpc => Val::assumed(
            GRPC_FLOOR_SECONDS,
            "gRPC default, five minutes; server.minimumPingIntervalSeconds is not declared",
        ),
        None => {
            return Ok(Verdict::NotApplicable(
                "no floor is declared, and only gRPC servers have one by default",
            ));
        }
    };
    let interval = too_fast(path, &floor);
    let range = no_legal_interval(look, path, &floor);
    Ok(match (interval, range) {
        (verdict @ Verdict::Violated(_), _) | (_, verdict @ Verdict::Violated(_)) => verdict,
        (verdict @ Verdict::AtRisk(_), Verdict::AtRisk(other)) => {
            // What somebody declared weighs more than what nobody said.
            if matches!(&verdict, Verdict::AtRisk(case) if case.cause() == "PingNotDeclared") {
                Verdict::AtRisk(other)
            } else {
                verdict
            }
        }
        (verdict @ Verdict::AtRisk(_), _) | (_, verdict @ Verdict::AtRisk(_)) => verdict,
        (Verdict::Unknown(gap), _) | (_, Verdict::Unknown(gap)) => Verdict::Unknown(gap),
        _ => Verdict::Met,
    })
}

/// Whether the client pings faster than the floor.
fn too_fast(path: &Path<'_>, floor: &Val<i64>) -> Verdict {
    if floor.value <= 0 {
        return Verdict::Met;
    }
    let client = nobody(&path.client.name);
    let field = declared(path, &format!("clients[{client}].ping.intervalSeconds"));
    let end = |interval: Evidence, cause| {
        untyped(
            cause,
            vec![
                interval,
                Evidence::number("floor", Unit::Seconds, floor),
                Evidence::text("client", &Val::declared(client.clone(), "policy")),
            ],
        )
    };
    match path.client.ping {
        Some(Beat::Disabled) => Verdict::Met,
        Some(Beat::Enabled(Some(seconds))) => {
            if i64::from(seconds) >= floor.value {
                return Verdict::Met;
            }
            let interval = Evidence::number(
                "interval",
                Unit::Seconds,
                &Val::declared(i64::from(seconds), field),
            );
            let case = end(interval, "PingBelowFloor");
            if floor.origin == Origin::Assumed {
                Verdict::AtRisk(case)
            } else {
                Verdict::Violated(case)
            }
        }
        None if floor.origin == Origin::Assumed => Verdict::Unknown(Gap::Opaque(
            format!("neither {field} nor the server's minimumPingIntervalSeconds is declared").into(),
        )),
        None | Some(Beat::Enabled(None)) => Verdict::AtRisk(end(
            Evidence::text("interval", &Val::assumed("not declared".into(), field)),
            "PingNotDeclared",
        )),
    }
}

/// Whether a ping is needed that the server would not bear.
fn no_legal_interval(look: &Look<'_>, path: &Path<'_>, floor: &Val<i64>) -> Verdict {
    let without_ping = Client {
        ping: Some(Beat::Disabled),
        ..path.client.clone()
    };
    let path = Path {
        client: &without_ping,
        ..*path
    };
    let segments = segments(look, &path);
    let Some(segment) = segments.first() else {
        return Verdict::Met;
    };
    let Some((table, idle)) = segment.tightest() else {
        return segment
            .gap()
            .map_or(Verdict::Met, |gap| Verdict::Unknown(gap.clone()));
    };
    if floor.value < idle.value {
        // Another hop that is not known may still forget sooner than the floor.
        return match segment.gap() {
            Some(gap) if may_be_silent(segment, 1) => Verdict::Unknown(gap.clone()),
            _ => Verdict::Met,
        };
    }
    if !may_be_silent(segment, idle.value) {
        return Verdict::Met;
    }
    let certain = segment
        .silence
        .best
        .as_ref()
        .is_none_or(|best| best.value >= idle.value);
    let case = untyped(
        "NoLegalInterval",
        range_evidence(segment, table, idle, floor, certain),
    );
    if certain && floor.origin != Origin::Assumed {
        Verdict::Violated(case)
    } else {
        Verdict::AtRisk(case)
    }
}

/// Whether the wire may be silent for this long at worst.
fn may_be_silent(segment: &Segment, seconds: i64) -> bool {
    segment
        .silence
        .worst
        .as_ref()
        .is_none_or(|worst| worst.value >= seconds)
}

fn range_evidence(
    segment: &Segment,
    table: &Table,
    idle: &Val<i64>,
    floor: &Val<i64>,
    certain: bool,
) -> Vec<Evidence> {
    let silence = if certain {
        &segment.silence.best
    } else {
        &segment.silence.worst
    };
    let mut evidence = vec![
        Evidence::number("floor", Unit::Seconds, floor),
        Evidence::number("idleTimeout", Unit::Seconds, idle),
        Evidence::text("hop", &Val::declared(table.hop.clone(), idle.source.clone())),
        Evidence::text("client", &Val::declared(segment.from.clone(), "policy")),
    ];
    let unsaid = |text: &'static str| -> Val<Arc<str>> {
        Val::assumed(text.into(), "keepalive or silence is not declared")
    };
    evidence.push(match silence {
        Some(silence) => Evidence::number("silence", Unit::Seconds, silence),
        None => Evidence::text("silence", &unsaid("unbounded")),
    });
    if !certain {
        evidence.push(Evidence::text("otherKeepalive", &unsaid("not declared")));
    }
    evidence
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    let at_most = if cause == "PingNotDeclared" {
        Severity::Info
    } else {
        Severity::Critical
    };
    UntypedCase::at_most(at_most, cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match case.cause {
        "NoLegalInterval" => write!(
            f,
            "no ping interval of {} is right: the server punishes pings faster than {}, and the {} forgets an idle connection after {}",
            case.show("client"),
            case.cite("floor"),
            case.show("hop"),
            case.cite("idleTimeout"),
        ),
        "PingBelowFloor" => write!(
            f,
            "{} pings every {}, and the server hangs up on pings faster than {}",
            case.show("client"),
            case.cite("interval"),
            case.cite("floor"),
        ),
        _ => write!(
            f,
            "the server hangs up on pings faster than {}, and the interval of {} is {}",
            case.cite("floor"),
            case.show("client"),
            case.cite("interval"),
        ),
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let client = case.show("client");
    let floor = case.number("floor").unwrap_or(GRPC_FLOOR_SECONDS);
    match case.cause {
        "NoLegalInterval" => {
            let half = case.number("idleTimeout").map_or(1, |idle| (idle / 2).max(1));
            vec![
                format!(
                    "change the server first: lower its minimum ping interval to {half} s or less, and declare it"
                ),
                format!("only then let {client} ping every {half} s"),
                "or keep the connection alive with TCP keepalive, which no gRPC server counts".into(),
            ]
        }
        "PingBelowFloor" => {
            let interval = case.number("interval").unwrap_or(floor);
            vec![
                format!("lower the server's minimum ping interval to {interval} s, and declare it"),
                format!(
                    "or let {client} ping every {floor} s or slower, if the path's idle timeouts allow it"
                ),
            ]
        }
        _ => vec![format!(
            "find out whether and how often {client} pings, and declare it; {floor} s or more, or Disabled, clears this"
        )],
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::checks::fixture::{NEVER, World, client, connection, every, l4, l7, policy, service};
    use crate::know::Source;
    use crate::policy::{Beat, Client, Connection, Hop, Protocol, Server};

    fn grpc(ping: Option<Beat>, floor: Option<u32>, hops: Vec<Hop>) -> Connection {
        let client = Client {
            ping,
            tcp_keepalive: NEVER,
            ..client("cart")
        };
        Connection {
            longest_silence_seconds: Some(1800),
            hops,
            server: Server {
                tcp_keepalive: NEVER,
                ping: NEVER,
                minimum_ping_interval_seconds: floor,
                ..Server::default()
            },
            ..connection(Protocol::Grpc, client)
        }
    }

    fn verdict(connection: Connection) -> String {
        World::complete()
            .with(Source::Services, &service("api", json!({})))
            .policy(policy(vec![connection]))
            .verdict("keepalive-ping-floor")
    }

    #[rstest]
    #[case::too_eager(every(60), Some(300), "Violated warning PingBelowFloor")]
    #[case::too_eager_by_default(every(60), None, "AtRisk warning PingBelowFloor")]
    #[case::at_the_floor(every(300), Some(300), "Met")]
    #[case::default_floor(every(300), None, "Met")]
    #[case::off(NEVER, Some(300), "Met")]
    #[case::interval_not_said(Some(Beat::Enabled(None)), Some(300), "AtRisk info PingNotDeclared")]
    #[case::ping_not_said(None, Some(300), "AtRisk info PingNotDeclared")]
    #[case::nothing_said(None, None, "Unknown unknown")]
    #[case::no_floor(None, Some(0), "Met")]
    #[case::vast_floor(every(u32::MAX), Some(u32::MAX), "Met")]
    fn interval_against_floor(
        #[case] ping: Option<Beat>,
        #[case] floor: Option<u32>,
        #[case] expected: &str,
    ) {
        assert_eq!(verdict(grpc(ping, floor, vec![l4("nat", Some(3600))])), expected);
    }

    #[rstest]
    #[case::no_room(every(300), Some(300), "Violated warning NoLegalInterval")]
    #[case::no_room_by_default(every(300), None, "AtRisk warning NoLegalInterval")]
    #[case::room(every(120), Some(60), "Met")]
    #[case::at_the_timeout(every(240), Some(240), "Violated warning NoLegalInterval")]
    #[case::undeclared_ping(None, Some(300), "Violated warning NoLegalInterval")]
    fn a_balancer_that_forgets_after_4_minutes(
        #[case] ping: Option<Beat>,
        #[case] floor: Option<u32>,
        #[case] expected: &str,
    ) {
        assert_eq!(
            verdict(grpc(ping, floor, vec![l4("balancer", Some(240))])),
            expected
        );
    }

    #[test]
    fn another_keepalive_makes_the_ping_needless() {
        let mut one = grpc(NEVER, Some(300), vec![l4("balancer", Some(240))]);
        one.server.tcp_keepalive = every(60);
        assert_eq!(verdict(one.clone()), "Met");
        one.server.tcp_keepalive = None;
        assert_eq!(verdict(one), "AtRisk warning NoLegalInterval");
    }

    #[rstest]
    #[case::unknown(vec![l4("firewall", None)], "Unknown unknown")]
    #[case::a_known_hop_decides(vec![l4("firewall", None), l4("balancer", Some(240))], "Violated warning NoLegalInterval")]
    #[case::a_wide_hop_does_not(vec![l4("firewall", None), l4("balancer", Some(900))], "Unknown unknown")]
    #[case::no_table(Vec::new(), "Met")]
    #[case::proxy(vec![l7("edge", None, None), l4("balancer", Some(240))], "NotApplicable")]
    fn unknown_hops(#[case] hops: Vec<Hop>, #[case] expected: &str) {
        assert_eq!(verdict(grpc(every(300), Some(300), hops)), expected);
    }

    #[test]
    fn other_protocols_have_no_floor_of_their_own() {
        let mut one = grpc(every(1), None, Vec::new());
        one.protocol = Protocol::Http2;
        assert_eq!(verdict(one.clone()), "NotApplicable");
        one.server.minimum_ping_interval_seconds = Some(10);
        assert_eq!(verdict(one), "Violated warning PingBelowFloor");
    }
}
