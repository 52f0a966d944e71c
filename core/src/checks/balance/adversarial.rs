//! Odd clusters: empty ones, single nodes, both families, endpoints that contradict each other.

use rstest::rstest;
use serde_json::{Value, json};

use crate::handle::Input;
use crate::know::{Now, Source};
use crate::program::Core;
use crate::world::{World, balanced, node, service, slice, slice_of};

const IDS: [&str; 5] = [
    "backend-none-ready",
    "backend-no-rebalance-path",
    "backend-policy-induced-skew",
    "backend-minimum-ready",
    "backend-placement-skew",
];

#[test]
fn an_empty_cluster_has_nothing_to_judge() {
    for id in IDS {
        assert_eq!(World::complete().verdict(id), "nothing", "{id}");
    }
}

#[test]
fn a_clean_service_is_quiet_without_a_policy() {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .with(Source::EndpointSlices, slice("api", &[("n1", "a"), ("n2", "b")]));
    for id in IDS {
        assert_eq!(world.findings(id), [], "{id}");
    }
}

#[test]
fn a_cluster_of_one_node_has_no_better_place() {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .with(Source::Nodes, node("n1", ""))
        .with(
            Source::EndpointSlices,
            slice("api", &[("n1", ""), ("n1", ""), ("n1", "")]),
        )
        .policy(balanced(Some(1), Some(50), None));
    assert_eq!(world.verdict("backend-placement-skew"), "Met");
    assert_eq!(world.verdict("backend-minimum-ready"), "Met");
}

fn endpoint(address: &str, node: &str) -> Value {
    json!({"addresses": [address], "nodeName": node, "zone": "a", "conditions": {"ready": true}})
}

/// Two Pods with an address of each family count as two.
#[rstest]
#[case::two(2, "AtRisk warning NodeLossGoesBelow")]
#[case::three(3, "Violated critical TooFewReady")]
fn a_dual_stack_service_counts_pods(#[case] minimum: u32, #[case] expected: &str) {
    let four = json!([endpoint("10.0.0.1", "n1"), endpoint("10.0.0.2", "n2")]);
    let six = json!([endpoint("fd00::1", "n1"), endpoint("fd00::2", "n2")]);
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .all(
            Source::EndpointSlices,
            &[
                slice_of("api", "four", "IPv4", &four),
                slice_of("api", "six", "IPv6", &six),
            ],
        )
        .policy(balanced(Some(minimum), None, None));
    assert_eq!(world.verdict("backend-minimum-ready"), expected);
}

#[test]
fn the_larger_family_counts() {
    let four = json!([endpoint("10.0.0.1", "n1")]);
    let six = json!([
        endpoint("fd00::1", "n1"),
        endpoint("fd00::2", "n2"),
        endpoint("fd00::3", "n3")
    ]);
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .all(
            Source::EndpointSlices,
            &[
                slice_of("api", "four", "IPv4", &four),
                slice_of("api", "six", "IPv6", &six),
            ],
        )
        .policy(balanced(Some(2), None, None));
    assert_eq!(world.verdict("backend-minimum-ready"), "Met");
}

#[test]
fn names_instead_of_addresses_are_no_backends() {
    let names = json!([{"addresses": ["db.example.com"], "conditions": {"ready": true}}]);
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .with(Source::EndpointSlices, slice_of("api", "a", "FQDN", &names))
        .policy(balanced(Some(1), None, None));
    assert_eq!(
        world.verdict("backend-minimum-ready"),
        "Violated critical TooFewReady"
    );
}

#[test]
fn a_slice_that_is_not_understood_is_not_an_empty_one() {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .policy(balanced(Some(1), Some(50), Some(50)));
    let odd = slice_of("api", "a", "IPv9", &json!([])).to_string();
    world
        .core
        .handle(Now::ONCE, Input::object(Source::EndpointSlices, odd.as_bytes()));
    assert_eq!(world.core.index().opaque_objects().count(), 1);
    assert_eq!(world.verdict("backend-minimum-ready"), "Unknown unknown");
    assert_eq!(world.verdict("backend-placement-skew"), "Unknown unknown");
}

/// One Pod in two slices that name different nodes counts once, whatever order they come in.
#[test]
fn slices_that_disagree_count_an_address_once() {
    let one = slice_of("api", "a", "IPv4", &json!([endpoint("10.0.0.1", "n1")]));
    let other = slice_of("api", "b", "IPv4", &json!([endpoint("10.0.0.1", "n2")]));
    for slices in [[one.clone(), other.clone()], [other, one]] {
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .all(Source::EndpointSlices, &slices)
            .policy(balanced(Some(2), None, None));
        assert_eq!(
            world.verdict("backend-minimum-ready"),
            "Violated critical TooFewReady"
        );
    }
}

/// The zone of an endpoint stands, whatever the label of its node says.
#[test]
fn a_zone_that_contradicts_the_node_does_not_confuse() {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .all(Source::Nodes, &[node("n1", "b"), node("n2", "b")])
        .with(Source::EndpointSlices, slice("api", &[("n1", "a"), ("n2", "a")]))
        .policy(balanced(None, None, Some(50)));
    assert_eq!(
        world.verdict("backend-placement-skew"),
        "Violated warning ZoneTooFull"
    );
}

#[rstest]
#[case::zero(0)]
#[case::vast(u32::MAX)]
fn extreme_limits_do_not_overflow(#[case] value: u32) {
    let places = vec![("n1", "a"); 600];
    let mut world = World::complete()
        .with(
            Source::Services,
            service(
                "api",
                json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": value}}}),
            ),
        )
        .with(Source::EndpointSlices, slice("api", &places))
        .policy(balanced(Some(value), Some(value), Some(value)));
    for id in IDS {
        world.verdict(id);
    }
}

#[test]
fn nothing_was_read_at_all() {
    let mut core = Core::default();
    core.round(Now::default());
    assert!(
        core.findings(Now::default())
            .findings
            .iter()
            .all(|one| one.verdict.name() == "Unknown")
    );
}
