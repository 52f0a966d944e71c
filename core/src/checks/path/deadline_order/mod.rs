//! `l7-deadline-order`: every deadline on the path outlives the longest request, and the outer one every inner one.

mod deadlines;

use std::sync::Arc;

use super::balancer::{Balancer, balancer};
use super::{client_name, declared};
use crate::judge::{Check, End, Judge, Look, Memory, Path, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::policy::{Layer, Protocol};
use crate::sample::Metrics;
use crate::sources::service::Transport;
use deadlines::{Deadline, Deadlines};

/// The check.
pub static CHECK: Check = Check {
    id: "l7-deadline-order",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
    #[cfg(test)]
    examples: || crate::checks::messages::by_scenes("l7-deadline-order"),
};

const DOC: &str = "\
Every deadline outlives the longest request, and an outer deadline every inner one.

A proxy that ends the connection waits for an answer for a time of its own. TCP keepalives and HTTP/2 pings keep tables
alive, but they are no answer: they never reset a request timeout. Where an inner hop waits longer than an outer one,
the outer one gives up first, and everything behind it goes on working in vain, often beside the caller's retry.

## Formula

`R` is `longestRequestSeconds`. The deadlines are the `requestTimeoutSeconds` of the client, of each L7 hop and of the
server, from the outside in; a load balancer that waits for an answer for a time of its own is an L7 hop.

- A deadline `<= R`: Violated, warning, cause `DeadlineCutsRequest`.
- An inner deadline above an outer one: Violated, warning, cause `InnerOutlastsOuter`. Equal ones race: AtRisk, cause
  `DeadlinesTie`. Not for gRPC, which hands the caller's deadline on: a server stops when the caller does.
- A deadline, or `R`, is not declared while the other is: AtRisk with origin Assumed, info.
- An L7 hop of which nothing is declared, and no `R`: Unknown. Neither an L7 hop nor any deadline: NotApplicable.

## What to do

1. Raise the deadlines from the outside in, so that each outer one is the larger; leave a few seconds between two.
2. Or shorten the request: let it return at once and report progress, or stream parts of the answer.
3. Hand the caller's deadline on (gRPC does), so that inner work ends with it.

## What not to do

Do not shorten keepalive intervals for this: no keepalive resets a request timeout. Do not remove a deadline: a lost
answer would then be waited for for ever.
";

/// The deadlines from the outside in.
fn deadlines(look: &Look<'_>, path: &Path<'_>) -> Vec<Deadline> {
    let one = |name: Arc<str>, seconds: Option<u32>, field: String, end: End| Deadline {
        value: seconds.map(|value| Val::declared(i64::from(value), field.as_str())),
        name,
        field: field.into(),
        end: Some(end),
    };
    let client = client_name(&path.client.name);
    let field = declared(path, &format!("clients[{client}].requestTimeoutSeconds"));
    let mut all = vec![one(
        client,
        path.client.request_timeout_seconds,
        field,
        End::Client,
    )];
    for hop in path.connection.hops.iter().filter(|hop| hop.layer == Layer::L7) {
        let field = declared(path, &format!("hops[{}].requestTimeoutSeconds", hop.name));
        let end = End::Hop(hop.name.clone());
        all.push(one(hop.name.clone(), hop.request_timeout_seconds, field, end));
    }
    if let Balancer::Proxy(listener) = balancer(look, path)
        && let Some(request) = listener.request
    {
        all.push(Deadline {
            name: listener.name.into(),
            field: request.source.clone(),
            end: None,
            value: Some(request),
        });
    }
    all.push(one(
        look.show(path.key).into(),
        path.connection.server.request_timeout_seconds,
        declared(path, "server.requestTimeoutSeconds"),
        End::Server,
    ));
    all
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every judge has the signature of the table"
)]
fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    if path.port.transport == Transport::Udp {
        return Ok(Verdict::NotApplicable("UDP has no request deadline on the path"));
    }
    let deadlines = deadlines(look, path);
    let proxied = deadlines.len() > 2;
    let any = deadlines.iter().any(|one| one.value.is_some());
    if !proxied && !any {
        return Ok(Verdict::NotApplicable(
            "no L7 hop and no request timeout is declared",
        ));
    }
    let field = declared(path, "longestRequestSeconds");
    let request = path
        .connection
        .longest_request_seconds
        .map(|value| Val::declared(i64::from(value), field.as_str()));
    if let Some(case) = request.as_ref().and_then(|request| cut(&deadlines, request)) {
        return Ok(Verdict::violated(case));
    }
    // gRPC hands the caller's deadline on (grpc.io, guide "Deadlines"): every call behind it ends with it.
    if path.connection.protocol != Protocol::Grpc
        && let Some(verdict) = out_of_order(&deadlines)
    {
        return Ok(verdict);
    }
    // For the same reason its server needs no deadline of its own.
    let callers = match deadlines.split_last() {
        Some((server, callers)) if path.connection.protocol == Protocol::Grpc && server.value.is_none() => {
            callers
        }
        _ => &deadlines,
    };
    let risk = undeclared(callers, request.as_ref(), &field);
    Ok(match risk {
        Some(case) => Verdict::at_risk(case),
        None if request.is_none() => Verdict::Unknown(Gap::Opaque(
            format!("neither {field} nor any request timeout is declared").into(),
        )),
        None => Verdict::Met,
    })
}

/// The shortest deadline that cuts the longest request.
fn cut(deadlines: &[Deadline], request: &Val<i64>) -> Option<Deadlines> {
    let (timeout, at) = shortest(deadlines)?;
    (timeout <= request.value).then(|| Deadlines::CutsRequest {
        at: at.clone(),
        timeout,
        request: request.clone(),
    })
}

/// The shortest of the declared deadlines.
fn shortest(deadlines: &[Deadline]) -> Option<(i64, &Deadline)> {
    deadlines
        .iter()
        .filter_map(|one| Some((one.value.as_ref()?.value, one)))
        .min_by_key(|(value, _)| *value)
}

/// An inner deadline that is not below its outer one; those that are not declared are passed over.
fn out_of_order(deadlines: &[Deadline]) -> Option<Verdict> {
    let known: Vec<_> = deadlines
        .iter()
        .filter_map(|one| Some((one.value.as_ref()?.value, one)))
        .collect();
    let mut tie = None;
    for pair in known.windows(2) {
        let [(before, outer), (after, inner)] = *pair else {
            continue;
        };
        if after > before {
            return Some(Verdict::violated(Deadlines::InnerOutlastsOuter {
                outer: outer.clone(),
                inner: inner.clone(),
                times: (before, after),
            }));
        }
        if after == before && tie.is_none() {
            tie = Some(Verdict::at_risk(Deadlines::Tie {
                outer: outer.clone(),
                inner: inner.clone(),
                time: before,
            }));
        }
    }
    tie
}

/// What is not declared and may break the rule at worst.
fn undeclared(deadlines: &[Deadline], request: Option<&Val<i64>>, field: &str) -> Option<Deadlines> {
    if let Some(request) = request {
        // A proxy has a default that is easily forgotten; an end is more often without any.
        let proxy = deadlines
            .iter()
            .enumerate()
            .find(|(at, one)| one.value.is_none() && *at != 0 && at + 1 != deadlines.len())
            .map(|(_, one)| one);
        let at = proxy.or_else(|| deadlines.iter().find(|one| one.value.is_none()))?;
        return Some(Deadlines::DeadlineNotDeclared {
            at: at.clone(),
            request: request.clone(),
            fits: fits(deadlines, at, request.value),
        });
    }
    let (timeout, at) = shortest(deadlines)?;
    Some(Deadlines::RequestNotDeclared {
        at: at.clone(),
        timeout,
        field: field.into(),
    })
}

/// A value for a deadline above the longest request and all that is behind it, and below all that is before it.
fn fits(deadlines: &[Deadline], at: &Deadline, request: i64) -> Option<i64> {
    let here = deadlines.iter().position(|one| one == at)?;
    let known = |part: &[Deadline]| -> Vec<i64> {
        part.iter()
            .filter_map(|one| Some(one.value.as_ref()?.value))
            .collect()
    };
    let (outer, inner) = deadlines.split_at(here);
    let least = known(inner)
        .into_iter()
        .max()
        .map_or(request, |inner| inner.max(request))
        + 1;
    match known(outer).into_iter().min() {
        Some(outer) => (least < outer).then_some(least),
        None => Some(least),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::judge::{End, Setting};
    use crate::know::Source;
    use crate::policy::{Client, Connection, Hop, Protocol, Server};
    use crate::world::{World, client, connection, l4, l7, policy, service};

    fn verdict(request: Option<u32>, outer: Option<u32>, hops: Vec<Hop>, inner: Option<u32>) -> String {
        world(request, outer, hops, inner).verdict("l7-deadline-order")
    }

    fn world(request: Option<u32>, outer: Option<u32>, hops: Vec<Hop>, inner: Option<u32>) -> World {
        let client = Client {
            request_timeout_seconds: outer,
            ..client("cart")
        };
        let connection = Connection {
            longest_request_seconds: request,
            hops,
            server: Server {
                request_timeout_seconds: inner,
                ..Server::default()
            },
            ..connection(Protocol::Http1, client)
        };
        World::complete()
            .with(Source::Services, service("api", json!({})))
            .policy(policy(vec![connection]))
    }

    #[rstest]
    #[case::http(Protocol::Http1, "AtRisk info DeadlineNotDeclared")]
    #[case::grpc(Protocol::Grpc, "Met")]
    fn a_grpc_server_takes_its_callers_deadline(#[case] protocol: Protocol, #[case] expected: &str) {
        let client = Client {
            request_timeout_seconds: Some(30),
            ..client("web")
        };
        let connection = Connection {
            longest_request_seconds: Some(20),
            ..connection(protocol, client)
        };
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .policy(policy(vec![connection]));
        assert_eq!(world.verdict("l7-deadline-order"), expected);
    }

    fn edge(seconds: u32) -> Vec<Hop> {
        vec![l7("edge", None, Some(seconds))]
    }

    #[rstest]
    #[case::ordered(Some(1800), Some(2000), edge(1900), Some(1850), "Met")]
    #[case::edge_cuts(
        Some(1800),
        Some(2000),
        edge(60),
        Some(50),
        "Violated warning DeadlineCutsRequest"
    )]
    #[case::equal_cuts(
        Some(1800),
        Some(2000),
        edge(1800),
        None,
        "Violated warning DeadlineCutsRequest"
    )]
    #[case::client_cuts(
        Some(1800),
        Some(30),
        Vec::new(),
        None,
        "Violated warning DeadlineCutsRequest"
    )]
    #[case::inner_outlasts(
        Some(10),
        Some(2000),
        edge(1900),
        Some(1950),
        "Violated warning InnerOutlastsOuter"
    )]
    #[case::past_a_gap(Some(10), Some(60), vec![l7("edge", None, None)], Some(90), "Violated warning InnerOutlastsOuter")]
    #[case::tie(Some(10), Some(60), edge(60), Some(50), "AtRisk warning DeadlinesTie")]
    #[case::tie_then_worse(Some(10), Some(60), edge(60), Some(70), "Violated warning InnerOutlastsOuter")]
    #[case::hop_unsaid(Some(10), Some(60), vec![l7("edge", None, None)], Some(50), "AtRisk info DeadlineNotDeclared")]
    #[case::end_unsaid(Some(10), None, edge(60), Some(50), "AtRisk info DeadlineNotDeclared")]
    #[case::request_unsaid(None, Some(70), edge(60), Some(50), "AtRisk info RequestNotDeclared")]
    #[case::nothing_said(None, None, vec![l7("edge", None, None)], None, "Unknown unknown")]
    #[case::nothing_there(Some(10), None, vec![l4("nat", Some(60))], None, "NotApplicable")]
    #[case::zero(Some(0), Some(0), Vec::new(), Some(0), "Violated warning DeadlineCutsRequest")]
    #[case::vast(
        Some(u32::MAX),
        Some(u32::MAX),
        Vec::new(),
        None,
        "Violated warning DeadlineCutsRequest"
    )]
    fn deadlines_from_the_outside_in(
        #[case] request: Option<u32>,
        #[case] outer: Option<u32>,
        #[case] hops: Vec<Hop>,
        #[case] inner: Option<u32>,
        #[case] expected: &str,
    ) {
        assert_eq!(verdict(request, outer, hops, inner), expected);
    }

    /// The deadline that nothing declares: a hop's before those of the ends, of the ends the client's.
    #[rstest]
    #[case::hop_and_ends(vec![l7("edge", None, None)], None, "edge")]
    #[case::the_first_of_two(vec![l7("edge", None, None), l7("mesh", None, None)], None, "edge")]
    #[case::both_ends(edge(60), None, "cart")]
    #[case::client(edge(60), Some(50), "cart")]
    fn the_first_undeclared_deadline(
        #[case] hops: Vec<Hop>,
        #[case] inner: Option<u32>,
        #[case] expected: &str,
    ) {
        let mut world = world(Some(10), None, hops, inner);
        let found = world.findings("l7-deadline-order");
        let at = found[0].evidence.iter().find(|one| one.what == "at");
        assert_eq!(at.unwrap().value.to_string(), expected);
    }

    /// A value is advised that is above the request and all that is behind it, and below all that is before it.
    #[rstest]
    #[case::between(Some(60), Some(50), Some(51))]
    #[case::above_the_request(Some(60), None, Some(11))]
    #[case::nothing_before(None, Some(50), Some(51))]
    #[case::no_place(Some(60), Some(59), None)]
    #[case::the_last_place(Some(61), Some(59), Some(60))]
    fn a_deadline_that_fits(
        #[case] outer: Option<u32>,
        #[case] inner: Option<u32>,
        #[case] expected: Option<u32>,
    ) {
        let mut world = world(Some(10), outer, vec![l7("edge", None, None)], inner);
        let set: Vec<_> = world
            .advised("l7-deadline-order")
            .iter()
            .flat_map(|one| &one.changes)
            .map(|change| (change.at.clone(), change.set))
            .collect();
        let expected = expected.map(|seconds| (End::Hop("edge".into()), Setting::RequestTimeout(seconds)));
        assert_eq!(set, Vec::from_iter(expected));
    }
}
