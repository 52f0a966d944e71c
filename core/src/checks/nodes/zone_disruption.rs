//! `node-zone-disruption`: every zone has enough Ready nodes.

use std::fmt;
use std::sync::Arc;

use crate::history::{Disruption, SHARE_PERCENT, Zone, disruption};
use crate::index::NodeTally;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Severity, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sample::Metrics;
use crate::sources::node::REGION;

/// For how long a disruption that has ended is still reported where no policy sets it, in seconds: the default of
/// `storm.cooldownSeconds`.
const ECHO_SECONDS: u32 = 600;
/// Fewest nodes of a declared limit where the policy names none: the default of `storm.minimumNodes`.
const STORM_NODES: u32 = 2;

/// The check.
pub static CHECK: Check = Check {
    id: "node-zone-disruption",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::of(&[Source::ClusterPolicy]),
    profiles: false,
    history: Memory::Used,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Zone(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No zone has lost most of its nodes.

When most nodes of a zone fall silent at the same time, the likelier cause is what they share: the network between
them and the control plane, a load balancer, a switch. What looks like dead nodes may be nodes that serve traffic and
cannot report it.

Kubernetes changes the rate of evictions with the state of the zone. In a zone that is disrupted in part it evicts from
one node in 100 s, and from none where the zone has 50 nodes or fewer. A zone without any Ready node is treated like a
healthy one: Pods are evicted at the normal rate (one node in 10 s). Only when no zone has a Ready node do evictions
stop everywhere.

## Formula

Of the nodes of a zone (and region), `down` are those whose condition Ready is not True. Left out, as nodes and as
down, are

- nodes that are taken out of service: cordoned, being deleted, or tainted for removal by Cluster Autoscaler,
  Karpenter, a cloud's termination handler; for 1800 s of not being Ready, then they count;
- nodes that joined less than 900 s ago and have not been Ready yet: Ready has not changed later than 120 s after they
  joined;
- nodes without the condition Ready, as in what was cut before it was given.

Then, as kube-controller-manager decides:

- no node is Ready, however few there are: Violated, `FullDisruption`;
- `down >= 3` and `down / nodes >= 0.55`: Violated, `PartialDisruption`;
- one more node down would make it one of the two: AtRisk, `OneNodeShort`;
- the platform's policy declares `storm.zoneUnhealthyPercent`, and it is reached by at least `storm.minimumNodes` (2):
  AtRisk, `Storm`.

For `storm.cooldownSeconds` of the platform's policy (600 s without one) after a disruption that the operator saw has
ended, an info says so: AtRisk, `JustDisrupted`. What came back together may go again together.

Nodes without a zone label are one zone without a name. The cluster as a whole: `node-mass-loss`.

## What to do

1. Look for what these nodes share before you touch any: zone network, API server endpoint, load balancer, last change.
2. See whether they still serve traffic: then only their reports are missing.

## What not to do

Do not drain, reboot or replace the nodes: if they still serve, this is what ends it.
";

fn judge(look: &Look<'_>, zone: Name) -> Known<Verdict> {
    let storm = look
        .cluster_policy()?
        .map(|policy| policy.storm)
        .unwrap_or_default();
    let limit = storm.zone_unhealthy_percent;
    let least = storm.minimum_nodes.unwrap_or(STORM_NODES);
    let worst = look
        .zone(zone)?
        .inspect(|(_, tally)| look.again_when(tally.until))
        .filter_map(|(region, tally)| Some((state(tally, limit, least)?, region, tally)))
        .max_by_key(|(state, region, tally)| {
            let share = u64::from(tally.down) * 100 / u64::from(tally.nodes.max(1));
            (*state, share, look.names().text(*region))
        });
    let lost = |region: Name, state, down, nodes, excused| ZoneLoss {
        region: look.names().shared(region),
        state,
        down,
        nodes,
        excused,
    };
    if let Some((state, region, tally)) = worst {
        let lost = lost(region, state, tally.down, tally.nodes, tally.excused);
        return Ok(match state {
            ZoneState::Full | ZoneState::Partial => Verdict::violated(lost),
            ZoneState::OneNodeShort | ZoneState::Storm(_) | ZoneState::Echo => Verdict::at_risk(lost),
        });
    }
    let cooldown = storm.cooldown_seconds.unwrap_or(ECHO_SECONDS);
    Ok(echo(look, zone, cooldown).map_or(Verdict::Met, |(region, zone)| {
        let (down, nodes) = zone.worst;
        Verdict::at_risk(lost(region, ZoneState::Echo, down, nodes, 0))
    }))
}

/// The zone of this name of which a disruption has ended a moment ago, and its region.
fn echo<'a>(look: &Look<'a>, name: Name, seconds: u32) -> Option<(Name, &'a Zone)> {
    let zones = look.disruptions(name);
    let (region, zone, ended) = zones
        .filter_map(|(region, zone)| Some((region, zone, zone.ended?)))
        .max_by_key(|one| one.2)?;
    let until = ended.plus(u64::from(seconds) * 1000);
    if look.now.mono >= until {
        return None;
    }
    look.wake_at(until);
    Some((region, zone))
}

/// What is wrong with a zone, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum ZoneState {
    /// Nothing any more.
    Echo,
    /// So many percent are declared as a storm.
    Storm(u32),
    OneNodeShort,
    Partial,
    Full,
}

fn state(tally: NodeTally, limit: Option<u32>, least: u32) -> Option<ZoneState> {
    let NodeTally { nodes, down, .. } = tally;
    let reached =
        |limit: &u32| down >= least && u64::from(down) * 100 >= u64::from(nodes) * u64::from(*limit);
    match disruption(down, nodes) {
        _ if down == 0 => None,
        Some(Disruption::Full) => Some(ZoneState::Full),
        Some(Disruption::Partial) => Some(ZoneState::Partial),
        None if disruption(down + 1, nodes).is_some() => Some(ZoneState::OneNodeShort),
        None => limit.filter(reached).map(ZoneState::Storm),
    }
}

/// How much of a zone is lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ZoneLoss {
    region: Arc<str>,
    state: ZoneState,
    down: u32,
    nodes: u32,
    /// Those that join or leave, and are not counted.
    excused: u32,
}

impl ZoneLoss {
    fn share(&self) -> i64 {
        i64::from(self.down) * 100 / i64::from(self.nodes.max(1))
    }
}

impl Explain for ZoneLoss {
    fn cause(&self) -> &'static str {
        match self.state {
            ZoneState::Echo => "JustDisrupted",
            ZoneState::Storm(_) => "Storm",
            ZoneState::OneNodeShort => "OneNodeShort",
            ZoneState::Partial => "PartialDisruption",
            ZoneState::Full => "FullDisruption",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (down, nodes, share) = (self.down, self.nodes, self.share());
        if self.state == ZoneState::Echo {
            return write!(
                f,
                "{down} of {nodes} nodes of this zone were not Ready ({share} %) a moment ago; that has ended, and may \
                 return"
            );
        }
        if nodes == 1 {
            write!(f, "the only node of this zone is not Ready")?;
        } else {
            write!(
                f,
                "{down} of {nodes} nodes of this zone are not Ready ({share} %)"
            )?;
        }
        match self.state {
            ZoneState::Full => write!(f, ": the zone is lost, or cut off from the control plane"),
            ZoneState::Partial => write!(
                f,
                ": from {SHARE_PERCENT} % on a common cause is likely, and Kubernetes slows evictions down"
            ),
            ZoneState::Storm(limit) => write!(f, "; {limit} % is declared as a storm"),
            ZoneState::OneNodeShort | ZoneState::Echo => write!(f, "; with one more the zone is disrupted"),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "Node status.conditions[Ready]";
        let threshold = match self.state {
            ZoneState::Storm(limit) => Val::declared(
                i64::from(limit),
                "ClusterTrafficHealthPolicy spec.storm.zoneUnhealthyPercent",
            ),
            _ => Val::default_of(
                i64::from(SHARE_PERCENT),
                "kube-controller-manager --unhealthy-zone-threshold default",
            ),
        };
        let mut evidence = vec![
            Evidence::count("down", self.down, place),
            Evidence::count("nodes", self.nodes, place),
            Evidence::number("share", Unit::Percent, &Val::declared(self.share(), place)),
            Evidence::number("threshold", Unit::Percent, &threshold),
        ];
        if self.excused > 0 {
            evidence.push(Evidence::count("joiningOrLeaving", self.excused, place));
        }
        if !self.region.is_empty() {
            evidence.push(Evidence::name("region", &self.region, REGION));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let mut advice = vec![
            "find out whether these nodes still serve traffic; if so, only their reports are missing".into(),
            "look for what they share: zone network, way to the API server, load balancer, the last change"
                .into(),
        ];
        if self.state >= ZoneState::Partial {
            advice.push(
                "leave the nodes as they are until that is known: no drain, no reboot, no replacement".into(),
            );
        }
        advice
    }

    fn at_most(&self) -> Severity {
        if self.state == ZoneState::Echo {
            Severity::Info
        } else {
            Severity::Critical
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |region: &str, state, down, nodes, excused| ZoneLoss {
        region: region.into(),
        state,
        down,
        nodes,
        excused,
    };
    vec![
        Verdict::violated(of("", ZoneState::Full, 5, 5, 0)),
        Verdict::violated(of("eu-central-1", ZoneState::Partial, 6, 10, 2)),
        Verdict::at_risk(of("", ZoneState::OneNodeShort, 2, 4, 0)),
        Verdict::at_risk(of("", ZoneState::Storm(20), 3, 10, 1)),
        Verdict::at_risk(of("", ZoneState::Echo, 6, 10, 0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
    use crate::index::{Freshness, Part};
    use crate::world::{World, node_ready};
    use rstest::rstest;

    const ID: &str = "node-zone-disruption";

    fn start() -> World {
        let nodes: Vec<_> = (0..5)
            .map(|at| (Source::Nodes, node_ready(&format!("n{at}"), "z", "True")))
            .collect();
        World::watched(&nodes)
    }

    fn set(live: &mut World, nodes: std::ops::Range<u32>, ready: &str) {
        for at in nodes {
            live.put(Source::Nodes, &node_ready(&format!("n{at}"), "z", ready));
        }
    }

    #[test]
    fn a_disruption_is_reported_for_a_while_after_it_ended() {
        let mut live = start();
        set(&mut live, 0..3, "Unknown");
        assert_eq!(live.says(ID), "Violated critical PartialDisruption");
        live.wait(5000);
        set(&mut live, 0..3, "True");
        assert_eq!(live.says(ID), "AtRisk info JustDisrupted");
        assert_eq!(
            live.message(ID),
            "3 of 5 nodes of this zone were not Ready (60 %) a moment ago; that has ended, and may return"
        );
        live.wait(599);
        assert_eq!(live.says(ID), "AtRisk info JustDisrupted");
        live.wait(1);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn one_that_comes_between_two_rounds_is_told_too() {
        let mut live = start();
        for ready in ["Unknown", "True"] {
            for at in 0..4 {
                let json = node_ready(&format!("n{at}"), "z", ready).to_string();
                live.input(Input::object(Source::Nodes, json.as_bytes()));
            }
        }
        assert_eq!(live.says(ID), "AtRisk info JustDisrupted");
    }

    #[test]
    fn half_a_list_is_no_disruption() {
        let down: Vec<_> = (0..3)
            .map(|at| node_ready(&format!("a{at}"), "z", "Unknown"))
            .collect();
        let up: Vec<_> = (0..9)
            .map(|at| node_ready(&format!("b{at}"), "z", "True"))
            .collect();
        let all: Vec<_> = down
            .iter()
            .chain(&up)
            .map(|one| (Source::Nodes, one.clone()))
            .collect();
        let mut live = World::watched(&all);
        assert_eq!(live.says(ID), "");
        live.list(Source::Nodes, &down.iter().chain(&up).collect::<Vec<_>>());
        assert_eq!(live.says(ID), "");
        // Nodes that were removed while the watch was interrupted leave no disruption behind that was never there.
        live.input(Input::Freshness(Source::Nodes, Part::Whole, Freshness::Stale));
        live.list(Source::Nodes, &up.iter().collect::<Vec<_>>());
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn a_jump_of_the_wall_clock_ends_nothing() {
        let mut live = start();
        set(&mut live, 0..5, "False");
        set(&mut live, 0..5, "True");
        live.now.wall.0 += 1_000_000;
        assert_eq!(live.says(ID), "AtRisk info JustDisrupted");
        live.now.wall.0 -= 5_000_000;
        live.wait(601);
        assert_eq!(live.says(ID), "");
    }

    /// What the platform declares as a storm, below what is a disruption anyway.
    #[rstest]
    #[case::at_the_limit(100, 30, 30, 3, Some(ZoneState::Storm(30)))]
    #[case::below(100, 29, 30, 3, None)]
    #[case::above(100, 31, 30, 3, Some(ZoneState::Storm(30)))]
    #[case::as_many_as_needed(50, 3, 5, 3, Some(ZoneState::Storm(5)))]
    #[case::too_few(50, 2, 1, 3, None)]
    #[case::none(50, 0, 0, 0, None)]
    #[case::disrupted(100, 55, 30, 3, Some(ZoneState::Partial))]
    fn a_storm_of_a_zone(
        #[case] nodes: u32,
        #[case] down: u32,
        #[case] limit: u32,
        #[case] least: u32,
        #[case] expected: Option<ZoneState>,
    ) {
        let tally = NodeTally {
            nodes,
            down,
            ..NodeTally::default()
        };
        assert_eq!(state(tally, Some(limit), least), expected);
        let undeclared = expected.filter(|one| !matches!(one, ZoneState::Storm(_)));
        assert_eq!(state(tally, None, least), undeclared);
    }
}
