//! `cp-stale-watch`: evenkeel's own watches deliver changes.

use std::fmt;
use std::sync::Arc;

use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Mono, Reads, Source, Unit, Val};
use crate::sample::Metrics;

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
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
evenkeel's own watches deliver changes.

A watch can stay connected and deliver nothing: something between here and the API server forgot the connection. A
client that does not measure that acts on the past. What evenkeel sees with its own watches, every other client behind the same
path, kube-proxy and controllers included, may have as well.

## Formula

A watch is silent when its bookmarks, the API server's signs of life, stay away for longer than the watch allows
itself, or when reading fails. Of the watches that have been complete before:

- the API server refuses to let evenkeel read one: AtRisk, `Refused`. A right is missing, which concerns evenkeel alone;
- one has been silent for at least 180 s: Violated, `Deaf`;
- one is silent: AtRisk, `Silent`;
- one was interrupted at least 3 times within 1800 s: AtRisk, `ComesAndGoes`.

Meanwhile everything that rests on a silent watch is Unknown, and nothing is done because of it. What was never readable
is not this: it is listed as unreadable. Only the operator watches; an audit does not judge this.

## What to do

1. See by which path evenkeel reaches the API server, and what on it forgets idle connections: load balancer, NAT,
   firewall.
2. Compare with other clients on the same path: `kubeproxy_sync_proxy_rules_last_timestamp_seconds` of the proxies.
3. Where it refuses, give evenkeel's ClusterRole the right back: check with `kubectl auth can-i` as its ServiceAccount.

## What not to do

Do not act on what clients show meanwhile: their view may be as old as evenkeel's.
";

#[allow(clippy::unnecessary_wraps, reason = "the shape of a judgement")]
fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.mono;
    let history = look.history();
    let watches = || {
        Source::ALL
            .into_iter()
            .filter_map(|source| Some((source, history.coverage(source)?)))
    };
    let lost: Vec<(Source, Mono)> = watches()
        .filter(|(_, watch)| watch.refused.is_none())
        .filter_map(|(source, watch)| Some((source, watch.lost?)))
        .collect();
    let of = |wanted: &dyn Fn(Mono) -> bool| -> Vec<Source> {
        lost.iter().filter(|one| wanted(one.1)).map(|one| one.0).collect()
    };
    let deaf = of(&|at| now.since(at) >= DEAF);
    if !deaf.is_empty() {
        return Ok(Verdict::violated(WatchTrouble::Deaf(deaf)));
    }
    if let Some(since) = lost.iter().map(|one| one.1).min() {
        look.wake_at(since.plus(DEAF));
    }
    let refused: Vec<(Source, Arc<str>)> = watches()
        .filter(|(_, watch)| watch.lost.is_some())
        .filter_map(|(source, watch)| Some((source, watch.refused.clone()?)))
        .collect();
    if !refused.is_empty() {
        return Ok(Verdict::at_risk(WatchTrouble::Refused(refused)));
    }
    if !lost.is_empty() {
        return Ok(Verdict::at_risk(WatchTrouble::Silent(of(&|_| true))));
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
        Verdict::at_risk(WatchTrouble::ComesAndGoes(often))
    })
}

/// What is wrong with which watches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum WatchTrouble {
    Deaf(Vec<Source>),
    Silent(Vec<Source>),
    ComesAndGoes(Vec<Source>),
    /// With the answer of the API server.
    Refused(Vec<(Source, Arc<str>)>),
}

impl WatchTrouble {
    /// The names of the sources, as evidence has all of them and a message a few.
    fn watches(&self, most: usize) -> String {
        let names: Vec<&str> = match self {
            Self::Deaf(sources) | Self::Silent(sources) | Self::ComesAndGoes(sources) => {
                sources.iter().map(|one| one.name()).collect()
            }
            Self::Refused(sources) => sources.iter().map(|one| one.0.name()).collect(),
        };
        let more = names.len().saturating_sub(most);
        let shown: Vec<&str> = names.into_iter().take(most).collect();
        if more == 0 {
            shown.join(", ")
        } else {
            format!("{} and {more} more", shown.join(", "))
        }
    }
}

impl Explain for WatchTrouble {
    fn cause(&self) -> &'static str {
        match self {
            Self::Deaf(_) => "Deaf",
            Self::Silent(_) => "Silent",
            Self::ComesAndGoes(_) => "ComesAndGoes",
            Self::Refused(_) => "Refused",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watches = self.watches(3);
        match self {
            Self::Deaf(_) => write!(
                f,
                "the watch of {watches} has given no sign of life for at least {} s; what rests on it is Unknown",
                DEAF / 1000
            ),
            Self::Silent(_) => write!(
                f,
                "the watch of {watches} gives no sign of life; what rests on it is Unknown"
            ),
            Self::ComesAndGoes(_) => write!(
                f,
                "the watch of {watches} was interrupted at least {OFTEN} times within {} s",
                OFTEN_WINDOW / 1000
            ),
            Self::Refused(_) => write!(
                f,
                "the API server refuses (403) to let evenkeel read {watches}; what rests on it is Unknown"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "evenkeel's own watches";
        let seconds = |what, value: u64| Evidence::watched(what, Unit::Seconds, value / 1000, place);
        let watches = Val::measured(self.watches(usize::MAX).into(), place);
        let mut evidence = vec![Evidence::text("watches", &watches)];
        match self {
            Self::Deaf(_) => evidence.push(seconds("silentFor", DEAF)),
            Self::Silent(_) => {}
            Self::ComesAndGoes(_) => {
                evidence.push(Evidence::watched("gaps", Unit::Count, OFTEN, place));
                evidence.push(seconds("window", OFTEN_WINDOW));
            }
            Self::Refused(sources) => {
                let answers = sources
                    .iter()
                    .map(|(_, why)| Val::measured(why.clone(), "the API server's answer"));
                evidence.extend(answers.map(|answer| Evidence::text("answer", &answer)));
            }
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        if let Self::Refused(_) = self {
            return vec![
                "see what took the right away: ClusterRole and ClusterRoleBinding of evenkeel's ServiceAccount".into(),
                "apply evenkeel's manifests again; it reads what it misses by itself as soon as it may".into(),
            ];
        }
        vec![
            "see what between evenkeel and the API server forgets idle connections: load balancer, NAT, firewall".into(),
            "see whether other clients on the same path are behind as well, before you trust what they show".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let answer = "missing right: watch namespaces";
    vec![
        Verdict::violated(WatchTrouble::Deaf(vec![Source::EndpointSlices])),
        Verdict::violated(WatchTrouble::Deaf(Source::ALL[..6].to_vec())),
        Verdict::at_risk(WatchTrouble::Silent(vec![Source::Nodes])),
        Verdict::at_risk(WatchTrouble::ComesAndGoes(vec![Source::Nodes])),
        Verdict::at_risk(WatchTrouble::Refused(vec![(Source::Namespaces, answer.into())])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
    use crate::index::{Freshness, Part};
    use crate::world::World;

    const ID: &str = "cp-stale-watch";

    fn stale(source: Source) -> Input<'static> {
        Input::Freshness(source, Part::Whole, Freshness::Stale)
    }

    fn refused(source: Source) -> Input<'static> {
        let why = Freshness::unreadable("missing right: watch namespaces");
        Input::Freshness(source, Part::Whole, why)
    }

    #[test]
    fn silence_becomes_deafness_after_three_minutes_and_heals() {
        let mut live = World::watched(&[]);
        assert_eq!(live.says(ID), "");
        live.input(stale(Source::EndpointSlices));
        assert_eq!(live.says(ID), "AtRisk warning Silent");
        live.wait(100);
        live.input(stale(Source::Nodes));
        live.wait(79);
        assert_eq!(live.says(ID), "AtRisk warning Silent");
        live.wait(1);
        assert_eq!(live.says(ID), "Violated critical Deaf");
        assert_eq!(
            live.message(ID),
            "the watch of endpointslices has given no sign of life for at least 180 s; what rests on it is Unknown"
        );
        live.list(Source::EndpointSlices, &[]);
        assert_eq!(live.says(ID), "AtRisk warning Silent");
        live.list(Source::Nodes, &[]);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn a_missing_right_is_a_warning_that_names_it() {
        let mut live = World::watched(&[]);
        live.input(refused(Source::Namespaces));
        for _ in 0..2 {
            assert_eq!(live.says(ID), "AtRisk warning Refused");
            live.wait(500);
        }
        let found = live.findings(ID);
        assert_eq!(
            found[0].message,
            "the API server refuses (403) to let evenkeel read namespaces; what rests on it is Unknown"
        );
        assert!(
            found[0].advice.iter().all(|one| !one.contains("idle")),
            "{:?}",
            found[0].advice
        );
        // Another one that is silent is deaf all the same.
        live.input(stale(Source::Nodes));
        live.wait(180);
        assert_eq!(live.says(ID), "Violated critical Deaf");
        live.list(Source::Nodes, &[]);
        live.list(Source::Namespaces, &[]);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn three_interruptions_in_half_an_hour() {
        let mut live = World::watched(&[]);
        for _ in 0..3 {
            assert_eq!(live.says(ID), "");
            live.input(stale(Source::Nodes));
            live.list(Source::Nodes, &[]);
            live.wait(100);
        }
        assert_eq!(live.says(ID), "AtRisk warning ComesAndGoes");
        live.wait(1501);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn what_was_never_readable_is_not_this() {
        let now = World::watched(&[]).now;
        let mut live = World {
            core: crate::program::Core::live(now),
            now,
        };
        for source in Source::ALL {
            live.input(refused(source));
        }
        live.wait(1000);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn an_audit_does_not_judge_it() {
        let mut core = crate::program::Core::default();
        let now = crate::know::Now::ONCE;
        core.handle(now, Input::Synced(Source::Nodes));
        core.handle(now, stale(Source::Nodes));
        core.round(now);
        assert!(core.findings(now).findings.iter().all(|one| one.check != ID));
        assert_eq!(World::complete().found(ID), Vec::<String>::new());
    }
}
