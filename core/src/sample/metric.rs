//! The metrics that evenkeel knows: a closed list, so that memory and queries are bounded by it.

use crate::know::Unit;

/// Whether a value goes up and down or counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A level: each sample stands alone.
    Gauge,
    /// A count since some start: only its growth means something. It begins anew at zero when what counts restarts.
    Counter,
}

/// What a metric is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Of {
    /// The cluster.
    Cluster,
    /// Nodes.
    Node,
    /// API servers.
    Instance,
    /// Resources in API servers.
    Resource,
    /// Pods behind a Service.
    Backend,
}

impl Of {
    /// Most series of one metric in one page: what is beyond is a gap. Nodes and API servers are those that the API shows;
    /// of resources in one API server there are as many as kinds, which custom resources may multiply.
    pub const fn most(self) -> usize {
        match self {
            Self::Cluster => 1,
            Self::Node => 16_384,
            Self::Instance => 16,
            Self::Resource => 16 * 256,
            Self::Backend => 1_024,
        }
    }
}

/// What is known of a metric.
struct Facts {
    name: &'static str,
    kind: MetricKind,
    unit: Unit,
    of: Of,
    /// How many points are kept.
    points: usize,
    /// At or below this value (a counter: this growth in a second) no check says anything: a change from one such value to
    /// another judges nothing again. Below zero where every value counts.
    calm: f64,
    /// By how many percent two observers may differ.
    tolerance: u32,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $metric:ident $name:literal $kind:ident $unit:ident $of:ident points $points:literal calm $calm:literal tolerance $tolerance:literal;)*) => {
        /// What can be measured.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Metric {
            $($(#[$doc])* $metric,)*
        }

        impl Metric {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$metric),*];

            const fn facts(self) -> Facts {
                match self {
                    $(Self::$metric => Facts {
                        name: $name,
                        kind: MetricKind::$kind,
                        unit: Unit::$unit,
                        of: Of::$of,
                        points: $points,
                        calm: $calm,
                        tolerance: $tolerance,
                    },)*
                }
            }
        }
    };
}

metrics! {
    /// Entries of a node's connection table (`nf_conntrack_count`).
    ConntrackEntries "conntrackEntries" Gauge Count Node points 24 calm -1.0 tolerance 20;
    /// Most entries that the table takes (`nf_conntrack_max`).
    ConntrackLimit "conntrackLimit" Gauge Count Node points 1 calm -1.0 tolerance 1;
    /// Packets that were dropped as the table was full (`drop` of `/proc/net/stat/nf_conntrack`).
    ConntrackDrops "conntrackDrops" Counter Count Node points 12 calm 0.0 tolerance 50;
    /// Entries that gave way to new ones before their time (`early_drop`).
    ConntrackEarlyDrops "conntrackEarlyDrops" Counter Count Node points 12 calm 0.0 tolerance 50;
    /// Packets that Cilium dropped as an entry could not be made: the map was full.
    CiliumTableDrops "ciliumTableDrops" Counter Count Node points 12 calm 0.0 tolerance 50;
    /// Seconds in which some task waited for a CPU (PSI `some`).
    CpuPressure "cpuPressure" Counter Seconds Node points 12 calm 0.01 tolerance 50;
    /// Seconds in which some task waited for memory (PSI `some`).
    MemoryPressure "memoryPressure" Counter Seconds Node points 12 calm 0.01 tolerance 50;
    /// Seconds in which some task waited for storage (PSI `some`).
    IoPressure "ioPressure" Counter Seconds Node points 12 calm 0.01 tolerance 50;
    /// Bytes of memory of the node.
    MemoryTotal "memoryTotal" Gauge Bytes Node points 1 calm -1.0 tolerance 1;
    /// Bytes of memory that new programs could have without swapping (`MemAvailable`).
    MemoryAvailable "memoryAvailable" Gauge Bytes Node points 4 calm 1e15 tolerance 30;
    /// Seconds that all CPUs of the node were at work, idling and waiting for storage aside.
    CpuBusy "cpuBusy" Counter Seconds Node points 12 calm 1e12 tolerance 30;
    /// Seconds of all CPUs of the node, whatever they did: in a second as many as there are CPUs.
    CpuTime "cpuTime" Counter Seconds Node points 12 calm 1e12 tolerance 10;
    /// Whether the node's exporter answered when it was last scraped: 1 or 0.
    ExporterUp "exporterUp" Gauge Count Node points 12 calm 1e12 tolerance 10;
    /// SYN cookies sent: the queue of a listening socket was full (`TcpExt SyncookiesSent`).
    SynCookies "synCookies" Counter Count Node points 12 calm 0.0 tolerance 50;
    /// Connections dropped as a listening socket's queue was full (`TcpExt ListenOverflows`).
    ListenOverflows "listenOverflows" Counter Count Node points 12 calm 0.0 tolerance 50;
    /// TCP connections of the node's host network that are open (`Tcp CurrEstab`).
    EstablishedConnections "establishedConnections" Gauge Count Node points 1 calm 128.0 tolerance 50;
    /// How full the fullest of Cilium's connection and NAT tables is, from 0 to 1.
    CiliumTablePressure "ciliumTablePressure" Gauge None Node points 24 calm -1.0 tolerance 20;
    /// Seconds that Cilium's garbage collection of connections took, in all.
    CiliumGcSeconds "ciliumGcSeconds" Counter Seconds Node points 12 calm 0.01 tolerance 50;
    /// TCP connections that the node's host network has accepted (`Tcp PassiveOpens`).
    AcceptedConnections "acceptedConnections" Counter Count Node points 12 calm 1e12 tolerance 50;

    /// Requests that an API server has answered, watches aside.
    Requests "requests" Counter Count Instance points 24 calm -1.0 tolerance 30;
    /// Those that it answered with a 5xx.
    ServerErrors "serverErrors" Counter Count Instance points 24 calm 0.0 tolerance 50;
    /// Those that it turned away with a 429.
    TooManyRequests "tooManyRequests" Counter Count Instance points 24 calm 0.0 tolerance 50;
    /// Those that took longer than 10 s.
    SlowRequests "slowRequests" Counter Count Instance points 24 calm 0.0 tolerance 50;
    /// Watches that are open (`apiserver_longrunning_requests` of verb WATCH).
    OpenWatches "openWatches" Gauge Count Instance points 1 calm -1.0 tolerance 30;
    /// When the process started, in seconds since the Unix epoch.
    StartTime "startTime" Gauge Seconds Instance points 1 calm -1.0 tolerance 1;
    /// Bytes of memory that the process holds.
    ResidentMemory "residentMemory" Gauge Bytes Instance points 1 calm -1.0 tolerance 30;
    /// Most bytes of memory that its container may hold.
    MemoryLimit "memoryLimit" Gauge Bytes Instance points 1 calm -1.0 tolerance 1;
    /// Bytes of the etcd database, the largest of those that the API server uses.
    EtcdDatabaseSize "etcdDatabaseSize" Gauge Bytes Instance points 24 calm -1.0 tolerance 20;

    /// Connections of our own to the load balancer that reached this API server, since evenkeel measures.
    BalancerHandshakes "balancerHandshakes" Counter Count Instance points 24 calm -1.0 tolerance 50;
    /// Range calls that the member of etcd on the API server's machine has taken.
    EtcdRanges "etcdRanges" Counter Count Instance points 24 calm -1.0 tolerance 30;

    /// Requests for a resource, watches aside.
    ResourceRequests "resourceRequests" Counter Count Resource points 12 calm -1.0 tolerance 30;
    /// Requests for a resource that ended in a 504.
    GatewayTimeouts "gatewayTimeouts" Counter Count Resource points 12 calm 0.0 tolerance 50;
    /// Requests to etcd for a resource.
    EtcdRequests "etcdRequests" Counter Count Resource points 12 calm -1.0 tolerance 30;
    /// Those that failed.
    EtcdErrors "etcdErrors" Counter Count Resource points 12 calm 0.0 tolerance 50;
    /// Seconds that requests to etcd for a resource took, in all.
    EtcdSeconds "etcdSeconds" Counter Seconds Resource points 12 calm -1.0 tolerance 50;
    /// Revision that the watch cache of a resource has reached.
    WatchCacheRevision "watchCacheRevision" Gauge Count Resource points 12 calm -1.0 tolerance 1;
    /// Consistent reads that the watch cache was too far behind to answer.
    ConsistentReadFallbacks "consistentReadFallbacks" Counter Count Resource points 12 calm 0.0 tolerance 50;

    /// Connections that a backend has accepted.
    BackendConnections "backendConnections" Counter Count Backend points 24 calm -1.0 tolerance 30;
    /// Requests that a backend has answered.
    BackendRequests "backendRequests" Counter Count Backend points 24 calm -1.0 tolerance 30;
    /// Connections that are open at a backend.
    BackendActive "backendActive" Gauge Count Backend points 1 calm -1.0 tolerance 30;

    /// How often the load balancer has changed between API servers from one connection of ours to the next.
    BalancerChanges "balancerChanges" Gauge Count Cluster points 1 calm -1.0 tolerance 1;
    /// Bytes of memory that the largest process of cluster DNS holds.
    DnsMemory "dnsMemory" Gauge Bytes Cluster points 12 calm -1.0 tolerance 30;
    /// Most bytes that an etcd database may have (`--quota-backend-bytes`), the least of all members.
    EtcdQuota "etcdQuota" Gauge Bytes Cluster points 1 calm -1.0 tolerance 1;
}

impl Metric {
    /// Whether its values are revisions of etcd: large, and only their differences mean something.
    pub(super) const fn is_revision(self) -> bool {
        matches!(self, Self::WatchCacheRevision)
    }

    /// In lowerCamelCase: part of the API, in stored samples and in evidence.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The metric of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Level or count.
    pub const fn kind(self) -> MetricKind {
        self.facts().kind
    }

    /// The unit of its values.
    pub const fn unit(self) -> Unit {
        self.facts().unit
    }

    /// What it is measured on.
    pub const fn of(self) -> Of {
        self.facts().of
    }

    /// Whether a check looks at more than the last sample of it.
    pub const fn has_past(self) -> bool {
        self.points() > 1
    }

    /// How many points are kept of each series.
    pub(super) const fn points(self) -> usize {
        self.facts().points
    }

    /// Whether no check says anything of such a value, or of such a growth in a second.
    pub(super) fn is_calm(self, value: f64) -> bool {
        value <= self.facts().calm
    }

    /// The least value but zero, and the greatest value of a gauge or growth of a counter in a second, that can be in its unit:
    /// milliseconds for seconds, kilobytes for bytes and the like are outside. Zero and infinity
    /// where nothing tells.
    pub(super) const fn bounds(self) -> (f64, f64) {
        const MIB: f64 = 1_048_576.0;
        match self {
            // Some task waits for at most a second in a second (`Documentation/accounting/psi.rst`); two scrapes are not
            // apart by exactly the time between two readings.
            Self::CpuPressure | Self::MemoryPressure | Self::IoPressure => (0.0, 1.5),
            // No kubelet runs in less, and 256 GiB are less in kilobytes.
            Self::MemoryTotal => (256.0 * MIB, f64::INFINITY),
            // No Go program that serves HTTPS needs less memory. etcd's default quota is 2 GiB (`DefaultQuotaBytes` of
            // server/storage/quota.go); one in megabytes is a few thousand.
            Self::ResidentMemory | Self::MemoryLimit | Self::EtcdQuota => (MIB, f64::INFINITY),
            // Between 2001 and the year 5138: what is later is in milliseconds.
            Self::StartTime => (1e9, 1e11),
            _ => (0.0, f64::INFINITY),
        }
    }

    /// Whether two observers mean the same by these values: they differ by no more than is usual between two scrapes, or no
    /// check cares for either.
    pub(super) fn agree(self, one: f64, other: f64) -> bool {
        let facts = self.facts();
        let most = one.abs().max(other.abs());
        let both_calm = self.is_calm(one) && self.is_calm(other);
        both_calm || (one - other).abs() * 100.0 <= most * f64::from(facts.tolerance)
    }

    /// By how many percent two observers may differ.
    pub const fn tolerance_percent(self) -> u32 {
        self.facts().tolerance
    }
}

/// The bit of [`Metrics`] that says that they help and are not needed.
const HELPFUL: u64 = 1 << 63;

/// A set of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Metrics(u64);

const _: () = assert!(Metric::ALL.len() < u64::BITS as usize);

impl Metrics {
    /// None.
    pub const NONE: Self = Self(0);

    /// The set of these.
    pub const fn of(metrics: &[Metric]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < metrics.len() {
            bits |= 1 << metrics[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// The set of these, for a check that says what it can where none of them is measured.
    pub const fn helpful(metrics: &[Metric]) -> Self {
        Self(Self::of(metrics).0 | HELPFUL)
    }

    /// Whether a check that rests on them says nothing where nothing measures.
    pub const fn are_needed(self) -> bool {
        self.0 != 0 && self.0 & HELPFUL == 0
    }

    /// All metrics that are measured on such subjects.
    pub fn on(of: Of) -> Self {
        let all = Metric::ALL.into_iter().filter(|one| one.of() == of);
        all.fold(Self::NONE, |set, one| set.with(Self::of(&[one])))
    }

    /// Whether it holds this one.
    pub const fn has(self, metric: Metric) -> bool {
        self.0 & (1 << metric as u8) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What this set holds and the other does not.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 & !HELPFUL == 0
    }

    /// Each of them, in the order of [`Metric::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(move |one| self.has(*one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_found_again() {
        let names: BTreeSet<_> = Metric::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(metric));
            assert!((1..=24).contains(&metric.points()), "{metric:?}");
            // Growth takes two samples, and more than one interval to be believed.
            assert!(
                metric.kind() == MetricKind::Gauge || metric.points() > 1,
                "{metric:?}"
            );
        }
        assert_eq!(Metric::named("up"), None);
    }

    #[test]
    fn sets_hold_what_they_are_made_of() {
        let set = Metrics::of(&[Metric::EtcdQuota, Metric::Requests]);
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Metric::Requests, Metric::EtcdQuota]
        );
        assert!(Metrics::NONE.is_empty() && !set.is_empty());
        assert!(set.are_needed() && !Metrics::NONE.are_needed());
        assert!(!Metrics::helpful(&[Metric::Requests]).are_needed() && Metrics::helpful(&[]).is_empty());
        let all = [Of::Cluster, Of::Node, Of::Instance, Of::Resource, Of::Backend].map(Metrics::on);
        assert_eq!(
            all.into_iter().fold(Metrics::NONE, Metrics::with),
            Metrics::of(&Metric::ALL)
        );
        assert_eq!(
            set.both(Metrics::on(Of::Cluster)),
            Metrics::of(&[Metric::EtcdQuota])
        );
    }

    #[test]
    fn observers_agree_within_the_tolerance_or_where_no_check_cares() {
        let limit = Metric::ConntrackLimit;
        assert!(limit.agree(1000.0, 1009.0) && !limit.agree(1000.0, 1020.0));
        assert!(limit.agree(0.0, 0.0) && !limit.agree(0.0, 1.0));
        assert!(Metric::MemoryPressure.agree(0.001, 0.009), "both are calm");
        assert!(!Metric::MemoryPressure.agree(0.01, 0.4));
    }
}
