//! `l7-deadline-order`: every deadline on the path outlives the longest request, and the outer one every inner one.

use std::fmt;
use std::sync::Arc;

use super::{declared, nobody};
use crate::judge::{
    Case, Check, Evidence, Judge, Look, Memory, Path, Severities, Severity, UntypedCase, Verdict,
};
use crate::know::{Gap, Known, Reads, Source, Unit, Val};
use crate::policy::Layer;
use crate::sources::service::Transport;

/// The check.
pub static CHECK: Check = Check {
    id: "l7-deadline-order",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
};

const DOC: &str = "\
Every deadline outlives the longest request, and an outer deadline every inner one.

A proxy that ends the connection waits for an answer for a time of its own. TCP keepalives and HTTP/2 pings keep tables
alive, but they are no answer: they never reset a request timeout. Where an inner hop waits longer than an outer one,
the outer one gives up first, and everything behind it goes on working for nobody, often beside the caller's retry.

## Formula

`R` is `longestRequestSeconds`. The deadlines are the `requestTimeoutSeconds` of the client, of each L7 hop and of the
server, from the outside in.

- A deadline `<= R`: Violated, warning, cause `DeadlineCutsRequest`.
- An inner deadline above an outer one: Violated, warning, cause `InnerOutlastsOuter`. Equal ones race: AtRisk, cause
  `DeadlinesTie`.
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

/// One deadline of the path.
struct Deadline {
    name: Arc<str>,
    field: String,
    value: Option<Val<i64>>,
}

/// The deadlines from the outside in.
fn deadlines(look: &Look<'_>, path: &Path<'_>) -> Vec<Deadline> {
    let one = |name: Arc<str>, seconds: Option<u32>, field: String| Deadline {
        value: seconds.map(|value| Val::declared(i64::from(value), field.as_str())),
        name,
        field,
    };
    let client = nobody(&path.client.name);
    let field = declared(path, &format!("clients[{client}].requestTimeoutSeconds"));
    let mut all = vec![one(client, path.client.request_timeout_seconds, field)];
    for hop in path.connection.hops.iter().filter(|hop| hop.layer == Layer::L7) {
        let field = declared(path, &format!("hops[{}].requestTimeoutSeconds", hop.name));
        all.push(one(hop.name.clone(), hop.request_timeout_seconds, field));
    }
    all.push(one(
        look.show(path.key).into(),
        path.connection.server.request_timeout_seconds,
        declared(path, "server.requestTimeoutSeconds"),
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
        return Ok(Verdict::Violated(case));
    }
    if let Some(verdict) = out_of_order(&deadlines) {
        return Ok(verdict);
    }
    let risk = undeclared(&deadlines, request.as_ref(), &field);
    Ok(match risk {
        Some(case) => Verdict::AtRisk(case),
        None if request.is_none() => Verdict::Unknown(Gap::Opaque(
            format!("neither {field} nor any request timeout is declared").into(),
        )),
        None => Verdict::Met,
    })
}

/// The shortest deadline that cuts the longest request.
fn cut(deadlines: &[Deadline], request: &Val<i64>) -> Option<Case> {
    let (one, value) = deadlines
        .iter()
        .filter_map(|one| Some((one, one.value.as_ref()?)))
        .filter(|(_, value)| value.value <= request.value)
        .min_by_key(|(_, value)| value.value)?;
    Some(untyped(
        "DeadlineCutsRequest",
        vec![
            Evidence::number("requestTimeout", Unit::Seconds, value),
            Evidence::number("longestRequest", Unit::Seconds, request),
            Evidence::text("at", &Val::declared(one.name.clone(), one.field.as_str())),
        ],
    ))
}

/// An inner deadline that is not below its outer one; those that are not declared are passed over.
fn out_of_order(deadlines: &[Deadline]) -> Option<Verdict> {
    let known: Vec<_> = deadlines
        .iter()
        .filter_map(|one| Some((one, one.value.as_ref()?)))
        .collect();
    let case = |cause, outer: (&Deadline, &Val<i64>), inner: (&Deadline, &Val<i64>)| {
        untyped(
            cause,
            vec![
                Evidence::number("outerTimeout", Unit::Seconds, outer.1),
                Evidence::number("innerTimeout", Unit::Seconds, inner.1),
                Evidence::text(
                    "outer",
                    &Val::declared(outer.0.name.clone(), outer.0.field.as_str()),
                ),
                Evidence::text(
                    "inner",
                    &Val::declared(inner.0.name.clone(), inner.0.field.as_str()),
                ),
            ],
        )
    };
    let mut tie = None;
    for pair in known.windows(2) {
        let [outer, inner] = pair else { continue };
        if inner.1.value > outer.1.value {
            return Some(Verdict::Violated(case("InnerOutlastsOuter", *outer, *inner)));
        }
        if inner.1.value == outer.1.value && tie.is_none() {
            tie = Some(Verdict::AtRisk(case("DeadlinesTie", *outer, *inner)));
        }
    }
    tie
}

/// What is not declared and may break the rule at worst.
fn undeclared(deadlines: &[Deadline], request: Option<&Val<i64>>, field: &str) -> Option<Case> {
    let unsaid = |what: &'static str, field: &str| {
        Evidence::text(what, &Val::assumed(Arc::from("not declared"), field))
    };
    let name = |one: &Deadline| Evidence::text("at", &Val::declared(one.name.clone(), one.field.as_str()));
    if let Some(request) = request {
        // A proxy has a default that nobody thinks of; an end is more often without any.
        let proxy = deadlines
            .iter()
            .enumerate()
            .find(|(at, one)| one.value.is_none() && *at != 0 && at + 1 != deadlines.len())
            .map(|(_, one)| one);
        let one = proxy.or_else(|| deadlines.iter().find(|one| one.value.is_none()))?;
        return Some(untyped(
            "DeadlineNotDeclared",
            vec![
                Evidence::number("longestRequest", Unit::Seconds, request),
                unsaid("requestTimeout", &one.field),
                name(one),
            ],
        ));
    }
    let (one, value) = deadlines
        .iter()
        .filter_map(|one| Some((one, one.value.as_ref()?)))
        .min_by_key(|(_, value)| value.value)?;
    Some(untyped(
        "RequestNotDeclared",
        vec![
            Evidence::number("requestTimeout", Unit::Seconds, value),
            unsaid("longestRequest", field),
            name(one),
        ],
    ))
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    let at_most = if matches!(cause, "DeadlineNotDeclared" | "RequestNotDeclared") {
        Severity::Info
    } else {
        Severity::Critical
    };
    UntypedCase::at_most(at_most, cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let at = case.show("at");
    let (timeout, request) = (case.cite("requestTimeout"), case.cite("longestRequest"));
    match case.cause {
        "DeadlineCutsRequest" => write!(
            f,
            "{at} gives up on a request after {timeout}, and one may take {request}; keepalives do not reset this"
        ),
        "InnerOutlastsOuter" => write!(
            f,
            "{} gives up after {}, while {} behind it goes on for up to {}",
            case.show("outer"),
            case.cite("outerTimeout"),
            case.show("inner"),
            case.cite("innerTimeout"),
        ),
        "DeadlinesTie" => write!(
            f,
            "{} and {} behind it both give up after the same time, {} and {}: which of them is first is chance",
            case.show("outer"),
            case.show("inner"),
            case.cite("outerTimeout"),
            case.cite("innerTimeout"),
        ),
        "RequestNotDeclared" => write!(
            f,
            "{at} gives up on a request after {timeout}; how long one may take is {request}"
        ),
        _ => write!(
            f,
            "a request may take {request}; after how long {at} gives up on it is {timeout}"
        ),
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let at = case.show("at");
    match case.cause {
        "DeadlineCutsRequest" => vec![
            format!(
                "let the request return at once and report progress, or raise the request timeout of {at} above {}",
                case.show("longestRequest")
            ),
            "keep every outer deadline above the inner ones; shorter keepalives do not help".into(),
        ],
        "InnerOutlastsOuter" | "DeadlinesTie" => vec![
            format!(
                "set the request timeout of {} a few seconds below {}, if {} still covers the longest request",
                case.show("inner"),
                case.show("outerTimeout"),
                case.show("inner"),
            ),
            format!(
                "or raise that of {} above {}",
                case.show("outer"),
                case.show("innerTimeout")
            ),
        ],
        "RequestNotDeclared" => vec![format!(
            "declare longestRequestSeconds; less than {} clears this",
            case.show("requestTimeout")
        )],
        _ => vec![format!(
            "find out the request timeout of {at} and declare it; more than {} clears this",
            case.show("longestRequest")
        )],
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::checks::fixture::{World, client, connection, l4, l7, policy, service};
    use crate::know::Source;
    use crate::policy::{Client, Connection, Hop, Protocol, Server};

    fn verdict(request: Option<u32>, outer: Option<u32>, hops: Vec<Hop>, inner: Option<u32>) -> String {
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
            .with(Source::Services, &service("api", json!({})))
            .policy(policy(vec![connection]))
            .verdict("l7-deadline-order")
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
}
