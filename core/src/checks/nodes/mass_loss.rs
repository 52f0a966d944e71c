//! `node-mass-loss`: the cluster has not lost a large part of its nodes.

use std::fmt;

use crate::index::Dep;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Severity, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit, Val, Wall};
use crate::sample::Metrics;
use crate::sources::node::Readiness;

/// Share of the nodes that is a storm where the platform declares none, in percent: the default of
/// `storm.clusterUnhealthyPercent`.
const STORM_PERCENT: u32 = 20;
/// Fewest nodes of a storm where the platform declares none: the default of `storm.minimumNodes`.
const STORM_NODES: u32 = 2;
/// Share of the nodes whose loss is critical, in percent.
const HALF_PERCENT: u32 = 50;

/// The check.
pub static CHECK: Check = Check {
    id: "node-mass-loss",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::of(&[Source::ClusterPolicy]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
The cluster has not lost a large part of its nodes.

Zones show where nodes are lost; what is spread over zones, or is the whole of a small cluster, no zone shows. What
takes many nodes at once is something they share: a change, an image, the way to the control plane.

## Formula

The check counts the nodes of the cluster as `node-zone-disruption` counts those of a zone: nodes that are not Ready while
they are cordoned, being deleted or tainted for removal are left out for 1800 s, nodes that joined less than 900 s ago
until they have been Ready.

- no node at all is Ready, whatever the reason, those left out included: Violated, `NoneReady`, critical; Unknown where no
  Node has the condition Ready, as in what was cut before it was given;
- at least half of the nodes that count are not Ready: Violated, `HalfLost`, critical;
- at least `storm.clusterUnhealthyPercent` (20 %) of them, and at least `storm.minimumNodes` (2): Violated, `Storm`, a
  warning.

The message says when the first and the last of them stopped being Ready, by `lastTransitionTime` of the condition.

## What to do

1. See what these nodes share: `kubectl get nodes -o wide`, zones, versions, the time at which they went.
2. See whether they still serve traffic: then only their reports are missing.

## What not to do

Do not replace nodes one after the other before that is known: the new ones come with the same cause.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.wall;
    let tally = look.node_sums(Dep::NodesDown)?.all(now);
    look.again_when(tally.until);
    let storm = look
        .cluster_policy()?
        .map(|policy| policy.storm)
        .unwrap_or_default();
    let share = |percent: u32| u64::from(tally.down) * 100 >= u64::from(tally.nodes) * u64::from(percent);
    let declared = storm.cluster_unhealthy_percent;
    let limit = declared.map_or(StormShare::Default, StormShare::Declared);
    let extent = if tally.nodes + tally.excused == 0 {
        return Ok(Verdict::NotApplicable("the cluster has no nodes"));
    } else if tally.ready() == 0 {
        if look
            .nodes()?
            .iter()
            .all(|(_, node)| node.ready == Readiness::NotSaid)
        {
            return Err(Gap::Opaque(
                "no Node has the condition Ready: what was given shows no state of nodes".into(),
            ));
        }
        LossExtent::NoneReady
    } else if tally.down == 0 {
        return Ok(Verdict::Met);
    } else if share(HALF_PERCENT) {
        LossExtent::Half
    } else if tally.down >= storm.minimum_nodes.unwrap_or(STORM_NODES) && share(limit.percent()) {
        LossExtent::Storm { limit }
    } else {
        return Ok(Verdict::Met);
    };
    let all = extent == LossExtent::NoneReady;
    // Where no node is Ready, those that join or leave are reported as well.
    let excused = if all { tally.excused } else { 0 };
    Ok(Verdict::violated(NodeLoss {
        extent,
        down: tally.down + excused,
        nodes: tally.nodes + excused,
        excused: tally.excused,
        since: Since::of(look, all)?,
    }))
}

/// How much is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum LossExtent {
    NoneReady,
    Half,
    Storm { limit: StormShare },
}

/// The share that is a storm, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StormShare {
    Declared(u32),
    Default,
}

impl StormShare {
    const fn percent(self) -> u32 {
        match self {
            Self::Declared(percent) => percent,
            Self::Default => STORM_PERCENT,
        }
    }

    fn evidence(self) -> Evidence {
        let percent = i64::from(self.percent());
        let percent = match self {
            Self::Declared(_) => Val::declared(
                percent,
                "ClusterTrafficHealthPolicy spec.storm.clusterUnhealthyPercent",
            ),
            Self::Default => Val::default_of(percent, "default of storm.clusterUnhealthyPercent"),
        };
        Evidence::number("storm", Unit::Percent, &percent)
    }
}

/// When the first and the last of the nodes that are down stopped being Ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Since {
    first: Option<Wall>,
    last: Option<Wall>,
}

impl Since {
    fn of(look: &Look<'_>, all: bool) -> Known<Self> {
        let now = look.now.wall;
        let down = look
            .nodes()?
            .iter()
            .filter(|(_, node)| node.excused_until().is_some_and(|until| all || until <= now))
            .filter_map(|(_, node)| node.ready_since);
        Ok(down.fold(Self::default(), |since, at| Self {
            first: since.first.map_or(Some(at), |first| Some(first.min(at))),
            last: since.last.max(Some(at)),
        }))
    }
}

/// The nodes that the cluster has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct NodeLoss {
    extent: LossExtent,
    down: u32,
    nodes: u32,
    /// Those that join or leave.
    excused: u32,
    since: Since,
}

impl NodeLoss {
    fn share(&self) -> i64 {
        i64::from(self.down) * 100 / i64::from(self.nodes.max(1))
    }
}

impl Explain for NodeLoss {
    fn cause(&self) -> &'static str {
        match self.extent {
            LossExtent::NoneReady => "NoneReady",
            LossExtent::Half => "HalfLost",
            LossExtent::Storm { .. } => "Storm",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (down, nodes, share) = (self.down, self.nodes, self.share());
        write!(
            f,
            "{down} of {nodes} nodes of the cluster are not Ready ({share} %"
        )?;
        if let LossExtent::Storm { limit } = self.extent {
            write!(f, ", the limit is {} %", limit.percent())?;
        }
        f.write_str(")")?;
        match (self.since.first, self.since.last) {
            (Some(first), Some(last)) if first == last => write!(f, ", since {first}"),
            (Some(first), Some(last)) => write!(f, ", the first since {first}, the last since {last}"),
            _ => Ok(()),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "Node status.conditions[Ready]";
        let mut evidence = vec![
            Evidence::count("down", self.down, place),
            Evidence::count("nodes", self.nodes, place),
            Evidence::number("share", Unit::Percent, &Val::declared(self.share(), place)),
        ];
        if let LossExtent::Storm { limit } = self.extent {
            evidence.push(limit.evidence());
        }
        if self.excused > 0 {
            evidence.push(Evidence::count("joiningOrLeaving", self.excused, place));
        }
        for (what, at) in [("first", self.since.first), ("last", self.since.last)] {
            let place = "Node status.conditions[Ready].lastTransitionTime";
            let time = at.map(|at| Evidence::text(what, &Val::declared(at.to_string().into(), place)));
            evidence.extend(time);
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "see what they share: kubectl get nodes -o wide, zones, versions, the last change, the way to the API server"
                .into(),
            "find out whether these nodes still serve traffic; if so, only their reports are missing".into(),
            "replace no node before that is known: new ones may come with the same cause".into(),
        ]
    }

    fn at_most(&self) -> Severity {
        match self.extent {
            LossExtent::NoneReady | LossExtent::Half => Severity::Critical,
            LossExtent::Storm { .. } => Severity::Warning,
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |extent, down, nodes, first: Option<i64>, last: Option<i64>| NodeLoss {
        extent,
        down,
        nodes,
        excused: 0,
        since: Since {
            first: first.map(Wall),
            last: last.map(Wall),
        },
    };
    let (seven, eight) = (Some(1_800_000_000), Some(1_800_003_600));
    vec![
        Verdict::violated(of(LossExtent::NoneReady, 3, 3, seven, seven)),
        Verdict::violated(of(LossExtent::Half, 53, 100, None, None)),
        Verdict::violated(of(
            LossExtent::Storm {
                limit: StormShare::Default,
            },
            30,
            100,
            seven,
            eight,
        )),
        Verdict::violated(of(
            LossExtent::Storm {
                limit: StormShare::Declared(10),
            },
            12,
            100,
            seven,
            eight,
        )),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::{ClusterPolicy, Storm};
    use crate::world::{World, node_ready};

    const ID: &str = "node-mass-loss";

    /// The clock of the fixture.
    const NOW: i64 = 1_800_000_000;

    fn at(seconds_ago: i64) -> Value {
        json!(Wall(NOW - seconds_ago).to_string())
    }

    /// Nodes of three zones in turn.
    fn nodes(ready: usize, down: usize) -> World {
        (0..ready + down).fold(World::complete(), |cluster, at| {
            let ready = if at < ready { "True" } else { "Unknown" };
            let zone = ["a", "b", "c"][at % 3];
            cluster.with(Source::Nodes, node_ready(&format!("n{at}"), zone, ready))
        })
    }

    #[rstest]
    #[case::none(0, 0, &[])]
    #[case::the_only_node(0, 1, &["Violated critical NoneReady"])]
    #[case::both(0, 2, &["Violated critical NoneReady"])]
    #[case::one_of_two(1, 1, &["Violated critical HalfLost"])]
    #[case::one_of_three(2, 1, &[])]
    #[case::half_of_many(50, 50, &["Violated critical HalfLost"])]
    #[case::below_half(51, 49, &["Violated warning Storm"])]
    #[case::at_a_fifth(12, 3, &["Violated warning Storm"])]
    #[case::below_a_fifth(13, 3, &[])]
    #[case::one_of_five_is_no_storm(4, 1, &[])]
    fn shares(#[case] ready: usize, #[case] down: usize, #[case] expected: &[&str]) {
        assert_eq!(nodes(ready, down).found(ID), expected);
    }

    #[rstest]
    #[case::stricter(Some(5), None, 94, 6, &["Violated warning Storm"])]
    #[case::laxer(Some(40), None, 70, 30, &[])]
    #[case::half_is_critical_whatever_is_declared(Some(90), Some(99), 50, 50, &["Violated critical HalfLost"])]
    #[case::too_few(None, Some(4), 12, 3, &[])]
    fn the_platform_declares_what_a_storm_is(
        #[case] cluster_unhealthy_percent: Option<u32>,
        #[case] minimum_nodes: Option<u32>,
        #[case] ready: usize,
        #[case] down: usize,
        #[case] expected: &[&str],
    ) {
        let storm = Storm {
            cluster_unhealthy_percent,
            minimum_nodes,
            ..Storm::default()
        };
        let policy = ClusterPolicy {
            storm,
            ..ClusterPolicy::default()
        };
        assert_eq!(nodes(ready, down).platform(policy).found(ID), expected);
    }

    fn mark(kind: &str, since: i64, mut node: Value) -> Value {
        node["status"]["conditions"][0]["lastTransitionTime"] = at(since);
        match kind {
            "cordoned" => node["spec"]["unschedulable"] = json!(true),
            "deleted" => node["metadata"]["deletionTimestamp"] = at(since),
            "new" => node["metadata"]["creationTimestamp"] = at(since),
            "" => {}
            taint => node["spec"]["taints"] = json!([{"key": taint, "effect": "NoSchedule"}]),
        }
        node
    }

    /// Half of a cluster, marked and not Ready for so many seconds.
    #[rstest]
    #[case::unmarked("", 60, &["Violated critical HalfLost"])]
    #[case::cordoned("cordoned", 1799, &[])]
    #[case::cordoned_for_too_long("cordoned", 1800, &["Violated critical HalfLost"])]
    #[case::deleted("deleted", 60, &[])]
    #[case::autoscaler("ToBeDeletedByClusterAutoscaler", 60, &[])]
    #[case::only_a_candidate("DeletionCandidateOfClusterAutoscaler", 60, &["Violated critical HalfLost"])]
    #[case::karpenter("karpenter.sh/disrupted", 60, &[])]
    #[case::aks("remediator.kubernetes.azure.com/unschedulable", 60, &[])]
    #[case::unreachable("node.kubernetes.io/unreachable", 60, &["Violated critical HalfLost"])]
    #[case::new("new", 899, &[])]
    #[case::new_for_too_long("new", 900, &["Violated critical HalfLost"])]
    fn nodes_that_join_or_leave(#[case] kind: &str, #[case] since: i64, #[case] expected: &[&str]) {
        let away = (0..6).map(|at| mark(kind, since, node_ready(&format!("away{at}"), "a", "False")));
        let mut cluster = away.fold(nodes(6, 0), |cluster, one| cluster.with(Source::Nodes, one));
        assert_eq!(cluster.found(ID), expected);
        let zone: &[&str] = if expected.is_empty() {
            &[]
        } else {
            &["Violated critical PartialDisruption"]
        };
        assert_eq!(cluster.found("node-zone-disruption"), zone);
    }

    /// AKS keeps the Nodes of machines that it has deallocated; of other clouds a machine that is shut down is a loss.
    #[rstest]
    #[case::of_azure("azure:///subscriptions/x", "node.cloudprovider.kubernetes.io/shutdown", 2, &[])]
    #[case::of_aks_by_its_labels("", "node.cloudprovider.kubernetes.io/shutdown", 2, &[])]
    #[case::of_azure_but_not_shut_down(
        "azure:///subscriptions/x", "node.kubernetes.io/unreachable", 2, &["Violated critical HalfLost"]
    )]
    #[case::of_aws("aws:///a/i-1", "node.cloudprovider.kubernetes.io/shutdown", 2, &["Violated critical HalfLost"])]
    #[case::none_left("azure:///subscriptions/x", "node.cloudprovider.kubernetes.io/shutdown", 0, &["Violated critical NoneReady"])]
    fn deallocated_machines(
        #[case] provider: &str,
        #[case] taint: &str,
        #[case] ready: usize,
        #[case] expected: &[&str],
    ) {
        let away = (0..6).map(|at| {
            let mut node = mark(taint, 90_000, node_ready(&format!("away{at}"), "a", "Unknown"));
            if provider.is_empty() {
                node["metadata"]["labels"]["kubernetes.azure.com/agentpool"] = json!("batch");
            } else {
                node["spec"]["providerID"] = json!(provider);
            }
            node
        });
        let mut cluster = away.fold(nodes(ready, 0), |cluster, one| cluster.with(Source::Nodes, one));
        assert_eq!(cluster.found(ID), expected);
    }

    #[test]
    fn nodes_without_a_state_are_not_lost() {
        let silent = |name: &str| {
            let mut node = node_ready(name, "b", "True");
            node["status"] = json!({"nodeInfo": {"kubeletVersion": "v1.33.1"}});
            node
        };
        let all: Vec<Value> = ["s1", "s2", "s3"].map(silent).into();
        let mut cluster = World::complete().all(Source::Nodes, &all);
        assert_eq!(cluster.found(ID), ["Unknown unknown"]);
        assert!(cluster.found("node-zone-disruption").is_empty());
        let mut beside_others = nodes(2, 0).all(Source::Nodes, &all);
        assert!(beside_others.found(ID).is_empty());
    }

    /// A node that has been Ready does not join any more, however young it is.
    #[rstest]
    #[case::its_first_report_is_late(300, 181, &[])]
    #[case::it_was_ready(300, 180, &["Violated critical HalfLost"])]
    #[case::it_was_ready_for_long(800, 10, &["Violated critical HalfLost"])]
    fn young_nodes_that_are_lost(#[case] age: i64, #[case] since: i64, #[case] expected: &[&str]) {
        let young = (0..6).map(|number| {
            let mut one = mark("", since, node_ready(&format!("young{number}"), "a", "Unknown"));
            one["metadata"]["creationTimestamp"] = at(age);
            one
        });
        let mut cluster = young.fold(nodes(6, 0), |cluster, one| cluster.with(Source::Nodes, one));
        assert_eq!(cluster.found(ID), expected);
    }

    #[test]
    fn no_ready_node_is_critical_whatever_the_marks() {
        let away = (0..3).map(|at| mark("cordoned", 60, node_ready(&format!("n{at}"), "a", "False")));
        let mut cluster = away.fold(World::complete(), |cluster, one| cluster.with(Source::Nodes, one));
        assert_eq!(cluster.found(ID), ["Violated critical NoneReady"]);
        assert_eq!(
            cluster.message(ID),
            "3 of 3 nodes of the cluster are not Ready (100 %), since 2027-01-15T07:59:00Z"
        );
        assert!(cluster.found("node-zone-disruption").is_empty());
    }

    #[test]
    fn time_alone_ends_the_excuse() {
        let up: Vec<_> = (0..6)
            .map(|at| (Source::Nodes, node_ready(&format!("up{at}"), "a", "True")))
            .collect();
        let away = (0..6).map(|at| {
            (
                Source::Nodes,
                mark("cordoned", 60, node_ready(&format!("n{at}"), "b", "False")),
            )
        });
        let mut live = World::watched(&up.into_iter().chain(away).collect::<Vec<_>>());
        assert_eq!(live.says(ID), "");
        live.wait(1739);
        assert_eq!(live.says(ID), "");
        live.wait(1);
        assert_eq!(live.says(ID), "Violated critical HalfLost");
        assert_eq!(
            live.says("node-zone-disruption"),
            "Violated critical FullDisruption"
        );
    }

    /// Nodes that join or leave are evidence where there are any.
    #[rstest]
    #[case::none(0, None)]
    #[case::two(2, Some("2"))]
    fn those_that_are_not_counted_are_shown(#[case] leaving: usize, #[case] expected: Option<&str>) {
        let away = (0..leaving).map(|at| mark("deleted", 60, node_ready(&format!("away{at}"), "a", "False")));
        let mut cluster = away.fold(nodes(2, 2), |cluster, one| cluster.with(Source::Nodes, one));
        let found = cluster.findings(ID);
        let shown = found[0]
            .evidence
            .iter()
            .find(|one| one.what == "joiningOrLeaving");
        assert_eq!(shown.map(|one| one.value.to_string()).as_deref(), expected);
    }
}
