//! Which product other than kube-proxy and Cilium carries Service traffic on which node.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataplane::entry::Carrier;
use crate::dataplane::{antrea, calico, kube_router, ovn};
use crate::index::Index;
use crate::know::{Known, Source, Val};
use crate::names::{Key, Name};
use crate::sources::node::Node;
use crate::sources::workload::{Container, DaemonSet};

/// A product that is recognised by the name of a container of its DaemonSet, as its manifests have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum CarrierProduct {
    Calico,
    Antrea,
    KubeRouter,
    KubeOvn,
    OvnKubernetes,
    /// One of which nothing more is known: its name.
    Other(&'static str),
}

/// Names of containers, and whose they are.
const CONTAINERS: [(&str, CarrierProduct); 9] = [
    ("calico-node", CarrierProduct::Calico),
    ("antrea-agent", CarrierProduct::Antrea),
    ("kube-router", CarrierProduct::KubeRouter),
    ("cni-server", CarrierProduct::KubeOvn),
    ("ovnkube-node", CarrierProduct::OvnKubernetes),
    ("ovnkube-controller", CarrierProduct::OvnKubernetes),
    ("ovn-controller", CarrierProduct::OvnKubernetes),
    ("calico-vpp-manager", CarrierProduct::Other("Calico VPP")),
    ("kpng", CarrierProduct::Other("kpng")),
];

/// What a node's carrier depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CarrierChoice {
    /// Its DaemonSet; none where only Calico's own configuration shows it.
    set: Option<Key>,
    product: CarrierProduct,
    /// The FelixConfiguration of the node alone.
    of_node: Option<Key>,
}

/// Such products, by namespace and name of their `DaemonSets`.
#[derive(Debug, Default, Hash)]
pub(super) struct CarrierInstallations {
    /// Those that carry anything, as far as can be seen without a node.
    carrying: Vec<(Option<Key>, CarrierProduct)>,
    kube_ovn: bool,
    /// Felix configurations of single nodes.
    of_nodes: BTreeMap<Name, Key>,
}

fn product(index: &Index, key: Key, set: &DaemonSet) -> Option<CarrierProduct> {
    let names = &index.names;
    let kube_ovn = names.text(key.name).starts_with("kube-ovn");
    let containers = set.template.containers.iter();
    let found = containers.filter_map(|one| {
        let name = names.text(one.name);
        CONTAINERS
            .iter()
            .find(|known| known.0 == name)
            .map(|known| known.1)
    });
    let found = found
        .filter(|product| *product != CarrierProduct::KubeOvn || kube_ovn)
        .min();
    found.or_else(|| {
        names
            .text(key.name)
            .starts_with("ovnkube-node")
            .then_some(CarrierProduct::OvnKubernetes)
    })
}

impl CarrierInstallations {
    /// Looks for them.
    pub(super) fn find(index: &Index) -> Self {
        let mut found: Vec<_> = index
            .platform_sets()
            .filter_map(|(key, set)| Some((Some(key), product(index, key, set)?)))
            .collect();
        found.sort_by_cached_key(|one| one.0.map(|key| index.show(key)));
        let kube_ovn = found.iter().any(|one| one.1 == CarrierProduct::KubeOvn);
        let calico = |one: &(Option<Key>, CarrierProduct)| one.1 == CarrierProduct::Calico;
        // Calico's own configuration shows it where DaemonSets were not read.
        if !found.iter().any(calico) && index.gap(Source::DaemonSets).is_some() {
            found.push((None, CarrierProduct::Calico));
        }
        let of_nodes = index.felix_configurations.iter().filter_map(|(key, _)| {
            let node = index.names.text(key.name).strip_prefix("node.")?;
            Some((index.names.find(node)?, key))
        });
        let of_nodes: BTreeMap<Name, Key> = of_nodes.collect();
        // A node may have Calico's eBPF of its own.
        found.retain(|one| {
            (calico(one) && !of_nodes.is_empty()) || carries(index, &CarrierChoice::of(*one, None))
        });
        Self {
            carrying: found,
            kube_ovn,
            of_nodes,
        }
    }

    /// Whether a Deployment says what one of them carries.
    pub(super) const fn reads_deployments(&self) -> bool {
        self.kube_ovn
    }

    /// Whether there is any.
    pub(super) const fn any(&self) -> bool {
        !self.carrying.is_empty()
    }

    /// What may carry the traffic of a node; `None` where there is none, or none that covers it.
    pub(super) fn choose(&self, index: &Index, name: Name, node: Option<&Node>) -> Option<CarrierChoice> {
        if node.is_some_and(|node| index.names.text(node.os) == "windows") {
            return None;
        }
        let of_node = self.of_nodes.get(&name).copied();
        // Several may run, as Calico's policies beside another proxy: the first that carries anything counts.
        self.carrying.iter().find_map(|one| {
            let covers = one.0.is_none_or(|key| {
                let set = index.daemon_sets.get(key);
                set.is_some_and(|set| super::covers(index, set, name, node))
            });
            let of_node = of_node.filter(|_| one.1 == CarrierProduct::Calico);
            let choice = CarrierChoice::of(*one, of_node);
            let asked = one.1 == CarrierProduct::Calico && !self.of_nodes.is_empty();
            (covers && (!asked || carries(index, &choice))).then_some(choice)
        })
    }
}

impl CarrierChoice {
    /// Whether it is Kube-OVN.
    pub(super) fn is_kube_ovn(&self) -> bool {
        self.product == CarrierProduct::KubeOvn
    }

    const fn of((set, product): (Option<Key>, CarrierProduct), of_node: Option<Key>) -> Self {
        Self {
            set,
            product,
            of_node,
        }
    }
}

/// Whether something is carried at all, or that is unknown: how long the kernel remembers plays no part.
fn carries(index: &Index, choice: &CarrierChoice) -> bool {
    !matches!(carrier(index, choice, &Ok(Val::default_of(0, ""))), Ok(None))
}

/// What carries the traffic of a node; `conntrack` is how long its kernel remembers an established connection.
pub(super) fn carrier(
    index: &Index,
    choice: &CarrierChoice,
    conntrack: &Known<Val<i64>>,
) -> Known<Option<Carrier>> {
    let set = choice
        .set
        .and_then(|key| Some((key, index.daemon_sets.get(key)?)));
    let container = |name: &str| {
        let mut all = set.iter().flat_map(|(_, set)| &set.template.containers);
        all.find(|one| index.names.text(one.name) == name)
    };
    if choice.product == CarrierProduct::Calico {
        let container = container("calico-node");
        return calico(index, choice, container, conntrack);
    }
    let Some((key, row)) = set else {
        return Ok(None);
    };
    let place = super::place(index, "DaemonSet", key);
    match choice.product {
        CarrierProduct::Antrea => antrea(index, key, row),
        CarrierProduct::KubeRouter => {
            let argv = container("kube-router").map_or_else(Vec::new, |one| one.command(&index.names));
            kube_router::carrier(&argv, &place)
        }
        CarrierProduct::KubeOvn => ovn::kube_ovn(&place, kube_ovn_controller(index).as_deref()),
        CarrierProduct::OvnKubernetes => Ok(Some(ovn::ovn_kubernetes(&place))),
        CarrierProduct::Other(name) => Ok(Some(ovn::other(name, &place))),
        CarrierProduct::Calico => Ok(None),
    }
}

/// Calico by everything that configures Felix, what counts first before: its environment, the configuration of the
/// node, that of all nodes, what the operator was asked to install.
fn calico(
    index: &Index,
    choice: &CarrierChoice,
    container: Option<&Container>,
    conntrack: &Known<Val<i64>>,
) -> Known<Option<Carrier>> {
    let names = &index.names;
    // Felix takes the names of its variables in any case (`felix/config/env_config.go`).
    let is_enabled =
        |one: &&(Name, Option<Arc<str>>)| names.text(one.0).eq_ignore_ascii_case("FELIX_BPFENABLED");
    let env = container.map_or(&[][..], |one| &one.env);
    let variable = env.iter().rev().find(is_enabled).map(|one| one.1.as_deref());
    let environment = choice.set.map_or_else(String::new, |key| {
        format!("{} env FELIX_BPFENABLED", super::place(index, "DaemonSet", key))
    });
    let global = names.find("default").map(|name| Key {
        namespace: Name::EMPTY,
        name,
    });
    let felix = [choice.of_node, global].map(|key| {
        let row = index.felix_configurations.get(key?)?;
        Some((super::place(index, "FelixConfiguration", key?), row))
    });
    let installed = global
        .and_then(|key| index.installations.get(key))
        .is_some_and(|row| calico::installs_bpf(names.text(row.linux_dataplane)));
    let text = |name: Name| (!name.is_empty()).then(|| names.text(name));
    let mut places = vec![calico::FelixConfig {
        place: &environment,
        enabled: variable.map(|text| text.map_or(calico::FelixValue::Elsewhere, calico::FelixValue::Text)),
        ..calico::FelixConfig::default()
    }];
    places.extend(felix.iter().flatten().map(|(place, row)| {
        calico::FelixConfig {
            place,
            enabled: row
                .bpf_enabled
                .map(|on| calico::FelixValue::Text(if on { "true" } else { "false" })),
            tcp_established: text(row.tcp_established),
            udp: text(row.udp),
        }
    }));
    places.extend(installed.then(|| calico::FelixConfig {
        place: "Installation default linuxDataplane: BPF, so",
        enabled: Some(calico::FelixValue::Text("true")),
        ..calico::FelixConfig::default()
    }));
    calico::carrier(&places, conntrack)
}

fn antrea(index: &Index, key: Key, set: &DaemonSet) -> Known<Option<Carrier>> {
    let names = &index.names;
    let is_config = |map: &Name| names.text(*map).starts_with("antrea-config");
    // By its volume, and in a dump that lost those by its usual name.
    let mounted = set
        .template
        .volumes
        .iter()
        .map(|one| one.config_map)
        .find(is_config);
    let name = mounted.or_else(|| names.find("antrea-config"));
    let map = name.and_then(|name| {
        let key = Key {
            namespace: key.namespace,
            name,
        };
        Some((key, index.config_maps.get(key)?))
    });
    match map {
        Some((key, map)) => {
            let text = map.get(antrea::KEY).map(|text| &**text);
            antrea::carrier(text, &super::place(index, "ConfigMap", key))
        }
        None => match index.gap(Source::ConfigMaps) {
            Some(gap) => Err(gap),
            None => antrea::carrier(None, &super::place(index, "DaemonSet", key)),
        },
    }
}

/// The command line of Kube-OVN's controller, where its Deployment was read.
fn kube_ovn_controller(index: &Index) -> Option<Vec<String>> {
    let names = &index.names;
    let controllers = index
        .deployments
        .iter()
        .filter(|one| index.trusts(one.0.namespace))
        .flat_map(|(_, one)| &one.template.containers);
    let mut controllers = controllers.filter(|one| names.text(one.name) == "kube-ovn-controller");
    controllers.next().map(|one| one.command(names))
}
