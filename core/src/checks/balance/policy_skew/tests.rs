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
fn cilium_ignores_hints_unless_configured(#[case] keys: Option<Value>, #[case] expected: &str) {
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
        let agent = json!({"name": "cilium-agent", "image": "cilium:v1.16.2", "command": ["cilium-agent"]});
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
