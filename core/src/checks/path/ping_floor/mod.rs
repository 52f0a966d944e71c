//! `keepalive-ping-floor`: pings come no faster than the server permits, and fast enough for the path.

mod rule;

use super::balancer::ends_pings;
use super::budget::{Segment, USES, segments};
use super::keepalive::ping_floor;
use super::margin::{above_floor, below};
use super::span::reaches;
use super::{client_name, declared};
use crate::judge::{Check, Judge, Look, Memory, Path, Severities, Verdict};
use crate::know::{Gap, Known, Origin, Reads, Source, Val};
use crate::policy::{Beat, Client};
use crate::route::Meets;
use crate::sample::Metrics;
use rule::{PingFault, PingRule};

/// The check.
pub static CHECK: Check = Check {
    id: "keepalive-ping-floor",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: USES,
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
    #[cfg(test)]
    examples: || crate::checks::messages::by_scenes("keepalive-ping-floor"),
};

const DOC: &str = "\
Pings come no faster than the server permits, and a permitted interval keeps the path alive.

A gRPC server counts pings that come faster than its floor, and after a few it hangs up: GOAWAY with
`ENHANCE_YOUR_CALM`, `too_many_pings`. The usual cause is a well-meant fix: somebody shortens the client's
keepalive because a load balancer forgets idle connections, and every call starts to fail instead of a few.

## Formula

`K` is the client's ping interval, `floor` the server's `minimumPingIntervalSeconds`, `T` the least idle timeout of the
path's L4 hops. Where no floor is declared, gRPC's default of 300 s is assumed; other protocols have none.

- `K < floor`: Violated, warning, cause `PingBelowFloor`; AtRisk where the floor is assumed.
- `K` less than 1 s and 10 % above the floor: AtRisk, cause `NarrowMargin`. Any jitter makes a ping come too early, and a
  few of these are enough.
- `floor >= T`, and nothing but a ping could keep the connection alive: Violated, warning, cause `NoLegalInterval`. No
  `K` with `floor <= K < T` exists. AtRisk where the floor, or whether something else keeps it alive, is not declared.
- Where the ping itself was not declared: AtRisk, info, against a declared floor; Unknown when neither is declared.
- An L7 hop, or a load balancer that forwards requests, ends the client's pings: NotApplicable, since they never reach
  the server.

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
    if ends_pings(look, path) {
        return Ok(Verdict::NotApplicable(
            "an L7 hop ends the client's pings before the server",
        ));
    }
    let Some(floor) = ping_floor(path) else {
        return Ok(Verdict::NotApplicable(
            "no floor is declared, and only gRPC servers have one by default",
        ));
    };
    let least = segments(look, path)
        .iter()
        .filter_map(Segment::least_timeout)
        .min();
    let interval = too_fast(path, &floor, least);
    let range = no_legal_interval(look, path, &floor);
    // That no interval is right weighs more than that this one is hardly right, or not declared.
    let weak = |verdict: &Verdict| {
        matches!(verdict, Verdict::AtRisk(case) if case.of::<PingRule>().is_some_and(|floor| {
            matches!(floor.cause, PingFault::PingNotDeclared { .. } | PingFault::NarrowMargin { .. })
        }))
    };
    Ok(match (interval, range) {
        (verdict @ Verdict::Violated(_), _) | (_, verdict @ Verdict::Violated(_)) => verdict,
        (one, other @ Verdict::AtRisk(_)) if weak(&one) => other,
        (verdict @ Verdict::AtRisk(_), _) | (_, verdict @ Verdict::AtRisk(_)) => verdict,
        (Verdict::Unknown(gap), _) | (_, Verdict::Unknown(gap)) => Verdict::Unknown(gap),
        _ => Verdict::Met,
    })
}

/// Whether the client pings faster than the floor, or hardly slower.
fn too_fast(path: &Path<'_>, floor: &Val<i64>, least: Option<i64>) -> Verdict {
    if floor.value <= 0 {
        return Verdict::Met;
    }
    let client = client_name(&path.client.name);
    let field = declared(path, &format!("clients[{client}].ping.intervalSeconds"));
    let case = |cause| PingRule {
        client: client.clone(),
        floor: floor.clone(),
        cause,
    };
    match path.client.ping {
        Some(Beat::Disabled) => Verdict::Met,
        Some(Beat::Enabled(Some(seconds))) => {
            let interval = Val::declared(i64::from(seconds), field);
            if interval.value >= above_floor(floor.value) {
                Verdict::Met
            } else if interval.value >= floor.value {
                Verdict::at_risk(case(PingFault::NarrowMargin { interval }))
            } else if floor.origin == Origin::Assumed {
                Verdict::at_risk(case(PingFault::PingBelowFloor { interval }))
            } else {
                Verdict::violated(case(PingFault::PingBelowFloor { interval }))
            }
        }
        None if floor.origin == Origin::Assumed => Verdict::Unknown(Gap::Opaque(
            format!("neither {field} nor the server's minimumPingIntervalSeconds is declared").into(),
        )),
        None | Some(Beat::Enabled(None)) => Verdict::at_risk(case(PingFault::PingNotDeclared {
            field: field.into(),
            fits: least.is_none_or(|least| above_floor(floor.value) <= below(least)),
        })),
    }
}

/// Whether a ping is needed that the server would not permit.
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
    let certain = table.meets == Meets::Surely && reaches(segment.silence.best.as_ref(), idle.value);
    if !certain && let Some(gap) = segment.excuse() {
        return Verdict::Unknown(gap.clone());
    }
    let case = PingRule {
        client: segment.from.name.clone(),
        floor: floor.clone(),
        cause: PingFault::NoLegalInterval {
            hop: table.hop.clone(),
            table: table.in_a_sentence(),
            idle: idle.clone(),
            silence: if certain {
                segment.silence.best.clone()
            } else {
                segment.silence.worst.clone()
            },
            certain,
        },
    };
    if certain && floor.origin != Origin::Assumed {
        Verdict::violated(case)
    } else {
        Verdict::at_risk(case)
    }
}

/// Whether the wire may be silent for this long at worst.
fn may_be_silent(segment: &Segment, seconds: i64) -> bool {
    reaches(segment.silence.worst.as_ref(), seconds)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::know::Source;
    use crate::policy::{Beat, Client, Connection, Hop, Protocol, Server};
    use crate::world::{NEVER, World, client, connection, every, l4, l7, policy, service};

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
            .with(Source::Services, service("api", json!({})))
            .policy(policy(vec![connection]))
            .verdict("keepalive-ping-floor")
    }

    #[rstest]
    #[case::too_eager(every(60), Some(300), "Violated warning PingBelowFloor")]
    #[case::too_eager_by_default(every(60), None, "AtRisk warning PingBelowFloor")]
    #[case::at_the_floor(every(300), Some(300), "AtRisk warning NarrowMargin")]
    #[case::hardly_above(every(329), Some(300), "AtRisk warning NarrowMargin")]
    #[case::above(every(330), Some(300), "Met")]
    #[case::default_floor(every(300), None, "AtRisk warning NarrowMargin")]
    #[case::above_the_default(every(330), None, "Met")]
    #[case::floor_of_a_second(every(1), Some(1), "AtRisk warning NarrowMargin")]
    #[case::off(NEVER, Some(300), "Met")]
    #[case::interval_not_said(Some(Beat::Enabled(None)), Some(300), "AtRisk info PingNotDeclared")]
    #[case::ping_not_said(None, Some(300), "AtRisk info PingNotDeclared")]
    #[case::nothing_said(None, None, "Unknown unknown")]
    #[case::no_floor(None, Some(0), "Met")]
    #[case::vast_floor(every(u32::MAX), Some(u32::MAX), "AtRisk warning NarrowMargin")]
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
        assert_eq!(verdict(grpc(every(330), Some(300), hops)), expected);
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
