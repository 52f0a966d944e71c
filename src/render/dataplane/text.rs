//! The answer as people read it: tables, and Markdown.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use evenkeel_core::findings::Unreadable;
use evenkeel_core::know::{Origin, Source};

use super::super::findings::missing;
use super::super::screen::Screen;
use super::super::{markdown_table, table as plain_table, wrapped};
use super::{DataplaneView, ProfileView, Setting, ValueView};
use crate::escape::{line, markdown as escaped};
use crate::render::program;

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

impl fmt::Display for ValueView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    "TCP IDLE",
    "UDP IDLE",
    "ESTABLISHED",
    "CILIUM",
    "SAMPLE",
];

fn profile_rows(view: &DataplaneView) -> impl Iterator<Item = Vec<String>> {
    view.profiles.iter().map(|one| {
        vec![
            one.nodes.to_string(),
            one.proxy_mode.short(),
            if one.kernel.is_empty() {
                "unknown".into()
            } else {
                one.kernel.to_string()
            },
            short(one.service_idle_seconds.as_ref()),
            short(one.udp_idle_seconds.as_ref()),
            one.tcp_established_seconds.short(),
            short(one.cilium.as_ref().map(|cilium| &cilium.version)),
            one.sample
                .first()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
        ]
    })
}

/// The profiles; a column in which none has a value leaves its room to the others.
fn profiles(view: &DataplaneView) -> String {
    let rows: Vec<_> = profile_rows(view).collect();
    let is_used = |at: &usize| {
        rows.iter()
            .any(|row| row.get(*at).is_some_and(|cell| cell != "-"))
    };
    let used: Vec<_> = (0..PROFILE_HEADS.len()).filter(is_used).collect();
    let heads: Vec<_> = used.iter().filter_map(|at| PROFILE_HEADS.get(*at)).collect();
    let cells = rows
        .iter()
        .map(|row| used.iter().filter_map(|at| row.get(*at).cloned()).collect());
    plain_table(&heads, cells)
}

const BALANCER_HEADS: [&str; 4] = ["LOAD BALANCER", "PORT", "IDLE", "SOURCE"];

fn balancer_rows(view: &DataplaneView) -> impl Iterator<Item = Vec<String>> {
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
///
/// `again` are the flags that read the same once more, and `grantee` is the user whom a grant names.
pub(crate) fn table(view: &DataplaneView, again: &str, grantee: &str) -> String {
    let mut text = String::new();
    if !view.profiles.is_empty() {
        text += &profiles(view);
        text.push('\n');
    }
    let columns = Screen::current().page();
    text + &balancers(view)
        + &missing::of(&view.unreadable, &BTreeSet::new(), grantee, columns)
        + &rest(view, &|one| !missing::is_right(one), &str::to_owned)
        + &next(view, again)
}

/// The command that says more, where there is more to say.
fn next(view: &DataplaneView, again: &str) -> String {
    let (name, again) = (program(), line(again));
    if !view.profiles.is_empty() || !view.load_balancers.is_empty() {
        format!("Next: {name} dataplane{again} -o wide    # where each setting was read\n")
    } else if view.unreadable.iter().any(missing::is_right) {
        format!("Next: {name} dataplane{again}    # once the missing rights are granted\n")
    } else {
        String::new()
    }
}

fn balancers(view: &DataplaneView) -> String {
    if view.load_balancers.is_empty() {
        return String::new();
    }
    plain_table(&BALANCER_HEADS, balancer_rows(view)) + "\n"
}

/// Notes and what could not be read of what is to be listed, in a form; [`wrapped`] makes each line harmless.
fn rest(view: &DataplaneView, listed: &dyn Fn(&Unreadable) -> bool, form: &dyn Fn(&str) -> String) -> String {
    let mut text = String::new();
    let nodes = view
        .unreadable
        .iter()
        .any(|one| one.source == Source::Nodes.name());
    if view.profiles.is_empty() && nodes {
        text += "The nodes could not be read: what they do is not known.\n";
    } else if view.profiles.is_empty() {
        text += "There is no node to show.\n";
    }
    for note in &view.notes {
        text = text + &wrapped(&form(&format!("note: {note}")), "") + "\n";
    }
    for one in view.unreadable.iter().filter(|one| listed(one)) {
        text =
            text + &wrapped(
                &form(&format!("could not be read: {}: {}", one.source, one.reason)),
                "",
            ) + "\n";
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
    let row = |name: String, setting: &Setting| {
        let (origin, source) = setting.provenance();
        vec![name, setting.short(), origin, source]
    };
    let settings = settings(one).into_iter();
    let settings = settings.map(move |(name, setting)| row(name.to_owned(), setting));
    let tables = one.tables.iter().map(move |table| {
        let keeper = table.keeper.as_deref().unwrap_or("table");
        let name = format!("{keeper}, {} {}", table.protocol, table.entry);
        row(name, &table.idle_seconds)
    });
    settings.chain(tables)
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
pub(crate) fn wide(view: &DataplaneView) -> String {
    let profiles = view.profiles.iter().fold(String::new(), |text, one| {
        text + &line(&title(one)) + "\n" + &plain_table(&SETTING_HEADS, setting_rows(one)) + "\n"
    });
    profiles + &balancers(view) + &rest(view, &|_| true, &str::to_owned)
}

/// The same in Markdown.
pub(crate) fn markdown(view: &DataplaneView) -> String {
    let mut text = "# Effective data plane\n\n".to_owned();
    for one in &view.profiles {
        text = text + "## " + &escaped(&title(one)) + "\n\n";
        text = text + &markdown_table(&SETTING_HEADS, setting_rows(one)) + "\n";
    }
    if !view.load_balancers.is_empty() {
        text = text + "## Load balancers\n\n" + &markdown_table(&BALANCER_HEADS, balancer_rows(view)) + "\n";
    }
    text + &rest(view, &|_| true, &escaped)
}
