//! `fleet-change-sync`: nodes do not fail together because the same change reached them.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::Traits;
use crate::index::Dep;
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sources::node::Readiness;

/// The window of failures, in milliseconds: half an hour.
const WINDOW: u64 = 1_800_000;
/// Share of all nodes that must have failed, in percent.
const SHARE_PERCENT: usize = 5;
/// Fewest nodes: in a small cluster one node is already such a share.
const NODES: usize = 3;
/// Share of the failed that must run the same for a suspicion, in percent.
const MOST_PERCENT: usize = 90;
/// Share of the healthy that may run it too, in percent.
const FEW_PERCENT: usize = 20;

/// Something to compare: its name, and how to find it.
type Attribute = (&'static str, fn(&Traits) -> Name);

/// What is compared.
const ATTRIBUTES: [Attribute; 4] = [
    ("kernelVersion", |one| one.kernel),
    ("kubeletVersion", |one| one.kubelet),
    ("osImage", |one| one.image),
    ("containerRuntimeVersion", |one| one.runtime),
];

/// The check.
pub static CHECK: Check = Check {
    id: "fleet-change-sync",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Needed,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
Nodes do not fail together because the same change reached all of them.

An update that installs itself at the same hour everywhere takes out nodes that share nothing else. Replacing them
makes it worse: the new ones come with the update.

## Formula

Over 1800 s, of the nodes whose condition Ready went from True to something else, at least 3 and at least 5 % of all
nodes; compared are `kernelVersion`, `kubeletVersion`, `osImage` and `containerRuntimeVersion` of `status.nodeInfo`
when they failed with those of the nodes that are ready and did not fail:

- all that failed run the same version of something, and no healthy node runs it: Violated, `OnlyTheFailed`;
- at least 90 % of them do, and at most 20 % of the healthy nodes: AtRisk, `MostlyTheFailed`.

Where every node runs the same, or none is healthy, nothing can be told apart and this check is content; see
`node-zone-disruption`.

Only the operator has a history; an audit does not judge this. Nodes that a first list shows as not ready did not fail
as far as anybody has seen.

## What to do

1. Stop the change: unattended upgrades, the rollout of a node image, the upgrade of a node pool.
2. Repair or roll back one node first and see that it stays.

## What not to do

Do not let failed nodes be replaced one after the other: switch automatic repair off until the cause is known.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.mono;
    let history = look.history();
    let failures = history.nodes().failures(now, WINDOW);
    let failed: BTreeMap<Name, Traits> = failures.clone().map(|one| (one.node, one.traits)).collect();
    if let Some(first) = failures.clone().next() {
        look.wake_at(first.at.plus(WINDOW + 1));
    }
    let mut all = look.node_sums(Dep::NodeCount)?.count() as usize;
    for name in failed.keys() {
        all += usize::from(!look.has_node(*name)?);
    }
    if failed.len() < NODES || failed.len() * 100 < all * SHARE_PERCENT {
        look.covered(Source::Nodes, WINDOW)?;
        return Ok(Verdict::Met);
    }
    let healthy: Vec<Traits> = look
        .nodes()?
        .iter()
        .filter(|(at, node)| node.ready == Readiness::Ready && !failed.contains_key(&at.name))
        .map(|(_, node)| Traits::of(node))
        .collect();
    let found: Vec<Shared> = ATTRIBUTES
        .iter()
        .filter_map(|(name, of)| Shared::of(look, name, *of, &failed, &healthy))
        .collect();
    let only = found.iter().any(|one| one.only);
    let told: Vec<&Shared> = found.iter().filter(|one| one.only == only).collect();
    if told.is_empty() {
        return Ok(Verdict::Met);
    }
    let place = "Node status.nodeInfo";
    let ready = "Node status.conditions[Ready], as watched";
    let names: Vec<String> = told.iter().map(|one| one.text.clone()).collect();
    let with = told.iter().map(|one| one.healthy).max().unwrap_or(0);
    let evidence = vec![
        Evidence::watched("failed", Unit::Count, failed.len(), ready),
        Evidence::watched("nodes", Unit::Count, all, ready),
        Evidence::text("shared", &Val::declared(names.join(", ").into(), place)),
        Evidence::count("healthyWith", with, place),
        Evidence::count("healthy", healthy.len(), place),
        Evidence::watched("window", Unit::Seconds, WINDOW / 1000, ready),
    ];
    Ok(if only {
        Verdict::Violated(untyped("OnlyTheFailed", evidence))
    } else {
        Verdict::AtRisk(untyped("MostlyTheFailed", evidence))
    })
}

/// Something that the failed nodes run and the healthy ones do not.
struct Shared {
    text: String,
    only: bool,
    healthy: usize,
}

impl Shared {
    fn of(
        look: &Look<'_>,
        name: &str,
        of: fn(&Traits) -> Name,
        failed: &BTreeMap<Name, Traits>,
        healthy: &[Traits],
    ) -> Option<Self> {
        let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
        for traits in failed.values() {
            *counts.entry(of(traits)).or_default() += 1;
        }
        let (value, count) = counts
            .into_iter()
            .filter(|one| !one.0.is_empty())
            .max_by_key(|one| one.1)?;
        let with = healthy.iter().filter(|one| of(one) == value).count();
        let only = count == failed.len() && with == 0;
        let mostly = count * 100 >= failed.len() * MOST_PERCENT && with * 100 <= healthy.len() * FEW_PERCENT;
        (!healthy.is_empty() && (only || mostly)).then(|| Self {
            text: format!("{name} {}", look.names().text(value)),
            only,
            healthy: with,
        })
    }
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (who, others) = if case.cause == "OnlyTheFailed" {
        ("all of them run", "none")
    } else {
        ("most of them run", "few")
    };
    write!(
        f,
        "{} of {} nodes stopped being ready within {}; {who} {}, and {others} of the others: {} of {} healthy nodes",
        case.show("failed"),
        case.show("nodes"),
        case.cite("window"),
        case.cite("shared"),
        case.show("healthyWith"),
        case.show("healthy")
    )
}

fn advise(case: &UntypedCase) -> Vec<String> {
    vec![
        format!(
            "stop what brings {}: unattended upgrades, the rollout of a node image or pool",
            case.show("shared")
        ),
        "switch automatic repair of nodes off until then: replacements would come with the same change"
            .into(),
        "repair or roll back one node first and see that it stays".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use crate::checks::cluster_fixture::node;
    use crate::checks::live_fixture::Live;
    use crate::index::{Freshness, Part};
    use rstest::rstest;
    use serde_json::Value;

    const ID: &str = "fleet-change-sync";

    fn with_kernel(at: usize, ready: bool, kernel: &str) -> Value {
        let mut one = node(&format!("n{at}"), "z", if ready { "True" } else { "Unknown" });
        one["status"]["nodeInfo"]["kernelVersion"] = kernel.into();
        one
    }

    /// Nodes of which the first run kernel B.
    fn start(all: usize, b: usize) -> Live {
        let objects: Vec<_> = (0..all)
            .map(|at| {
                (
                    Source::Nodes,
                    with_kernel(at, true, if at < b { "B" } else { "A" }),
                )
            })
            .collect();
        Live::with(&objects)
    }

    fn fail(live: &mut Live, at: usize, b: usize) {
        live.put(
            Source::Nodes,
            &with_kernel(at, false, if at < b { "B" } else { "A" }),
        );
    }

    #[rstest]
    #[case::a_third(100, 30, 0..30, "Violated critical OnlyTheFailed")]
    #[case::at_five_percent(100, 5, 0..5, "Violated critical OnlyTheFailed")]
    #[case::below_five_percent(100, 4, 0..4, "")]
    #[case::two_of_ten(10, 2, 0..2, "")]
    #[case::three_of_ten(10, 3, 0..3, "Violated critical OnlyTheFailed")]
    #[case::half_of_b_fail(100, 30, 0..15, "AtRisk warning MostlyTheFailed")]
    #[case::a_tenth_of_b_fails(100, 60, 0..6, "")]
    #[case::one_other_fails_too(100, 30, 0..31, "AtRisk warning MostlyTheFailed")]
    #[case::all_run_the_same(100, 100, 0..30, "")]
    #[case::all_fail(10, 10, 0..10, "")]
    #[case::mixed(100, 30, 20..40, "")]
    fn changes(
        #[case] all: usize,
        #[case] b: usize,
        #[case] failing: std::ops::Range<usize>,
        #[case] expected: &str,
    ) {
        let mut live = start(all, b);
        for at in failing {
            fail(&mut live, at, b);
        }
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn it_names_the_attribute_and_ends_with_the_window() {
        let mut live = start(100, 30);
        for at in 0..30 {
            fail(&mut live, at, 30);
            live.wait(10);
        }
        assert_eq!(
            live.message(ID),
            "30 of 100 nodes stopped being ready within 1800 s (Node status.conditions[Ready], as watched); all of them \
             run kernelVersion B (Node status.nodeInfo), and none of the others: 0 of 70 healthy nodes"
        );
        live.wait(1800);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn failures_spread_over_hours_are_not_together() {
        let mut live = start(100, 30);
        for at in 0..30 {
            fail(&mut live, at, 30);
            live.wait(600);
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn nodes_that_were_replaced_still_count() {
        let mut live = start(20, 5);
        for at in 0..5 {
            fail(&mut live, at, 5);
            live.input(Input::Gone(Source::Nodes, "", &format!("n{at}")));
        }
        assert_eq!(live.says(ID), "Violated critical OnlyTheFailed");
    }

    #[test]
    fn a_jump_of_the_wall_clock_changes_nothing() {
        let mut live = start(100, 30);
        for at in 0..3 {
            fail(&mut live, at, 30);
        }
        for jump in [-1_000_000_000, 5, 2_000_000_000] {
            live.now.wall.0 += jump;
            live.wait(1);
            assert_eq!(live.says(ID), "");
        }
    }

    #[test]
    fn the_first_list_is_no_failure() {
        let objects: Vec<_> = (0..100)
            .map(|at| {
                (
                    Source::Nodes,
                    with_kernel(at, at >= 30, if at < 30 { "B" } else { "A" }),
                )
            })
            .collect();
        let mut live = Live::with(&objects);
        assert_eq!(live.says(ID), "");
        // Nor is what happened while nobody watched.
        live.input(Input::Freshness(Source::Nodes, Part::Whole, Freshness::Stale));
        let after: Vec<_> = (0..100).map(|at| with_kernel(at, false, "B")).collect();
        live.list(Source::Nodes, &after.iter().collect::<Vec<_>>());
        assert_eq!(live.says(ID), "");
    }
}
