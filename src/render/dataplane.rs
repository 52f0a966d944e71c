//! What evenkeel believes the data plane does, each setting with its origin and where it was read.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use evenkeel_core::Core;
use evenkeel_core::dataplane::{Cilium, Profile};
use evenkeel_core::facts::{Class, balancer_idle};
use evenkeel_core::findings::Unreadable;
use evenkeel_core::index::Table;
use evenkeel_core::judge::Look;
use evenkeel_core::know::{Known, Now, Origin, Val};
use evenkeel_core::names::Key;
use evenkeel_core::sources::service::{Service, ServiceType, Transport};
use serde::Serialize;

use super::{markdown_table, table as plain_table, wrapped};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    profiles: Vec<ProfileView>,
    pub(crate) load_balancers: Vec<BalancerView>,
    pub(crate) unreadable: Vec<Unreadable>,
    /// Notes for people; the JSON form has none.
    #[serde(skip)]
    notes: Vec<String>,
}

/// A value with its provenance, or why there is none.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Setting {
    Known {
        value: Value,
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
enum Value {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cilium: Option<CiliumView>,
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
    value: impl Fn(&T) -> Value,
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
    setting(known, Some("s"), |value| Value::Number(*value))
}

fn text<T: Display + Clone>(known: &Known<Val<T>>) -> Setting {
    setting(known, None, |value| Value::Text(value.to_string()))
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
        notes: _,
    } = &class.profile;
    ProfileView {
        nodes: class.nodes,
        sample: class.sample.clone(),
        os: os.clone(),
        kernel: kernel.clone(),
        proxy_mode: setting(mode, None, |mode| Value::Text(mode.name().into())),
        scheduler: scheduler.as_ref().map(text),
        tcp_established_seconds: seconds(tcp_established_seconds),
        tcp_close_wait_seconds: seconds(tcp_close_wait_seconds),
        ipvs_tcp_seconds: ipvs_tcp_seconds.as_ref().map(seconds),
        service_idle_seconds: optional(service_idle_seconds),
        udp_idle_seconds: optional(udp_idle_seconds),
        cilium: cilium.as_ref().map(cilium_view),
    }
}

fn cilium_view(cilium: &Known<Cilium>) -> CiliumView {
    match cilium {
        Ok(cilium) => CiliumView {
            version: text(&cilium.version),
            service_tcp_seconds: seconds(&cilium.service_tcp_seconds),
            service_tcp_grace_seconds: cilium.service_tcp_grace_seconds.as_ref().map(seconds),
            gc_interval_seconds: seconds(&cilium.gc_interval_seconds),
            algorithm: text(&cilium.algorithm),
            socket_lb: setting(&cilium.socket_lb, None, |mode| Value::Text(mode.name().into())),
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
        idle_seconds: seconds(&balancer_idle(
            look,
            key,
            service,
            port.port,
            port.transport == Transport::Udp,
        )),
    });
    BalancerView {
        namespace: look.names().text(key.namespace).into(),
        service: look.names().text(key.name).into(),
        ports: ports.collect(),
    }
}

/// What a core believes after its round.
pub(crate) fn view(core: &Core, now: Now, unreadable: Vec<Unreadable>) -> View {
    let fleet = core.fleet();
    let look = Look::new(now, core.index(), fleet, core.history());
    let mut notes: Vec<String> = fleet
        .classes
        .iter()
        .flat_map(|class| &class.profile.notes)
        .map(ToString::to_string)
        .collect();
    notes.extend(
        fleet
            .gap
            .as_ref()
            .map(|gap| format!("not everything is known: {gap}")),
    );
    notes.sort();
    notes.dedup();
    let mut load_balancers: Vec<_> = look
        .services()
        .into_iter()
        .flat_map(Table::iter)
        .filter(|(_, service)| service.kind == ServiceType::LoadBalancer)
        .map(|(key, service)| balancer(&look, key, service))
        .collect();
    load_balancers.sort_by(|a, b| (&a.namespace, &a.service).cmp(&(&b.namespace, &b.service)));
    View {
        profiles: fleet.classes.iter().map(profile).collect(),
        load_balancers,
        unreadable,
        notes,
    }
}

impl Setting {
    /// Its value, short.
    fn short(&self) -> String {
        match self {
            Self::Known {
                value, unit, origin, ..
            } => {
                let mark = if *origin == Origin::Assumed { " ?" } else { "" };
                let unit = unit.map_or(String::new(), |unit| format!(" {unit}"));
                format!("{value}{unit}{mark}")
            }
            Self::Unknown { .. } => "unknown".into(),
        }
    }

    /// Origin, and where it was read, or why there is none.
    fn provenance(&self) -> (String, String) {
        match self {
            Self::Known { origin, source, .. } => (format!("{origin:?}").to_lowercase(), source.to_string()),
            Self::Unknown { unknown } => ("unknown".into(), unknown.clone()),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

fn short(setting: Option<&Setting>) -> String {
    setting.map_or_else(|| "-".into(), Setting::short)
}

const PROFILE_HEADS: [&str; 8] = [
    "NODES",
    "MODE",
    "KERNEL",
    "SERVICE IDLE",
    "UDP IDLE",
    "ESTABLISHED",
    "CILIUM",
    "SAMPLE",
];

fn profile_rows(view: &View) -> impl Iterator<Item = Vec<String>> {
    view.profiles.iter().map(|one| {
        vec![
            one.nodes.to_string(),
            one.proxy_mode.short(),
            one.kernel.to_string(),
            short(one.service_idle_seconds.as_ref()),
            short(one.udp_idle_seconds.as_ref()),
            one.tcp_established_seconds.short(),
            short(one.cilium.as_ref().map(|cilium| &cilium.version)),
            one.sample.join(", "),
        ]
    })
}

const BALANCER_HEADS: [&str; 4] = ["LOAD BALANCER", "PORT", "IDLE", "SOURCE"];

fn balancer_rows(view: &View) -> impl Iterator<Item = Vec<String>> {
    view.load_balancers.iter().flat_map(|one| {
        one.ports.iter().map(move |port| {
            vec![
                format!("{}/{}", one.namespace, one.service),
                format!("{}/{}", port.port, port.protocol),
                port.idle_seconds.short(),
                port.idle_seconds.provenance().1,
            ]
        })
    })
}

/// One row for each profile and each port of a load balancer.
pub(crate) fn table(view: &View) -> String {
    let mut text = String::new();
    if !view.profiles.is_empty() {
        text += &plain_table(&PROFILE_HEADS, profile_rows(view));
        text.push('\n');
    }
    text + &balancers(view) + &rest(view) + "Next: -o wide shows where each setting was read.\n"
}

fn balancers(view: &View) -> String {
    if view.load_balancers.is_empty() {
        return String::new();
    }
    plain_table(&BALANCER_HEADS, balancer_rows(view)) + "\n"
}

fn rest(view: &View) -> String {
    let mut text = String::new();
    if view.profiles.is_empty() {
        text += "Nothing is known of the nodes.\n";
    }
    for note in &view.notes {
        text = text + &wrapped(&format!("note: {note}"), "") + "\n";
    }
    for one in &view.unreadable {
        text = text + &wrapped(&format!("could not be read: {}: {}", one.source, one.reason), "") + "\n";
    }
    text
}

/// The settings of a profile by the names they have in JSON.
fn settings(one: &ProfileView) -> Vec<(&'static str, &Setting)> {
    let mut all = vec![
        ("proxyMode", Some(&one.proxy_mode)),
        ("scheduler", one.scheduler.as_ref()),
    ];
    all.extend([
        ("serviceIdleSeconds", one.service_idle_seconds.as_ref()),
        ("udpIdleSeconds", one.udp_idle_seconds.as_ref()),
        ("ipvsTcpSeconds", one.ipvs_tcp_seconds.as_ref()),
        ("tcpEstablishedSeconds", Some(&one.tcp_established_seconds)),
        ("tcpCloseWaitSeconds", Some(&one.tcp_close_wait_seconds)),
    ]);
    if let Some(cilium) = &one.cilium {
        all.extend([
            ("cilium.version", Some(&cilium.version)),
            ("cilium.serviceTcpSeconds", Some(&cilium.service_tcp_seconds)),
            (
                "cilium.serviceTcpGraceSeconds",
                cilium.service_tcp_grace_seconds.as_ref(),
            ),
            ("cilium.gcIntervalSeconds", Some(&cilium.gc_interval_seconds)),
            ("cilium.algorithm", Some(&cilium.algorithm)),
            ("cilium.socketLB", Some(&cilium.socket_lb)),
        ]);
    }
    all.into_iter()
        .filter_map(|(name, setting)| Some((name, setting?)))
        .collect()
}

const SETTING_HEADS: [&str; 4] = ["SETTING", "VALUE", "ORIGIN", "SOURCE"];

fn setting_rows(one: &ProfileView) -> impl Iterator<Item = Vec<String>> {
    settings(one).into_iter().map(|(name, setting)| {
        let (origin, source) = setting.provenance();
        vec![name.to_owned(), setting.short(), origin, source]
    })
}

fn title(one: &ProfileView) -> String {
    let mut text = format!("{} nodes, {} {}", one.nodes, one.os, one.kernel);
    if !one.sample.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {}", one.sample.join(", "));
    }
    text
}

/// Every setting with its provenance.
pub(crate) fn wide(view: &View) -> String {
    let profiles = view.profiles.iter().fold(String::new(), |text, one| {
        text + &title(one) + "\n" + &plain_table(&SETTING_HEADS, setting_rows(one)) + "\n"
    });
    profiles + &balancers(view) + &rest(view)
}

/// The same in Markdown.
pub(crate) fn markdown(view: &View) -> String {
    let mut text = "# Effective data plane\n\n".to_owned();
    for one in &view.profiles {
        text = text + "## " + &title(one) + "\n\n";
        text = text + &markdown_table(&SETTING_HEADS, setting_rows(one)) + "\n";
    }
    if !view.load_balancers.is_empty() {
        text = text + "## Load balancers\n\n" + &markdown_table(&BALANCER_HEADS, balancer_rows(view)) + "\n";
    }
    text + &rest(view)
}
