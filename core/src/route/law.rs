//! How new connections are shared over the backends of a Service: by which rule, and among which of them alike.
//!
//! The rule follows from what carries a connection where it enters, so it is asked door by door. Where a rule ties
//! connections to places (Local policies, topology hints), shares of different places follow the clients, and only backends of
//! one place are alike.

use std::sync::Arc;

use super::{EntryClass, balancer_targets, met};
use crate::dataplane::ProxyMode;
use crate::dataplane::SocketLb;
use crate::dataplane::entry::Entry;
use crate::dataplane::load_balancer::Targets;
use crate::fleet::{Class, Fleet};
use crate::judge::{Look, Path, ServiceCase, declares};
use crate::know::{Gap, Known};
use crate::names::Name;
use crate::policy::{Client, Connection, Door};
use crate::sources::service::{Service, ServiceType};
use crate::sources::slice::Endpoint;

/// By which rule new connections are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLaw {
    /// Among which backends shares are alike.
    pub places: PlaceRule,
    /// What keeps a client on the backend that it has; `None` where each connection is placed by itself.
    pub keeps: Option<KeptBy>,
    /// The IPVS scheduler, where it looks for the backend with the fewest connections: then it evens out those that are open,
    /// and not new ones.
    pub fewest: Option<Arc<str>>,
}

/// What keeps a client on its backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeptBy {
    /// `sessionAffinity: ClientIP`.
    Affinity,
    /// An IPVS scheduler that goes by the client's address.
    Scheduler(Arc<str>),
}

/// What ties connections to places: only backends of one place are chosen among alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct PlaceRule {
    /// A node sends to its own backends.
    pub node: bool,
    /// A node sends to the backends that are hinted at it.
    pub node_hint: bool,
    /// A zone sends to the backends that are hinted at it.
    pub zone_hint: bool,
}

/// A place: its node, and the node and the zone that it is hinted at, as far as these count.
pub type BackendPlace = [Name; 3];

impl PlaceRule {
    /// Where an endpoint is.
    pub const fn of(self, one: &Endpoint) -> BackendPlace {
        [
            if self.node { one.node } else { Name::EMPTY },
            if self.node_hint {
                one.node_hint
            } else {
                Name::EMPTY
            },
            if self.zone_hint { one.hint } else { Name::EMPTY },
        ]
    }

    /// Whether anything ties connections to places.
    pub const fn any(self) -> bool {
        self.node || self.node_hint || self.zone_hint
    }
}

/// The rule for these backends of a Service.
///
/// # Errors
/// Where it is not known: nothing was read of what carries connections, or something chooses by a rule that is not known.
pub fn law(look: &Look<'_>, case: &ServiceCase<'_>, backends: &[Endpoint]) -> Known<ShareLaw> {
    let service = case.service;
    let mut law = ShareLaw {
        places: places(look, service, backends),
        keeps: service.affinity_seconds.map(|_| KeptBy::Affinity),
        fewest: None,
    };
    let met = met_by_clients(look, case)?;
    let (mut known, mut unknown, mut why) = (0, 0, None);
    for one in &met {
        let nodes = one.class.nodes.max(1);
        match rule(one) {
            Ok(rule) => {
                known += nodes;
                match rule {
                    ChoiceRule::Alike => {}
                    ChoiceRule::Address(scheduler) => {
                        law.keeps = law.keeps.or(Some(KeptBy::Scheduler(scheduler)));
                    }
                    ChoiceRule::Fewest(scheduler) => law.fewest = law.fewest.or(Some(scheduler)),
                }
            }
            Err(gap) => {
                unknown += nodes;
                why = why.or(Some(gap));
            }
        }
    }
    if met.is_empty() {
        return Err(Gap::UnsupportedDataPlane(
            "no node is known that carries connections".into(),
        ));
    }
    // A node that has just joined changes nothing while most are known.
    match why {
        Some(gap) if unknown >= known => Err(gap),
        _ => Ok(law),
    }
}

/// The classes of nodes that declared clients enter; where none is declared, Pods do on every node, and who comes by the load
/// balancer that the Service has.
fn met_by_clients<'a>(look: &Look<'a>, case: &ServiceCase<'_>) -> Known<Vec<EntryClass<'a>>> {
    let connections = case.policy.map_or(&[][..], |policy| &policy.connections);
    let mut all = Vec::new();
    let mut any = false;
    let mut enter = |connection: &Connection, client: &Client| -> Known<()> {
        let names = look.names();
        for port in case
            .service
            .ports
            .iter()
            .filter(|port| declares(connection, port, names))
        {
            if let Some(policy) = case.policy {
                any = true;
                all.extend(met(
                    look,
                    &Path {
                        key: case.key,
                        service: case.service,
                        port,
                        policy,
                        connection,
                        client,
                    },
                )?);
            }
        }
        Ok(())
    };
    let unknown = Client::undeclared("".into(), Door::Cluster);
    for connection in connections {
        if connection.clients.is_empty() {
            enter(connection, &unknown)?;
        }
        for client in &connection.clients {
            enter(connection, client)?;
        }
    }
    if any {
        return Ok(all);
    }
    if case.service.headless {
        return Err(direct());
    }
    let fleet = look.fleet();
    if let Some(gap) = &fleet.gap {
        return Err(gap.clone());
    }
    let balanced = case.service.kind == ServiceType::LoadBalancer;
    if balanced && balancer_targets(look, case.service) == Targets::Pods {
        return Err(direct());
    }
    Ok(fleet
        .classes
        .iter()
        .map(|class| EntryClass {
            entry: Entry::Pod,
            class,
            sure: true,
        })
        .collect())
}

/// What chooses a backend on a class of nodes.
enum ChoiceRule {
    /// Each connection by itself, all backends alike.
    Alike,
    /// By the client's address.
    Address(Arc<str>),
    /// The backend with the fewest connections.
    Fewest(Arc<str>),
}

/// What chooses a backend where a connection enters.
///
/// kube-proxy chooses at random (`statistic mode random` of `pkg/proxy/iptables/proxier.go`, `numgen random` of
/// `pkg/proxy/nftables/proxier.go`). Cilium chooses at random, or by Maglev over the addresses and ports of a connection, which
/// is as even (`lb4_select_backend_id` in `bpf/lib/lb.h`).
fn rule(one: &EntryClass<'_>) -> Known<ChoiceRule> {
    let profile = &one.class.profile;
    if one.entry == Entry::Direct {
        return Err(direct());
    }
    let by_cilium = match &profile.cilium {
        None => false,
        Some(Err(gap)) => return Err(gap.clone()),
        Some(Ok(cilium)) => match one.entry {
            Entry::Pod => true,
            Entry::Outside => cilium.serves_outside.clone()?.value,
            Entry::Host | Entry::Direct => cilium.socket_lb.clone()?.value != SocketLb::Off,
        },
    };
    if by_cilium {
        return Ok(ChoiceRule::Alike);
    }
    match profile.mode.clone()?.value {
        ProxyMode::Iptables | ProxyMode::Nftables | ProxyMode::Cilium => Ok(ChoiceRule::Alike),
        ProxyMode::Ipvs => of_scheduler(one.class),
        mode @ (ProxyMode::Kernelspace | ProxyMode::Other) => Err(Gap::UnsupportedDataPlane(
            format!("how proxy mode {} shares connections is not known", mode.name()).into(),
        )),
    }
}

/// What an IPVS scheduler goes by (Linux, `net/netfilter/ipvs/ip_vs_<scheduler>.c`). kube-proxy gives every backend the weight 1,
/// so the weighted ones are as the others.
fn of_scheduler(class: &Class) -> Known<ChoiceRule> {
    let scheduler = class.profile.scheduler.clone();
    let Some(scheduler) = scheduler else {
        return Err(Gap::UnsupportedDataPlane("an IPVS without a scheduler".into()));
    };
    let name = scheduler?.value;
    match &*name {
        "rr" | "wrr" => Ok(ChoiceRule::Alike),
        "lc" | "wlc" | "sed" | "nq" | "twos" => Ok(ChoiceRule::Fewest(name)),
        "sh" | "mh" => Ok(ChoiceRule::Address(name)),
        // By destination, or the first one until it is full: all to one, as it is meant.
        _ => Err(Gap::UnsupportedDataPlane(
            format!("the IPVS scheduler {name} shares nothing evenly").into(),
        )),
    }
}

fn direct() -> Gap {
    Gap::UnsupportedDataPlane(
        "clients or a load balancer choose among the Pods, by a rule of their own".into(),
    )
}

/// What ties connections to places.
fn places(look: &Look<'_>, service: &Service, backends: &[Endpoint]) -> PlaceRule {
    let outside = match service.kind {
        ServiceType::NodePort | ServiceType::LoadBalancer => service.external_local,
        ServiceType::ClusterIp | ServiceType::ExternalName => false,
    };
    // Without all hints of a kind, proxies take no heed of that kind (`pkg/proxy/topology.go`).
    let by_node = backends.iter().all(|one| !one.node_hint.is_empty());
    let by_zone = backends.iter().all(|one| !one.hint.is_empty());
    let follows = (by_node || by_zone) && !service.internal_local && follows_hints(look.fleet());
    PlaceRule {
        node: outside || service.internal_local,
        node_hint: by_node && follows,
        zone_hint: by_zone && follows,
    }
}

/// Whether hints count on any class of nodes: where Cilium carries a Pod's connections they do only when configured,
/// beside kube-proxy as well as in its place. What is not known may count.
pub fn follows_hints(fleet: &Fleet) -> bool {
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
