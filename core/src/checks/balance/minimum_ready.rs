//! `backend-minimum-ready`: enough backends are ready, and still would be without the fullest node or zone.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{Domain, Groups, PortBackends, backends_by_port, of_ports};
use crate::index::Dep;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit, Val};
use crate::policy::Policy;
use crate::sources::service::ServiceType;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-minimum-ready",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Services, Source::Policies, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Used,
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
dual-stack Service the larger family counts. Headless Services have endpoints like any other. Each port is counted by
itself, as Pods that lack a named port do not serve it: the port with the fewest decides.

- `backends < balance.minimumReadyBackends`: Violated, critical, cause `TooFewReady`.
- The same while endpoints are starting that would fill the minimum: AtRisk, warning, cause `Starting`. An endpoint is
  starting that came not ready within `balance.newcomerGraceSeconds` and has not been ready since. The operator sees
  that; an audit does not, and calls it `TooFewReady`.
- `backends - (those of the fullest node) < minimum`: AtRisk, warning, cause `NodeLossGoesBelow`, where the cluster has
  more than one node.
- The same for the fullest zone, where the cluster has more than one: cause `ZoneLossGoesBelow`.
- An endpoint without node or zone makes these two Unknown, unless the others already decide them. Endpoints of a
  Service without selector are outside of the cluster: no node takes them along.

## What to do

1. See why backends are not ready: `kubectl get endpointslices`, then the Pods that are missing from it.
2. Raise the replicas, or spread them: `topologySpreadConstraints` over nodes and zones.
3. Set a PodDisruptionBudget, so that a drain does not take what is left.

## What not to do

Do not set `publishNotReadyAddresses` to fill the list: clients would meet backends that cannot answer.
";

/// Fewer backends than the policy asks for, now or after a loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shortage {
    /// `namespace/name` of the Service.
    service: String,
    /// `namespace/name` of the policy.
    policy: String,
    /// Ports with the fewest backends; empty where all ports have the same.
    ports: Vec<u16>,
    ready: u32,
    minimum: u32,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Why {
    /// There are too few.
    TooFew,
    /// There are too few, and so many are starting that would be enough, each for at most so many seconds yet.
    Starting { count: u32, grace_seconds: u32 },
    /// There would be too few without a place that holds so many.
    Loss { of: Domain, name: Arc<str>, there: u32 },
}

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
    let shortage = |why| Shortage {
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
            None => Verdict::violated(shortage(Why::TooFew)),
        });
    }
    match loss(look, case, fewest, minimum) {
        Ok(None) => Ok(Verdict::Met),
        Ok(Some(why)) => Ok(Verdict::at_risk(shortage(why))),
        Err(gap) => Err(gap),
    }
}

/// Whether so many backends are starting that the missing ones will soon be there.
fn starting(
    look: &Look<'_>,
    case: &ServiceCase<'_>,
    policy: &Policy,
    backends: &PortBackends,
    missing: u32,
) -> Option<Why> {
    let grace_seconds = policy.balance.as_ref()?.newcomer_grace_seconds;
    let addresses = backends.waiting.iter().map(|one| one.address);
    let starting = look.history().backends().starting(
        look.now.mono,
        case.key,
        addresses,
        u64::from(grace_seconds) * 1000,
    );
    if let Some(until) = starting.until {
        look.wake_at(until);
    }
    let count = u32::try_from(starting.count).unwrap_or(u32::MAX);
    (count >= missing).then_some(Why::Starting { count, grace_seconds })
}

/// The place whose loss would leave too few.
fn loss(
    look: &Look<'_>,
    case: &ServiceCase<'_>,
    backends: &PortBackends,
    minimum: u32,
) -> Known<Option<Why>> {
    let all = &backends.usable;
    let ready = u32::try_from(all.len()).unwrap_or(u32::MAX);
    // A minimum of 0 is kept whatever is lost.
    if minimum == 0 {
        return Ok(None);
    }
    let mut gap: Option<Gap> = None;
    for place in [Domain::Node, Domain::Zone] {
        let groups = Groups::by(all, |one| place.of(one));
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
            return Ok(Some(Why::Loss {
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

impl Explain for Shortage {
    fn cause(&self) -> &'static str {
        match self.why {
            Why::TooFew => "TooFewReady",
            Why::Starting { .. } => "Starting",
            Why::Loss { of: Domain::Node, .. } => "NodeLossGoesBelow",
            Why::Loss { of: Domain::Zone, .. } => "ZoneLossGoesBelow",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ready, minimum, ports) = (self.ready, self.minimum, of_ports(&self.ports));
        match &self.why {
            Why::TooFew => write!(
                f,
                "ready backends{ports}: {ready}; the policy asks for at least {minimum}"
            ),
            Why::Starting { count, grace_seconds } => write!(
                f,
                "ready backends{ports}: {ready} of at least {minimum}; {count} more have been starting for less than \
                 {grace_seconds} s"
            ),
            Why::Loss { of, name, there } => write!(
                f,
                "without {} {name} only {} of {ready} ready backends{ports} would be left; the policy asks for at \
                 least {minimum}",
                of.word(),
                ready.saturating_sub(*there),
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let slices: Arc<str> = format!("EndpointSlices of {}", self.service).into();
        let field = |name| format!("policy {} balance.{name}", self.policy);
        let mut evidence: Vec<Evidence> = self
            .ports
            .iter()
            .map(|port| Evidence::count("port", *port, format!("Service {}", self.service)))
            .collect();
        evidence.push(Evidence::count("readyBackends", self.ready, slices.clone()));
        evidence.push(Evidence::count(
            "minimumReadyBackends",
            self.minimum,
            field("minimumReadyBackends"),
        ));
        match &self.why {
            Why::TooFew => {}
            Why::Starting { count, grace_seconds } => {
                evidence.push(Evidence::watched(
                    "starting",
                    Unit::Count,
                    *count,
                    "EndpointSlices, as watched",
                ));
                evidence.push(Evidence::seconds(
                    "newcomerGraceSeconds",
                    &Val::declared(i64::from(*grace_seconds), field("newcomerGraceSeconds")),
                ));
            }
            Why::Loss { name, there, .. } => {
                evidence.push(Evidence::name("place", name, slices.clone()));
                evidence.push(Evidence::count("backendsThere", *there, slices.clone()));
                evidence.push(Evidence::count("left", self.ready.saturating_sub(*there), slices));
            }
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        match self.why {
            Why::TooFew => vec![
                "see which Pods of the Service are not ready, and why, before anything is recycled".into(),
                format!("then raise the replicas to {} or more", self.minimum).into(),
            ],
            Why::Starting { grace_seconds, .. } => vec![
                format!("wait for the new Pods; after {grace_seconds} s this is critical").into(),
                "let rollouts keep the minimum: maxUnavailable 0 and maxSurge 1".into(),
            ],
            Why::Loss { of, .. } => vec![
                format!(
                    "spread the Pods over {}s: topologySpreadConstraints with topologyKey {}",
                    of.word(),
                    of.topology_key()
                )
                .into(),
                "or raise the replicas".into(),
            ],
        }
    }
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
    #[case::node_unsaid_but_decided(&[("", "a"), ("n1", "a"), ("n1", "a")], Some(2), "AtRisk warning NodeLossGoesBelow")]
    #[case::zone_unsaid_without_weight(&[("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "")], Some(1), "Met")]
    fn counted(#[case] places: &[(&str, &str)], #[case] minimum: Option<u32>, #[case] expected: &str) {
        let mut world = world()
            .with(Source::EndpointSlices, slice("api", places))
            .policy(balanced(minimum, None, None));
        assert_eq!(world.verdict(ID), expected);
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
