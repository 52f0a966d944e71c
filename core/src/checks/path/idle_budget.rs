//! `path-idle-budget`: the wire is never silent longer than a hop remembers the connection.

use std::fmt;

use super::budget::{Budget, Segment, Table, USES, segments};
use crate::judge::{
    Case, Check, Datum, Evidence, Judge, Look, Memory, Path, Severities, UntypedCase, Verdict,
};
use crate::know::{Known, Reads, Source, Unit, Val};

/// The check.
pub static CHECK: Check = Check {
    id: "path-idle-budget",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: USES,
    profiles: true,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
};

const DOC: &str = "\
The wire is never silent longer than a hop remembers the connection.

Every stateful L4 hop forgets an idle connection after a time of its own: an IPVS table after 900 s, an AWS network
load balancer after 350 s, an Azure one after 4 minutes. A connection that is silent for longer is forgotten without
notice, and the next byte is answered with a reset or with nothing: the caller waits, often for ever.

## Formula

For every TCP segment of the path, `K` is the first TCP keepalive or ping that either end sends, `R` the longest
silence of the application, and `G = min(K, R)` the longest silence on the wire. `T` is the least idle timeout of the
segment's L4 hops.

- `G >= T`: Violated, critical.
- `G > 0.8 T`: AtRisk.
- A keepalive that nobody declared may be on or off. When only the worse of the two breaks the rule, the verdict is
  AtRisk with origin Assumed, and never critical.
- A hop whose timeout is not known makes the verdict Unknown, unless a known hop already decides it.
- A headless or ExternalName Service has no table on the nodes; hops that the policy declares count all the same.

Zero in kube-proxy's configuration keeps the kernel's value: `ipvs.tcpTimeout: 0s` is 900 s, not \"no timeout\".

## What to do

1. Let the client send a TCP keepalive or ping at half of `T` or sooner. In Go, libpq and Redis it is on by default;
   declare it, and the finding clears.
2. Where the client arms keepalive without a time, set the Pod's own sysctl `net.ipv4.tcp_keepalive_time` (allowed by
   default since Kubernetes 1.29). The node's sysctl does not reach Pods.
3. Only then raise the hop's timeout: it is global, its table grows with it, and dead backends linger as long.

## What not to do

Do not restart the server or kube-proxy: it cuts the connections that still work.
";

#[expect(
    clippy::unnecessary_wraps,
    reason = "every judge has the signature of the table"
)]
fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    let mut worst = Verdict::Met;
    let mut any_table = false;
    for segment in segments(look, path) {
        any_table |= !segment.tables.is_empty();
        let verdict = judge_segment(&segment);
        if verdict.weight() > worst.weight() {
            worst = verdict;
        }
    }
    Ok(if any_table {
        worst
    } else {
        Verdict::NotApplicable("no hop on this path keeps a table")
    })
}

fn judge_segment(segment: &Segment) -> Verdict {
    let budget = segment.budget();
    if let Budget::Unknown(gap) = budget {
        return Verdict::Unknown(gap);
    }
    let Some((table, idle)) = segment.tightest() else {
        return Verdict::Met;
    };
    let (best, worst) = (segment.silence.best.as_ref(), segment.silence.worst.as_ref());
    match budget {
        Budget::Forgotten => Verdict::Violated(case("SilenceExceedsTimeout", segment, table, idle, best)),
        Budget::Undeclared => Verdict::AtRisk(case("KeepaliveNotDeclared", segment, table, idle, worst)),
        Budget::Narrow => Verdict::AtRisk(case("NarrowMargin", segment, table, idle, worst)),
        Budget::Kept | Budget::Unknown(_) | Budget::NoTable => Verdict::Met,
    }
}

fn case(
    cause: &'static str,
    segment: &Segment,
    table: &Table,
    idle: &Val<i64>,
    silence: Option<&Val<i64>>,
) -> Case {
    let mut evidence = vec![
        Evidence::number("idleTimeout", Unit::Seconds, idle),
        Evidence::text(
            "hop",
            &Val {
                value: table.hop.clone(),
                origin: idle.origin,
                source: idle.source.clone(),
            },
        ),
        Evidence::text("from", &Val::declared(segment.from.clone(), "policy")),
        Evidence::text("to", &Val::declared(segment.to.clone(), "policy")),
    ];
    match silence {
        Some(silence) => evidence.push(Evidence::number("silence", Unit::Seconds, silence)),
        None => evidence.push(Evidence::text(
            "silence",
            &Val::assumed("unbounded".into(), "nothing declared ends it"),
        )),
    }
    match if cause == "SilenceExceedsTimeout" {
        &segment.keepalive.best
    } else {
        &segment.keepalive.worst
    } {
        Some(keepalive) => evidence.push(Evidence::number("keepalive", Unit::Seconds, keepalive)),
        None if cause == "KeepaliveNotDeclared" => {
            evidence.push(Evidence::text(
                "keepalive",
                &Val::assumed("not declared".into(), "policy"),
            ));
        }
        None => evidence.push(Evidence::text(
            "keepalive",
            &Val::declared("none".into(), "policy"),
        )),
    }
    untyped(cause, evidence)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let silence = match case.find("silence") {
        Some(Evidence {
            value: Datum::Number(_),
            ..
        }) => format!("silent for up to {}", case.cite("silence")),
        _ => "silent without any declared end".into(),
    };
    write!(
        f,
        "connections from {} to {} may be {silence}, and the {} forgets an idle connection after {}",
        case.show("from"),
        case.show("to"),
        case.show("hop"),
        case.cite("idleTimeout"),
    )?;
    match case.cause {
        "SilenceExceedsTimeout" => match case.find("keepalive") {
            Some(Evidence {
                value: Datum::Number(number),
                source,
                ..
            }) => {
                write!(
                    f,
                    "; the first keepalive comes too late, after {number} s ({source})"
                )
            }
            _ => write!(f, "; no keepalive is sent"),
        },
        "KeepaliveNotDeclared" => write!(f, "; whether a keepalive keeps it alive is not declared"),
        _ => write!(f, ": more than 80 % of it"),
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let half = case.number("idleTimeout").map_or(60, |idle| (idle / 2).max(1));
    let mut advice = Vec::new();
    if case.cause == "KeepaliveNotDeclared" {
        advice.push(format!(
            "find out whether the client sends TCP keepalives or pings, and declare it: `tcpKeepalive: {{state: Enabled, idleSeconds: ...}}` (at most {half} s clears this)"
        ));
    } else {
        advice.push(format!(
            "let the client send TCP keepalives or pings every {half} s or sooner, and declare it"
        ));
    }
    advice.push(format!(
        "or set the client Pod's sysctl net.ipv4.tcp_keepalive_time to {half} where the client arms keepalive without a time of its own"
    ));
    advice.push(format!(
        "last, raise the idle timeout of the {}: it is global, and dead backends linger as long",
        case.show("hop")
    ));
    advice
}
