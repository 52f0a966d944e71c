//! `cp-stale-watch`: evenkeel's own watches hear what happens.

use std::fmt;

use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Known, Mono, Reads, Source, Unit, Val};

/// How long a watch may be without a sign of life, in milliseconds: three minutes.
const DEAF: u64 = 180_000;
/// Interruptions within [`OFTEN_WINDOW`] that are too many.
const OFTEN: usize = 3;
/// Half an hour, in milliseconds.
const OFTEN_WINDOW: u64 = 1_800_000;

/// The check.
pub static CHECK: Check = Check {
    id: "cp-stale-watch",
    severity: Severities::CRITICAL,
    needs: Reads::NONE,
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Needed,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
evenkeel's own watches hear what happens.

A watch can stay connected and deliver nothing: something between here and the API server forgot the connection. Who
does not measure that acts on the past. What evenkeel sees with its own watches, every other client behind the same
path, kube-proxy and controllers included, may have as well.

## Formula

A watch is silent when its bookmarks, the API server's signs of life, stay away for longer than the watch allows
itself, or when reading fails. Of the watches that have been complete before:

- one has been silent for at least 180 s: Violated, `Deaf`;
- one is silent: AtRisk, `Silent`;
- one was interrupted at least 3 times within 1800 s: AtRisk, `ComesAndGoes`.

Meanwhile everything that rests on a silent watch is Unknown, and nothing is done on its word. What was never readable
is not this: it is listed as unreadable. Only the operator watches; an audit does not judge this.

## What to do

1. See which way evenkeel reaches the API server, and what on it forgets idle connections: load balancer, NAT,
   firewall.
2. Compare with other clients on the same way: `kubeproxy_sync_proxy_rules_last_timestamp_seconds` of the proxies.
3. See whether the API server refuses: status 401, 403 or 429 in evenkeel's log.

## What not to do

Do not act on what clients show meanwhile: their view may be as old as evenkeel's.
";

#[allow(clippy::unnecessary_wraps, reason = "the shape of a judgement")]
fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.mono;
    let history = look.history();
    let lost: Vec<(Source, Mono)> = Source::ALL
        .into_iter()
        .filter_map(|source| Some((source, history.coverage(source)?.lost?)))
        .collect();
    if let Some(since) = lost.iter().map(|one| one.1).min() {
        let deaf: Vec<Source> = of(&lost, |at| now.since(at) >= DEAF);
        if !deaf.is_empty() {
            return Ok(Verdict::Violated(case("Deaf", &deaf)));
        }
        look.wake_at(since.plus(DEAF));
        return Ok(Verdict::AtRisk(case("Silent", &of(&lost, |_| true))));
    }
    let mut often = Vec::new();
    for source in Source::ALL {
        let gaps = history.coverage(source).map(|held| &held.gaps);
        if let Some(until) = gaps.and_then(|gaps| gaps.below(OFTEN, now, OFTEN_WINDOW)) {
            look.wake_at(until);
            often.push(source);
        }
    }
    Ok(if often.is_empty() {
        Verdict::Met
    } else {
        Verdict::AtRisk(case("ComesAndGoes", &often))
    })
}

fn of(lost: &[(Source, Mono)], wanted: impl Fn(Mono) -> bool) -> Vec<Source> {
    lost.iter().filter(|one| wanted(one.1)).map(|one| one.0).collect()
}

fn case(cause: &'static str, sources: &[Source]) -> Case {
    let place = "evenkeel's own watches";
    let names: Vec<&str> = sources.iter().map(|one| one.name()).collect();
    let seconds = |what, value: u64| Evidence::watched(what, Unit::Seconds, value / 1000, place);
    let mut evidence = vec![Evidence::text(
        "watches",
        &Val::measured(names.join(", ").into(), place),
    )];
    match cause {
        "Deaf" => evidence.push(seconds("silentFor", DEAF)),
        "ComesAndGoes" => {
            evidence.push(Evidence::watched("gaps", Unit::Count, OFTEN, place));
            evidence.push(seconds("window", OFTEN_WINDOW));
        }
        _ => {}
    }
    untyped(cause, evidence)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match case.cause {
        "Deaf" => write!(
            f,
            "the watch of {} has given no sign of life for at least {}; what rests on it is Unknown",
            case.show("watches"),
            case.cite("silentFor")
        ),
        "ComesAndGoes" => write!(
            f,
            "the watch of {} was interrupted at least {} times within {}",
            case.show("watches"),
            case.show("gaps"),
            case.cite("window")
        ),
        _ => write!(
            f,
            "the watch of {} gives no sign of life; what rests on it is Unknown",
            case.cite("watches")
        ),
    }
}

fn advise(_: &UntypedCase) -> Vec<String> {
    vec![
        "see what between evenkeel and the API server forgets idle connections: load balancer, NAT, firewall"
            .into(),
        "see evenkeel's log for refusals: status 401, 403 or 429".into(),
        "trust no client's view on the same way before its freshness is known".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use crate::checks::cluster_fixture::Cluster;
    use crate::checks::live_fixture::Live;
    use crate::index::{Freshness, Part};

    const ID: &str = "cp-stale-watch";

    #[test]
    fn silence_becomes_deafness_after_three_minutes_and_heals() {
        let mut live = Live::with(&[]);
        assert_eq!(live.says(ID), "");
        live.input(Input::Freshness(
            Source::EndpointSlices,
            Part::Whole,
            Freshness::Stale,
        ));
        assert_eq!(live.says(ID), "AtRisk warning Silent");
        live.wait(100);
        live.input(Input::Freshness(Source::Nodes, Part::Whole, Freshness::Stale));
        live.wait(79);
        assert_eq!(live.says(ID), "AtRisk warning Silent");
        live.wait(1);
        assert_eq!(live.says(ID), "Violated critical Deaf");
        assert_eq!(
            live.message(ID),
            "the watch of endpointslices has given no sign of life for at least 180 s (evenkeel's own watches); what \
             rests on it is Unknown"
        );
        live.list(Source::EndpointSlices, &[]);
        assert_eq!(live.says(ID), "AtRisk warning Silent");
        live.list(Source::Nodes, &[]);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn a_failure_counts_like_silence_and_goes_on_with_it() {
        let mut live = Live::with(&[]);
        live.input(Input::Freshness(Source::Nodes, Part::Whole, Freshness::Stale));
        live.wait(170);
        live.input(Input::Freshness(
            Source::Nodes,
            Part::Whole,
            Freshness::unreadable("status 403"),
        ));
        live.wait(10);
        assert_eq!(live.says(ID), "Violated critical Deaf");
    }

    #[test]
    fn three_interruptions_in_half_an_hour() {
        let mut live = Live::with(&[]);
        for _ in 0..3 {
            assert_eq!(live.says(ID), "");
            live.input(Input::Freshness(Source::Nodes, Part::Whole, Freshness::Stale));
            live.list(Source::Nodes, &[]);
            live.wait(100);
        }
        assert_eq!(live.says(ID), "AtRisk warning ComesAndGoes");
        live.wait(1501);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn what_was_never_readable_is_not_this() {
        let now = Live::with(&[]).now;
        let mut live = Live {
            core: crate::Core::live(now),
            now,
        };
        for source in Source::ALL {
            live.input(Input::Freshness(
                source,
                Part::Whole,
                Freshness::unreadable("forbidden"),
            ));
        }
        live.wait(1000);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn an_audit_does_not_speak_of_it() {
        let mut core = crate::Core::default();
        let now = crate::know::Now::ONCE;
        core.handle(now, Input::Synced(Source::Nodes)).unwrap();
        core.handle(
            now,
            Input::Freshness(Source::Nodes, Part::Whole, Freshness::Stale),
        )
        .unwrap();
        core.round(now);
        assert!(core.findings(now).findings.iter().all(|one| one.check != ID));
        assert_eq!(Cluster::empty().says(ID), Vec::<String>::new());
    }
}
