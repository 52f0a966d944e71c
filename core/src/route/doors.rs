//! Which tables of the nodes a connection meets: by the door that it comes by, and by where it enters.
//!
//! A cluster address is translated on the node of the client, a node port on the node that the packet reached, a Pod's own
//! address nowhere. So a node that the client never runs on decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::balancer_targets;
use crate::dataplane::entry::Entry;
use crate::dataplane::load_balancer::Targets;
use crate::fleet::Class;
use crate::index::Dep;
use crate::judge::{Alike, KINDS, Look, Path, Selection};
use crate::know::{Gap, Known, Val};
use crate::names::{Key, Name};
use crate::policy::{Door, Layer, Selector};
use crate::sources::node::Node;
use crate::sources::placement::Placement;
use crate::sources::service::{Service, ServiceType, Transport};
use crate::sources::workload::Template;

/// A table that a connection may meet on the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTable {
    /// What people call it: `IPVS table of 3 nodes`.
    pub hop: Arc<str>,
    /// After how many idle seconds it forgets a connection.
    pub idle: Known<Val<i64>>,
    /// Whether some connections meet it.
    pub meets: Meets,
}

/// Whether some connections of a path meet a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meets {
    /// They do.
    Surely,
    /// Only those of clients that run where they may and do not now, or that run where it is not known.
    Possibly,
    /// They do, unless nodes whose table is not known keep a longer one or none. These are at least half of all, and the
    /// gap says why it is not known.
    NotKnown(Gap),
    /// They do, but what it has forgotten it finds again by a hash, unless the nodes behind it have changed.
    FoundAgain,
}

/// A class of nodes that a connection may enter, and how it enters.
#[derive(Debug, Clone, Copy)]
pub struct EntryClass<'a> {
    /// How.
    pub entry: Entry,
    /// The class.
    pub class: &'a Class,
    /// Whether connections are known to enter there, not only able to.
    pub sure: bool,
}

/// Label of a Service that kube-proxy and what stands in for it leave to another proxy, whatever its value
/// (`cmd/kube-proxy/app/server.go`).
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";

/// The tables of the nodes on the way from a client to a Service, most numerous classes first.
pub fn node_tables(look: &Look<'_>, path: &Path<'_>) -> Vec<NodeTable> {
    let udp = path.port.transport == Transport::Udp;
    let met = match met(look, path) {
        Ok(met) => met,
        Err(gap) => {
            return vec![NodeTable {
                hop: "node".into(),
                idle: Err(gap),
                meets: Meets::Surely,
            }];
        }
    };
    met.iter()
        .enumerate()
        .filter_map(|(at, one)| {
            let table = one.class.profile.table(one.entry, udp);
            let meets = if one.sure {
                Meets::Surely
            } else {
                meets_anywhere(&met, at, udp)
            };
            let (keeper, idle) = match table {
                Ok(None) => return None,
                Ok(Some(table)) => (&*table.keeper, Ok(table.idle.clone())),
                Err(gap) => ("unknown", Err(gap.clone())),
            };
            let hop = match one.class.nodes {
                0 => format!("{keeper} table of the nodes"),
                1 => format!(
                    "{keeper} table of {}",
                    one.class.sample.first().map_or("1 node", |name| name)
                ),
                nodes => format!("{keeper} table of {nodes} nodes"),
            };
            Some(NodeTable {
                hop: hop.into(),
                idle,
                meets,
            })
        })
        .collect()
}

/// When the table of a class forgets; `None` where it keeps none.
fn seconds<'a>(one: &EntryClass<'a>, udp: bool) -> Result<Option<i64>, &'a Gap> {
    let table = one.class.profile.table(one.entry, udp).as_ref()?;
    Ok(table.as_ref().map(|table| table.idle.value))
}

/// Whether connections meet a table that forgets as early as this one wherever they enter. Not where a class of nodes
/// keeps a longer one, or none.
///
/// Nodes whose table is not known excuse nothing while most are known: what is broken stays so when a node joins. Where
/// at least half are not known, neither is the answer; nor is it certain where the client runs on such nodes now, and only
/// may run on the others.
fn meets_anywhere(met: &[EntryClass<'_>], at: usize, udp: bool) -> Meets {
    let own = met.get(at).map(|own| (own.entry, seconds(own, udp)));
    let Some((entry, Ok(Some(longest)))) = own else {
        return Meets::Possibly;
    };
    let (mut known, mut unknown, mut why) = (0, 0, None);
    let mut sure_unknown = false;
    for other in met.iter().filter(|other| other.entry == entry) {
        match seconds(other, udp) {
            Ok(Some(idle)) if idle <= longest => known += other.class.nodes,
            Ok(_) => return Meets::Possibly,
            Err(gap) => {
                sure_unknown |= other.sure;
                unknown += other.class.nodes;
                why = why.or(Some(gap));
            }
        }
    }
    match why {
        Some(gap) if unknown >= known => Meets::NotKnown(gap.clone()),
        Some(_) if sure_unknown => Meets::Possibly,
        _ => Meets::Surely,
    }
}

/// The classes of nodes that a connection may enter, and how.
///
/// A gap where that is not known at all: nothing of the nodes was read, or another proxy has the Service.
pub fn met<'a>(look: &Look<'a>, path: &Path<'_>) -> Known<Vec<EntryClass<'a>>> {
    let service = path.service;
    if service.kind == ServiceType::ExternalName {
        return Ok(Vec::new());
    }
    let entries = entries(look, path);
    let names = look.names();
    let other_proxy = service.labels.text(names, OTHER_PROXY);
    if let (Some(proxy), true) = (other_proxy, entries.iter().any(|one| one.entry != Entry::Direct)) {
        let shown = look.show(path.key);
        let why = format!("Service {shown} is left to the proxy `{proxy}` by its label {OTHER_PROXY}");
        return Err(Gap::UnsupportedDataPlane(why.into()));
    }
    let fleet = look.fleet();
    if let Some(gap) = &fleet.gap {
        return Err(gap.clone());
    }
    let mut met = Vec::new();
    for one in &entries {
        for class in &fleet.classes {
            // A single class needs no search: most clusters never look at single nodes here.
            let alone = fleet.classes.len() == 1;
            if alone || one.reaches(look, class) {
                met.push(EntryClass {
                    entry: one.entry,
                    class,
                    sure: alone || one.leads_to(look, class),
                });
            }
        }
    }
    Ok(met)
}

/// One entry into a Service, and the nodes that it may lead to.
struct EntryNodes<'a> {
    entry: Entry,
    on: On<'a>,
}

enum On<'a> {
    /// Any node.
    Any,
    /// Those that Pods of these templates may run on, or do.
    Of(Vec<Home<'a>>),
    /// Those that something outside sends to.
    Targets {
        /// Whether it is a load balancer, which leaves some nodes out by their label.
        balancer: bool,
        /// The nodes with a ready backend, where no other answers: `externalTrafficPolicy: Local`.
        local: Option<BTreeSet<Name>>,
    },
}

/// Where Pods of equal wishes run or may run.
struct Home<'a> {
    placement: &'a Placement,
    /// The nodes that they run on.
    nodes: BTreeSet<Name>,
}

impl EntryNodes<'_> {
    fn reaches(&self, look: &Look<'_>, class: &Class) -> bool {
        match &self.on {
            On::Any => true,
            On::Targets { balancer, local } => {
                look.node_sums(Dep::NodesInService).is_err()
                    || look.any_node_of(class, |name, node| {
                        !(*balancer && node.balancing(look.names()).left_out)
                            && local.as_ref().is_none_or(|local| local.contains(&name))
                    })
            }
            On::Of(homes) => look.any_node_of(class, |name, node| {
                homes.iter().any(|home| home.may_be(look, name, node))
            }),
        }
    }

    /// Whether connections are known to enter at nodes of a class that they may reach.
    fn leads_to(&self, look: &Look<'_>, class: &Class) -> bool {
        match &self.on {
            On::Any => false,
            On::Targets { .. } => true,
            On::Of(homes) => look.any_node_of(class, |name, _| {
                homes.iter().any(|home| home.nodes.contains(&name))
            }),
        }
    }
}

impl Home<'_> {
    fn may_be(&self, look: &Look<'_>, name: Name, node: &Node) -> bool {
        self.nodes.contains(&name)
            || (self.runs_under(look, node) && self.placement.allows(name, node, look.names()))
    }

    /// Whether the node's operating system is the Pod's: that of the node it runs on, or the one it asks for. One that
    /// says nothing is taken for Linux.
    fn runs_under(&self, look: &Look<'_>, node: &Node) -> bool {
        let names = look.names();
        let asked = self.placement.asked_os(names);
        let own = if asked.is_empty() {
            self.nodes
                .first()
                .and_then(|node| look.os_of(*node))
                .unwrap_or("linux")
        } else {
            asked
        };
        node.os.is_empty() || names.text(node.os).eq_ignore_ascii_case(own)
    }
}

/// The entries that a client's connections may take.
fn entries<'a>(look: &Look<'a>, path: &Path<'_>) -> Vec<EntryNodes<'a>> {
    match path.client.from {
        Door::LoadBalancer => {
            let entry = entry_from_outside(look, path);
            let on = if entry == Entry::Outside {
                On::Targets {
                    balancer: path.service.kind == ServiceType::LoadBalancer,
                    local: local_nodes(look, path),
                }
            } else {
                On::Any
            };
            vec![EntryNodes { entry, on }]
        }
        Door::Cluster => of_client(look, path.key.namespace, path.client.pods.as_ref(), path.service),
    }
}

/// How a connection from outside enters.
fn entry_from_outside(look: &Look<'_>, path: &Path<'_>) -> Entry {
    let service = path.service;
    if service.headless || balancer_targets(look, service) == Targets::Pods {
        return Entry::Direct;
    }
    // Without a port on the nodes only a proxy inside of the cluster gets there, from a Pod of its own.
    let proxied = path.connection.hops.iter().any(|hop| hop.layer == Layer::L7);
    if service.kind == ServiceType::ClusterIp && proxied {
        Entry::Pod
    } else {
        Entry::Outside
    }
}

/// The nodes with a ready backend, where only those answer; `None` where all do, or where that is not known.
fn local_nodes(look: &Look<'_>, path: &Path<'_>) -> Option<BTreeSet<Name>> {
    if !path.service.external_local || look.fleet().classes.len() < 2 {
        return None;
    }
    let endpoints = look.endpoints(path.key).ok()?;
    let ready = endpoints.iter().filter(|one| one.ready && !one.node.is_empty());
    let nodes: BTreeSet<Name> = ready.map(|one| one.node).collect();
    (!nodes.is_empty()).then_some(nodes)
}

/// The entries of a client inside of the cluster.
fn of_client<'a>(
    look: &Look<'a>,
    namespace: Name,
    selector: Option<&Selector>,
    service: &Service,
) -> Vec<EntryNodes<'a>> {
    let anywhere = || {
        let entry = entry_of(service, false);
        vec![EntryNodes { entry, on: On::Any }]
    };
    let Some(selector) = selector else {
        return anywhere();
    };
    let Ok(templates) = members(look, namespace, selector) else {
        return anywhere();
    };
    let mut entries: Vec<EntryNodes<'a>> = Vec::new();
    for one in templates {
        let entry = entry_of(service, one.template.host_network);
        add(&mut entries, entry, &one);
    }
    if entries.is_empty() { anywhere() } else { entries }
}

/// How a process of the cluster, in a network of its own or in the node's, comes to a Service.
const fn entry_of(service: &Service, host_network: bool) -> Entry {
    match (service.headless, host_network) {
        (true, _) => Entry::Direct,
        (false, true) => Entry::Host,
        (false, false) => Entry::Pod,
    }
}

/// Adds Pods of a client to those that come by their entry, with the nodes that they are on.
fn add<'a>(entries: &mut Vec<EntryNodes<'a>>, entry: Entry, pods: &Member<'a>) {
    let found = entries.iter().position(|one| one.entry == entry);
    let at = found.unwrap_or_else(|| {
        let on = On::Of(Vec::new());
        entries.push(EntryNodes { entry, on });
        entries.len() - 1
    });
    let Some(On::Of(homes)) = entries.get_mut(at).map(|one| &mut one.on) else {
        return;
    };
    let placement = &pods.template.placement;
    let same = |home: &Home<'_>| home.placement == placement;
    let at = homes.iter().position(same).unwrap_or(homes.len());
    if at == homes.len() {
        homes.push(Home {
            placement,
            nodes: BTreeSet::new(),
        });
    }
    if let Some(home) = homes.get_mut(at) {
        home.nodes.extend(pods.nodes.iter().map(|one| one.0));
    }
}

/// Pods of a client that are alike, or what would make such.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The objects' kind.
    pub kind: &'static str,
    /// The first of them by name.
    pub key: Key,
    /// What a Pod of them is made of.
    pub template: &'a Template,
    /// How many there are.
    pub count: usize,
    /// Where they run, and how many on each node.
    pub nodes: Arc<[(Name, usize)]>,
}

/// A client's Pods, and where none exists at the moment, or they were not read, what would make some; by name. Empty
/// where neither is known, as for a job between two runs.
pub fn members<'a>(look: &Look<'a>, namespace: Name, selector: &Selector) -> Known<Vec<Member<'a>>> {
    let pods = look.selected_pods(namespace, selector);
    let gap = pods.as_ref().err().cloned();
    let found = match pods {
        Ok(selection) => of_kinds(look, selection)?,
        Err(_) => Vec::new(),
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let makers = [
        look.selected_deployments(namespace, selector),
        look.selected_daemon_sets(namespace, selector),
    ];
    let mut found = Vec::new();
    for selection in makers {
        match selection {
            Ok(selection) => found.extend(of_kinds(look, selection)?),
            // One that is there and was not understood may be the client.
            Err(refused @ Gap::Opaque(_)) => return Err(refused),
            Err(_) => {}
        }
    }
    match gap {
        Some(gap) if found.is_empty() => Err(gap),
        _ => Ok(found),
    }
}

fn of_kinds<'a>(look: &Look<'a>, selection: Selection) -> Known<Vec<Member<'a>>> {
    let Some(kinds) = selection else {
        let why = format!("the Pods of the client differ in more than {KINDS} ways");
        return Err(Gap::Opaque(why.into()));
    };
    let member = |one: &Alike| {
        Some(Member {
            kind: one.kind,
            key: one.first,
            template: look.template(one.kind, one.first)?,
            count: one.count,
            nodes: one.nodes.clone(),
        })
    };
    Ok(kinds.iter().filter_map(member).collect())
}
