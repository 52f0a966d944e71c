//! Which product other than kube-proxy and Cilium carries Service traffic on which node.

use std::sync::Arc;

use crate::dataplane::entry::Carrier;
use crate::dataplane::{antrea, calico, kube_router, ovn};
use crate::index::Index;
use crate::know::{Known, Source, Val};
use crate::names::{Key, Name};
use crate::sources::node::Node;
use crate::sources::workload::{Container, DaemonSet};

/// A product that is told by the name of a container of its DaemonSet, as its manifests have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Product {
    Calico,
    Antrea,
    KubeRouter,
    KubeOvn,
    OvnKubernetes,
    /// One of which nothing more is known: its name.
    Other(&'static str),
}

/// Names of containers, and whose they are.
const CONTAINERS: [(&str, Product); 9] = [
    ("calico-node", Product::Calico),
    ("antrea-agent", Product::Antrea),
    ("kube-router", Product::KubeRouter),
    ("cni-server", Product::KubeOvn),
    ("ovnkube-node", Product::OvnKubernetes),
    ("ovnkube-controller", Product::OvnKubernetes),
    ("ovn-controller", Product::OvnKubernetes),
    ("calico-vpp-manager", Product::Other("Calico VPP")),
    ("kpng", Product::Other("kpng")),
];

/// What a node's carrier depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Choice {
    set: Key,
    product: Product,
}

/// The `DaemonSets` of such products, by namespace and name: those that carry anything, as far as can be told.
#[derive(Debug, Default)]
pub(super) struct Installations {
    carrying: Vec<(Key, Product)>,
    kube_ovn: bool,
}

fn product(index: &Index, key: Key, set: &DaemonSet) -> Option<Product> {
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
        .filter(|product| *product != Product::KubeOvn || kube_ovn)
        .min();
    found.or_else(|| {
        names
            .text(key.name)
            .starts_with("ovnkube-node")
            .then_some(Product::OvnKubernetes)
    })
}

impl Installations {
    /// Looks for them.
    pub(super) fn find(index: &Index) -> Self {
        let mut found: Vec<_> = index
            .daemon_sets
            .iter()
            .filter_map(|(key, set)| Some((key, product(index, key, set)?)))
            .collect();
        found.sort_by_cached_key(|one| index.show(one.0));
        let kube_ovn = found.iter().any(|one| one.1 == Product::KubeOvn);
        // How long the kernel remembers says nothing of whether they carry.
        let unknown = Ok(Val::default_of(0, ""));
        found.retain(|(set, product)| {
            let choice = Choice {
                set: *set,
                product: *product,
            };
            !matches!(carrier(index, &choice, &unknown), Ok(None))
        });
        Self {
            carrying: found,
            kube_ovn,
        }
    }

    /// Whether a Deployment tells what one of them carries.
    pub(super) const fn reads_deployments(&self) -> bool {
        self.kube_ovn
    }

    /// Whether there is any.
    pub(super) const fn any(&self) -> bool {
        !self.carrying.is_empty()
    }

    /// What may carry the traffic of a node; `None` where there is none, or none that covers it.
    pub(super) fn choose(&self, index: &Index, name: Name, node: Option<&Node>) -> Option<Choice> {
        if node.is_some_and(|node| index.names.text(node.os) == "windows") {
            return None;
        }
        // Several may run, as Calico's policies beside another proxy: the first that carries anything counts.
        let mut carrying = self.carrying.iter();
        let found = carrying.find(|(key, _)| {
            let set = index.daemon_sets.get(*key);
            set.is_some_and(|set| super::covers(index, set, name, node))
        });
        found.map(|(set, product)| Choice {
            set: *set,
            product: *product,
        })
    }
}

/// What carries the traffic of a node; `conntrack` is how long its kernel remembers an established connection.
pub(super) fn carrier(index: &Index, choice: &Choice, conntrack: &Known<Val<i64>>) -> Known<Option<Carrier>> {
    let Some(set) = index.daemon_sets.get(choice.set) else {
        return Ok(None);
    };
    let place = super::place(index, "DaemonSet", choice.set);
    let container = |name: &str| {
        let mut all = set.template.containers.iter();
        all.find(|one| index.names.text(one.name) == name)
    };
    match choice.product {
        Product::Calico => calico(index, container("calico-node"), &place, conntrack),
        Product::Antrea => antrea(index, choice.set, set),
        Product::KubeRouter => {
            let argv = container("kube-router").map_or_else(Vec::new, |one| one.command(&index.names));
            kube_router::carrier(&argv, &place)
        }
        Product::KubeOvn => ovn::kube_ovn(&place, kube_ovn_controller(index).as_deref()),
        Product::OvnKubernetes => Ok(Some(ovn::ovn_kubernetes(&place))),
        Product::Other(name) => Ok(Some(ovn::other(name, &place))),
    }
}

fn calico(
    index: &Index,
    container: Option<&Container>,
    place: &str,
    conntrack: &Known<Val<i64>>,
) -> Known<Option<Carrier>> {
    let variable = |name: &str| {
        let env = container.map_or(&[][..], |one| &one.env);
        // Felix takes the names of its variables in any case (`felix/config/env_config.go`).
        let named = |one: &&(Name, Option<Arc<str>>)| index.names.text(one.0).eq_ignore_ascii_case(name);
        env.iter().rev().find(named).map(|one| one.1.as_deref())
    };
    let place = format!("{place} env FELIX_BPFENABLED");
    let environment = calico::Place {
        place: &place,
        enabled: variable("FELIX_BPFENABLED")
            .map(|text| text.map_or(calico::Setting::Elsewhere, calico::Setting::Text)),
        ..calico::Place::default()
    };
    calico::carrier(&[environment], conntrack)
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
        .flat_map(|(_, one)| &one.template.containers);
    let mut controllers = controllers.filter(|one| names.text(one.name) == "kube-ovn-controller");
    controllers.next().map(|one| one.command(names))
}
