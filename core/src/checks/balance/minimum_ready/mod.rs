//! `backend-minimum-ready`: enough backends are ready, and still would be without the fullest node or zone.

mod shortage;

use std::collections::BTreeSet;

use super::{Domain, Groups, PortBackends, backends_by_port};
use crate::history::Starting;
use crate::index::Dep;
use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::policy::Policy;
use crate::sample::Metrics;
use crate::sources::service::ServiceType;
#[cfg(test)]
pub(crate) use shortage::examples;
use shortage::{BackendShortage, ShortfallCause};

/// The check.
pub static CHECK: Check = Check {
    id: "backend-minimum-ready",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Services, Source::Policies, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Used,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Enough backends are ready, and still would be if the fullest node or zone were lost.

The team that runs a Service knows how many backends carry its load. Fewer are an outage in the making; enough, but most
of them in one place, are an outage as soon as that place fails.

## Formula

A backend is an endpoint that is ready, serving and not terminating, counted once however many slices name it; of a
dual-stack Service the larger family counts. Headless Services have endpoints like any other. Each port is counted by
itself, as Pods that lack a named port do not serve it: the port with the fewest decides.

- `backends < balance.minimumReadyBackends`: Violated, critical, cause `TooFewReady`.
- The same while endpoints are starting that would fill the minimum: AtRisk, warning, cause `Starting`. An endpoint is
  starting that came not ready within `balance.newcomerGraceSeconds` and has not been ready since. The operator sees
  that; an audit does not, and calls it `TooFewReady`.
- The same in a rollout, where others of the Service came within `balance.newcomerGraceSeconds`: for 30 s after a backend
  went, its successor counts as well: AtRisk, warning, cause `Replacing`.
- `backends - (those of the fullest node) < minimum`: AtRisk, warning, cause `NodeLossGoesBelow`, where the cluster has
  more than one node.
- The same for the fullest zone, where the cluster has more than one: cause `ZoneLossGoesBelow`.
- An endpoint without a zone is in that of its node. One whose node or zone is not known makes these two Unknown, unless
  the others already decide them. Endpoints of a Service without selector are outside of the cluster: no node takes them
  along.

## What to do

1. See why backends are not ready: `kubectl get endpointslices`, then the Pods that are missing from it.
2. Raise the replicas, or spread them: `topologySpreadConstraints` over nodes and zones.
3. Set a PodDisruptionBudget, so that a drain does not take what is left.

## What not to do

Do not set `publishNotReadyAddresses` to fill the list: clients would meet backends that cannot answer.
";

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if case.service.kind == ServiceType::ExternalName {
        return Ok(Verdict::NotApplicable("a DNS alias has no endpoints"));
    }
    let asked = case
        .policy
        .and_then(|policy| Some((policy, policy.balance.as_ref()?.minimum_ready_backends?)));
    let Some((policy, minimum)) = asked else {
        return Ok(Verdict::NotApplicable("no minimum of ready backends is declared"));
    };
    let by_port = backends_by_port(look, case)?;
    let Some(fewest) = by_port.iter().min_by_key(|one| one.usable.len()) else {
        return Ok(Verdict::NotApplicable("the Service has no endpoints to count"));
    };
    let ready = u32::try_from(fewest.usable.len()).unwrap_or(u32::MAX);
    let shortage = |why| BackendShortage {
        service: look.show(case.key),
        policy: format!("{}/{}", policy.namespace, policy.name),
        ports: fewest.ports.iter().map(|port| port.port).collect(),
        ready,
        minimum,
        why,
    };
    if ready < minimum {
        return Ok(match starting(look, case, policy, fewest, minimum - ready) {
            Some(why) => Verdict::at_risk(shortage(why)),
            None => Verdict::violated(shortage(ShortfallCause::TooFew)),
        });
    }
    match loss(look, case, fewest, minimum) {
        Ok(None) => Ok(Verdict::Met),
        Ok(Some(why)) => Ok(Verdict::at_risk(shortage(why))),
        Err(gap) => Err(gap),
    }
}

/// Whether so many backends are starting, or will have a successor, that the missing ones will soon be there.
fn starting(
    look: &Look<'_>,
    case: &ServiceCase<'_>,
    policy: &Policy,
    backends: &PortBackends,
    missing: u32,
) -> Option<ShortfallCause> {
    let grace_seconds = policy.balance.as_ref()?.newcomer_grace_seconds;
    let grace = u64::from(grace_seconds) * 1000;
    let (now, history) = (look.now.mono, look.history().backends());
    let addresses = backends.waiting.iter().map(|one| one.address);
    let starting = history.starting(now, case.key, addresses, grace);
    let went = history.awaited(now, case.key, grace);
    if let Some(until) = starting.until.into_iter().chain(went.until).min() {
        look.wake_at(until);
    }
    let count = |of: Starting| u32::try_from(of.count).unwrap_or(u32::MAX);
    let (starting, went) = (count(starting), count(went));
    if starting >= missing {
        Some(ShortfallCause::Starting {
            count: starting,
            grace_seconds,
        })
    } else if starting.saturating_add(went) >= missing {
        Some(ShortfallCause::Replacing { starting, went })
    } else {
        None
    }
}

/// The place whose loss would leave too few.
fn loss(
    look: &Look<'_>,
    case: &ServiceCase<'_>,
    backends: &PortBackends,
    minimum: u32,
) -> Known<Option<ShortfallCause>> {
    let all = &backends.usable;
    let ready = u32::try_from(all.len()).unwrap_or(u32::MAX);
    // A minimum of 0 is kept whatever is lost.
    if minimum == 0 {
        return Ok(None);
    }
    let mut gap: Option<Gap> = None;
    for place in [Domain::Node, Domain::Zone] {
        let groups = Groups::by(all, |one| place.of(look, one));
        let (name, there) = groups.fullest(look).unwrap_or_default();
        // What no selector chose is outside of the cluster, and no place of it takes that along.
        let homeless = if case.service.selects() {
            groups.homeless()
        } else {
            0
        };
        if ready.saturating_sub(there.saturating_add(homeless)) >= minimum {
            continue;
        }
        match has_others(look, place, &groups) {
            Ok(true) => {}
            // The loss of the only one is that of the cluster.
            Ok(false) => continue,
            Err(one) => {
                gap = gap.or(Some(one));
                continue;
            }
        }
        if ready.saturating_sub(there) < minimum {
            let name = look.names().shared(name);
            return Ok(Some(ShortfallCause::Loss {
                of: place,
                name,
                there,
            }));
        }
        gap = gap.or_else(|| groups.gap(look, case.key, place.field()));
    }
    gap.map_or(Ok(None), Err)
}

/// Whether the cluster has more than one such place.
fn has_others(look: &Look<'_>, place: Domain, groups: &Groups) -> Known<bool> {
    if groups.sizes.len() > 1 {
        return Ok(true);
    }
    if place == Domain::Node {
        let count = look.node_sums(Dep::NodeCount)?.count();
        let own = groups.sizes.keys().next();
        let known = own.map_or(Ok(true), |own| look.has_node(*own))?;
        return Ok(count > 1 || (count == 1 && !known));
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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::know::Source;
    use crate::world::{World, balanced, node, service, slice, slice_of, slice_part};

    const ID: &str = "backend-minimum-ready";

    fn world() -> World {
        World::complete()
            .with(Source::Services, service("api", json!({})))
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
    #[case::node_unsaid_at_the_minimum(&[("", "a"), ("", "b"), ("n1", "c"), ("n3", "d"), ("n4", "e")], Some(4), "Unknown unknown")]
    #[case::node_unsaid_but_decided(&[("", "a"), ("n1", "a"), ("n1", "a")], Some(2), "AtRisk warning NodeLossGoesBelow")]
    #[case::zone_unsaid_without_weight(&[("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "")], Some(1), "Met")]
    fn counted(#[case] places: &[(&str, &str)], #[case] minimum: Option<u32>, #[case] expected: &str) {
        let mut world = world()
            .with(Source::EndpointSlices, slice("api", places))
            .policy(balanced(minimum, None, None));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn an_endpoint_without_a_zone_is_in_that_of_its_node() {
        let on_three = [("n1", ""), ("n2", ""), ("n3", "")];
        let mut world = world()
            .with(Source::EndpointSlices, slice("api", &on_three))
            .policy(balanced(Some(2), None, None));
        assert_eq!(world.verdict(ID), "AtRisk warning ZoneLossGoesBelow");
        let mut world = world.unread(Source::Nodes);
        assert_eq!(world.verdict(ID), "Unknown unknown");
    }

    #[rstest]
    #[case::headless(json!({"clusterIP": "None"}), &[("n1", "a")], "Violated critical TooFewReady")]
    #[case::headless_and_enough(json!({"clusterIP": "None"}), &[("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b")], "Met")]
    #[case::alias(json!({"type": "ExternalName"}), &[], "NotApplicable")]
    #[case::outside(json!({"selector": null}), &[("", ""), ("", "")], "Met")]
    #[case::too_few_outside(json!({"selector": null}), &[("", "")], "Violated critical TooFewReady")]
    fn every_service_with_endpoints_is_counted(
        #[case] spec: serde_json::Value,
        #[case] places: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let mut world = world()
            .with(Source::Services, service("api", spec))
            .with(Source::EndpointSlices, slice("api", places))
            .policy(balanced(Some(2), None, None));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn the_port_with_the_fewest_backends_decides() {
        let ports = json!({"ports": [{"name": "main", "port": 80}, {"name": "metrics", "port": 9090}]});
        let mut with_both = slice("api", &[("n3", "b")]);
        with_both["metadata"]["name"] = json!("api-both");
        with_both["endpoints"][0]["addresses"] = json!(["10.9.0.1"]);
        with_both["ports"] = json!([{"name": "main", "port": 8080}, {"name": "metrics", "port": 9090}]);
        let mut world = world()
            .with(Source::Services, service("api", ports))
            .with(Source::EndpointSlices, slice("api", &[("n1", "a"), ("n2", "a")]))
            .with(Source::EndpointSlices, &with_both)
            .policy(balanced(Some(2), None, None));
        assert_eq!(
            world.findings(ID)[0].message,
            "ready backends of port 9090: 1; the policy asks for at least 2"
        );
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
            .with(Source::EndpointSlices, slice_of("api", "a", "IPv4", &endpoints))
            .with(Source::EndpointSlices, slice_of("api", "b", "IPv4", &endpoints))
            .policy(balanced(Some(3), None, None));
        assert_eq!(
            world.findings(ID)[0].message,
            "ready backends: 2; the policy asks for at least 3"
        );
    }

    #[rstest]
    #[case::zone(&["n1", "n2", "n3"])]
    #[case::node(&["n1"])]
    fn the_only_zone_or_node_cannot_be_lost_alone(#[case] nodes: &[&str]) {
        let rows: Vec<_> = nodes.iter().map(|name| node(name, "a")).collect();
        let places: Vec<_> = nodes.iter().chain(nodes).map(|name| (*name, "a")).collect();
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .all(Source::Nodes, &rows)
            .with(Source::EndpointSlices, slice("api", &places))
            .policy(balanced(Some(2), None, None));
        assert_eq!(world.verdict(ID), "Met");
    }

    #[rstest]
    #[case::slices(Source::EndpointSlices)]
    #[case::nodes(Source::Nodes)]
    fn blindness_is_not_health(#[case] missing: Source) {
        let mut world = World::without(&[missing])
            .with(Source::Services, service("api", json!({})))
            .with(
                Source::EndpointSlices,
                slice("api", &[("n1", "a"), ("n1", "a"), ("n1", "a")]),
            )
            .policy(balanced(Some(1), None, None));
        assert_eq!(world.verdict(ID), "Unknown unknown");
    }

    /// Two endpoints of `shop/web`, which asks for two, of which the second is the given one.
    fn web(second: u32, ready: bool) -> serde_json::Value {
        slice_part("web", 1, &[(0, "n1", true), (second, "n2", ready)])
    }

    fn rollout() -> World {
        let mut live = World::watched(&[
            (Source::Services, service("web", json!({}))),
            (Source::EndpointSlices, web(1, true)),
            (Source::Nodes, node("n1", "")),
            (Source::Nodes, node("n2", "")),
        ]);
        let mut wanted = balanced(Some(2), None, None);
        wanted.services = crate::policy::ServicePick::Names(vec!["web".into()]);
        live.declare(wanted);
        live.wait(60);
        live
    }

    #[test]
    fn a_backend_that_starts_has_its_grace() {
        let mut live = rollout();
        assert_eq!(live.says(ID), "AtRisk warning NodeLossGoesBelow");
        // The second Pod is replaced: its successor comes, and is not ready yet.
        live.put(Source::EndpointSlices, &web(2, false));
        assert_eq!(live.says(ID), "AtRisk warning Starting");
        live.wait(599);
        assert_eq!(live.says(ID), "AtRisk warning Starting");
        live.wait(1);
        assert_eq!(live.says(ID), "Violated critical TooFewReady");
        live.put(Source::EndpointSlices, &web(2, true));
        assert_eq!(live.says(ID), "AtRisk warning NodeLossGoesBelow");
    }

    /// The slice of `shop/web` with these endpoints, each its last part of the address.
    fn of(ready: &[u32], starting: &[u32]) -> serde_json::Value {
        let ready = ready.iter().map(|at| (*at, "n1", true));
        let all: Vec<_> = ready
            .chain(starting.iter().map(|at| (*at, "n2", false)))
            .collect();
        slice_part("web", 1, &all)
    }

    #[test]
    fn in_a_rollout_the_next_one_to_go_has_a_successor() {
        let mut live = rollout();
        // When the first one goes, nothing shows yet that it is a rollout.
        live.put(Source::EndpointSlices, &of(&[1], &[]));
        assert_eq!(live.says(ID), "Violated critical TooFewReady");
        live.put(Source::EndpointSlices, &of(&[1], &[10]));
        assert_eq!(live.says(ID), "AtRisk warning Starting");
        live.wait(20);
        // Its successor is ready, and in the same moment the second one goes.
        live.put(Source::EndpointSlices, &of(&[10], &[]));
        assert_eq!(live.says(ID), "AtRisk warning Replacing");
        live.wait(29);
        assert_eq!(live.says(ID), "AtRisk warning Replacing");
        live.wait(1);
        assert_eq!(live.says(ID), "Violated critical TooFewReady");
        live.put(Source::EndpointSlices, &of(&[10], &[11]));
        assert_eq!(live.says(ID), "AtRisk warning Starting");
    }

    #[test]
    fn one_that_fails_in_a_rollout_has_no_successor() {
        let mut live = rollout();
        live.put(Source::EndpointSlices, &of(&[1, 10], &[]));
        live.wait(20);
        live.put(Source::EndpointSlices, &of(&[1], &[10]));
        assert_eq!(live.says(ID), "Violated critical TooFewReady");
    }

    #[test]
    fn a_backend_that_was_ready_before_has_none() {
        let mut live = rollout();
        live.put(Source::EndpointSlices, &web(1, false));
        assert_eq!(live.says(ID), "Violated critical TooFewReady");
        // Nor has one that came ready and then failed.
        live.put(Source::EndpointSlices, &web(3, true));
        live.put(Source::EndpointSlices, &web(3, false));
        assert_eq!(live.says(ID), "Violated critical TooFewReady");
    }
}
