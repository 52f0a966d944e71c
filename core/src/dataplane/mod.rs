//! What the data plane effectively does: kube-proxy, Cilium, Terway, Linux and cloud load balancers.
//!
//! Everything here is knowledge of products: defaults by version, what zero means, which of two places wins. Each
//! product has one file, and each constant names the upstream file it was read in. Nothing here knows about tables
//! of objects or about policies: plain inputs in, [`Val`]s with origin out.

pub mod antrea;
pub mod api_server;
pub mod calico;
pub mod cilium;
pub mod controller_manager;
pub mod duration;
pub mod entry;
mod flags;
pub mod kube_proxy;
pub mod kube_router;
pub mod linux;
pub mod load_balancer;
pub mod ovn;
pub mod profile;
mod shell;
pub mod terway;
mod tree;
pub mod version;

use std::sync::Arc;

use crate::know::{Known, Val};
use entry::{ByEntry, ConnectionTable, Entry};

/// How Services are implemented on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyMode {
    /// kube-proxy with iptables.
    Iptables,
    /// kube-proxy with IPVS.
    Ipvs,
    /// kube-proxy with nftables.
    Nftables,
    /// kube-proxy on Windows.
    Kernelspace,
    /// Cilium in place of kube-proxy.
    Cilium,
    /// Something else, such as OVN.
    Other,
}

impl ProxyMode {
    /// As written in a cluster policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iptables => "Iptables",
            Self::Ipvs => "Ipvs",
            Self::Nftables => "Nftables",
            Self::Kernelspace => "Kernelspace",
            Self::Cilium => "Cilium",
            Self::Other => "Other",
        }
    }
}

/// Where Cilium chooses the backend at `connect()` instead of per packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketLb {
    /// For every Pod and the host.
    On,
    /// For the host only; Pods use the per-packet table.
    HostOnly,
    /// Nowhere.
    Off,
}

impl SocketLb {
    /// As shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "On",
            Self::HostOnly => "HostOnly",
            Self::Off => "Off",
        }
    }
}

/// What one class of nodes effectively does with Service traffic. Nodes of equal settings share a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `status.nodeInfo.operatingSystem`.
    pub os: Arc<str>,
    /// `status.nodeInfo.kernelVersion`.
    pub kernel: Arc<str>,
    /// Proxy mode.
    pub mode: Known<Val<ProxyMode>>,
    /// IPVS scheduler, as the kernel names it; `None` outside IPVS.
    pub scheduler: Option<Known<Val<Arc<str>>>>,
    /// `nf_conntrack_tcp_timeout_established`, seconds.
    pub tcp_established_seconds: Known<Val<i64>>,
    /// `nf_conntrack_tcp_timeout_close_wait`, seconds.
    pub tcp_close_wait_seconds: Known<Val<i64>>,
    /// IPVS TCP timeout, seconds; `None` outside IPVS.
    pub ipvs_tcp_seconds: Option<Known<Val<i64>>>,
    /// Least idle timeout that an established TCP connection from a Pod through a Service meets on the node, seconds.
    /// `Ok(None)`: no table entry exists on that path (socket load balancing).
    pub service_idle_seconds: Known<Option<Val<i64>>>,
    /// The same for UDP, seconds.
    pub udp_idle_seconds: Known<Option<Val<i64>>>,
    /// Cilium's settings; `None` where there is no Cilium.
    pub cilium: Option<Known<Cilium>>,
    /// The tables that TCP connections meet, by the way they come in; `Ok(None)` where they meet none.
    pub tcp_tables: ByEntry<Known<Option<ConnectionTable>>>,
    /// The same for UDP.
    pub udp_tables: ByEntry<Known<Option<ConnectionTable>>>,
    /// Notes for people: flags without effect, a `ConfigMap` newer than the process.
    pub notes: Vec<Arc<str>>,
}

impl Profile {
    /// The table that a connection meets which comes in by one way; `Ok(None)` where it meets none.
    pub const fn table(&self, entry: Entry, udp: bool) -> &Known<Option<ConnectionTable>> {
        if udp {
            self.udp_tables.get(entry)
        } else {
            self.tcp_tables.get(entry)
        }
    }
}

/// Cilium's effective settings on a class of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cilium {
    /// Version of the agent, as `1.15.8`.
    pub version: Known<Val<Arc<str>>>,
    /// `bpf-ct-timeout-service-tcp`, seconds.
    pub service_tcp_seconds: Known<Val<i64>>,
    /// `bpf-ct-timeout-service-tcp-grace`, seconds; an error where that version has no such setting.
    pub service_tcp_grace_seconds: Option<Known<Val<i64>>>,
    /// `bpf-ct-timeout-service-any`, seconds.
    pub service_any_seconds: Known<Val<i64>>,
    /// `conntrack-gc-interval`, seconds; 0 is adaptive.
    pub gc_interval_seconds: Known<Val<i64>>,
    /// `random` or `maglev`.
    pub algorithm: Known<Val<Arc<str>>>,
    /// `enable-service-topology`: whether hints of `EndpointSlices` count.
    pub follows_hints: Known<Val<bool>>,
    /// Socket load balancing.
    pub socket_lb: Known<Val<SocketLb>>,
    /// Whether Cilium replaces kube-proxy.
    pub replaces_kube_proxy: Known<Val<bool>>,
    /// Whether it carries what comes from outside: node ports, external addresses, load balancers.
    pub serves_outside: Known<Val<bool>>,
    /// Whether a connection that a Pod closed and opens again from the same port is kept on its old backend, and for how
    /// many seconds at most after the close.
    pub port_pin: Known<Val<PortPin>>,
    /// The same for a client from outside, whose packets are translated one by one whatever Pods' are
    /// (`bpf/lib/nodeport.h`).
    pub outside_port_pin: Known<Val<PortPin>>,
}

impl Cilium {
    /// The same settings, less sure: they were read where they may not be what the agent runs with.
    #[must_use]
    pub(crate) fn assumed(self, why: &str) -> Self {
        fn weaker<T>(known: Known<Val<T>>, why: &str) -> Known<Val<T>> {
            known.map(|val| Val::assumed(val.value, format!("{}; {why}", val.source)))
        }
        Self {
            version: self.version,
            service_tcp_seconds: weaker(self.service_tcp_seconds, why),
            service_tcp_grace_seconds: self.service_tcp_grace_seconds.map(|known| weaker(known, why)),
            service_any_seconds: weaker(self.service_any_seconds, why),
            gc_interval_seconds: weaker(self.gc_interval_seconds, why),
            algorithm: weaker(self.algorithm, why),
            follows_hints: weaker(self.follows_hints, why),
            socket_lb: weaker(self.socket_lb, why),
            replaces_kube_proxy: weaker(self.replaces_kube_proxy, why),
            serves_outside: weaker(self.serves_outside, why),
            port_pin: weaker(self.port_pin, why),
            outside_port_pin: weaker(self.outside_port_pin, why),
        }
    }
}

/// For how long a reused source port keeps its old backend behind Cilium's per-packet table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortPin {
    /// No pin: socket load balancing, or a version that always selects anew.
    None,
    /// Until this many seconds have passed since the close.
    Grace(i64),
    /// As long as the entry lives, in seconds since the last packet.
    Entry(i64),
}
