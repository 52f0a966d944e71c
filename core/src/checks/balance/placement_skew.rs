//! `backend-placement-skew`: no node or zone holds more of the backends than the team allows.

use std::collections::BTreeSet;
use std::fmt;

use super::{Groups, backends};
use crate::index::Dep;
use crate::judge::{
    Case, Check, Evidence, Judge, Look, Memory, ServiceCase, Severities, UntypedCase, Verdict,
};
use crate::know::{Gap, Known, Reads, Source, Unit, Val};
use crate::names::{Key, Name};
use crate::policy::Policy;
use crate::sources::slice::Endpoint;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-placement-skew",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Service(judge),
    doc: DOC,
};

const DOC: &str = "\
No node or zone holds more of the ready backends than the team allows.

Backends that crowd on one node or in one zone fail together, however many they are. It happens by itself: a scheduler
that fills the newest node, a drain that moved everything to one side.

## Formula

With `n` backends, `c` of them at the fullest place and `m` places that could hold some:

- `c / n` above `balance.maxPercentPerNode` (or `maxPercentPerZone`), and `c > ceil(n / m)`: Violated, warning, cause
  `NodeTooFull` or `ZoneTooFull`. With fewer backends than the limit needs, the best possible placement is enough.
- One backend or none: NotApplicable, it has to be somewhere.
- An endpoint without node or zone: Unknown, unless the others already decide it.

A node could hold a backend when it is ready, schedulable and not of the control plane, or when it already holds one.
Taints and affinities of the Pods are not looked at.

## What to do

1. Add `topologySpreadConstraints` with `maxSkew: 1` to the workload; it acts on new Pods only.
2. Then let a rollout at a quiet time place them anew.

## What not to do

Do not delete the Pods of the fullest node at once: that is the failure this check warns of.
";

/// The nodes, or the zones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Node,
    Zone,
}

impl Place {
    const fn of(self, one: &Endpoint) -> Name {
        match self {
            Self::Node => one.node,
            Self::Zone => one.zone,
        }
    }

    const fn cause(self) -> &'static str {
        match self {
            Self::Node => "NodeTooFull",
            Self::Zone => "ZoneTooFull",
        }
    }

    /// As the slice calls it.
    const fn field(self) -> &'static str {
        match self {
            Self::Node => "nodeName",
            Self::Zone => "zone",
        }
    }

    /// As the policy calls it.
    const fn limit(self) -> &'static str {
        match self {
            Self::Node => "maxPercentPerNode",
            Self::Zone => "maxPercentPerZone",
        }
    }
}

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if !case.service.has_data_plane() {
        return Ok(Verdict::NotApplicable(
            "a headless or ExternalName Service balances nothing",
        ));
    }
    let asked = case
        .policy
        .and_then(|policy| Some((policy, policy.balance.as_ref()?)));
    let Some((policy, balance)) = asked else {
        return Ok(Verdict::NotApplicable("no limit on placement is declared"));
    };
    let limits: Vec<_> = [
        (Place::Node, balance.max_percent_per_node),
        (Place::Zone, balance.max_percent_per_zone),
    ]
    .into_iter()
    .filter_map(|(place, limit)| Some((place, limit?)))
    .collect();
    if limits.is_empty() {
        return Ok(Verdict::NotApplicable("no limit on placement is declared"));
    }
    let all = backends(look, case.key)?;
    if all.len() < 2 {
        return Ok(Verdict::NotApplicable(
            "one backend has to be somewhere, and none is nowhere",
        ));
    }
    let mut gap: Option<Gap> = None;
    for (place, limit) in limits {
        match judge_place(look, case.key, policy, &all, place, limit) {
            Ok(None) => {}
            Ok(Some(case)) => return Ok(Verdict::Violated(case)),
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

fn judge_place(
    look: &Look<'_>,
    key: Key,
    policy: &Policy,
    all: &[Endpoint],
    place: Place,
    limit: u32,
) -> Known<Option<Case>> {
    let groups = Groups::by(all, |one| place.of(one));
    let total = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let exceeds = |count: u32| u64::from(count) * 100 > u64::from(limit) * u64::from(total);
    let (name, count) = groups.fullest(look).unwrap_or_default();
    let homeless = groups.gap(look, key, place.field());
    if !exceeds(count) {
        // Those of which the place is not said may all be at the fullest.
        return match homeless {
            Some(gap) if exceeds(count.saturating_add(groups.homeless())) => Err(gap),
            _ => Ok(None),
        };
    }
    // Those that hold a backend could hold one; more places only make the best placement better.
    let held = u32::try_from(groups.sizes.len()).unwrap_or(u32::MAX);
    let least = total.div_ceil(held.max(1));
    let (places, best, source) = match room(look, &groups, place) {
        Ok(places) => (places, total.div_ceil(places.max(1)), "Nodes"),
        Err(_) if count > least => (held, least, "nodes that hold a backend"),
        Err(gap) => return Err(gap),
    };
    if count <= best {
        return homeless.map_or(Ok(None), Err);
    }
    let slices = format!("EndpointSlices of {}", look.show(key));
    let percent = u64::from(count) * 100 / u64::from(total.max(1));
    let declared = format!(
        "policy {}/{} balance.{}",
        policy.namespace,
        policy.name,
        place.limit()
    );
    Ok(Some(untyped(
        place.cause(),
        vec![
            Evidence::text(
                "place",
                &Val::declared(look.names().shared(name), slices.as_str()),
            ),
            Evidence::count("backendsThere", count, slices.as_str()),
            Evidence::count("backends", total, slices.as_str()),
            Evidence::number(
                "share",
                Unit::Percent,
                &Val::declared(i64::try_from(percent).unwrap_or(i64::MAX), slices),
            ),
            Evidence::number("limit", Unit::Percent, &Val::declared(i64::from(limit), declared)),
            Evidence::count("places", places, source),
            Evidence::count("bestPossible", best, source),
        ],
    )))
}

/// How many nodes or zones could hold a backend, counting those that do.
fn room(look: &Look<'_>, groups: &Groups, place: Place) -> Known<u32> {
    let nodes = look.node_sums(Dep::NodeRoom)?;
    if place == Place::Zone {
        let zones = nodes.host_zones().filter(|zone| !zone.is_empty());
        let zones: BTreeSet<Name> = zones.chain(groups.sizes.keys().copied()).collect();
        return Ok(u32::try_from(zones.len()).unwrap_or(u32::MAX));
    }
    let mut room = nodes.hosts();
    for node in groups.sizes.keys() {
        room = room.saturating_add(u32::from(!look.hosts_pods(*node)?));
    }
    Ok(room)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let kind = if case.cause == "NodeTooFull" {
        "node"
    } else {
        "zone"
    };
    write!(
        f,
        "{kind} {} holds {} of {} ready backends, {}; at most {} is asked for, and {} would be the best over {} {kind}s",
        case.show("place"),
        case.show("backendsThere"),
        case.show("backends"),
        case.cite("share"),
        case.cite("limit"),
        case.show("bestPossible"),
        case.show("places"),
    )
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let key = if case.cause == "NodeTooFull" {
        "kubernetes.io/hostname"
    } else {
        "topology.kubernetes.io/zone"
    };
    vec![
        format!("add topologySpreadConstraints with maxSkew 1 and topologyKey {key} to the workload"),
        "then let a rollout at a quiet time place the Pods anew; do not delete those of one place at once"
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::checks::fixture::{World, balanced, node, service, slice};
    use crate::know::Source;

    const ID: &str = "backend-placement-skew";

    fn nodes() -> Vec<Value> {
        let mut control = node("cp", "a");
        control["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = json!("");
        let mut cordoned = node("n9", "c");
        cordoned["spec"] = json!({"unschedulable": true});
        vec![
            node("n1", "a"),
            node("n2", "a"),
            node("n3", "b"),
            control,
            cordoned,
        ]
    }

    fn verdict(places: &[(&str, &str)], node: Option<u32>, zone: Option<u32>) -> String {
        World::complete()
            .with(Source::Services, &service("api", json!({})))
            .all(Source::Nodes, &nodes())
            .with(Source::EndpointSlices, &slice("api", places))
            .policy(balanced(None, node, zone))
            .verdict(ID)
    }

    #[rstest]
    #[case::even(&[("n1", "a"), ("n2", "a"), ("n3", "b")], Some(50), None, "Met")]
    #[case::at_the_limit(&[("n1", "a"), ("n1", "a"), ("n2", "a"), ("n3", "b")], Some(50), None, "Met")]
    #[case::above(&[("n1", "a"), ("n1", "a"), ("n1", "a"), ("n3", "b")], Some(50), None, "Violated warning NodeTooFull")]
    #[case::best_possible(&[("n1", "a"), ("n2", "a")], Some(30), None, "Met")]
    #[case::not_best(&[("n1", "a"), ("n1", "a")], Some(30), None, "Violated warning NodeTooFull")]
    #[case::best_of_four_on_three(&[("n1", "a"), ("n1", "a"), ("n2", "a"), ("n3", "b")], Some(30), None, "Met")]
    #[case::zone(&[("n1", "a"), ("n2", "a"), ("n1", "a"), ("n3", "b")], None, Some(60), "Violated warning ZoneTooFull")]
    #[case::zone_best(&[("n1", "a"), ("n2", "a"), ("n3", "b")], None, Some(60), "Met")]
    #[case::one(&[("n1", "a")], Some(1), Some(1), "NotApplicable")]
    #[case::none(&[], Some(1), Some(1), "NotApplicable")]
    #[case::not_asked(&[("n1", "a"), ("n1", "a")], None, None, "NotApplicable")]
    #[case::zero(&[("n1", "a"), ("n2", "a")], Some(0), None, "Met")]
    #[case::vast(&[("n1", "a"), ("n1", "a")], Some(u32::MAX), Some(u32::MAX), "Met")]
    #[case::node_unsaid(&[("", "a"), ("n1", "a"), ("n2", "a")], Some(50), None, "Unknown unknown")]
    #[case::node_unsaid_but_decided(&[("", "a"), ("n1", "a"), ("n1", "a"), ("n1", "a")], Some(50), None, "Violated warning NodeTooFull")]
    #[case::node_unsaid_without_weight(&[("", "a"), ("n1", "a"), ("n2", "a"), ("n3", "b")], Some(50), None, "Met")]
    #[case::zone_unsaid(&[("n1", ""), ("n2", "")], None, Some(60), "Unknown unknown")]
    fn limits_on_shares(
        #[case] places: &[(&str, &str)],
        #[case] node: Option<u32>,
        #[case] zone: Option<u32>,
        #[case] expected: &str,
    ) {
        assert_eq!(verdict(places, node, zone), expected);
    }

    #[rstest]
    #[case::decided_without(&[("n1", "a"), ("n1", "a"), ("n1", "a"), ("n3", "b")], "Violated warning NodeTooFull")]
    #[case::depends_on_them(&[("n1", "a"), ("n1", "a"), ("n3", "b"), ("n3", "b")], "Unknown unknown")]
    #[case::within(&[("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b")], "Met")]
    fn nodes_that_were_not_read(#[case] places: &[(&str, &str)], #[case] expected: &str) {
        let mut world = World::without(&[Source::Nodes])
            .with(Source::Services, &service("api", json!({})))
            .with(Source::EndpointSlices, &slice("api", places))
            .policy(balanced(None, Some(40), None));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn the_message_names_place_share_and_limit() {
        let mut world = World::complete()
            .with(Source::Services, &service("api", json!({})))
            .all(Source::Nodes, &nodes())
            .with(
                Source::EndpointSlices,
                &slice("api", &[("n1", "a"), ("n1", "a"), ("n1", "a"), ("n3", "b")]),
            )
            .policy(balanced(None, Some(50), None));
        assert_eq!(
            world.findings(ID)[0].message,
            "node n1 holds 3 of 4 ready backends, 75 % (EndpointSlices of shop/api); at most 50 % (policy shop/p \
             balance.maxPercentPerNode) is asked for, and 2 would be the best over 3 nodes"
        );
    }
}
