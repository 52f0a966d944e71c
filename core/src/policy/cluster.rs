//! The compiled ClusterTrafficHealthPolicy: the platform's declaration and the ceiling over everybody.

use std::sync::Arc;

use super::{Exception, Mode};
use crate::dataplane::ProxyMode;

/// A compiled ClusterTrafficHealthPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterPolicy {
    /// Namespaces that may do more than observe and suggest.
    pub ceiling_namespaces: Vec<Arc<str>>,
    /// What they may do at most.
    pub ceiling_mode: Mode,
    /// Most recycles in an hour, all namespaces together.
    pub ceiling_recycles_per_hour: Option<u32>,
    /// Longest time an exception may last from the last time its policy was written, in days.
    pub max_exception_days: Option<u32>,
    /// Findings of the platform that people have accepted for a time.
    pub exceptions: Vec<PlatformException>,
    /// Paths of fields that this version does not know: the policy is judged without them.
    pub unknown_fields: Vec<Arc<str>>,
    /// Namespaces whose objects may speak for the data plane, DNS and the control plane, besides the usual ones.
    pub trusted_namespaces: Vec<Arc<str>>,
    /// Namespaces that nothing is ever done in.
    pub protected_namespaces: Vec<Arc<str>>,
    /// What every node should run.
    pub data_plane: DataPlanePolicy,
    /// Connection-table limits.
    pub conntrack: ConntrackPolicy,
    /// How nodes may fail.
    pub nodes: NodesPolicy,
    /// What is expected of the control plane.
    pub control_plane: ControlPlanePolicy,
    /// Address of the load balancer before the API servers, as `host:port`.
    pub load_balancer: Option<Arc<str>>,
    /// When too much is sick to act at all.
    pub storm: Storm,
}

/// An exception for findings that no team's policy reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformException {
    /// The check, the reason and the end.
    pub exception: Exception,
    /// What the findings are about.
    pub subject: ExceptedSubject,
}

/// What a platform's exception is for; without a name every subject of the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExceptedSubject {
    /// The cluster as a whole.
    Cluster,
    /// Nodes.
    Node(Option<Arc<str>>),
    /// Zones.
    Zone(Option<Arc<str>>),
    /// Webhook configurations of either kind.
    Webhook(Option<Arc<str>>),
    /// Services of a namespace, as far as no policy governs them.
    Service {
        /// The namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Option<Arc<str>>,
    },
    /// Workloads of a namespace.
    Workload {
        /// The namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Option<Arc<str>>,
    },
}

/// Inclusive bounds; an absent end is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// Least value.
    pub minimum: Option<i64>,
    /// Greatest value.
    pub maximum: Option<i64>,
}

/// What every node should run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataPlanePolicy {
    /// Proxy mode.
    pub proxy_mode: Option<ProxyMode>,
    /// Bounds of the idle timeout of Service connections, in seconds.
    pub service_idle_timeout_seconds: Option<Range>,
}

/// Connection-table limits and what may be tuned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConntrackPolicy {
    /// Highest healthy occupancy, in percent.
    pub max_occupancy_percent: Option<u32>,
    /// How far tuning may go.
    pub tuning_mode: Mode,
    /// Bounds of kernel settings.
    pub kernel: KernelTuning,
    /// Bounds of Cilium settings.
    pub cilium: CiliumTuning,
    /// How long a canary is watched, in seconds.
    pub soak_seconds: Option<u32>,
}

/// Bounds of kernel settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelTuning {
    /// Table size, entries.
    pub max_entries: Option<Range>,
    /// Close-wait timeout, seconds.
    pub tcp_close_wait_seconds: Option<Range>,
    /// Time-wait timeout, seconds.
    pub tcp_time_wait_seconds: Option<Range>,
}

/// Bounds of Cilium settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CiliumTuning {
    /// `conntrack-gc-interval`, seconds.
    pub gc_interval_seconds: Option<Range>,
    /// `conntrack-gc-max-interval`, seconds.
    pub gc_max_interval_seconds: Option<Range>,
    /// `bpf-ct-timeout-service-tcp-grace`, seconds.
    pub service_tcp_grace_seconds: Option<Range>,
}

/// How nodes may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodesPolicy {
    /// What counts as a cascade.
    pub cascade: Option<Cascade>,
    /// What counts as a flap.
    pub flap: Option<Flap>,
    /// What counts as pressure.
    pub pressure: Option<Pressure>,
    /// How far cordoning may go.
    pub cordon: Option<CordonPolicy>,
}

/// What counts as a cascade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cascade {
    /// Window, seconds.
    pub window_seconds: u32,
    /// Fewest nodes that must fail in it.
    pub minimum_nodes: u32,
    /// By how much a receiver must have been filled before, percent.
    pub received_pods_percent: u32,
}

/// What counts as a flap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flap {
    /// Transitions of Ready.
    pub transitions: u32,
    /// Window, seconds.
    pub window_seconds: u32,
}

/// Shares of time that something waited, percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// CPU.
    pub cpu_some_percent: u32,
    /// Memory.
    pub memory_some_percent: u32,
    /// IO.
    pub io_some_percent: u32,
    /// For how long, seconds.
    pub for_seconds: u32,
}

/// Bounds of fencing nodes: of the remedy `CordonNode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CordonPolicy {
    /// How far evenkeel may go.
    pub mode: Mode,
    /// Effect of the taint.
    pub effect: FenceEffect,
    /// Most nodes fenced at a time, percent of the nodes that take Pods, rounded down.
    pub max_percent: u32,
    /// Most nodes fenced at a time.
    pub max_nodes: u32,
    /// Most nodes fenced at a time, percent of their node pool, rounded down.
    pub max_percent_of_pool: u32,
    /// Most fences in an hour.
    pub max_per_hour: u32,
    /// For how long a node must be steady before its fence is removed, seconds.
    pub steady_seconds: u32,
    /// Highest measured load of the nodes that are left, percent.
    pub ceiling_percent: u32,
}

/// What the scheduler does with a fenced node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum FenceEffect {
    /// It avoids the node while there is room elsewhere.
    #[default]
    PreferNoSchedule,
    /// It places no Pod there that does not tolerate the taint.
    NoSchedule,
}

impl FenceEffect {
    /// As written in a taint.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoSchedule => "NoSchedule",
        }
    }
}

/// What is expected of the control plane, and what to assume where it hides its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ControlPlanePolicy {
    /// `--node-monitor-grace-period` to assume, seconds.
    pub node_monitor_grace_seconds: Option<u32>,
    /// HTTP/2 read-idle time of clients to assume, seconds.
    pub http2_read_idle_seconds: Option<u32>,
    /// HTTP/2 ping timeout of clients to assume, seconds.
    pub http2_ping_timeout_seconds: Option<u32>,
    /// etcd quota to assume, bytes.
    pub etcd_quota_bytes: Option<u64>,
    /// How many API servers there should be.
    pub expected_instances: Option<u32>,
}

/// When too much is sick to act at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Storm {
    /// Unhealthy share of a zone, percent.
    pub zone_unhealthy_percent: Option<u32>,
    /// Unhealthy share of the cluster, percent.
    pub cluster_unhealthy_percent: Option<u32>,
    /// Fewest unhealthy nodes for either.
    pub minimum_nodes: Option<u32>,
    /// How long the latch holds, seconds.
    pub cooldown_seconds: Option<u32>,
}
