//! `node-zone-disruption`: no zone has so many nodes down that Kubernetes itself stops evicting.

use std::collections::BTreeMap;
use std::fmt;

use crate::judge::{Case, Check, Evidence, Judge, Look, Severity, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sources::node::{Node, REGION, Readiness, ZONE};

/// Share of a zone at which it counts as disrupted: `--unhealthy-zone-threshold` of kube-controller-manager.
const SHARE_PERCENT: usize = 55;
/// Fewest nodes that are down for that: `pkg/controller/nodelifecycle/node_lifecycle_controller.go`, `notReadyNodes > 2`.
const NODES: usize = 3;
/// Zones of so many nodes say little by their share.
const TINY: usize = 2;

/// The check.
pub static CHECK: Check = Check {
    id: "node-zone-disruption",
    severity: |verdict| {
        if matches!(verdict, Verdict::Violated(_)) {
            Severity::Critical
        } else {
            Severity::Warning
        }
    },
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::NONE,
    profiles: false,
    baseline: true,
    judge: Judge::Zone(judge),
    say,
    advise,
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

Nodes without a zone label are one zone without a name.

## What to do

1. Look for what these nodes share before you touch any: zone network, API server endpoint, load balancer, last change.
2. See whether they still serve traffic: then only their word is missing.

## What not to do

Do not drain, reboot or replace the nodes: if they still serve, this is what ends it.
";

fn judge(look: &Look<'_>, zone: Name) -> Known<Verdict> {
    let names = look.names();
    let label = names.find(ZONE);
    let inside = |node: &Node| label.and_then(|key| node.labels.get(key)).unwrap_or_default() == zone;
    // Zones of equal name in two regions are two zones.
    let mut regions: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (_, node) in look.nodes()?.iter().filter(|(_, node)| inside(node)) {
        let count = regions
            .entry(node.labels.text(names, REGION).unwrap_or(""))
            .or_default();
        count.0 += usize::from(down(node));
        count.1 += 1;
    }
    let worst = regions
        .into_iter()
        .filter_map(|(region, (down, nodes))| Some((cause(down, nodes)?, region, down, nodes)))
        .max_by_key(|(cause, _, down, nodes)| (rank(cause), down * 100 / nodes));
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

fn down(node: &Node) -> bool {
    node.ready != Readiness::Ready
}

const fn disrupts(down: usize, nodes: usize) -> bool {
    down >= NODES && down * 100 >= nodes * SHARE_PERCENT
}

/// What is wrong with a zone of so many nodes, if anything.
const fn cause(down: usize, nodes: usize) -> Option<&'static str> {
    if down == 0 {
        None
    } else if nodes <= TINY {
        Some("TinyZone")
    } else if down == nodes {
        Some("FullDisruption")
    } else if disrupts(down, nodes) {
        Some("PartialDisruption")
    } else if disrupts(down + 1, nodes) {
        Some("OneNodeShort")
    } else {
        None
    }
}

fn rank(cause: &str) -> u8 {
    match cause {
        "FullDisruption" => 3,
        "PartialDisruption" => 2,
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
    Case::new(cause, evidence)
}

fn say(case: &Case, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

fn advise(case: &Case) -> Vec<String> {
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
