//! `backend-minimum-ready`: enough backends are ready, and still would be without the fullest node or zone.

use std::collections::BTreeSet;
use std::fmt;

use super::{Groups, backends};
use crate::index::Dep;
use crate::judge::{
    Case, Check, Evidence, Judge, Look, Memory, ServiceCase, Severities, UntypedCase, Verdict,
};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::policy::Policy;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-minimum-ready",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Services, Source::Policies, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Service(judge),
    doc: DOC,
};

const DOC: &str = "\
Enough backends are ready, and still would be if the fullest node or zone were lost.

The team that runs a Service knows how many backends carry its load. Fewer are an outage in the making; enough, but most
of them in one place, are an outage as soon as that place fails.

## Formula

A backend is an endpoint that is ready, serving and not terminating, counted once however many slices name it; of a
dual-stack Service the larger family counts.

- `backends < balance.minimumReadyBackends`: Violated, critical, cause `TooFewReady`.
- `backends - (those of the fullest node) < minimum`: AtRisk, warning, cause `NodeLossGoesBelow`.
- The same for the fullest zone, where the cluster has more than one: cause `ZoneLossGoesBelow`.
- An endpoint without node or zone makes these two Unknown, unless the others already decide them.

## What to do

1. See why backends are not ready: `kubectl get endpointslices`, then the Pods that are missing from it.
2. Raise the replicas, or spread them: `topologySpreadConstraints` over nodes and zones.
3. Set a PodDisruptionBudget, so that a drain does not take what is left.

## What not to do

Do not set `publishNotReadyAddresses` to fill the list: clients would meet backends that cannot answer.
";

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if !case.service.has_data_plane() {
        return Ok(Verdict::NotApplicable(
            "a headless or ExternalName Service balances nothing",
        ));
    }
    let asked = case
        .policy
        .and_then(|policy| Some((policy, policy.balance.as_ref()?.minimum_ready_backends?)));
    let Some((policy, minimum)) = asked else {
        return Ok(Verdict::NotApplicable("no minimum of ready backends is declared"));
    };
    let all = backends(look, case.key)?;
    let ready = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let count = Count {
        source: format!("EndpointSlices of {}", look.show(case.key)),
        policy,
        ready,
        minimum,
    };
    if ready < minimum {
        return Ok(Verdict::Violated(count.case("TooFewReady", None)));
    }
    let mut gap = None;
    for (place, cause, field) in [
        (Place::Node, "NodeLossGoesBelow", "nodeName"),
        (Place::Zone, "ZoneLossGoesBelow", "zone"),
    ] {
        let groups = Groups::by(&all, |one| match place {
            Place::Node => one.node,
            Place::Zone => one.zone,
        });
        if place == Place::Zone {
            match several_zones(look, &groups) {
                Ok(true) => {}
                Ok(false) => continue,
                // Without the nodes nobody knows whether another zone is left; a minimum of 0 needs none.
                Err(one) => {
                    gap = gap.or_else(|| (minimum > 0).then_some(one));
                    continue;
                }
            }
        }
        let (name, size) = groups.fullest(look).unwrap_or_default();
        if ready.saturating_sub(size) < minimum {
            let name = look.names().shared(name);
            return Ok(Verdict::AtRisk(count.case(cause, Some((name, size)))));
        }
        if ready.saturating_sub(size.saturating_add(groups.homeless())) < minimum {
            gap = gap.or_else(|| groups.gap(look, case.key, field));
        }
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Node,
    Zone,
}

/// Whether the cluster has more than one zone: losing the only one loses the cluster.
fn several_zones(look: &Look<'_>, groups: &Groups) -> Known<bool> {
    if groups.sizes.len() > 1 {
        return Ok(true);
    }
    let names = look.names();
    let zones: BTreeSet<&str> = look
        .node_sums(Dep::NodeZones)?
        .zones()
        .map(|zone| names.text(zone))
        .filter(|zone| !zone.is_empty())
        .collect();
    let own = groups.sizes.keys().next().map(|name| names.text(*name));
    Ok(zones.iter().any(|zone| own.is_some_and(|own| own != *zone)) || zones.len() > 1)
}

/// What was counted against what was asked for.
struct Count<'a> {
    source: String,
    policy: &'a Policy,
    ready: u32,
    minimum: u32,
}

impl Count<'_> {
    fn case(&self, cause: &'static str, lost: Option<(std::sync::Arc<str>, u32)>) -> Case {
        let field = format!(
            "policy {}/{} balance.minimumReadyBackends",
            self.policy.namespace, self.policy.name
        );
        let mut evidence = vec![
            Evidence::count("readyBackends", self.ready, self.source.as_str()),
            Evidence::number(
                "minimumReadyBackends",
                Unit::Count,
                &Val::declared(i64::from(self.minimum), field),
            ),
        ];
        if let Some((name, size)) = lost {
            evidence.push(Evidence::text(
                "place",
                &Val::declared(name, self.source.as_str()),
            ));
            evidence.push(Evidence::count("backendsThere", size, self.source.as_str()));
            evidence.push(Evidence::count(
                "left",
                self.ready.saturating_sub(size),
                self.source.as_str(),
            ));
        }
        untyped(cause, evidence)
    }
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (ready, minimum) = (case.cite("readyBackends"), case.cite("minimumReadyBackends"));
    let kind = match case.cause {
        "TooFewReady" => {
            return write!(f, "ready backends: {ready}; at least {minimum} are asked for");
        }
        "NodeLossGoesBelow" => "node",
        _ => "zone",
    };
    write!(
        f,
        "ready backends: {ready}, of which {} on {kind} {}; without it {} would be left, and at least {minimum} are asked for",
        case.show("backendsThere"),
        case.show("place"),
        case.show("left"),
    )
}

fn advise(case: &UntypedCase) -> Vec<String> {
    match case.cause {
        "TooFewReady" => vec![
            "see which Pods of the Service are not ready, and why, before anything is recycled".into(),
            format!(
                "then raise the replicas to {} or more",
                case.show("minimumReadyBackends")
            ),
        ],
        "NodeLossGoesBelow" => vec![
            "spread the Pods over nodes: topologySpreadConstraints with topologyKey kubernetes.io/hostname".into(),
            "or raise the replicas".into(),
        ],
        _ => vec![
            "spread the Pods over zones: topologySpreadConstraints with topologyKey topology.kubernetes.io/zone".into(),
            "or raise the replicas".into(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::checks::fixture::{World, balanced, node, service, slice, slice_of};
    use crate::know::Source;

    const ID: &str = "backend-minimum-ready";

    fn world() -> World {
        World::complete()
            .with(Source::Services, &service("api", json!({})))
            .all(
                Source::Nodes,
                &[node("n1", "a"), node("n2", "a"), node("n3", "b"), node("n4", "b")],
            )
    }

    #[rstest]
    #[case::spread(&[("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b")], Some(2), "Met")]
    #[case::zone(&[("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b")], Some(3), "AtRisk warning ZoneLossGoesBelow")]
    #[case::node(&[("n1", "a"), ("n1", "a"), ("n3", "b")], Some(2), "AtRisk warning NodeLossGoesBelow")]
    #[case::too_few(&[("n1", "a")], Some(2), "Violated critical TooFewReady")]
    #[case::none(&[], Some(1), "Violated critical TooFewReady")]
    #[case::zero(&[], Some(0), "Met")]
    #[case::vast(&[("n1", "a")], Some(u32::MAX), "Violated critical TooFewReady")]
    #[case::not_asked(&[], None, "NotApplicable")]
    #[case::node_unsaid(&[("", "a"), ("", "b"), ("n1", "a"), ("n3", "b"), ("n4", "c")], Some(3), "Unknown unknown")]
    #[case::node_unsaid_but_decided(&[("", "a"), ("n1", "a"), ("n1", "a")], Some(2), "AtRisk warning NodeLossGoesBelow")]
    #[case::zone_unsaid_without_weight(&[("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "")], Some(1), "Met")]
    fn counted(#[case] places: &[(&str, &str)], #[case] minimum: Option<u32>, #[case] expected: &str) {
        let mut world = world()
            .with(Source::EndpointSlices, &slice("api", places))
            .policy(balanced(minimum, None, None));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn only_those_count_that_take_new_connections() {
        let one = |address: &str, node: &str, conditions| json!({"addresses": [address], "nodeName": node, "zone": node, "conditions": conditions});
        let endpoints = json!([
            one("10.0.0.1", "n1", json!({"ready": true})),
            one("10.0.0.2", "n2", json!({"ready": false, "serving": false})),
            one(
                "10.0.0.3",
                "n3",
                json!({"ready": false, "serving": true, "terminating": true})
            ),
            one("10.0.0.4", "n4", json!({"ready": true, "serving": false})),
            one("10.0.0.5", "n5", json!({})),
        ]);
        let mut world = world()
            .with(Source::EndpointSlices, &slice_of("api", "a", "IPv4", &endpoints))
            .with(Source::EndpointSlices, &slice_of("api", "b", "IPv4", &endpoints))
            .policy(balanced(Some(3), None, None));
        let found = world.findings(ID);
        assert!(
            found[0]
                .message
                .starts_with("ready backends: 2 (EndpointSlices of shop/api)")
        );
    }

    #[test]
    fn one_zone_cannot_be_lost_alone() {
        let places = [("n1", "a"), ("n2", "a"), ("n3", "a")];
        let mut world = World::complete()
            .with(Source::Services, &service("api", json!({})))
            .all(
                Source::Nodes,
                &[node("n1", "a"), node("n2", "a"), node("n3", "a")],
            )
            .with(Source::EndpointSlices, &slice("api", &places))
            .policy(balanced(Some(2), None, None));
        assert_eq!(world.verdict(ID), "Met");
    }

    #[rstest]
    #[case::slices(Source::EndpointSlices)]
    #[case::nodes(Source::Nodes)]
    fn blindness_is_not_health(#[case] missing: Source) {
        let mut world = World::without(&[missing])
            .with(Source::Services, &service("api", json!({})))
            .with(
                Source::EndpointSlices,
                &slice("api", &[("n1", "a"), ("n2", "a"), ("n3", "a")]),
            )
            .policy(balanced(Some(1), None, None));
        assert_eq!(world.verdict(ID), "Unknown unknown");
    }
}
