//! `backend-local-holes`: with traffic policy Local, every node that clients use has a backend.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{PortBackends, backends_by_port};
use crate::index::Dep;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::names::Name;
use crate::policy::{Door, Policy};
use crate::sample::Metrics;
use crate::sources::service::ServiceType;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-local-holes",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes, Source::Pods]),
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
With traffic policy Local, every node that clients use has a backend.

Traffic policy Local keeps packets on the node that they enter: a node without a ready backend of its own drops them, as
if the Service had no endpoint at all. With `internalTrafficPolicy: Local` this affects the Pods of that node; with
`externalTrafficPolicy: Local` and a node port everybody who connects to that node.

## Formula

A node has a backend when an endpoint there is ready, or terminating and still serving (`pkg/proxy/topology.go`); of
several ports the one with the fewest such nodes decides. Nodes count that are ready, schedulable and without a taint
that lasts.

- `internalTrafficPolicy: Local`, and Pods of a declared client (`clients[].podSelector`) run on nodes without a backend:
  Violated, warning, cause `ClientsCutOff`. Where every declared client is known and none of them does: Met.
- `internalTrafficPolicy: Local`, the clients are not known, and some node has no backend: AtRisk, info, cause
  `NodesWithoutBackend`.
- Type NodePort with `externalTrafficPolicy: Local`, and some node has no backend: AtRisk, info, cause
  `NodePortsWithoutBackend`, as it is not known which nodes clients use. A load balancer probes each node's health
  (`healthCheckNodePort`) and leaves these out.

It does not apply to a Service without a ready backend, which other checks report.

## What to do

1. Run the backends as a DaemonSet, or on every node that has clients.
2. Or set the traffic policy to Cluster; `trafficDistribution: PreferSameNode` prefers the own node and falls back.

## What not to do

Do not send clients to the addresses of single Pods instead: they change with each rollout.
";

/// Nodes that drop traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Holes {
    /// `namespace/name` of the Service.
    service: String,
    cause: HoleCause,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum HoleCause {
    /// So many Pods of a client cannot reach it, one of them on this node.
    ClientsCutOff {
        client: Arc<str>,
        policy: String,
        pods: usize,
        node: Arc<str>,
    },
    /// So many nodes of all drop what comes to the cluster address or to the node port.
    Nodes { external: bool, without: u32, all: u32 },
}

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    let service = case.service;
    let external = service.external_local && service.kind == ServiceType::NodePort;
    if !service.has_data_plane() || !(service.internal_local || external) {
        return Ok(Verdict::NotApplicable(
            "no traffic policy keeps packets on a node without a health check",
        ));
    }
    if let Some(gap) = look
        .fleet()
        .ignores_internal_local()
        .filter(|_| service.internal_local)
    {
        return Err(gap);
    }
    let by_port = backends_by_port(look, case)?;
    let fewest = by_port
        .iter()
        .filter(|one| !one.usable.is_empty())
        .map(|one| (one, with_backend(one)))
        .min_by_key(|(_, nodes)| nodes.len());
    let Some((backends, with)) = fewest else {
        return Ok(Verdict::NotApplicable("no backend is ready"));
    };
    all_name_their_node(look, case, backends)?;
    let shown = || look.show(case.key);
    if service.internal_local {
        match case.policy.map(|policy| cut_off(look, case, policy, &with)) {
            Some(Clients::CutOff(cause)) => {
                return Ok(Verdict::violated(Holes {
                    service: shown(),
                    cause,
                }));
            }
            Some(Clients::Served) if !external => return Ok(Verdict::Met),
            _ => {}
        }
    }
    let all = look.node_sums(Dep::NodeRoom)?.hosts();
    let without = with.iter().try_fold(all, |without, node| {
        Ok(without.saturating_sub(u32::from(look.hosts_pods(*node)?)))
    })?;
    if without == 0 {
        return Ok(Verdict::Met);
    }
    let cause = HoleCause::Nodes {
        external: !service.internal_local,
        without,
        all,
    };
    Ok(Verdict::at_risk(Holes {
        service: shown(),
        cause,
    }))
}

/// A gap where a ready backend may be on any node.
fn all_name_their_node(look: &Look<'_>, case: &ServiceCase<'_>, backends: &PortBackends) -> Known<()> {
    let Some(one) = backends.usable.iter().find(|one| one.node.is_empty()) else {
        return Ok(());
    };
    let (address, service) = (one.address, look.show(case.key));
    Err(Gap::Opaque(
        format!("endpoint {address} of {service} does not name its node").into(),
    ))
}

/// The nodes that have a backend.
fn with_backend(backends: &PortBackends) -> BTreeSet<Name> {
    let all = backends.usable.iter().chain(&backends.ending);
    all.map(|one| one.node).collect()
}

/// What is known of the declared clients.
enum Clients {
    /// Some run where no backend is.
    CutOff(HoleCause),
    /// All of them run where one is.
    Served,
    /// It is not known where they run.
    Unknown,
}

fn cut_off(look: &Look<'_>, case: &ServiceCase<'_>, policy: &Policy, with: &BTreeSet<Name>) -> Clients {
    let clients = policy.connections.iter().flat_map(|one| &one.clients);
    let clients: Vec<_> = clients.filter(|one| one.from == Door::Cluster).collect();
    let names = look.names();
    let mut all_known = !clients.is_empty() && policy.connections.iter().all(|one| !one.clients.is_empty());
    for client in clients {
        let Some(wanted) = &client.pods else {
            all_known = false;
            continue;
        };
        let Ok(Some(kinds)) = look.selected_pods(case.key.namespace, wanted) else {
            all_known = false;
            continue;
        };
        let mut placed = kinds.iter().flat_map(|one| one.nodes.iter()).peekable();
        all_known &= placed.peek().is_some();
        let lost: Vec<&(Name, usize)> = placed.filter(|one| !with.contains(&one.0)).collect();
        // Of several the first by text, so that the message does not hang on who came first.
        if let Some((node, _)) = lost.iter().min_by_key(|one| names.text(one.0)) {
            return Clients::CutOff(HoleCause::ClientsCutOff {
                client: client.name.clone(),
                policy: format!("{}/{}", policy.namespace, policy.name),
                pods: lost.iter().map(|one| one.1).sum(),
                node: names.shared(*node),
            });
        }
    }
    if all_known {
        Clients::Served
    } else {
        Clients::Unknown
    }
}

impl Explain for Holes {
    fn cause(&self) -> &'static str {
        match self.cause {
            HoleCause::ClientsCutOff { .. } => "ClientsCutOff",
            HoleCause::Nodes { external: true, .. } => "NodePortsWithoutBackend",
            HoleCause::Nodes { external: false, .. } => "NodesWithoutBackend",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            HoleCause::ClientsCutOff {
                client, pods, node, ..
            } => write!(
                f,
                "{pods} Pods of client {client} reach no backend, such as those on node {node}: none is ready there, \
                 and the traffic policy is Local"
            ),
            HoleCause::Nodes {
                external: false,
                without,
                all,
            } => write!(
                f,
                "by internalTrafficPolicy Local clients on {without} of {all} nodes reach no backend: none is ready there"
            ),
            HoleCause::Nodes { without, all, .. } => write!(
                f,
                "by externalTrafficPolicy Local {without} of {all} nodes drop what comes to the node port: no backend is \
                 ready there"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let slices = format!("EndpointSlices of {}", self.service);
        match &self.cause {
            HoleCause::ClientsCutOff {
                client,
                policy,
                pods,
                node,
            } => vec![
                Evidence::name(
                    "client",
                    client,
                    format!("policy {policy} connections[].clients[]"),
                ),
                Evidence::count("podsCutOff", *pods, "Pods, spec.nodeName"),
                Evidence::name("node", node, slices),
            ],
            HoleCause::Nodes {
                external,
                without,
                all,
            } => {
                let setting = if *external {
                    "externalTrafficPolicy"
                } else {
                    "internalTrafficPolicy"
                };
                vec![
                    Evidence::text(
                        setting,
                        &Val::declared("Local".into(), format!("Service {}", self.service)),
                    ),
                    Evidence::count("nodesWithoutBackend", *without, slices),
                    Evidence::count("nodes", *all, "Nodes: ready, schedulable, not tainted"),
                ]
            }
        }
    }

    fn advice(&self) -> Vec<Advice> {
        match &self.cause {
            HoleCause::ClientsCutOff { .. } => vec![
                "run a backend on each of these nodes, as a DaemonSet does, or set internalTrafficPolicy to Cluster".into(),
            ],
            HoleCause::Nodes { external: false, .. } => vec![
                "nothing, if no client runs on those nodes: declare the clients with their podSelector".into(),
                "else run a backend on every node, as a DaemonSet does, or set internalTrafficPolicy to Cluster".into(),
            ],
            HoleCause::Nodes { .. } => vec![
                "nothing, if only nodes with a backend are asked, as by a balancer with a health check".into(),
                "else run a backend on every node, or set externalTrafficPolicy to Cluster".into(),
            ],
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |cause| Holes {
        service: "shop/agent".into(),
        cause,
    };
    let nodes = |external| HoleCause::Nodes {
        external,
        without: 2,
        all: 5,
    };
    let clients = HoleCause::ClientsCutOff {
        client: "cart".into(),
        policy: "shop/agent".into(),
        pods: 4,
        node: "worker-4".into(),
    };
    vec![
        Verdict::violated(of(clients)),
        Verdict::at_risk(of(nodes(false))),
        Verdict::at_risk(of(nodes(true))),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::policy::{Client, Protocol};
    use crate::world::{World, app, client, connection, node, pod, policy, service, slice};

    const ID: &str = "backend-local-holes";

    /// Three open nodes, one of the control plane, and backends at these.
    fn world(spec: Value, places: &[&str]) -> World {
        let mut control = node("cp", "");
        control["spec"] =
            json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
        let places: Vec<_> = places.iter().map(|node| (*node, "")).collect();
        World::complete()
            .with(Source::Services, service("api", spec))
            .all(
                Source::Nodes,
                &[node("n1", ""), node("n2", ""), node("n3", ""), control],
            )
            .with(Source::EndpointSlices, slice("api", &places))
    }

    #[rstest]
    #[case::cluster(json!({}), &["n1"], "NotApplicable")]
    #[case::internal(json!({"internalTrafficPolicy": "Local"}), &["n1", "n1"], "AtRisk info NodesWithoutBackend")]
    #[case::everywhere(json!({"internalTrafficPolicy": "Local"}), &["n1", "n2", "n3"], "Met")]
    #[case::control_plane_does_not_help(json!({"internalTrafficPolicy": "Local"}), &["n1", "n2", "cp"], "AtRisk info NodesWithoutBackend")]
    #[case::node_port(json!({"type": "NodePort", "externalTrafficPolicy": "Local"}), &["n1"], "AtRisk info NodePortsWithoutBackend")]
    #[case::node_port_everywhere(json!({"type": "NodePort", "externalTrafficPolicy": "Local"}), &["n1", "n2", "n3"], "Met")]
    #[case::balancer_asks_for_health(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}), &["n1"], "NotApplicable")]
    #[case::headless(json!({"clusterIP": "None", "internalTrafficPolicy": "Local"}), &["n1"], "NotApplicable")]
    #[case::nothing_ready(json!({"internalTrafficPolicy": "Local"}), &[], "NotApplicable")]
    #[case::no_node(json!({"internalTrafficPolicy": "Local"}), &["", "n1"], "Unknown")]
    fn nodes_without_a_backend(#[case] spec: Value, #[case] places: &[&str], #[case] expected: &str) {
        assert_eq!(world(spec, places).verdict(ID), expected);
    }

    #[test]
    fn the_numbers_are_told() {
        let found = world(json!({"internalTrafficPolicy": "Local"}), &["n1"]).findings(ID);
        assert_eq!(
            found[0].message,
            "by internalTrafficPolicy Local clients on 2 of 3 nodes reach no backend: none is ready there"
        );
    }

    #[rstest]
    #[case::beside_a_backend(&["n1", "n2"], "Met")]
    #[case::one_elsewhere(&["n1", "n3"], "Violated warning ClientsCutOff")]
    #[case::not_seen(&[], "AtRisk info NodesWithoutBackend")]
    fn declared_clients(#[case] nodes: &[&str], #[case] expected: &str) {
        let cart = Client {
            pods: Some(app("cart")),
            ..client("cart")
        };
        let mut world = world(json!({"internalTrafficPolicy": "Local"}), &["n1", "n2"])
            .policy(policy(vec![connection(Protocol::Http1, cart)]));
        for (at, node) in nodes.iter().enumerate() {
            let mut pod = pod(&format!("cart-{at}"), "cart", &[]);
            pod["spec"]["nodeName"] = json!(node);
            world = world.with(Source::Pods, &pod);
        }
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn a_backend_that_ends_still_serves_its_node() {
        let mut ending = slice("api", &[("n1", ""), ("n2", ""), ("n3", "")]);
        ending["endpoints"][2]["conditions"] = json!({"ready": false, "serving": true, "terminating": true});
        let mut world =
            world(json!({"internalTrafficPolicy": "Local"}), &[]).with(Source::EndpointSlices, &ending);
        assert_eq!(world.verdict(ID), "Met");
    }
}
