//! `fleet-change-sync`: nodes do not fail together because the same change reached them.

mod sync;

use std::collections::BTreeMap;

use crate::history::{self, NodeSoftware};
use crate::index::Dep;
use crate::judge::{Check, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source};
use crate::names::Name;
use crate::sample::Metrics;
use crate::sources::node::{Node, Readiness};
#[cfg(test)]
pub(crate) use sync::examples;
use sync::{ChangeCertainty, Sync, TOGETHER};

/// A change within so many seconds before a failure may be its cause: a day, in which unattended upgrades come round.
const CHANGED: i64 = 86_400;
/// Share of all nodes that must be down together, in percent.
const SHARE_PERCENT: usize = 5;
/// Fewest nodes: in a small cluster one node is already such a share.
const NODES: usize = 3;
/// Share of the nodes that are down that must run the same for a suspicion, in percent.
const MOST_PERCENT: usize = 90;
/// Share of the Ready nodes that may run it too, in percent.
const FEW_PERCENT: usize = 20;

/// What is compared, in the order of [`NodeSoftware::each`].
const ATTRIBUTES: [&str; 4] = [
    "kernelVersion",
    "kubeletVersion",
    "osImage",
    "containerRuntimeVersion",
];

/// The check.
pub static CHECK: Check = Check {
    id: "fleet-change-sync",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Used,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Nodes do not fail together because the same change reached all of them.

An update that installs itself at the same hour everywhere takes out nodes that share nothing else. Replacing them
makes it worse: the new ones come with the update.

## Formula

The check takes the nodes that are not Ready now and count as down (`node-zone-disruption` says which: nodes that join,
or that are cordoned or marked for removal, do not), and of them the largest group that went down within 1800 s of each
other, however long ago: at least 3, and at least 5 % of all. It compares `kernelVersion`, `kubeletVersion`, `osImage`
and `containerRuntimeVersion` of `status.nodeInfo` with those of the nodes that are Ready:

- all of them run the same version of something, which came to these very nodes within 24 h before they went (it was
  seen to change, or the nodes joined with it), and at most 20 % of the Ready nodes run it: Violated, `Changed`;
- at least 90 % of them do: AtRisk, `MostlyChanged`;
- what they ran 24 h before is not known, as the operator has not watched for so long or as this is an audit; all run
  the same version of something, no Ready node runs it, and no Ready node was seen to leave it: AtRisk, `OnlyTheFailed`.

Where every node runs the same, or none is Ready, there is nothing to compare; see `node-mass-loss`. Near the end of a
rollout the nodes that are not changed yet share their old version: that is no cause.

## What to do

1. Stop the change: unattended upgrades, the rollout of a node image, the upgrade of a node pool.
2. Repair or roll back one node first and see that it stays.

## What not to do

Do not let failed nodes be replaced one after the other: switch automatic repair off until the cause is known.
";

/// A node that is down.
struct Down {
    /// For how many seconds.
    age: i64,
    software: NodeSoftware,
    /// Which of its software came to it within a day before.
    changed: [bool; 4],
    /// Whether it was watched for that day.
    watched: bool,
}

impl Down {
    fn of(look: &Look<'_>, history: &history::NodeHistory, name: Name, node: &Node) -> Option<Self> {
        let now = look.now;
        let past = history.past(name);
        let seconds = |at| i64::try_from(now.mono.since(at) / 1000).unwrap_or(i64::MAX);
        let reported = node.ready_since.map(|at| now.wall.0.saturating_sub(at.0).max(0));
        let age = past.failed.map(seconds).or(reported)?;
        let recent = |at| seconds(at).saturating_sub(age) <= CHANGED;
        // Both times are the API server's: no clock of ours is between them.
        let joined = match (node.created, node.ready_since) {
            (Some(created), Some(since)) => since.0.saturating_sub(created.0) <= CHANGED,
            _ => false,
        };
        let joined = joined || past.joined.is_some_and(recent);
        Some(Self {
            age,
            software: NodeSoftware::of(node),
            changed: past.changed.map(|at| joined || at.is_some_and(recent)),
            watched: history.since().is_some_and(|at| !recent(at)),
        })
    }
}

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let tally = look.node_sums(Dep::NodesDown)?.all(look.now.wall);
    look.again_when(tally.until);
    let all = tally.nodes as usize;
    let enough = |count: usize| count >= NODES && count * 100 >= all * SHARE_PERCENT;
    if !enough(tally.down as usize) {
        return Ok(Verdict::Met);
    }
    let past = look.history().nodes();
    let mut down = Vec::new();
    let mut ready: Vec<(Name, NodeSoftware)> = Vec::new();
    for (key, node) in look.nodes()?.iter() {
        if node.ready == Readiness::Ready {
            ready.push((key.name, NodeSoftware::of(node)));
        } else if node.excused_until().is_some_and(|until| until <= look.now.wall) {
            down.extend(Down::of(look, past, key.name, node));
        }
    }
    let together = together(down);
    if !enough(together.len()) || ready.is_empty() {
        return Ok(Verdict::Met);
    }
    let mut found: Vec<(ChangeCertainty, usize, Name, usize)> = Vec::new();
    for at in 0..ATTRIBUTES.len() {
        if let Some((value, count)) = most_common(&together, at) {
            let with = ready
                .iter()
                .filter(|(_, one)| one.each().get(at) == Some(&value))
                .count();
            let left = ready
                .iter()
                .any(|(name, _)| past.past(*name).changed.get(at).is_some_and(Option::is_some));
            let cause = cause(&together, at, value, (count, with, ready.len()), left);
            found.extend(cause.map(|cause| (cause, at, value, with)));
        }
    }
    let Some(worst) = found.iter().map(|one| one.0).max() else {
        return Ok(Verdict::Met);
    };
    found.retain(|one| one.0 == worst);
    let shared = found.iter().filter_map(|(_, at, value, _)| {
        Some(format!("{} {}", ATTRIBUTES.get(*at)?, look.names().text(*value)))
    });
    let sync = Sync {
        cause: worst,
        down: together.len(),
        nodes: all,
        shared: shared.collect::<Vec<_>>().join(", ").into(),
        with: found.iter().map(|one| one.3).max().unwrap_or(0),
        ready: ready.len(),
    };
    Ok(if worst == ChangeCertainty::Changed {
        Verdict::violated(sync)
    } else {
        Verdict::at_risk(sync)
    })
}

/// The most nodes that went down within [`TOGETHER`] of each other; of equal numbers the latest.
fn together(mut down: Vec<Down>) -> Vec<Down> {
    down.sort_unstable_by_key(|one| one.age);
    let (mut best, mut from) = (0..0, 0);
    for (to, one) in down.iter().enumerate() {
        while down.get(from).is_some_and(|first| one.age - first.age > TOGETHER) {
            from += 1;
        }
        if to + 1 - from > best.len() {
            best = from..to + 1;
        }
    }
    down.drain(best).collect()
}

/// The value of an attribute that most of the nodes have, and how many; of equals the least name.
fn most_common(nodes: &[Down], at: usize) -> Option<(Name, usize)> {
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    for one in nodes {
        *counts.entry(*one.software.each().get(at)?).or_default() += 1;
    }
    counts
        .into_iter()
        .filter(|one| !one.0.is_empty())
        .max_by_key(|one| one.1)
}

/// Why a value of an attribute is suspicious: `(count, with, ready)` are the nodes down and Ready that have it, and all
/// that are Ready; `left` is whether some Ready node was seen to change the attribute.
fn cause(
    nodes: &[Down],
    at: usize,
    value: Name,
    (count, with, ready): (usize, usize, usize),
    left: bool,
) -> Option<ChangeCertainty> {
    let carriers = || {
        nodes
            .iter()
            .filter(|one| one.software.each().get(at) == Some(&value))
    };
    let changed = carriers().all(|one| one.changed.get(at) == Some(&true));
    let few = with * 100 <= ready * FEW_PERCENT;
    let all = count == nodes.len();
    if changed && few && all {
        Some(ChangeCertainty::Changed)
    } else if changed && few && count * 100 >= nodes.len() * MOST_PERCENT {
        Some(ChangeCertainty::MostlyChanged)
    } else if all && with == 0 && !left && !nodes.iter().all(|one| one.watched) {
        Some(ChangeCertainty::OnlyTheFailed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
    use crate::know::Wall;
    use crate::world::{World, node_ready};
    use rstest::rstest;
    use serde_json::Value;

    const ID: &str = "fleet-change-sync";
    const DAY: u64 = 86_400;

    /// A node that has been what it is for so many seconds of wall time.
    fn at(now: i64, number: usize, ready: bool, kernel: &str, since: i64) -> Value {
        let mut one = node_ready(&format!("n{number}"), "z", if ready { "True" } else { "Unknown" });
        one["status"]["nodeInfo"]["kernelVersion"] = kernel.into();
        one["status"]["conditions"][0]["lastTransitionTime"] = Wall(now - since).to_string().into();
        one
    }

    fn put(live: &mut World, number: usize, ready: bool, kernel: &str) {
        let one = at(live.now.wall.0, number, ready, kernel, 0);
        live.put(Source::Nodes, &one);
    }

    /// Nodes on kernel A, watched for so long; then the first so many change to B within an hour.
    fn start(watched: u64, all: usize, b: usize) -> World {
        let nodes = (0..all).map(|number| (Source::Nodes, at(1_800_000_000, number, true, "A", 900_000)));
        let mut live = World::watched(&nodes.collect::<Vec<_>>());
        live.wait(watched);
        (0..b).for_each(|number| put(&mut live, number, true, "B"));
        live.wait(3600);
        live
    }

    #[rstest]
    #[case::a_third(100, 30, 0..30, "Violated critical Changed")]
    #[case::at_five_percent(100, 5, 0..5, "Violated critical Changed")]
    #[case::below_five_percent(100, 4, 0..4, "")]
    #[case::two_of_ten(10, 2, 0..2, "")]
    #[case::three_of_ten(10, 3, 0..3, "Violated critical Changed")]
    #[case::few_others_have_it(100, 20, 0..5, "Violated critical Changed")]
    #[case::many_others_have_it(100, 60, 0..6, "")]
    #[case::one_other_fails_too(100, 30, 0..31, "AtRisk warning MostlyChanged")]
    #[case::all_run_the_same(100, 100, 0..30, "")]
    #[case::all_fail(10, 10, 0..10, "")]
    #[case::mixed(100, 30, 20..40, "")]
    #[case::those_that_are_not_changed_yet(17, 12, 12..17, "")]
    fn changes(
        #[case] all: usize,
        #[case] b: usize,
        #[case] failing: std::ops::Range<usize>,
        #[case] expected: &str,
        #[values(0, 2 * DAY)] watched: u64,
    ) {
        let mut live = start(watched, all, b);
        for number in failing {
            put(&mut live, number, false, if number < b { "B" } else { "A" });
        }
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn it_names_the_change_and_lasts_while_they_are_down() {
        let mut live = start(0, 100, 30);
        for number in 0..30 {
            put(&mut live, number, false, "B");
            live.wait(10);
        }
        assert_eq!(
            live.message(ID),
            "30 of 100 nodes went down together; all had changed to kernelVersion B in the day before, which 0 of 70 \
             Ready nodes run"
        );
        live.wait(2 * DAY);
        assert_eq!(live.says(ID), "Violated critical Changed");
        (0..30).for_each(|number| put(&mut live, number, true, "B"));
        assert_eq!(live.says(ID), "");
    }

    #[rstest]
    #[case::within(TOGETHER, true)]
    #[case::a_second_too_late(TOGETHER + 1, false)]
    fn together_is_within_half_an_hour(#[case] apart: i64, #[case] expected: bool) {
        let down = |age: i64| Down {
            age,
            software: NodeSoftware::default(),
            changed: [false; 4],
            watched: false,
        };
        let found = together(vec![down(0), down(apart)]);
        assert_eq!(found.len() == 2, expected);
    }

    #[rstest]
    #[case::watched_too_short(0, "AtRisk warning OnlyTheFailed")]
    #[case::watched_for_a_day(DAY + 1, "")]
    fn a_trait_that_did_not_change(#[case] watched: u64, #[case] expected: &str) {
        let kernel = |number| if number < 3 { "B" } else { "A" };
        let nodes = (0..15).map(|number| {
            (
                Source::Nodes,
                at(1_800_000_000, number, true, kernel(number), 900_000),
            )
        });
        let mut live = World::watched(&nodes.collect::<Vec<_>>());
        live.wait(watched);
        (0..3).for_each(|number| put(&mut live, number, false, "B"));
        assert_eq!(live.says(ID), expected);
    }

    /// Thirty of a hundred nodes down since so long before the watch began, three of them a step later each.
    fn found_down(step: i64, joined: Option<i64>) -> Vec<Value> {
        let one = |number: usize| {
            let down = number < 30;
            let since = if down {
                50_000 - step * i64::try_from(number / 3).unwrap()
            } else {
                900_000
            };
            let mut one = at(1_800_000_000, number, !down, if down { "B" } else { "A" }, since);
            if let Some(before) = joined.filter(|_| down) {
                one["metadata"]["creationTimestamp"] =
                    Wall(1_800_000_000 - since - before).to_string().into();
            }
            one
        };
        (0..100).map(one).collect()
    }

    #[rstest]
    #[case::together(0, None, "AtRisk warning OnlyTheFailed")]
    #[case::within_half_an_hour(200, None, "AtRisk warning OnlyTheFailed")]
    #[case::one_after_the_other(2000, None, "")]
    #[case::they_had_joined_with_it(0, Some(86_400), "Violated critical Changed")]
    #[case::they_had_joined_long_before(0, Some(86_401), "AtRisk warning OnlyTheFailed")]
    fn an_incident_that_is_under_way(#[case] step: i64, #[case] joined: Option<i64>, #[case] expected: &str) {
        let nodes = found_down(step, joined);
        let objects: Vec<_> = nodes.iter().map(|one| (Source::Nodes, one.clone())).collect();
        assert_eq!(World::watched(&objects).says(ID), expected);
        let mut cluster = nodes
            .into_iter()
            .fold(World::complete(), |cluster, one| cluster.with(Source::Nodes, one));
        let audit: Vec<String> = cluster.found(ID);
        let same = |one: &str| {
            let mut words: Vec<_> = one
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(String::from)
                .collect();
            words.sort();
            words
        };
        assert_eq!(same(&audit.join(" ")), same(expected));
    }

    #[test]
    fn nodes_that_are_taken_out_did_not_fail() {
        let mut live = start(0, 20, 5);
        for number in 0..5 {
            let mut one = at(live.now.wall.0, number, false, "B", 0);
            one["spec"]["unschedulable"] = true.into();
            live.put(Source::Nodes, &one);
        }
        assert_eq!(live.says(ID), "");
        // Nor did those that are gone.
        (0..5).for_each(|number| live.input(Input::Gone(Source::Nodes, "", &format!("n{number}"))));
        assert_eq!(live.says(ID), "");
    }
}
