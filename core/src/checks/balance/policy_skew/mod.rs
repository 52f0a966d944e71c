//! `backend-policy-induced-skew`: the uneven shares that a Service's own settings ask for.

mod skew;

use super::shares::Clients;
use super::{Groups, PortBackends, backends_by_port};
use crate::dataplane::load_balancer::Targets;
use crate::fleet::{Class, Fleet};
use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::route::balancer_targets;
use crate::sources::service::{Service, ServiceType};
use crate::sources::slice::Endpoint;
use skew::{Law, Skew};

/// Largest expected share that is no skew yet, in percent of the mean share.
const EVEN_PERCENT: u64 = 120;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-policy-induced-skew",
    severity: Severities::ALWAYS_INFO,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes, Source::L2Advertisements]),
    profiles: true,
    history: Memory::Unused,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
};

const DOC: &str = "\
What a Service's own settings do to the shares of its backends.

Local traffic policies, topology hints and affinity trade an even spread for a short way or for the client's address.
The uneven load that follows is what was asked for, not a fault; this check says how large it is to be expected, so that
no Pod is recycled for it.

## Formula

Reported is the largest expected share of a backend, in percent of the mean `1/n` of `n` backends; above 120 %: AtRisk,
info. Of several ports the worst is reported.

- `ExternalLocal`, `InternalLocal`: each of the `m` nodes with a backend gets the same traffic, and a backend on a node
  with `p` of them `1/(m p)` of it: `n / (m * least p)`. What comes to nodes without a backend is dropped, which
  `backend-local-holes` reports.
- `ExternalLocal` where MetalLB answers on layer 2 (an L2Advertisement is there): all traffic of an address enters at one
  node, so a backend may get `1 / least p`.
- Load balancers that send straight to Pods (NLB with `ip` targets and the like) ignore `externalTrafficPolicy`.
- `SameNode`, `ZoneHints`: every node sends the same. By `pkg/proxy/topology.go` a node keeps to the backends hinted for
  itself, where every ready endpoint has a hint for nodes; one without falls back to those hinted for its zone, where
  every ready endpoint has a hint for zones; a zone without any falls back to all. A `trafficDistribution` that no hints
  follow has no effect. Where every node's Services go through Cilium, hints count only with its
  `enable-service-topology: true`.
- `ClientAffinity` (`sessionAffinity: ClientIP`, and more than one backend): in the worst case all clients come from one
  address.
- A backend without node makes the expectation by node Unknown.

That every node sends or gets the same traffic is assumed, and so is every verdict of this check.

## What to do

1. Nothing, where the short way is worth it. Read balance against these shares.
2. Else spread the Pods evenly over nodes or zones: `topologySpreadConstraints`.
3. For affinity, see what the clients' addresses look like behind NAT or an ingress.

## What not to do

Do not recycle the backends with the larger share: the next ones at the same place get the same.
";

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    let service = case.service;
    if !service.has_data_plane() {
        return Ok(Verdict::NotApplicable(
            "a headless or ExternalName Service balances nothing",
        ));
    }
    let by_port = backends_by_port(look, case)?;
    if by_port.iter().all(|one| one.usable.len() < 2) {
        return Ok(Verdict::NotApplicable(
            "fewer than two backends share the traffic",
        ));
    }
    let (mut found, mut gap, mut any) = (None::<Skew>, None::<Gap>, service.affinity_seconds.is_some());
    for port in by_port.iter().filter(|one| one.usable.len() > 1) {
        for skew in skews(look, case, port, &mut any) {
            match skew {
                Ok(skew) if skew.percent <= EVEN_PERCENT => {}
                Ok(skew) if found.as_ref().is_some_and(|held| held.percent >= skew.percent) => {}
                Ok(skew) => found = Some(skew),
                Err(one) => gap = gap.or(Some(one)),
            }
        }
    }
    let most = by_port
        .iter()
        .map(|one| one.usable.len() as u64)
        .max()
        .unwrap_or_default();
    let affinity = || {
        service.affinity_seconds.map(|seconds| Skew {
            service: look.show(case.key),
            law: Law::ClientAffinity { seconds },
            setting: "sessionAffinity: ClientIP".into(),
            percent: most.saturating_mul(100),
            backends: most,
            place: None,
        })
    };
    match found.or_else(affinity) {
        Some(skew) => Ok(Verdict::at_risk(skew)),
        None if !any => Ok(Verdict::NotApplicable(
            "every client may reach every backend alike",
        )),
        None => gap.map_or(Ok(Verdict::Met), Err),
    }
}

/// What each setting does to the backends of a port; `any` becomes true where there is one.
fn skews(look: &Look<'_>, case: &ServiceCase<'_>, port: &PortBackends, any: &mut bool) -> Vec<Known<Skew>> {
    let service = case.service;
    let mut found = Vec::new();
    if let Some(law) = external(look, service) {
        found.push(local(look, case, port, law));
    }
    if service.internal_local {
        found.push(match look.fleet().ignores_internal_local() {
            Some(gap) => Err(gap),
            None => local(look, case, port, Law::InternalLocal),
        });
    } else if let Some(skew) = hinted(look, case, port) {
        found.push(skew);
    }
    *any |= !found.is_empty();
    found
}

/// What `externalTrafficPolicy: Local` means here, where it means anything.
fn external(look: &Look<'_>, service: &Service) -> Option<Law> {
    let outside = match service.kind {
        ServiceType::NodePort => true,
        ServiceType::LoadBalancer => balancer_targets(look, service) == Targets::Nodes,
        ServiceType::ClusterIp | ServiceType::ExternalName => false,
    };
    if !service.external_local || !outside {
        return None;
    }
    // Where it could not be read whether there is one, a balancer is taken for one that asks every node.
    let class = look.names().text(service.load_balancer_class);
    let metallb = service.kind == ServiceType::LoadBalancer
        && (class.is_empty() || class.contains("metallb"))
        && look
            .l2_advertisements()
            .is_ok_and(|all| all.iter().any(|(key, _)| look.trusts(key.namespace)));
    Some(if metallb { Law::OneNode } else { Law::ExternalLocal })
}

/// The skew of a Local traffic policy.
fn local(look: &Look<'_>, case: &ServiceCase<'_>, port: &PortBackends, law: Law) -> Known<Skew> {
    let all = &port.usable;
    let groups = Groups::by(all, |one| one.node);
    if let Some(gap) = groups.gap(look, case.key, "nodeName") {
        return Err(gap);
    }
    let (name, size) = groups.emptiest(look).unwrap_or_default();
    let (total, places) = (all.len() as u64, groups.sizes.len() as u64);
    // One node is all there is to enter at.
    let entered = if law == Law::OneNode { 1 } else { places };
    let setting = if law == Law::InternalLocal {
        "internalTrafficPolicy: Local"
    } else {
        "externalTrafficPolicy: Local"
    };
    let share = (total * 100).div_euclid((entered * u64::from(size)).max(1));
    Ok(Skew {
        service: look.show(case.key),
        law,
        setting: setting.into(),
        percent: if places > 1 { share } else { 100 },
        backends: total,
        place: Some((look.names().shared(name), places, size)),
    })
}

/// The skew of topology hints; `None` where proxies follow none.
fn hinted(look: &Look<'_>, case: &ServiceCase<'_>, port: &PortBackends) -> Option<Known<Skew>> {
    let all = &port.usable;
    // One endpoint without a hint of a kind, and proxies ignore that kind. Which setting made them does not matter.
    let by_node = all.iter().all(|one| !one.node_hint.is_empty());
    let by_zone = all.iter().all(|one| !one.hint.is_empty());
    // Few Services have hints: the others need not be judged again when the fleet changes.
    if !(by_node || by_zone) || !follows_hints(look.fleet()) {
        return None;
    }
    let names = look.names();
    let kind = if by_node { "node" } else { "zone" };
    let setting = match names.text(case.service.traffic_distribution) {
        "" => format!("{kind} hints of every endpoint"),
        text => format!("trafficDistribution: {text}"),
    };
    let shares = Clients::of(look, all, by_node).map(|clients| clients.shares(all, by_node, by_zone));
    let most = shares.map(|shares| {
        let place = |one: &Endpoint| if by_node { one.node_hint } else { one.hint };
        let ranked = shares.iter().zip(all).map(|(share, one)| (*share, place(one)));
        let (share, name) = ranked
            .min_by_key(|(share, name)| (u64::MAX - share, names.text(*name)))
            .unwrap_or_default();
        let groups = Groups::by(all, place);
        let there = groups.sizes.get(&name).copied().unwrap_or_default();
        Skew {
            service: look.show(case.key),
            law: if by_node { Law::SameNode } else { Law::ZoneHints },
            setting: setting.into(),
            percent: share,
            backends: all.len() as u64,
            place: Some((names.shared(name), groups.sizes.len() as u64, there)),
        }
    });
    Some(most)
}

/// Whether hints count on any class of nodes: where Cilium carries a Pod's connections they do only when configured,
/// beside kube-proxy as well as in its place. What is not known may count.
fn follows_hints(fleet: &Fleet) -> bool {
    let ignores = |class: &Class| {
        let cilium = class
            .profile
            .cilium
            .as_ref()
            .and_then(|cilium| cilium.as_ref().ok());
        cilium.is_some_and(|cilium| cilium.follows_hints.as_ref().is_ok_and(|follows| !follows.value))
    };
    fleet.gap.is_some() || fleet.classes.is_empty() || !fleet.classes.iter().all(ignores)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::world::{World, node, service, slice};

    const ID: &str = "backend-policy-induced-skew";
    const UNEVEN: &[(&str, &str)] = &[("n1", "a"), ("n1", "a"), ("n1", "a"), ("n2", "b")];
    const EVEN: &[(&str, &str)] = &[("n1", "a"), ("n1", "a"), ("n2", "b"), ("n2", "b")];

    fn verdict(spec: Value, slice: &Value) -> String {
        World::complete()
            .with(Source::Services, service("api", spec))
            .with(Source::EndpointSlices, slice)
            .verdict(ID)
    }

    #[rstest]
    #[case::plain(json!({}), UNEVEN, "NotApplicable")]
    #[case::external(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}), UNEVEN, "AtRisk info ExternalLocal")]
    #[case::external_even(json!({"type": "NodePort", "externalTrafficPolicy": "Local"}), EVEN, "Met")]
    #[case::external_without_a_door(json!({"externalTrafficPolicy": "Local"}), UNEVEN, "NotApplicable")]
    #[case::internal(json!({"internalTrafficPolicy": "Local"}), UNEVEN, "AtRisk info InternalLocal")]
    #[case::same_node_without_hints(json!({"trafficDistribution": "PreferSameNode"}), UNEVEN, "NotApplicable")]
    #[case::no_hints(json!({"trafficDistribution": "PreferClose"}), UNEVEN, "NotApplicable")]
    #[case::affinity(json!({"sessionAffinity": "ClientIP"}), EVEN, "AtRisk info ClientAffinity")]
    #[case::no_node(json!({"internalTrafficPolicy": "Local"}), &[("", "a"), ("n1", "a")], "Unknown unknown")]
    #[case::one(json!({"internalTrafficPolicy": "Local"}), &[("n1", "a")], "NotApplicable")]
    #[case::headless(json!({"clusterIP": "None", "internalTrafficPolicy": "Local"}), UNEVEN, "NotApplicable")]
    fn settings(#[case] spec: Value, #[case] places: &[(&str, &str)], #[case] expected: &str) {
        let judged = verdict(spec, &slice("api", places));
        // What the baseline does not know is counted and not reported.
        let expected = if expected == "Unknown unknown" {
            "Unknown"
        } else {
            expected
        };
        assert_eq!(judged, expected);
    }

    #[test]
    fn the_expected_share_is_told() {
        let mut world = World::complete()
            .with(
                Source::Services,
                service("api", json!({"internalTrafficPolicy": "Local"})),
            )
            .with(Source::EndpointSlices, slice("api", UNEVEN));
        // n = 4, m = 2, least p = 1: n / (m p) = 2.
        assert!(
            world.findings(ID)[0]
                .message
                .contains("may get 200 % of the mean share")
        );
    }

    #[rstest]
    #[case::nodes(&["n1", "n1", "n1", "n2"], "PreferSameNode", "AtRisk info SameNode")]
    #[case::whatever_made_them(&["n1", "n1", "n1", "n2"], "", "AtRisk info SameNode")]
    #[case::even_nodes_before_uneven_zones(&["n1", "n1", "n2", "n2"], "PreferSameNode", "Met")]
    #[case::one_node_without(&["n1", "n1", "n2", ""], "PreferSameNode", "AtRisk info ZoneHints")]
    fn hints_of_nodes_come_first(#[case] hints: &[&str], #[case] setting: &str, #[case] expected: &str) {
        let mut one = slice("api", UNEVEN);
        for (at, hint) in hints.iter().enumerate() {
            // The controller hints at the endpoint's zone as well.
            let zone = UNEVEN[at].1;
            one["endpoints"][at]["hints"] = json!({"forZones": [{"name": zone}]});
            if !hint.is_empty() {
                one["endpoints"][at]["hints"]["forNodes"] = json!([{"name": hint}]);
            }
        }
        assert_eq!(verdict(json!({"trafficDistribution": setting}), &one), expected);
    }

    #[rstest]
    #[case::all(&["a", "a", "a", "b"], "AtRisk info ZoneHints")]
    #[case::even(&["a", "a", "b", "b"], "Met")]
    #[case::one_without(&["a", "a", "a", ""], "NotApplicable")]
    fn hints_count_only_together(#[case] hints: &[&str], #[case] expected: &str) {
        let mut one = slice("api", UNEVEN);
        for (at, hint) in hints.iter().enumerate().filter(|(_, hint)| !hint.is_empty()) {
            one["endpoints"][at]["hints"] = json!({"forZones": [{"name": hint}]});
        }
        assert_eq!(
            verdict(json!({"trafficDistribution": "PreferClose"}), &one),
            expected
        );
    }

    #[rstest]
    #[case::kube_proxy(None, "AtRisk info ZoneHints")]
    #[case::cilium(Some(json!({"kube-proxy-replacement": "true"})), "NotApplicable")]
    #[case::beside_kube_proxy(Some(json!({"kube-proxy-replacement": "false"})), "NotApplicable")]
    #[case::told_so(Some(json!({"kube-proxy-replacement": "true", "enable-service-topology": "true"})), "AtRisk info ZoneHints")]
    #[case::nonsense(Some(json!({"enable-service-topology": "perhaps"})), "AtRisk info ZoneHints")]
    fn cilium_ignores_hints_unless_told(#[case] keys: Option<Value>, #[case] expected: &str) {
        let mut one = slice("api", UNEVEN);
        for (at, hint) in ["a", "a", "a", "b"].iter().enumerate() {
            one["endpoints"][at]["hints"] = json!({"forZones": [{"name": hint}]});
        }
        let mut world = World::complete()
            .with(
                Source::Services,
                service("api", json!({"trafficDistribution": "PreferClose"})),
            )
            .all(Source::Nodes, &[node("n1", "a"), node("n2", "b")])
            .with(Source::EndpointSlices, &one);
        if let Some(keys) = keys {
            let agent =
                json!({"name": "cilium-agent", "image": "cilium:v1.16.2", "command": ["cilium-agent"]});
            world = world
                .with(
                    Source::DaemonSets,
                    json!({
                        "metadata": {"name": "cilium", "namespace": "kube-system"},
                        "spec": {"template": {"spec": {"containers": [agent]}}},
                    }),
                )
                .with(
                    Source::ConfigMaps,
                    json!({"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": keys}),
                );
        }
        assert_eq!(world.verdict(ID), expected);
    }

    /// A slice whose endpoints, as (node, zone), are hinted at their zone, and at their node as well where asked.
    fn hints(places: &[(&str, &str)], nodes: bool) -> Value {
        let mut one = slice("api", places);
        for (at, (node, zone)) in places.iter().enumerate() {
            one["endpoints"][at]["hints"] = json!({"forZones": [{"name": zone}]});
            if nodes {
                one["endpoints"][at]["hints"]["forNodes"] = json!([{"name": node}]);
            }
        }
        one
    }

    fn share(nodes: &[(&str, usize)], slice: &Value) -> String {
        let mut world = World::complete()
            .with(
                Source::Services,
                service("api", json!({"trafficDistribution": "PreferClose"})),
            )
            .with(Source::EndpointSlices, slice);
        for (zone, count) in nodes {
            for at in 0..*count {
                world = world.with(Source::Nodes, node(&format!("{zone}{at}"), zone));
            }
        }
        let found = world.findings(ID);
        found.first().map_or(String::new(), |one| {
            let share = one.evidence.iter().find(|one| one.what == "expectedShareOfMean");
            let place = one.evidence.iter().find(|one| one.what == "place");
            format!("{} at {}", share.unwrap().value, place.unwrap().value)
        })
    }

    const FOUR_AND_ONE: &[(&str, &str)] = &[("a0", "a"), ("a1", "a"), ("a2", "a"), ("a3", "a"), ("b0", "b")];

    #[rstest]
    // 90 of 100 nodes share four backends: 0.9 / 4 against 1 / 5.
    #[case::as_many_as_needed(&[("a", 90), ("b", 10)], "")]
    // Half of the nodes has one backend: 0.5 against 1 / 5.
    #[case::half_of_the_nodes(&[("a", 10), ("b", 10)], "250 at b")]
    // A zone without backends falls back to all: (10/30) + (10/30)/5 against 1 / 5.
    #[case::a_zone_without(&[("a", 10), ("b", 10), ("c", 10)], "200 at b")]
    fn zones_send_as_many_nodes_as_they_have(#[case] nodes: &[(&str, usize)], #[case] expected: &str) {
        assert_eq!(share(nodes, &hints(FOUR_AND_ONE, false)), expected);
    }

    #[rstest]
    // 98 of 100 nodes have no backend and fall back to their zone: (1 + 98/5) / 100 against 1 / 5.
    #[case::mostly_falls_back(&[("a0", "a"), ("a1", "a"), ("a1", "a"), ("a1", "a"), ("a1", "a")], 100, "")]
    // With two nodes nothing falls back: 1/2 against 1/5.
    #[case::nothing_falls_back(&[("a0", "a"), ("a1", "a"), ("a1", "a"), ("a1", "a"), ("a1", "a")], 2, "250 at a0")]
    fn nodes_without_a_backend_fall_back(
        #[case] places: &[(&str, &str)],
        #[case] nodes: usize,
        #[case] expected: &str,
    ) {
        assert_eq!(share(&[("a", nodes)], &hints(places, true)), expected);
    }

    #[rstest]
    #[case::nodes(json!({}), "AtRisk info ExternalLocal")]
    #[case::pods(json!({"service.beta.kubernetes.io/aws-load-balancer-type": "nlb-ip"}), "NotApplicable")]
    fn balancers_that_send_to_pods_know_no_nodes(#[case] annotations: Value, #[case] expected: &str) {
        let mut service = service(
            "api",
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
        );
        service["metadata"]["annotations"] = annotations;
        let mut world = World::complete()
            .with(Source::Services, &service)
            .with(Source::EndpointSlices, slice("api", UNEVEN));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn on_layer_two_one_node_gets_all() {
        let mut world = World::complete()
            .with(
                Source::Services,
                service(
                    "api",
                    json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
                ),
            )
            .with(
                Source::L2Advertisements,
                json!({"metadata": {"name": "pool", "namespace": "metallb-system"}}),
            )
            .with(
                Source::EndpointSlices,
                slice("api", &[("n1", ""), ("n1", ""), ("n2", "")]),
            );
        assert!(
            world.findings(ID)[0]
                .message
                .contains("a backend at n2 may get 300 % of the mean share")
        );
    }

    #[rstest]
    #[case::larger_first(true)]
    #[case::smaller_first(false)]
    fn of_two_skews_the_larger_is_reported(#[case] layer_two: bool) {
        let spec = json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local",
            "ports": [{"name": "main", "port": 80}, {"name": "metrics", "port": 9090}],
        });
        let mut world = World::complete()
            .with(Source::Services, service("api", spec))
            .with(
                Source::EndpointSlices,
                slice("api", &[("n1", ""), ("n1", ""), ("n2", "")]),
            );
        if layer_two {
            // One node takes all of three: 300 %, before 150 % of the internal policy.
            let pool = json!({"metadata": {"name": "pool", "namespace": "metallb-system"}});
            world = world.with(Source::L2Advertisements, pool);
        } else {
            // Behind 150 % of port 80, 250 % of port 9090.
            let mut more = slice(
                "api",
                &[("n1", ""), ("n1", ""), ("n1", ""), ("n1", ""), ("n2", "")],
            );
            more["metadata"]["name"] = json!("api-more");
            more["ports"] = json!([{"name": "metrics", "port": 9090}]);
            world = world.with(Source::EndpointSlices, more);
        }
        let message = &world.findings(ID)[0].message;
        let expected = if layer_two { "300 %" } else { "250 %" };
        assert!(message.contains(expected), "{message}");
    }
}
