//! `node-cascade-wave`: nodes do not fail because they took over from nodes that failed.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::Failure;
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Known, Mono, Reads, Source, Unit};
use crate::names::Name;
use crate::policy::Cascade;

/// Failures within so many milliseconds of the first have its cause; later ones may be its effect.
const FIRST: u64 = 60_000;
/// Fewest endpoints that a node must have received: a percentage of next to nothing is nothing.
const RECEIVED: u32 = 3;
/// What counts where no policy says: the defaults of `nodes.cascade`.
const DEFAULT: Cascade = Cascade {
    window_seconds: 600,
    minimum_nodes: 3,
    received_pods_percent: 20,
};

/// The check.
pub static CHECK: Check = Check {
    id: "node-cascade-wave",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes, Source::EndpointSlices]),
    uses: Reads::of(&[Source::ClusterPolicy]),
    profiles: false,
    history: Memory::Needed,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
Nodes do not fail because they took over the Pods of nodes that failed.

A node falls, its Pods move, the nodes that take them fall under the new load, and the wave goes on until nothing is
left that could take more. Each step looks like a repair.

## Formula

Over the window `nodes.cascade.windowSeconds` of the platform's policy (600 s without one), of the nodes whose
condition Ready went from True to something else:

- `first` are those that failed within 60 s of the first one, `later` are the others;
- a later node was filled when its endpoints had grown by `receivedPodsPercent` (20 %) or more, and by at least 3, in
  the window before it failed. Endpoints in EndpointSlices stand for Pods: each is an address of a Pod that belongs
  to a Service. Pods without a Service are not seen.

With at least `minimumNodes` (3) such nodes and at least one later one:

- every later node was filled: Violated, `Wave`;
- some were: AtRisk, `SomeFilled`;
- slices had not been watched over the whole window before each failure: at most AtRisk, `ShortHistory`.

Only the operator has a history; an audit does not judge this. Nodes that a first list shows as not ready did not fail
as far as anybody has seen.

## What to do

1. Stop what makes Pods move: pause rollouts and autoscalers of the largest workloads.
2. Take load away, or add nodes, before the next one falls: nodes left and their headroom decide whether it goes on.

## What not to do

Do not drain the nodes that fail, and do not cordon many: the same Pods then land on fewer nodes.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.mono;
    let policy = look.cluster_policy()?.and_then(|policy| policy.nodes.cascade);
    let rule = policy.unwrap_or(DEFAULT);
    let window = u64::from(rule.window_seconds) * 1000;
    let history = look.history();
    let failures = history.nodes().failures(now, window);
    let Some(origin) = failures.clone().next().map(|one| one.at) else {
        look.covered(Source::Nodes, window)?;
        return Ok(Verdict::Met);
    };
    look.wake_at(origin.plus(window + 1));
    let wave = Wave::of(failures, origin, &rule);
    if wave.failed < rule.minimum_nodes as usize || wave.filled == 0 {
        look.covered(Source::Nodes, window)?;
        return Ok(Verdict::Met);
    }
    let cause = if !wave.seen {
        "ShortHistory"
    } else if wave.filled < wave.later {
        "SomeFilled"
    } else {
        "Wave"
    };
    let found = wave.case(cause, &rule);
    Ok(if cause == "Wave" {
        Verdict::Violated(found)
    } else {
        Verdict::AtRisk(found)
    })
}

/// Nodes that failed within a window.
struct Wave {
    failed: usize,
    later: usize,
    filled: usize,
    /// By how much the filled ones had grown at least, in percent.
    growth: u32,
    /// Whether all growth is known.
    seen: bool,
}

impl Wave {
    fn of<'a>(failures: impl Iterator<Item = &'a Failure>, origin: Mono, rule: &Cascade) -> Self {
        // Of a node that failed twice, the time it was fullest.
        let mut later: BTreeMap<Name, (bool, u32)> = BTreeMap::new();
        let mut all: BTreeMap<Name, bool> = BTreeMap::new();
        for one in failures {
            *all.entry(one.node).or_insert(true) &= one.seen;
            if one.at.since(origin) > FIRST {
                let growth = growth(one);
                let filled = growth >= rule.received_pods_percent && one.grown >= RECEIVED;
                let held = later.entry(one.node).or_default();
                *held = (*held).max((filled, growth));
            }
        }
        let filled = || later.values().filter(|one| one.0);
        Self {
            failed: all.len(),
            later: later.len(),
            filled: filled().count(),
            growth: filled().map(|one| one.1).min().unwrap_or(0),
            seen: all.values().all(|seen| *seen),
        }
    }

    fn case(&self, cause: &'static str, rule: &Cascade) -> Case {
        let ready = "Node status.conditions[Ready], as watched";
        let slices = "EndpointSlices, as watched";
        untyped(
            cause,
            vec![
                Evidence::watched("failed", Unit::Count, self.failed, ready),
                Evidence::watched("later", Unit::Count, self.later, ready),
                Evidence::watched("filled", Unit::Count, self.filled, slices),
                Evidence::watched("growth", Unit::Percent, self.growth, slices),
                Evidence::watched("window", Unit::Seconds, rule.window_seconds, ready),
            ],
        )
    }
}

/// By how much the endpoints of a node had grown, in percent.
fn growth(failure: &Failure) -> u32 {
    failure.grown.saturating_mul(100) / failure.before.max(1)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{} nodes stopped being ready within {}; {} of the {} that failed after the first had received {} more \
         endpoints or above before they failed (EndpointSlices, as watched)",
        case.show("failed"),
        case.cite("window"),
        case.show("filled"),
        case.show("later"),
        case.show("growth")
    )?;
    match case.cause {
        "ShortHistory" => write!(f, "; how full they were before is known in part only"),
        "SomeFilled" => write!(f, "; the others failed for some other reason"),
        _ => Ok(()),
    }
}

fn advise(_: &UntypedCase) -> Vec<String> {
    vec![
        "pause rollouts and autoscalers of the largest workloads, so that nothing more moves".into(),
        "compare the headroom of the nodes that are left with what the failed ones carried; add nodes or take load away"
            .into(),
        "do not drain the failed nodes and do not cordon many: their Pods would land on fewer".into(),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Input;
    use crate::checks::cluster_fixture::node;
    use crate::checks::live_fixture::{Live, slice};
    use crate::policy::{ClusterPolicy, NodesPolicy};
    use rstest::rstest;
    use serde_json::Value;

    const ID: &str = "node-cascade-wave";

    fn name(at: u32) -> String {
        format!("n{at}")
    }

    /// Slice `node` holds what a node has: so many endpoints.
    fn load(node: u32, count: u32) -> Value {
        let name = name(node);
        let endpoints: Vec<_> = (0..count)
            .map(|at| (node * 1000 + at, name.as_str(), true))
            .collect();
        slice("app", node, &endpoints)
    }

    /// Twenty nodes of ten endpoints, watched for a while.
    fn start(seconds: u64) -> Live {
        let mut objects = vec![];
        for at in 0..20 {
            objects.push((Source::Nodes, node(&name(at), "z", "True")));
            objects.push((Source::EndpointSlices, load(at, 10)));
        }
        let mut live = Live::with(&objects);
        live.wait(seconds);
        live
    }

    fn fail(live: &mut Live, at: u32) {
        live.put(Source::Nodes, &node(&name(at), "z", "Unknown"));
    }

    /// Two nodes fail; some minutes later some that have grown, and some that have not.
    fn wave(live: &mut Live, grown: u32, count: u32, flat: u32) {
        (0..2).for_each(|at| fail(live, at));
        live.wait(120);
        for at in 2..2 + count {
            live.put(Source::EndpointSlices, &load(at, 10 + grown));
        }
        live.wait(120);
        (2..2 + count + flat).for_each(|at| fail(live, at));
    }

    #[rstest]
    #[case::filled(700, 4, 3, 0, "Violated critical Wave")]
    #[case::just_filled(700, 3, 1, 0, "Violated critical Wave")]
    #[case::hardly_filled(700, 1, 3, 0, "")]
    #[case::two_endpoints_are_nothing(700, 2, 3, 0, "")]
    #[case::one_was_not(700, 4, 3, 1, "AtRisk warning SomeFilled")]
    #[case::none_was(700, 0, 3, 0, "")]
    #[case::no_later_ones(700, 4, 0, 0, "")]
    #[case::watched_too_short(60, 4, 3, 0, "AtRisk warning ShortHistory")]
    fn waves(
        #[case] watched: u64,
        #[case] grown: u32,
        #[case] count: u32,
        #[case] flat: u32,
        #[case] expected: &str,
    ) {
        let mut live = start(watched);
        wave(&mut live, grown, count, flat);
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn it_says_what_it_counted_and_ends_with_the_window() {
        let mut live = start(700);
        wave(&mut live, 4, 3, 0);
        assert_eq!(
            live.message(ID),
            "5 nodes stopped being ready within 600 s (Node status.conditions[Ready], as watched); 3 of the 3 that \
             failed after the first had received 40 % more endpoints or above before they failed (EndpointSlices, as \
             watched)"
        );
        live.wait(361);
        // The first two are out of the window; what is left has no cause.
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn one_moment_is_no_wave() {
        let mut live = start(700);
        for at in 0..10 {
            live.put(Source::EndpointSlices, &load(at, 20));
        }
        (0..10).for_each(|at| fail(&mut live, at));
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn a_node_that_flaps_is_one_node() {
        let mut live = start(700);
        for _ in 0..6 {
            fail(&mut live, 1);
            live.put(Source::EndpointSlices, &load(1, 20));
            live.put(Source::Nodes, &node("n1", "z", "True"));
            live.wait(30);
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn replaced_pods_are_not_received_ones() {
        let mut live = start(700);
        (0..2).for_each(|at| fail(&mut live, at));
        live.wait(120);
        for at in 2..5 {
            // A rollout: as many go as come.
            let other = name(at);
            let endpoints: Vec<_> = (0..10)
                .map(|one| (50_000 + at * 1000 + one, other.as_str(), true))
                .collect();
            live.put(Source::EndpointSlices, &slice("app", at, &endpoints));
        }
        live.wait(60);
        (2..5).for_each(|at| fail(&mut live, at));
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn the_platforms_policy_sets_the_numbers() {
        let mut live = start(700);
        let policy = ClusterPolicy {
            nodes: NodesPolicy {
                cascade: Some(Cascade {
                    window_seconds: 1800,
                    minimum_nodes: 6,
                    received_pods_percent: 50,
                }),
                ..NodesPolicy::default()
            },
            ..ClusterPolicy::default()
        };
        live.input(Input::ClusterPolicy(Some(Arc::new(policy))));
        live.wait(1800);
        wave(&mut live, 5, 3, 0);
        assert_eq!(live.says(ID), "");
        live.put(Source::EndpointSlices, &load(9, 15));
        live.wait(700);
        fail(&mut live, 9);
        assert_eq!(live.says(ID), "Violated critical Wave");
    }

    #[test]
    fn nodes_that_were_down_before_did_not_fail() {
        let down: Vec<_> = (0..20)
            .map(|at| (Source::Nodes, node(&name(at), "z", "False")))
            .collect();
        let mut live = Live::with(&down);
        assert_eq!(live.says(ID), "");
        let world = crate::checks::cluster_fixture::Cluster::empty();
        assert_eq!(world.says(ID), Vec::<String>::new());
    }

    #[test]
    fn a_long_window_is_judged_when_it_has_passed() {
        let mut live = Live::with(&[]);
        let policy = ClusterPolicy {
            nodes: NodesPolicy {
                cascade: Some(Cascade {
                    window_seconds: 7200,
                    ..DEFAULT
                }),
                ..NodesPolicy::default()
            },
            ..ClusterPolicy::default()
        };
        live.input(Input::ClusterPolicy(Some(Arc::new(policy))));
        live.wait(2000);
        let unknown = |live: &Live| live.core.findings(live.now).summary.unknown;
        let before = unknown(&live);
        live.wait(5300);
        // Nothing came by: time alone made it known.
        assert_eq!(unknown(&live) + 1, before);
    }
}
