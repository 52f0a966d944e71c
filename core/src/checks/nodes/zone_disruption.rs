//! `node-zone-disruption`: no zone has so many nodes down that Kubernetes itself stops evicting.

use std::fmt;

use crate::history::{self, SHARE_PERCENT};
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sources::node::REGION;

/// For how long a disruption is told after it ended where no policy says, in seconds: the default of
/// `storm.cooldownSeconds`.
const LATCH_SECONDS: u32 = 600;
/// Zones of so many nodes say little by their share.
const TINY: usize = 2;

/// The check.
pub static CHECK: Check = Check {
    id: "node-zone-disruption",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::of(&[Source::ClusterPolicy]),
    profiles: false,
    history: Memory::Used,
    baseline: true,
    judge: Judge::Zone(judge),
    doc: DOC,
};

const DOC: &str = "\
No zone has so many nodes down that Kubernetes itself stops evicting.

When most nodes of a zone fall silent at the same time, the likelier cause is what they share: the network between
them and the control plane, a load balancer, a switch. Kubernetes then slows evictions down or stops them, and so
should everybody else: what looks like dead nodes may be nodes that serve traffic and cannot say so.

## Formula

Of the nodes of a zone (and region), `down` are those whose condition Ready is False or Unknown.

- all of at least 3 nodes down: Violated, `FullDisruption`;
- `down >= 3` and `down / nodes >= 0.55`, as kube-controller-manager counts: Violated, `PartialDisruption`;
- one more node down would make it so: AtRisk, `OneNodeShort`;
- any node down in a zone of 1 or 2 nodes: AtRisk, `TinyZone`.

The operator remembers: for `storm.cooldownSeconds` of the platform's policy (600 s without one) after the first two
have ended, the zone stays Violated, `JustDisrupted`. What has just come back together may go again together.

Nodes without a zone label are one zone without a name.

## What to do

1. Look for what these nodes share before you touch any: zone network, API server endpoint, load balancer, last change.
2. See whether they still serve traffic: then only their word is missing.

## What not to do

Do not drain, reboot or replace the nodes: if they still serve, this is what ends it.
";

fn judge(look: &Look<'_>, zone: Name) -> Known<Verdict> {
    let names = look.names();
    let mut regions: Vec<_> = look
        .zone(zone)?
        .map(|(region, sum)| (names.text(region), sum.down as usize, sum.nodes as usize))
        .collect();
    regions.sort_unstable();
    let worst = regions
        .into_iter()
        .filter_map(|(region, down, nodes)| Some((cause(down, nodes)?, region, down, nodes)))
        .max_by_key(|(cause, _, down, nodes)| (rank(cause), down * 100 / nodes));
    if worst.is_none_or(|(cause, ..)| rank(cause) < 2)
        && let Some((region, zone)) = latched(look, zone)?
    {
        let (down, nodes) = zone.worst;
        let case = case("JustDisrupted", names.text(region), down as usize, nodes as usize);
        return Ok(Verdict::Violated(case));
    }
    Ok(match worst {
        None => Verdict::Met,
        Some((cause, region, down, nodes)) => {
            let case = case(cause, region, down, nodes);
            if rank(cause) > 1 {
                Verdict::Violated(case)
            } else {
                Verdict::AtRisk(case)
            }
        }
    })
}

/// The zone of this name of which a disruption has ended a moment ago, and its region.
fn latched<'a>(look: &Look<'a>, name: Name) -> Known<Option<(Name, &'a history::Zone)>> {
    let zones = look.disruptions(name);
    let Some((region, zone, ended)) = zones
        .filter_map(|(region, zone)| Some((region, zone, zone.ended?)))
        .max_by_key(|one| one.2)
    else {
        return Ok(None);
    };
    let cooldown = look
        .cluster_policy()?
        .and_then(|policy| policy.storm.cooldown_seconds);
    let until = ended.plus(u64::from(cooldown.unwrap_or(LATCH_SECONDS)) * 1000);
    if look.now.mono >= until {
        return Ok(None);
    }
    look.wake_at(until);
    Ok(Some((region, zone)))
}

/// What is wrong with a zone of so many nodes, if anything.
const fn cause(down: usize, nodes: usize) -> Option<&'static str> {
    if down == 0 {
        None
    } else if nodes <= TINY {
        Some("TinyZone")
    } else if down == nodes {
        Some("FullDisruption")
    } else if history::disrupted(down, nodes) {
        Some("PartialDisruption")
    } else if history::disrupted(down + 1, nodes) {
        Some("OneNodeShort")
    } else {
        None
    }
}

fn rank(cause: &str) -> u8 {
    match cause {
        "FullDisruption" => 3,
        "PartialDisruption" | "JustDisrupted" => 2,
        "OneNodeShort" => 1,
        _ => 0,
    }
}

fn case(cause: &'static str, region: &str, down: usize, nodes: usize) -> Case {
    let place = "Node status.conditions[Ready]";
    let mut evidence = vec![
        Evidence::count("down", down, place),
        Evidence::count("nodes", nodes, place),
        Evidence::number(
            "share",
            Unit::Percent,
            &Val::declared(i64::try_from(down * 100 / nodes.max(1)).unwrap_or(100), place),
        ),
        Evidence::number(
            "threshold",
            Unit::Percent,
            &Val::default_of(
                i64::try_from(SHARE_PERCENT).unwrap_or(55),
                "kube-controller-manager --unhealthy-zone-threshold default",
            ),
        ),
    ];
    if !region.is_empty() {
        evidence.push(Evidence::text("region", &Val::declared(region.into(), REGION)));
    }
    untyped(cause, evidence)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if case.cause == "JustDisrupted" {
        return write!(
            f,
            "{} of {} nodes were not ready a moment ago ({}); that has ended, and may come back the way it went",
            case.show("down"),
            case.show("nodes"),
            case.cite("share")
        );
    }
    write!(
        f,
        "{} of {} nodes are not ready ({})",
        case.show("down"),
        case.show("nodes"),
        case.cite("share")
    )?;
    match case.cause {
        "FullDisruption" => write!(f, ": the whole zone is down, or cut off from the control plane"),
        "PartialDisruption" => write!(
            f,
            ": at {} of a zone Kubernetes slows or stops evictions, as their common cause is likelier than their \
             death",
            case.cite("threshold")
        ),
        "OneNodeShort" => write!(
            f,
            "; one more makes the zone disrupted ({})",
            case.cite("threshold")
        ),
        _ => write!(f, "; so few nodes tell nothing of the zone"),
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let mut advice = vec![
        "find out whether these nodes still serve traffic; if so, only their word is missing".into(),
        "look for what they share: zone network, way to the API server, load balancer, the last change"
            .into(),
    ];
    if rank(case.cause) > 1 {
        advice.push(
            "leave the nodes as they are until that is known: no drain, no reboot, no replacement".into(),
        );
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use crate::checks::cluster_fixture::node;
    use crate::checks::live_fixture::Live;

    const ID: &str = "node-zone-disruption";

    fn start() -> Live {
        let nodes: Vec<_> = (0..5)
            .map(|at| (Source::Nodes, node(&format!("n{at}"), "z", "True")))
            .collect();
        Live::with(&nodes)
    }

    fn set(live: &mut Live, nodes: std::ops::Range<u32>, ready: &str) {
        for at in nodes {
            live.put(Source::Nodes, &node(&format!("n{at}"), "z", ready));
        }
    }

    #[test]
    fn a_disruption_is_told_for_a_while_after_it_has_ended() {
        let mut live = start();
        set(&mut live, 0..3, "Unknown");
        assert_eq!(live.says(ID), "Violated critical PartialDisruption");
        live.wait(5000);
        set(&mut live, 1..3, "True");
        assert_eq!(live.says(ID), "Violated critical JustDisrupted");
        let message = live.message(ID);
        assert!(
            message.starts_with("3 of 5 nodes were not ready a moment ago (60 %"),
            "{message}"
        );
        live.wait(599);
        assert_eq!(live.says(ID), "Violated critical JustDisrupted");
        live.wait(1);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn one_that_comes_between_two_rounds_is_told_too() {
        let mut live = start();
        for ready in ["Unknown", "True"] {
            for at in 0..4 {
                let json = node(&format!("n{at}"), "z", ready).to_string();
                live.input(Input::Object(Source::Nodes, json.as_bytes()));
            }
        }
        assert_eq!(live.says(ID), "Violated critical JustDisrupted");
    }

    #[test]
    fn half_a_list_is_no_disruption() {
        let down: Vec<_> = (0..3).map(|at| node(&format!("a{at}"), "z", "Unknown")).collect();
        let up: Vec<_> = (0..9).map(|at| node(&format!("b{at}"), "z", "True")).collect();
        let all: Vec<_> = down
            .iter()
            .chain(&up)
            .map(|one| (Source::Nodes, one.clone()))
            .collect();
        let mut live = Live::with(&all);
        assert_eq!(live.says(ID), "");
        live.list(Source::Nodes, &down.iter().chain(&up).collect::<Vec<_>>());
        assert_eq!(live.says(ID), "");
        // Nodes that were removed while nobody watched leave no disruption behind that was never there.
        live.input(Input::Silent(Source::Nodes));
        live.list(Source::Nodes, &up.iter().collect::<Vec<_>>());
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn a_jump_of_the_wall_clock_ends_nothing() {
        let mut live = start();
        set(&mut live, 0..5, "False");
        set(&mut live, 0..5, "True");
        live.now.wall.0 += 1_000_000;
        assert_eq!(live.says(ID), "Violated critical JustDisrupted");
        live.now.wall.0 -= 5_000_000;
        live.wait(601);
        assert_eq!(live.says(ID), "");
    }
}
