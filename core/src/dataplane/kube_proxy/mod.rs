//! kube-proxy: what it effectively does, from whatever place its configuration can be read in.
//!
//! Four places give settings: the file named by `--config`, flags, k3s' own arguments, and `/configz`. Each is read
//! the way the process itself reads it, faults included: a document that kube-proxy refuses gives no settings,
//! because a kube-proxy that is running runs with something else.

mod command;
mod configz;
mod document;
mod effective;
mod flags;
mod k3s;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::dataplane::ProxyMode;
use crate::dataplane::duration::GoDuration;
use crate::dataplane::version::Version;
use crate::know::{Gap, Known, Origin, Val};

pub use command::{CommandLine, command_line};
pub use effective::IPVS_DEPRECATED;
pub use k3s::{node_args, runs_kube_proxy};

/// Where OpenShift runs it beside a network plugin of another vendor (`openshift/cluster-network-operator`,
/// `bindata/kube-proxy`).
pub const HOMES: &[&str] = &["openshift-kube-proxy"];

/// Where kube-proxy's configuration was found.
#[derive(Debug, Clone, Copy)]
pub enum ConfigSource<'a> {
    /// A `KubeProxyConfiguration` document.
    Document {
        /// The YAML or JSON text.
        text: &'a str,
        /// Where it lies, as shown to people: `ConfigMap kube-system/kube-proxy`.
        place: &'a str,
        /// The command line that names the document, for notes on flags without effect; may be empty.
        argv: &'a [String],
    },
    /// A command line without `--config`.
    Flags {
        /// Command and arguments of the container.
        argv: &'a [String],
        /// Where they are written: `DaemonSet kube-system/kube-proxy`.
        place: &'a str,
    },
    /// The arguments of a k3s or RKE2 node, which runs kube-proxy over defaults of its own.
    K3s {
        /// The list from the node annotation, see [`node_args`].
        args: &'a [String],
        /// Where it is written: `Node a annotation k3s.io/node-args`.
        place: &'a str,
    },
    /// The answer of `/configz` on the metrics port: what the process runs with.
    Configz {
        /// The JSON text.
        body: &'a str,
        /// Where it was read: `kube-proxy on node a /configz`.
        place: &'a str,
    },
}

/// What kube-proxy effectively does on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Proxy mode.
    pub mode: Known<Val<ProxyMode>>,
    /// IPVS scheduler; `None` outside IPVS.
    pub scheduler: Option<Known<Val<Arc<str>>>>,
    /// `nf_conntrack_tcp_timeout_established`, seconds.
    pub tcp_established_seconds: Known<Val<i64>>,
    /// `nf_conntrack_tcp_timeout_close_wait`, seconds.
    pub tcp_close_wait_seconds: Known<Val<i64>>,
    /// IPVS TCP timeout, seconds; `None` outside IPVS.
    pub ipvs_tcp_seconds: Option<Known<Val<i64>>>,
    /// IPVS TCP timeout after a FIN, seconds; `None` outside IPVS.
    pub ipvs_tcp_fin_seconds: Option<Known<Val<i64>>>,
    /// IPVS UDP timeout, seconds; `None` outside IPVS.
    pub ipvs_udp_seconds: Option<Known<Val<i64>>>,
    /// `nf_conntrack_udp_timeout`, seconds.
    pub udp_seconds: Known<Val<i64>>,
    /// `nf_conntrack_udp_timeout_stream`, seconds.
    pub udp_stream_seconds: Known<Val<i64>>,
    /// Notes for people.
    pub notes: Vec<Arc<str>>,
}

/// The settings that a source gives, for a node's operating system and, where known, kube-proxy's version.
///
/// A gap means that the configuration cannot be understood or that kube-proxy refuses it as a whole.
pub fn settings(source: &ConfigSource<'_>, os: &str, version: Option<Version>) -> Known<Settings> {
    let (place, raw) = match *source {
        ConfigSource::Document { text, place, argv } => {
            let mut raw = document::read(text, place, version)?;
            if let Ok(line) = command_line(argv) {
                raw.notes.extend(line.without_effect());
            }
            (place, raw)
        }
        ConfigSource::Flags { argv, place } => (place, flags::read(argv, place)?),
        ConfigSource::K3s { args, place } => (place, k3s::read(args, place)?),
        ConfigSource::Configz { body, place } => (place, configz::read(body, place)?),
    };
    effective::settings(raw, place, os, version)
}

/// A setting that this program evaluates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Mode,
    Scheduler,
    Established,
    CloseWait,
    Udp,
    UdpStream,
    IpvsTcp,
    IpvsTcpFin,
    IpvsUdp,
}

/// Names of one setting in its three spellings.
struct FieldNames {
    key: Field,
    /// In the public document.
    field: &'static str,
    /// On the command line (`cmd/kube-proxy/app/options.go`).
    flag: &'static str,
    /// In `/configz` up to 1.35: the internal Go type, of 1.31 and later and of what came before.
    internal: [&'static str; 2],
}

/// `staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go`, `pkg/proxy/apis/config/types.go`.
const NAMES: [FieldNames; 9] = [
    names(Field::Mode, "mode", "proxy-mode", ["Mode", "Mode"]),
    names(
        Field::Scheduler,
        "ipvs.scheduler",
        "ipvs-scheduler",
        ["IPVS.Scheduler", "IPVS.Scheduler"],
    ),
    names(
        Field::Established,
        "conntrack.tcpEstablishedTimeout",
        "conntrack-tcp-timeout-established",
        [
            "Linux.Conntrack.TCPEstablishedTimeout",
            "Conntrack.TCPEstablishedTimeout",
        ],
    ),
    names(
        Field::CloseWait,
        "conntrack.tcpCloseWaitTimeout",
        "conntrack-tcp-timeout-close-wait",
        [
            "Linux.Conntrack.TCPCloseWaitTimeout",
            "Conntrack.TCPCloseWaitTimeout",
        ],
    ),
    names(
        Field::Udp,
        "conntrack.udpTimeout",
        "conntrack-udp-timeout",
        ["Linux.Conntrack.UDPTimeout", "Conntrack.UDPTimeout"],
    ),
    names(
        Field::UdpStream,
        "conntrack.udpStreamTimeout",
        "conntrack-udp-timeout-stream",
        ["Linux.Conntrack.UDPStreamTimeout", "Conntrack.UDPStreamTimeout"],
    ),
    names(
        Field::IpvsTcp,
        "ipvs.tcpTimeout",
        "ipvs-tcp-timeout",
        ["IPVS.TCPTimeout", "IPVS.TCPTimeout"],
    ),
    names(
        Field::IpvsTcpFin,
        "ipvs.tcpFinTimeout",
        "ipvs-tcpfin-timeout",
        ["IPVS.TCPFinTimeout", "IPVS.TCPFinTimeout"],
    ),
    names(
        Field::IpvsUdp,
        "ipvs.udpTimeout",
        "ipvs-udp-timeout",
        ["IPVS.UDPTimeout", "IPVS.UDPTimeout"],
    ),
];

const fn names(
    key: Field,
    field: &'static str,
    flag: &'static str,
    internal: [&'static str; 2],
) -> FieldNames {
    FieldNames {
        key,
        field,
        flag,
        internal,
    }
}

/// A setting as it is written.
#[derive(Debug, Clone)]
struct Given {
    key: Field,
    /// Its name in that place.
    name: String,
    /// Its value in that place.
    text: String,
    /// The value as a duration, where the setting is one.
    duration: GoDuration,
}

/// What the absence of a setting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// kube-proxy's default applies.
    Default,
    /// Nothing is known: the place should hold every setting.
    Unreadable,
}

/// What one place says, before it is known what follows from it.
#[derive(Debug, Clone)]
struct Raw {
    given: Vec<Given>,
    absent: Absent,
    origin: Origin,
    notes: Vec<Arc<str>>,
}

impl Raw {
    const fn new(absent: Absent, origin: Origin) -> Self {
        Self {
            given: Vec::new(),
            absent,
            origin,
            notes: Vec::new(),
        }
    }

    /// The last word on a setting.
    fn get(&self, key: Field) -> Option<&Given> {
        self.given.iter().rev().find(|given| given.key == key)
    }

    /// Stores a setting; durations are read here, so that every place refuses the same texts.
    fn set(&mut self, key: Field, name: impl Into<String>, text: &str, place: &str) -> Known<()> {
        let name = name.into();
        let duration = match key {
            Field::Mode | Field::Scheduler => GoDuration::default(),
            _ => GoDuration::parse(text).map_err(|error| refused(place, &name, &error.to_string()))?,
        };
        self.given.push(Given {
            key,
            name,
            text: text.to_owned(),
            duration,
        });
        Ok(())
    }
}

/// kube-proxy does not start with this value.
fn refused(place: &str, name: &str, why: &str) -> Gap {
    Gap::Opaque(format!("{place} {name}: {why}; kube-proxy does not start with it").into())
}
