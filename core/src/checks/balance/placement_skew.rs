//! `backend-placement-skew`: no node or zone holds more of the backends than the team allows.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{Domain, Groups, backends};
use crate::index::Dep;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::policy::Policy;
use crate::sample::Metrics;
use crate::sources::placement::Placement;
use crate::sources::service::ServiceType;
use crate::sources::slice::Endpoint;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-placement-skew",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes, Source::Pods]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
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
- An endpoint without a zone is in that of its node. One whose node or zone is not known: Unknown, unless the others
  already decide it. Endpoints of a Service without
  selector are outside of the cluster and count nowhere.

A node could hold a backend when it already holds one, or when it is ready, schedulable and one of the Service's Pods
may run there by its `nodeSelector`, required node affinity and tolerations. Where these Pods were not read, every
ready and schedulable node without a lasting taint could, which is assumed.

## What to do

1. Add `topologySpreadConstraints` with `maxSkew: 1` to the workload; it acts on new Pods only.
2. Then let a rollout at a quiet time place them anew.

## What not to do

Do not delete the Pods of the fullest node at once: that is the failure this check warns of.
";

/// A place that holds too many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Crowd {
    /// `namespace/name` of the Service.
    service: String,
    /// `namespace/name` of the policy.
    policy: String,
    place: Domain,
    name: Arc<str>,
    /// Backends there, and all of them.
    there: u32,
    total: u32,
    limit_percent: u32,
    /// How many places could hold one, and how many the fullest of them would hold at best.
    places: Val<u32>,
    best: u32,
}

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if case.service.kind == ServiceType::ExternalName {
        return Ok(Verdict::NotApplicable("a DNS alias has no endpoints"));
    }
    let asked = case
        .policy
        .and_then(|policy| Some((policy, policy.balance.as_ref()?)));
    let Some((policy, balance)) = asked else {
        return Ok(Verdict::NotApplicable("no limit on placement is declared"));
    };
    let limits: Vec<_> = [
        (Domain::Node, balance.max_percent_per_node),
        (Domain::Zone, balance.max_percent_per_zone),
    ]
    .into_iter()
    .filter_map(|(place, limit)| Some((place, limit?)))
    .collect();
    if limits.is_empty() {
        return Ok(Verdict::NotApplicable("no limit on placement is declared"));
    }
    let mut all = backends(look, case.key)?;
    if !case.service.selects() {
        all.retain(|one| !one.node.is_empty());
    }
    if all.len() < 2 {
        return Ok(Verdict::NotApplicable(
            "one backend has to be somewhere, and none is nowhere",
        ));
    }
    let mut gap: Option<Gap> = None;
    for (place, limit) in limits {
        match judge_place(look, case, policy, &all, place, limit) {
            Ok(None) => {}
            Ok(Some(crowd)) => return Ok(Verdict::violated(crowd)),
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

fn judge_place(
    look: &Look<'_>,
    case: &ServiceCase<'_>,
    policy: &Policy,
    all: &[Endpoint],
    place: Domain,
    limit: u32,
) -> Known<Option<Crowd>> {
    let groups = Groups::by(all, |one| place.of(look, one));
    let total = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let exceeds = |count: u32| u64::from(count) * 100 > u64::from(limit) * u64::from(total);
    let (name, there) = groups.fullest(look).unwrap_or_default();
    let homeless = groups.gap(look, case.key, place.field());
    if !exceeds(there) {
        // Those without a domain may all be in the fullest.
        return match homeless {
            Some(gap) if exceeds(there.saturating_add(groups.homeless())) => Err(gap),
            _ => Ok(None),
        };
    }
    // Those that hold a backend could hold one; more places only make the best placement better.
    let held = u32::try_from(groups.sizes.len()).unwrap_or(u32::MAX);
    let places = match room(look, case, &groups, place) {
        Ok(places) => places,
        Err(_) if there > total.div_ceil(held.max(1)) => Val::declared(held, "places that hold a backend"),
        Err(gap) => return Err(gap),
    };
    let best = total.div_ceil(places.value.max(1));
    if there <= best {
        return homeless.map_or(Ok(None), Err);
    }
    Ok(Some(Crowd {
        service: look.show(case.key),
        policy: format!("{}/{}", policy.namespace, policy.name),
        place,
        name: look.names().shared(name),
        there,
        total,
        limit_percent: limit,
        places,
        best,
    }))
}

/// How many nodes or zones could hold a backend, counting those that do.
fn room(look: &Look<'_>, case: &ServiceCase<'_>, groups: &Groups, place: Domain) -> Known<Val<u32>> {
    let placements = placements(look, case);
    let count = |places: &BTreeSet<Name>| {
        let all = places.iter().chain(groups.sizes.keys()).collect::<BTreeSet<_>>();
        u32::try_from(all.len()).unwrap_or(u32::MAX)
    };
    if !placements.is_empty() {
        let room = look.room(&placements)?;
        let places = match place {
            Domain::Node => room.nodes,
            Domain::Zone => room.zones,
        };
        let source = "Nodes that its Pods may use by selector, affinity and tolerations";
        return Ok(Val::declared(count(&places), source));
    }
    let nodes = look.node_sums(Dep::NodeRoom)?;
    let count = match place {
        Domain::Zone => count(&nodes.host_zones().filter(|zone| !zone.is_empty()).collect()),
        Domain::Node => {
            let mut room = nodes.hosts();
            for node in groups.sizes.keys() {
                room = room.saturating_add(u32::from(!look.hosts_pods(*node)?));
            }
            room
        }
    };
    Ok(Val::assumed(
        count,
        "Nodes without a taint, as its Pods were not read",
    ))
}

/// Where the Pods of the Service may run, each way once; nothing where they were not read.
fn placements<'a>(look: &Look<'a>, case: &ServiceCase<'_>) -> Vec<&'a Placement> {
    let mut found: Vec<&Placement> = Vec::new();
    let Some(selector) = case.service.pod_selector(look.names()) else {
        return found;
    };
    let Ok(Some(kinds)) = look.selected_pods(case.key.namespace, &selector) else {
        return found;
    };
    let templates = kinds.iter().filter_map(|one| look.template(one.kind, one.first));
    for template in templates {
        if !found.contains(&&template.placement) {
            found.push(&template.placement);
        }
    }
    found
}

impl Explain for Crowd {
    fn cause(&self) -> &'static str {
        match self.place {
            Domain::Node => "NodeTooFull",
            Domain::Zone => "ZoneTooFull",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} holds {} of {} ready backends, {} %; the policy allows {} %, and {} would be the best over {} {}s",
            self.place.word(),
            self.name,
            self.there,
            self.total,
            self.percent(),
            self.limit_percent,
            self.best,
            self.places.value,
            self.place.word(),
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let slices: Arc<str> = format!("EndpointSlices of {}", self.service).into();
        let field = match self.place {
            Domain::Node => "maxPercentPerNode",
            Domain::Zone => "maxPercentPerZone",
        };
        let field = format!("policy {} balance.{field}", self.policy);
        vec![
            Evidence::name("place", &self.name, slices.clone()),
            Evidence::count("backendsThere", self.there, slices.clone()),
            Evidence::count("backends", self.total, slices.clone()),
            Evidence::number("share", Unit::Percent, &Val::declared(self.percent(), slices)),
            Evidence::number(
                "limit",
                Unit::Percent,
                &Val::declared(i64::from(self.limit_percent), field),
            ),
            Evidence::number("places", Unit::Count, &self.places.clone().map(i64::from)),
            Evidence::count("bestPossible", self.best, self.places.source.clone()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            format!(
                "add topologySpreadConstraints with maxSkew 1 and topologyKey {} to the workload",
                self.place.topology_key()
            )
            .into(),
            "then let a rollout at a quiet time place the Pods anew; do not delete those of one place at once".into(),
        ]
    }
}

impl Crowd {
    /// The share of the fullest place, in percent.
    fn percent(&self) -> i64 {
        i64::from(self.there) * 100 / i64::from(self.total.max(1))
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |place, name: &str| Crowd {
        service: "shop/checkout".into(),
        policy: "shop/checkout".into(),
        place,
        name: name.into(),
        there: 3,
        total: 4,
        limit_percent: 50,
        places: Val::declared(
            3,
            "Nodes that its Pods may use by selector, affinity and tolerations",
        ),
        best: 2,
    };
    vec![
        Verdict::violated(of(Domain::Node, "worker-4")),
        Verdict::violated(of(Domain::Zone, "eu-central-1a")),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::world::{World, balanced, node, service, slice};

    const ID: &str = "backend-placement-skew";

    fn nodes() -> Vec<Value> {
        let mut control = node("cp", "a");
        control["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = json!("");
        control["spec"] =
            json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
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
            .with(Source::Services, service("api", json!({})))
            .all(Source::Nodes, &nodes())
            .with(Source::EndpointSlices, slice("api", places))
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
    #[case::zone_of_the_node(&[("n1", ""), ("n2", "")], None, Some(60), "Violated warning ZoneTooFull")]
    #[case::zone_unsaid(&[("x1", ""), ("x2", "")], None, Some(60), "Unknown unknown")]
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
            .with(Source::Services, service("api", json!({})))
            .with(Source::EndpointSlices, slice("api", places))
            .policy(balanced(None, Some(40), None));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn the_message_names_place_share_and_limit() {
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .all(Source::Nodes, &nodes())
            .with(
                Source::EndpointSlices,
                slice("api", &[("n1", "a"), ("n1", "a"), ("n1", "a"), ("n3", "b")]),
            )
            .policy(balanced(None, Some(50), None));
        assert_eq!(
            world.findings(ID)[0].message,
            "node n1 holds 3 of 4 ready backends, 75 %; the policy allows 50 %, and 2 would be the best over 3 nodes"
        );
    }

    /// Pod `shop/NAME` of the Service, with this much more in its spec.
    fn pod(name: &str, spec: &Value) -> Value {
        let mut pod = crate::world::pod(name, "api", &[]);
        if let (Some(into), Value::Object(more)) = (pod["spec"].as_object_mut(), spec.clone()) {
            into.extend(more);
        }
        pod
    }

    /// Two open nodes, and two that are tainted for batch work.
    #[rstest]
    #[case::no_toleration(json!({}), "Met")]
    #[case::tolerates(json!({"tolerations": [{"key": "batch", "operator": "Exists"}]}), "Violated warning NodeTooFull")]
    #[case::selects(json!({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"pool": "web"}}), "Met")]
    fn only_nodes_that_the_pods_may_use_count(#[case] spec: Value, #[case] expected: &str) {
        let tainted = |name: &str| {
            let mut node = node(name, "a");
            node["spec"] = json!({"taints": [{"key": "batch", "effect": "NoSchedule"}]});
            node
        };
        let of_pool = |name: &str| {
            let mut node = node(name, "a");
            node["metadata"]["labels"]["pool"] = json!("web");
            node
        };
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .all(
                Source::Nodes,
                &[of_pool("n1"), of_pool("n2"), tainted("b1"), tainted("b2")],
            )
            .with(
                Source::EndpointSlices,
                slice("api", &[("n1", "a"), ("n1", "a"), ("n2", "a"), ("n2", "a")]),
            )
            .with(Source::Pods, pod("api-1", &spec))
            .policy(balanced(None, Some(40), None));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn a_headless_service_has_backends_to_place() {
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({"clusterIP": "None"})))
            .all(Source::Nodes, &nodes())
            .with(
                Source::EndpointSlices,
                slice("api", &[("n1", "a"), ("n1", "a"), ("n1", "a")]),
            )
            .policy(balanced(None, Some(34), None));
        assert_eq!(world.verdict(ID), "Violated warning NodeTooFull");
    }
}
