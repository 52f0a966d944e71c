//! `path-idle-budget`: no connection is silent for longer than a hop on its path remembers it.

use std::fmt;
use std::sync::Arc;

use super::advice::Remedies;
use super::budget::{Budget, Closing, Segment, Span, TableHop, USES, segments};
use super::span::{nears, reaches};
use super::tables::in_a_sentence;
use crate::judge::{
    Advice, Check, End, Evidence, Explain, Judge, Look, Memory, Path, Severities, Severity, Verdict,
};
use crate::know::{Known, Origin, Reads, Source, Val};
use crate::route::Meets;
use crate::sample::Metrics;
use crate::sources::service::Transport;

/// The check.
pub static CHECK: Check = Check {
    id: "path-idle-budget",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: USES,
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
    #[cfg(test)]
    examples: || crate::checks::messages::by_scenes("path-idle-budget"),
};

const DOC: &str = "\
No connection is silent for longer than a hop on its path remembers it.

Every stateful L4 hop forgets an idle connection after a time of its own: an IPVS table after 900 s, an AWS network
load balancer after 350 s, an Azure one after 4 minutes. A connection that is silent for longer is forgotten without
notice, and the next byte is answered with a reset or with nothing: the caller waits, often for ever. An L7 hop closes a
connection without data, whatever keepalives it sees.

## Formula

The path is cut into segments at its L7 hops: each holds one TCP connection.

- `R` is the longest silence of the application on the segment: the longer of its streams' (`longestSilenceSeconds`, else
  at most `longestRequestSeconds`) and the time that a connection waits in the pool of the side that opened it.
- The pool's idle time, the other side's idle timeout and a maximum age all end the wait in the pool. A pool whose idle
  time is not declared may keep a connection for ever; only a client's is bounded by `longestSilenceSeconds` as well.
- Behind an L7 hop the pool is the hop's own (`hops[].upstream`), never the client's. TCP and UDP are forwarded one to
  one, without a pool.
- `K` is the first TCP keepalive or ping of either end of the segment. Heartbeats of an application, and HTTP/2 pings
  where every hop forwards bytes, count on all segments of the path. gRPC pings count for a waiting connection only with
  `ping.withoutCalls`.
- `G = min(K, R)` is the longest silence on the wire, and `T` the least idle timeout of the segment's L4 hops.

| rule | verdict |
|---|---|
| `G >= T` | Violated, critical |
| `G >= T` only in the worst case of what is not declared | AtRisk, origin Assumed, never critical |
| `G >= T` only on some of the nodes that the client may run on, and it runs on none of these, or where is not known | AtRisk, cause `PlaceNotKnown` |
| `G >= T` for GCP's internal passthrough load balancer, which finds a connection that it has forgotten again by a hash, unless nodes come or go | AtRisk, info, cause `NodesMayChange` |
| `G >= T` on all nodes of which the table is known, and these are no more than half of those that the client may run on | Unknown |
| `G > 0.8 T` | AtRisk |
| silence without data `>=` the idle timeout of an L7 hop | Violated, critical, cause `ProxyClosesIdle` |

- TCP keepalives are no data for an L7 hop, and HTTP/2 pings only for one that forwards bytes; the heartbeat of an
  application over TCP or HTTP/1 is data for all.
- AWS Classic load balancers, OCI's, Octavia's and HTTP listeners end connections: they are L7 hops.
- A hop whose timeout is not known makes the verdict Unknown, unless a known hop already decides it. A load balancer that
  is not known can be declared by a hop of layer L4 next to it.
- A headless or ExternalName Service has no table on the nodes; hops that the policy declares count all the same.

Zero in kube-proxy's configuration keeps the kernel's value: `ipvs.tcpTimeout: 0s` is 900 s, not \"no timeout\".

## What to do

1. Where connections wait in a pool, let the pool drop them before the hop forgets them.
2. Let one end of the segment send TCP keepalives at half of `T` or sooner. In Go, libpq and Redis they are on by
   default; declare them, and the finding clears.
3. Where the client arms keepalive without a time, set the Pod's own sysctl `net.ipv4.tcp_keepalive_time` (allowed by
   default since Kubernetes 1.29; not with hostNetwork). The node's sysctl does not reach Pods.
4. Before an L7 hop send data of the application, or raise the hop's idle timeout.
5. Only then raise a table's timeout: the table grows with it, and entries of dead backends stay as long.

## What not to do

Do not restart the server or kube-proxy: it cuts the connections that still work. Do not ping a gRPC server more often
than it permits: it ends the connection.
";

/// What may silence a connection for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outlasting {
    SilenceExceedsTimeout,
    NarrowMargin,
    KeepaliveNotDeclared,
    SilenceNotDeclared,
    PoolNotDeclared,
    PingsNeedCalls,
    PlaceNotKnown,
    NodesMayChange,
    ProxyClosesIdle,
}

/// A silence that outlasts a hop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Outlasted {
    cause: Outlasting,
    from: Arc<str>,
    to: Arc<str>,
    /// Longest silence of the application; `None` when nothing declared ends it.
    silence: Option<Val<i64>>,
    /// The first keepalive; `None` when none is sent, or none is declared.
    keepalive: Option<Val<i64>>,
    /// Whether an end may send keepalives that are not declared.
    undeclared: bool,
    /// Whether these are datagrams, which know no keepalive.
    udp: bool,
    hop: Arc<str>,
    hop_end: Option<End>,
    idle: Val<i64>,
    remedies: Remedies,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every judge has the signature of the table"
)]
fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    let mut worst = Verdict::Met;
    let mut any = false;
    let all = segments(look, path);
    for segment in &all {
        any |= !segment.tables.is_empty() || !segment.closings.is_empty();
        let closings = segment
            .closings
            .iter()
            .map(|closing| judge_closing(look, path, &all, segment, closing));
        for verdict in std::iter::once(judge_tables(look, path, &all, segment)).chain(closings) {
            if verdict.weight() > worst.weight() {
                worst = verdict;
            }
        }
    }
    Ok(if any {
        worst
    } else {
        Verdict::NotApplicable("no hop on this path keeps a table")
    })
}

/// The silence on a segment against its tables.
fn judge_tables(look: &Look<'_>, path: &Path<'_>, all: &[Segment], segment: &Segment) -> Verdict {
    let budget = segment.budget();
    if let Budget::Unknown(gap) = budget {
        return Verdict::Unknown(gap);
    }
    let tightest = match budget {
        Budget::Forgotten => segment.tightest_met(),
        _ => segment.tightest(),
    };
    let Some((table, idle)) = tightest else {
        return Verdict::Met;
    };
    let case = |cause, best: bool| {
        let application = segment.stream.clone().max(segment.pool.clone());
        let keepalive = segment.keepalive.clone();
        Outlasted {
            cause,
            from: segment.from.name.clone(),
            to: segment.to.name.clone(),
            silence: if best { application.best } else { application.worst },
            keepalive: if best { keepalive.best } else { keepalive.worst },
            undeclared: segment.from.keepalive_is_undeclared() || segment.to.keepalive_is_undeclared(),
            udp: path.port.transport == Transport::Udp,
            hop: table.hop.clone(),
            hop_end: table.end.clone(),
            idle: idle.clone(),
            remedies: Remedies::of(look, path, all, segment, idle.value),
        }
    };
    match budget {
        Budget::Forgotten => Verdict::violated(case(Outlasting::SilenceExceedsTimeout, true)),
        Budget::Undeclared => {
            let cause = undeclared(segment, table, idle.value);
            Verdict::at_risk(case(cause, reaches(segment.silence.best.as_ref(), idle.value)))
        }
        Budget::Narrow => Verdict::at_risk(case(Outlasting::NarrowMargin, false)),
        Budget::Kept | Budget::Unknown(_) | Budget::NoTable => Verdict::Met,
    }
}

/// What it is that is not declared and decides.
fn undeclared(segment: &Segment, table: &TableHop, idle: i64) -> Outlasting {
    let open = |span: &Span| reaches(span.worst.as_ref(), idle) && !reaches(span.best.as_ref(), idle);
    if table.meets == Meets::FoundAgain {
        Outlasting::NodesMayChange
    } else if reaches(segment.silence.best.as_ref(), idle) {
        Outlasting::PlaceNotKnown
    } else if open(&segment.keepalive) {
        Outlasting::KeepaliveNotDeclared
    } else if !reaches(segment.keepalive.worst.as_ref(), idle) {
        Outlasting::PingsNeedCalls
    } else if open(&segment.stream) {
        Outlasting::SilenceNotDeclared
    } else {
        Outlasting::PoolNotDeclared
    }
}

/// The time without data against an L7 hop that closes.
fn judge_closing(
    look: &Look<'_>,
    path: &Path<'_>,
    all: &[Segment],
    segment: &Segment,
    closing: &Closing,
) -> Verdict {
    let timeout = closing.idle.value;
    let Span { best, worst } = &closing.silence;
    let case = |cause, silence: &Option<Val<i64>>| Outlasted {
        cause,
        from: segment.from.name.clone(),
        to: segment.to.name.clone(),
        silence: silence.clone(),
        keepalive: None,
        undeclared: false,
        udp: path.port.transport == Transport::Udp,
        hop: closing.hop.clone(),
        hop_end: closing.end.clone(),
        idle: closing.idle.clone(),
        remedies: Remedies::of(look, path, all, segment, timeout),
    };
    if reaches(best.as_ref(), timeout) {
        Verdict::violated(case(Outlasting::ProxyClosesIdle, best))
    } else if nears(worst.as_ref(), timeout) {
        Verdict::at_risk(case(Outlasting::ProxyClosesIdle, worst))
    } else {
        Verdict::Met
    }
}

/// How a value came to be known, in a word for a message.
const fn by(origin: Origin) -> &'static str {
    match origin {
        Origin::Measured => " (measured)",
        Origin::Declared => "",
        Origin::Default => " (default)",
        Origin::Assumed => " (assumed)",
    }
}

impl Outlasted {
    /// Why its keepalives are of no use.
    fn first_keepalive(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keepalive {
            Some(first) if first.value >= self.idle.value => {
                let first_of_all = if self.udp {
                    "first datagram"
                } else {
                    "first keepalive"
                };
                write!(f, "its {first_of_all} comes at {} s", first.value)
            }
            Some(_) => write!(f, "its pings stop while no call is open"),
            None if self.udp => write!(f, "no datagram is sent meanwhile"),
            None => write!(f, "no keepalive is sent"),
        }
    }

    /// What comes near to the timeout: the first keepalive, or the silence.
    fn narrow(&self, silent: &str) -> String {
        let ends = |first: &&Val<i64>| {
            let silence = self.silence.as_ref();
            silence.is_none_or(|silence| first.value < silence.value)
        };
        self.keepalive.as_ref().filter(ends).map_or_else(
            || format!("is silent {silent}"),
            |first| {
                let what = if self.udp {
                    "a datagram"
                } else {
                    "its first keepalive"
                };
                format!("sends {what} after {} s", first.value)
            },
        )
    }
}

impl Explain for Outlasted {
    fn cause(&self) -> &'static str {
        match self.cause {
            Outlasting::SilenceExceedsTimeout => "SilenceExceedsTimeout",
            Outlasting::NarrowMargin => "NarrowMargin",
            Outlasting::KeepaliveNotDeclared => "KeepaliveNotDeclared",
            Outlasting::SilenceNotDeclared => "SilenceNotDeclared",
            Outlasting::PoolNotDeclared => "PoolNotDeclared",
            Outlasting::PingsNeedCalls => "PingsNeedCalls",
            Outlasting::PlaceNotKnown => "PlaceNotKnown",
            Outlasting::NodesMayChange => "NodesMayChange",
            Outlasting::ProxyClosesIdle => "ProxyClosesIdle",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, hop, .. } = self;
        let table = in_a_sentence(hop, self.hop_end.as_ref());
        let (idle, by) = (self.idle.value, by(self.idle.origin));
        let silent = match &self.silence {
            Some(silence) => format!("for up to {} s", silence.value),
            None => "for ever".into(),
        };
        match self.cause {
            Outlasting::SilenceExceedsTimeout => {
                write!(
                    f,
                    "{from} is silent {silent}, but {table} forgets it after {idle} s{by}; "
                )?;
                self.first_keepalive(f)
            }
            Outlasting::NarrowMargin => write!(
                f,
                "{from} {}, more than 80 % of the {idle} s{by} after which {table} forgets it",
                self.narrow(&silent)
            ),
            Outlasting::KeepaliveNotDeclared => write!(
                f,
                "{from} may be silent {silent}, and {table} forgets it after {idle} s{by}; {} not declared",
                if self.udp {
                    "how often it sends a datagram is"
                } else {
                    "keepalives are"
                }
            ),
            Outlasting::SilenceNotDeclared => write!(
                f,
                "{table} forgets a silent connection of {from} after {idle} s{by}; how long it is silent is not declared"
            ),
            Outlasting::PoolNotDeclared => write!(
                f,
                "{from} may pool connections {silent}, and {table} forgets them after {idle} s{by}; its pool's \
                 idle time is not declared"
            ),
            Outlasting::PingsNeedCalls => write!(
                f,
                "{from} may be idle {silent} without a call and so without pings; {table} forgets it after \
                 {idle} s{by}"
            ),
            Outlasting::PlaceNotKnown => write!(
                f,
                "{from} is silent {silent}; where it may run, {table} forgets it after {idle} s{by}; elsewhere not, or not known"
            ),
            Outlasting::NodesMayChange => write!(
                f,
                "{from} may be silent {silent}; {table} forgets it after {idle} s{by}, and loses it if a node comes or goes"
            ),
            Outlasting::ProxyClosesIdle => {
                write!(
                    f,
                    "{hop} closes a connection without data after {idle} s{by}, and "
                )?;
                if from == hop {
                    write!(f, "may send {to} none {silent}")?;
                } else {
                    write!(f, "{from} may send none {silent}")?;
                }
                if self.udp {
                    return Ok(());
                }
                f.write_str("; keepalives are no data")
            }
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let policy = "policy";
        let mut evidence = vec![
            Evidence::seconds("idleTimeout", &self.idle),
            Evidence::text(
                "hop",
                &Val {
                    value: self.hop.clone(),
                    origin: self.idle.origin,
                    source: self.idle.source.clone(),
                },
            ),
            Evidence::name("from", &self.from, policy),
            Evidence::name("to", &self.to, policy),
            match &self.silence {
                Some(silence) => Evidence::seconds("silence", silence),
                // At best without an end: that is declared.
                None if matches!(
                    self.cause,
                    Outlasting::SilenceExceedsTimeout | Outlasting::PlaceNotKnown
                ) =>
                {
                    Evidence::name("silence", &"unbounded".into(), "policy idleTimeout Never")
                }
                None => Evidence::text(
                    "silence",
                    &Val::assumed("unbounded".into(), "nothing declared ends it"),
                ),
            },
        ];
        let beat = if self.udp { "heartbeat" } else { "keepalive" };
        match (&self.keepalive, self.undeclared) {
            (Some(first), _) => evidence.push(Evidence::seconds(beat, first)),
            (None, true) => evidence.push(Evidence::undeclared(beat, policy)),
            (None, false) if self.cause != Outlasting::ProxyClosesIdle => {
                evidence.push(Evidence::name(beat, &"none".into(), policy));
            }
            (None, false) => {}
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let (remedies, idle) = (&self.remedies, self.idle.value);
        let longest = self.silence.as_ref().map(|silence| silence.value);
        let mut advice = Vec::new();
        match self.cause {
            Outlasting::ProxyClosesIdle => {
                advice.extend(remedies.data());
                advice.extend(remedies.close_later(&self.hop, self.hop_end.as_ref(), longest));
            }
            Outlasting::KeepaliveNotDeclared => {
                advice.extend(remedies.declare_keepalive());
                advice.extend(remedies.shorten_pool());
            }
            Outlasting::SilenceNotDeclared => advice.extend(remedies.declare_silence()),
            Outlasting::PoolNotDeclared => advice.extend(remedies.declare_pool()),
            Outlasting::PingsNeedCalls => advice.extend(remedies.ping_without_calls()),
            Outlasting::SilenceExceedsTimeout
            | Outlasting::NarrowMargin
            | Outlasting::PlaceNotKnown
            | Outlasting::NodesMayChange => {
                advice.extend(remedies.shorten_pool());
            }
        }
        if self.cause != Outlasting::ProxyClosesIdle {
            advice.extend(remedies.keepalives());
            // It cannot be set for affinity by connection.
            if self.cause != Outlasting::NodesMayChange {
                advice.extend(Remedies::raise(&self.hop, self.hop_end.as_ref(), longest));
            }
        }
        if advice.is_empty() {
            // A timeout of a second or two leaves no time for anything in between.
            let table = in_a_sentence(&self.hop, self.hop_end.as_ref());
            advice.push(format!("let {table} keep connections for longer than {idle} s").into());
        }
        advice
    }

    fn at_most(&self) -> Severity {
        match self.cause {
            Outlasting::NodesMayChange => Severity::Info,
            _ => Severity::Critical,
        }
    }
}
