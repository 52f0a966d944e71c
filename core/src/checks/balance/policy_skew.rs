//! `backend-policy-induced-skew`: the uneven shares that a Service's own settings ask for.

use std::fmt;
use std::sync::Arc;

use super::{Groups, backends};
use crate::facts::{Class, Fleet};
use crate::judge::{
    Case, Check, Evidence, Judge, Look, Memory, ServiceCase, Severities, UntypedCase, Verdict,
};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::sources::service::{Service, ServiceType};
use crate::sources::slice::Endpoint;

/// Largest expected share that is no skew yet, in percent of the mean share.
const EVEN_PERCENT: u64 = 120;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-policy-induced-skew",
    severity: Severities::ALWAYS_INFO,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices]),
    uses: Reads::NONE,
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
nobody recycles a Pod for it.

## Formula

With `n` backends over `m` nodes (or zones), each of which gets the same traffic, a backend on a node with `p` of them
gets `1/(m p)` of it. The largest expected share, divided by the mean `1/n`, is `n / (m * least p)`.

- Above 1.2: AtRisk, info. Causes `ExternalLocal` and `InternalLocal` (by node), `SameNode` (by hinted node),
  `ZoneHints` (by hinted zone). Hints of a kind count only where every ready endpoint has one, those of nodes before
  those of zones (`pkg/proxy/topology.go`); a `trafficDistribution` that no hints follow has no effect. Where every
  node's Services go through Cilium, hints count only with its `enable-service-topology: true`.
- `sessionAffinity: ClientIP` and more than one backend: AtRisk, info, cause `ClientAffinity`; in the worst case all
  clients come from one address.
- A backend without node makes the expectation by node Unknown.

That every node or zone gets the same traffic is assumed, and so is every verdict of this check.

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
    let all = backends(look, case.key)?;
    if all.len() < 2 {
        return Ok(Verdict::NotApplicable(
            "fewer than two backends share the traffic",
        ));
    }
    let laws = laws(look, service, &all);
    if laws.is_empty() && service.affinity_seconds.is_none() {
        return Ok(Verdict::NotApplicable(
            "every client may reach every backend alike",
        ));
    }
    let shown = look.show(case.key);
    let total = all.len() as u64;
    let mut gap: Option<Gap> = None;
    let mut worst: Option<(u64, Case)> = None;
    for law in laws {
        if let Some(one) = law.groups.gap(look, case.key, "nodeName") {
            gap = gap.or(Some(one));
            continue;
        }
        let Some((name, size)) = law.groups.emptiest(look) else {
            continue;
        };
        let places = law.groups.sizes.len() as u64;
        let percent = (total * 100).div_euclid((places * u64::from(size)).max(1));
        if total * 100 > EVEN_PERCENT * places * u64::from(size)
            && worst.as_ref().is_none_or(|held| percent > held.0)
        {
            let place = look.names().shared(name);
            worst = Some((percent, law.case(&shown, total, percent, &place, size)));
        }
    }
    if let Some((_, case)) = worst {
        return Ok(Verdict::AtRisk(case));
    }
    if let Some(seconds) = service.affinity_seconds {
        return Ok(Verdict::AtRisk(affinity(&shown, total, seconds)));
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

/// One setting that ties traffic to a place.
struct Law {
    cause: &'static str,
    setting: Arc<str>,
    groups: Groups,
}

/// The settings of a Service that tie traffic to places.
fn laws(look: &Look<'_>, service: &Service, all: &[Endpoint]) -> Vec<Law> {
    let by_node = || Groups::by(all, |one| one.node);
    let mut laws = Vec::new();
    let outside = matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer);
    if service.external_local && outside {
        laws.push(Law {
            cause: "ExternalLocal",
            setting: "externalTrafficPolicy: Local".into(),
            groups: by_node(),
        });
    }
    if service.internal_local {
        laws.push(Law {
            cause: "InternalLocal",
            setting: "internalTrafficPolicy: Local".into(),
            groups: by_node(),
        });
        return laws;
    }
    // One endpoint without a hint, and proxies ignore them all. Which setting made them does not matter.
    let distribution = look.names().text(service.traffic_distribution);
    let by = |kind: &str| match distribution {
        "" => format!("{kind} hints of every endpoint"),
        text => format!("trafficDistribution: {text}, {kind} hints of every endpoint"),
    };
    let (nodes, zones) = (
        Groups::by(all, |one| one.node_hint),
        Groups::by(all, |one| one.hint),
    );
    let (cause, kind, groups) = if nodes.lost.is_none() {
        ("SameNode", "node", nodes)
    } else if zones.lost.is_none() {
        ("ZoneHints", "zone", zones)
    } else {
        return laws;
    };
    // Few Services have hints: the others need not be judged again when the fleet changes.
    if follows_hints(look.fleet()) {
        laws.push(Law {
            cause,
            setting: by(kind).into(),
            groups,
        });
    }
    laws
}

/// Whether hints count on any class of nodes: where Cilium carries a Pod's connections they do only when it was told
/// so, beside kube-proxy as well as in its place. What is not known may count.
fn follows_hints(fleet: &Fleet) -> bool {
    let ignores = |class: &Class| {
        let cilium = class
            .profile
            .cilium
            .as_ref()
            .and_then(|cilium| cilium.as_ref().ok());
        cilium.is_some_and(|cilium| cilium.follows_hints.as_ref().is_ok_and(|said| !said.value))
    };
    fleet.gap.is_some() || fleet.classes.is_empty() || !fleet.classes.iter().all(ignores)
}

impl Law {
    fn case(&self, service: &str, total: u64, percent: u64, place: &Arc<str>, size: u32) -> Case {
        let slices = format!("EndpointSlices of {service}");
        let even = if self.cause == "ZoneHints" {
            "every zone gets the same traffic"
        } else {
            "every node with a backend gets the same traffic"
        };
        untyped(
            self.cause,
            vec![
                expected(percent, even),
                Evidence::text(
                    "setting",
                    &Val::declared(self.setting.clone(), format!("Service {service}")),
                ),
                Evidence::count("backends", total, slices.as_str()),
                Evidence::count("places", self.groups.sizes.len(), slices.as_str()),
                Evidence::text("place", &Val::declared(place.clone(), slices.as_str())),
                Evidence::count("backendsThere", size, slices),
            ],
        )
    }
}

fn affinity(service: &str, total: u64, seconds: u32) -> Case {
    let setting = Val::declared(
        i64::from(seconds),
        format!("Service {service} sessionAffinity: ClientIP"),
    );
    untyped(
        "ClientAffinity",
        vec![
            expected(total.saturating_mul(100), "all clients come from one address"),
            Evidence::number("affinity", Unit::Seconds, &setting),
            Evidence::count("backends", total, format!("EndpointSlices of {service}")),
        ],
    )
}

/// The largest expected share in percent of the mean.
fn expected(percent: u64, assuming: &str) -> Evidence {
    Evidence {
        origin: Origin::Assumed,
        ..Evidence::number(
            "expectedShareOfMean",
            Unit::Percent,
            &Val::assumed(
                i64::try_from(percent).unwrap_or(i64::MAX),
                format!("assuming that {assuming}"),
            ),
        )
    }
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let share = case.cite("expectedShareOfMean");
    if case.cause == "ClientAffinity" {
        return write!(
            f,
            "shares follow the clients' addresses for {}: of {} backends one may get up to {share} of the mean share; this is what was asked for, not a fault",
            case.cite("affinity"),
            case.cite("backends"),
        );
    }
    write!(
        f,
        "{} makes shares uneven: of {} backends over {} places, {} at {} get up to {share} of the mean share each; this is what was asked for, not a fault",
        case.cite("setting"),
        case.cite("backends"),
        case.show("places"),
        case.show("backendsThere"),
        case.show("place"),
    )
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let first = "nothing, if the setting is worth it: read the backends' load against these shares".into();
    let then = match case.cause {
        "ClientAffinity" => {
            "see whether many clients share an address behind NAT or an ingress, and whether affinity is needed at all"
        }
        "ZoneHints" => {
            "or spread the Pods over zones: topologySpreadConstraints with topologyKey topology.kubernetes.io/zone"
        }
        _ => {
            "or spread the Pods over nodes: topologySpreadConstraints with topologyKey kubernetes.io/hostname"
        }
    };
    vec![first, then.into()]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::checks::fixture::{World, node, service, slice};
    use crate::know::Source;

    const ID: &str = "backend-policy-induced-skew";
    const UNEVEN: &[(&str, &str)] = &[("n1", "a"), ("n1", "a"), ("n1", "a"), ("n2", "b")];
    const EVEN: &[(&str, &str)] = &[("n1", "a"), ("n1", "a"), ("n2", "b"), ("n2", "b")];

    fn verdict(spec: Value, slice: &Value) -> String {
        World::complete()
            .with(Source::Services, &service("api", spec))
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
        let said = verdict(spec, &slice("api", places));
        // What the baseline does not know it counts and does not tell.
        let expected = if expected == "Unknown unknown" {
            "Unknown"
        } else {
            expected
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn the_expected_share_is_told() {
        let mut world = World::complete()
            .with(
                Source::Services,
                &service("api", json!({"internalTrafficPolicy": "Local"})),
            )
            .with(Source::EndpointSlices, &slice("api", UNEVEN));
        // n = 4, m = 2, least p = 1: n / (m p) = 2.
        assert!(world.findings(ID)[0].message.contains("up to 200 % "));
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
                &service("api", json!({"trafficDistribution": "PreferClose"})),
            )
            .with(Source::Nodes, &node("n1", ""))
            .with(Source::EndpointSlices, &one);
        if let Some(keys) = keys {
            let agent =
                json!({"name": "cilium-agent", "image": "cilium:v1.16.2", "command": ["cilium-agent"]});
            world = world
                .with(
                    Source::DaemonSets,
                    &json!({
                        "metadata": {"name": "cilium", "namespace": "kube-system"},
                        "spec": {"template": {"spec": {"containers": [agent]}}},
                    }),
                )
                .with(
                    Source::ConfigMaps,
                    &json!({"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": keys}),
                );
        }
        assert_eq!(world.verdict(ID), expected);
    }
}
