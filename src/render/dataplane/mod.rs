//! What evenkeel believes the data plane does, each setting with its origin and where it was read.

#[cfg(test)]
pub(super) mod tests;
mod text;

use std::fmt::Display;
use std::sync::Arc;

use evenkeel_core::Core;
use evenkeel_core::dataplane::entry::Entry;
use evenkeel_core::dataplane::{Cilium, Profile};
use evenkeel_core::findings::Unreadable;
use evenkeel_core::fleet::Class;
use evenkeel_core::index::Table;
use evenkeel_core::judge::Look;
use evenkeel_core::know::{Gap, Known, Now, Origin, Val};
use evenkeel_core::names::Key;
use evenkeel_core::route::balancer_idle;
use evenkeel_core::sources::service::{Service, ServiceType, Transport};
use serde::Serialize;

use crate::fair::share;

pub(crate) use text::{markdown, table, wide};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataplaneView {
    profiles: Vec<ProfileView>,
    pub(crate) load_balancers: Vec<BalancerView>,
    pub(crate) unreadable: Vec<Unreadable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    look_alikes: Option<LookAlikes>,
    /// Notes for people; the JSON form has none.
    #[serde(skip)]
    notes: Vec<String>,
}

/// Objects that look like parts of the data plane and count for nothing where they are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LookAlikes {
    count: usize,
    /// A few, of each namespace in turn; by kind, namespace and name.
    first: Vec<String>,
}

/// How many of them are named.
const NAMED: usize = 3;

/// A value with its provenance, or why there is none.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Setting {
    Known {
        value: ValueView,
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<&'static str>,
        origin: Origin,
        source: Arc<str>,
    },
    Unknown {
        unknown: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ValueView {
    Number(i64),
    Text(String),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProfileView {
    nodes: u32,
    sample: Vec<Arc<str>>,
    os: Arc<str>,
    kernel: Arc<str>,
    proxy_mode: Setting,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<Setting>,
    tcp_established_seconds: Setting,
    tcp_close_wait_seconds: Setting,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipvs_tcp_seconds: Option<Setting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_idle_seconds: Option<Setting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp_idle_seconds: Option<Setting>,
    /// The tables of connections by the way they come in; where one is missing there is none on that way.
    tables: Vec<TableView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cilium: Option<CiliumView>,
}

/// A table that connections of a protocol meet which come in by one way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TableView {
    /// The way in: `Pod`, `Host`, `Outside` or `Direct`.
    entry: &'static str,
    protocol: &'static str,
    /// Whose it is; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    keeper: Option<Arc<str>>,
    idle_seconds: Setting,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CiliumView {
    version: Setting,
    service_tcp_seconds: Setting,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tcp_grace_seconds: Option<Setting>,
    gc_interval_seconds: Setting,
    algorithm: Setting,
    #[serde(rename = "socketLB")]
    socket_lb: Setting,
}

/// What stands before one Service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BalancerView {
    pub(crate) namespace: String,
    service: String,
    ports: Vec<BalancerPort>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BalancerPort {
    port: u16,
    protocol: &'static str,
    idle_seconds: Setting,
}

fn setting<T: Clone>(
    known: &Known<Val<T>>,
    unit: Option<&'static str>,
    value: impl Fn(&T) -> ValueView,
) -> Setting {
    match known {
        Ok(val) => Setting::Known {
            value: value(&val.value),
            unit,
            origin: val.origin,
            source: val.source.clone(),
        },
        Err(gap) => Setting::Unknown {
            unknown: gap.to_string(),
        },
    }
}

fn seconds(known: &Known<Val<i64>>) -> Setting {
    setting(known, Some("s"), |value| ValueView::Number(*value))
}

fn text<T: Display + Clone>(known: &Known<Val<T>>) -> Setting {
    setting(known, None, |value| ValueView::Text(value.to_string()))
}

/// A timeout of a table that may not be on the path at all.
fn optional(known: &Known<Option<Val<i64>>>) -> Option<Setting> {
    known.clone().transpose().map(|known| seconds(&known))
}

fn profile(class: &Class) -> ProfileView {
    let Profile {
        os,
        kernel,
        mode,
        scheduler,
        tcp_established_seconds,
        tcp_close_wait_seconds,
        ipvs_tcp_seconds,
        service_idle_seconds,
        udp_idle_seconds,
        cilium,
        // By entry in `tables`; the usual one, that of Pods, stands beside them.
        tcp_tables: _,
        udp_tables: _,
        notes: _,
    } = &class.profile;
    ProfileView {
        nodes: class.nodes,
        sample: class.sample.clone(),
        os: os.clone(),
        kernel: kernel.clone(),
        proxy_mode: setting(mode, None, |mode| ValueView::Text(mode.name().into())),
        scheduler: scheduler.as_ref().map(text),
        tcp_established_seconds: seconds(tcp_established_seconds),
        tcp_close_wait_seconds: seconds(tcp_close_wait_seconds),
        ipvs_tcp_seconds: ipvs_tcp_seconds.as_ref().map(seconds),
        service_idle_seconds: optional(service_idle_seconds),
        udp_idle_seconds: optional(udp_idle_seconds),
        tables: tables(&class.profile),
        cilium: cilium.as_ref().map(cilium_view),
    }
}

/// The ways in, as they are shown.
const ENTRIES: [(Entry, &str); 4] = [
    (Entry::Pod, "Pod"),
    (Entry::Host, "Host"),
    (Entry::Outside, "Outside"),
    (Entry::Direct, "Direct"),
];

fn tables(profile: &Profile) -> Vec<TableView> {
    let view = |(udp, protocol, entry, name)| {
        let table = profile.table(entry, udp);
        let (keeper, idle) = match table {
            Ok(None) => return None,
            Ok(Some(table)) => (Some(table.keeper.clone()), Ok(table.idle.clone())),
            Err(gap) => (None, Err(gap.clone())),
        };
        Some(TableView {
            entry: name,
            protocol,
            keeper,
            idle_seconds: seconds(&idle),
        })
    };
    let protocols = [(false, "TCP"), (true, "UDP")].into_iter();
    let all = protocols.flat_map(|(udp, protocol)| ENTRIES.map(|(entry, name)| (udp, protocol, entry, name)));
    all.filter_map(view).collect()
}

fn cilium_view(cilium: &Known<Cilium>) -> CiliumView {
    match cilium {
        Ok(cilium) => CiliumView {
            version: text(&cilium.version),
            service_tcp_seconds: seconds(&cilium.service_tcp_seconds),
            service_tcp_grace_seconds: cilium.service_tcp_grace_seconds.as_ref().map(seconds),
            gc_interval_seconds: seconds(&cilium.gc_interval_seconds),
            algorithm: text(&cilium.algorithm),
            socket_lb: setting(&cilium.socket_lb, None, |mode| {
                ValueView::Text(mode.name().into())
            }),
        },
        Err(gap) => {
            let unknown = || Setting::Unknown {
                unknown: gap.to_string(),
            };
            CiliumView {
                version: unknown(),
                service_tcp_seconds: unknown(),
                service_tcp_grace_seconds: Some(unknown()),
                gc_interval_seconds: unknown(),
                algorithm: unknown(),
                socket_lb: unknown(),
            }
        }
    }
}

fn balancer(look: &Look<'_>, key: Key, service: &Service) -> BalancerView {
    let ports = service.ports.iter().map(|port| BalancerPort {
        port: port.port,
        protocol: match port.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Sctp => "SCTP",
        },
        idle_seconds: seconds(&balancer_idle(look, key, service, port)),
    });
    BalancerView {
        namespace: look.names().text(key.namespace).into(),
        service: look.names().text(key.name).into(),
        ports: ports.collect(),
    }
}

/// What a core believes after its round.
pub(crate) fn view(core: &Core, now: Now, unreadable: Vec<Unreadable>) -> DataplaneView {
    let fleet = core.fleet();
    let look = Look::new(now, core.index(), fleet, core.history());
    let mut notes: Vec<String> = fleet
        .classes
        .iter()
        .flat_map(|class| &class.profile.notes)
        .map(ToString::to_string)
        .collect();
    // What could not be read is listed by itself.
    let gap = fleet
        .gap
        .as_ref()
        .filter(|gap| !matches!(gap, Gap::Unreadable(..)));
    notes.extend(gap.map(|gap| format!("not everything is known: {gap}")));
    let look_alikes = look_alikes(core);
    notes.extend(look_alikes.as_ref().map(|one| {
        format!(
            "{} objects look like parts of the data plane or the control plane, and count for nothing outside of the platform's \
             namespaces ({}); where they are the platform's, add their namespace to spec.trustedNamespaces of the \
             ClusterTrafficHealthPolicy",
            one.count,
            one.first.join(", ")
        )
    }));
    notes.sort();
    notes.dedup();
    let mut load_balancers: Vec<_> = look
        .known_services()
        .into_iter()
        .flat_map(Table::iter)
        .filter(|(_, service)| service.kind == ServiceType::LoadBalancer)
        .map(|(key, service)| balancer(&look, key, service))
        .collect();
    load_balancers.sort_by(|a, b| (&a.namespace, &a.service).cmp(&(&b.namespace, &b.service)));
    DataplaneView {
        profiles: fleet.classes.iter().map(profile).collect(),
        load_balancers,
        unreadable,
        look_alikes,
        notes,
    }
}

fn look_alikes(core: &Core) -> Option<LookAlikes> {
    let index = core.index();
    let mut all: Vec<_> = index
        .look_alikes()
        .map(|(kind, key)| (format!("{kind} {}", index.show(key)), key.namespace))
        .collect();
    all.sort();
    let count = all.len();
    let (named, _) = share(all, NAMED, |one| one.1);
    let first = named.into_iter().map(|one| one.0).collect();
    (count > 0).then_some(LookAlikes { count, first })
}
