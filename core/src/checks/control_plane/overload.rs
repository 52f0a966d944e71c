//! `cp-overload-brownout`: the API servers answer, and in time.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::servers::{on_each, servers};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit};
use crate::sample::{Metric, Metrics, whole};

/// Over so many seconds shares are taken.
const WINDOW: f64 = 120.0;
/// With fewer requests in a second, all together, a few decide.
const FEWEST: f64 = 1.0;

/// The check.
pub static CHECK: Check = Check {
    id: "cp-overload-brownout",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::EndpointSlices]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[
        Metric::Requests,
        Metric::ServerErrors,
        Metric::TooManyRequests,
        Metric::SlowRequests,
    ]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
The API servers answer, and in time.

An overloaded control plane takes heartbeats late, so that healthy nodes look lost; and each eviction, restart or list that
follows adds to its load.

## Formula

Requests of all API servers together over 120 s, watches aside.

- more than 5 % end in a 5xx, or more than 5 % are turned away with a 429, or more than 1 % take longer than 10 s (the 99th
  percentile is above 10 s): Violated.
- Fewer than one request in a second: not applicable. One API server not measured: Unknown.

It is measured by `apiserver_request_total` and the bucket of 10 s of `apiserver_request_duration_seconds` of each API server.
That bucket is exact; no quantile is estimated.

## What to do

1. Find who asks most: `apiserver_flowcontrol_dispatched_requests_total` by priority level, the audit log by user.
2. Pause the roll-out of an agent that lists from every node, and let it come back slowly.

## What not to do

Do not drain, evict or restart anything meanwhile, and do not take the state of nodes for true.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let servers = servers(look)?;
    let sum = |metric| -> Known<f64> {
        let all = on_each(look, metric, &servers)?;
        Ok(all.iter().map(|one| one.1.mean(WINDOW)).sum())
    };
    let requests = sum(Metric::Requests)?;
    if requests < FEWEST {
        return Ok(Verdict::NotApplicable("too few requests to judge by"));
    }
    for (metric, sign, bound) in [
        (Metric::ServerErrors, OverloadSign::Errors, 5.0),
        (Metric::TooManyRequests, OverloadSign::TurnedAway, 5.0),
        (Metric::SlowRequests, OverloadSign::Slow, 1.0),
    ] {
        let percent = sum(metric)? * 100.0 / requests;
        let lasts = lasts(look, metric, &servers)?;
        if percent > bound && lasts {
            return Ok(Verdict::violated(Overload {
                sign,
                percent: step(percent),
                source: format!("{} of {} API servers", metric.name(), servers.len()).into(),
            }));
        }
    }
    Ok(Verdict::Met)
}

/// Whether it goes on in one of them for half of the window: a single burst is no overload.
fn lasts(look: &Look<'_>, metric: Metric, servers: &[IpAddr]) -> Known<bool> {
    let all = on_each(look, metric, servers)?;
    Ok(all.iter().any(|one| one.1.above_for(0.0) >= WINDOW / 2.0))
}

/// The greatest of 1, 5, 10, 25, 50 that a percentage reaches: each sample would bring another number.
fn step(percent: f64) -> u32 {
    let steps = [50, 25, 10, 5];
    let reached = steps.into_iter().find(|step| whole(percent) >= *step);
    reached.unwrap_or(1)
}

/// By what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum OverloadSign {
    Errors,
    TurnedAway,
    Slow,
}

/// Requests that are not answered, or late.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Overload {
    sign: OverloadSign,
    /// So many at least.
    percent: u32,
    source: Arc<str>,
}

impl Explain for Overload {
    fn cause(&self) -> &'static str {
        match self.sign {
            OverloadSign::Errors => "Errors",
            OverloadSign::TurnedAway => "TurnedAway",
            OverloadSign::Slow => "Slow",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.sign {
            OverloadSign::Errors => "end in a server error (5xx)",
            OverloadSign::TurnedAway => "are turned away (429)",
            OverloadSign::Slow => "take longer than 10 s",
        };
        write!(
            f,
            "at least {} % of the requests to the API servers {what}, over {WINDOW} s",
            self.percent
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        vec![
            Evidence::watched("share", Unit::Percent, self.percent, self.source.clone()),
            Evidence::watched("window", Unit::Seconds, 120, self.source.clone()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "find who asks most: apiserver_flowcontrol_dispatched_requests_total by priority level, the audit log by user"
                .into(),
            "pause the roll-out of an agent that lists from every node".into(),
            "do not drain, evict or restart anything meanwhile: heartbeats come late, and nodes look lost that are not"
                .into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |sign| {
        Verdict::violated(Overload {
            sign,
            percent: 10,
            source: "serverErrors of 3 API servers".into(),
        })
    };
    [OverloadSign::Errors, OverloadSign::TurnedAway, OverloadSign::Slow]
        .map(of)
        .to_vec()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::control_plane::servers::world::says;

    #[rstest]
    #[case::healthy(100.0, [0.1, 0.0, 0.01], "Met")]
    #[case::errors(100.0, [8.0, 0.0, 0.0], "Violated critical Errors")]
    #[case::turned_away(100.0, [0.0, 20.0, 0.0], "Violated critical TurnedAway")]
    #[case::slow(100.0, [0.0, 0.0, 1.5], "Violated critical Slow")]
    #[case::as_many_as_may_be(100.0, [4.9, 4.9, 0.9], "Met")]
    #[case::no_client_asks(0.1, [0.1, 0.0, 0.0], "NotApplicable")]
    fn overload(#[case] requests: f64, #[case] bad: [f64; 3], #[case] expected: &str) {
        let played = [
            (Metric::Requests, "", [requests; 3]),
            (Metric::ServerErrors, "", [bad[0]; 3]),
            (Metric::TooManyRequests, "", [bad[1]; 3]),
            (Metric::SlowRequests, "", [bad[2]; 3]),
        ];
        assert_eq!(says("cp-overload-brownout", &played), expected);
    }
}
