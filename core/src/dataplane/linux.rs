//! What Linux does where nothing is configured. Seconds, read in Linux 6.1.

/// `nf_conntrack_tcp_timeout_established`: `net/netfilter/nf_conntrack_proto_tcp.c`.
pub const TCP_ESTABLISHED_SECONDS: i64 = 432_000;
/// `nf_conntrack_tcp_timeout_close_wait`: `net/netfilter/nf_conntrack_proto_tcp.c`.
pub const TCP_CLOSE_WAIT_SECONDS: i64 = 60;
/// `nf_conntrack_udp_timeout`, for flows seen in one direction: `net/netfilter/nf_conntrack_proto_udp.c`.
pub const UDP_SECONDS: i64 = 30;
/// `nf_conntrack_udp_timeout_stream`, for flows seen in both: `net/netfilter/nf_conntrack_proto_udp.c`.
pub const UDP_STREAM_SECONDS: i64 = 120;
/// IPVS TCP, state ESTABLISHED: `net/netfilter/ipvs/ip_vs_proto_tcp.c`.
pub const IPVS_TCP_SECONDS: i64 = 900;
/// IPVS TCP, state `FIN_WAIT`: `net/netfilter/ipvs/ip_vs_proto_tcp.c`.
pub const IPVS_TCP_FIN_SECONDS: i64 = 120;
/// IPVS UDP: `net/netfilter/ipvs/ip_vs_proto_udp.c`.
pub const IPVS_UDP_SECONDS: i64 = 300;
/// `tcp_keepalive_time`, where a socket asks for keepalive: `include/net/tcp.h`.
pub const KEEPALIVE_TIME_SECONDS: i64 = 7200;
/// `tcp_keepalive_intvl`: `include/net/tcp.h`.
pub const KEEPALIVE_INTERVAL_SECONDS: i64 = 75;
/// `tcp_keepalive_probes`: `include/net/tcp.h`.
pub const KEEPALIVE_PROBES: i64 = 9;

/// The most seconds every kernel takes for a timeout: `INT_MAX / HZ` at the highest usual rate, HZ 1000
/// (`net/netfilter/ipvs/ip_vs_ctl.c`, `kernel/time/jiffies.c`).
pub const TIMEOUT_SECONDS_ALWAYS_TAKEN: i64 = i32::MAX as i64 / 1000;
/// The most seconds any kernel takes: the same at the lowest rate, HZ 100.
pub const TIMEOUT_SECONDS_EVER_TAKEN: i64 = i32::MAX as i64 / 100;

/// Where [`TCP_ESTABLISHED_SECONDS`] and [`TCP_CLOSE_WAIT_SECONDS`] were read.
pub const CONNTRACK_TCP_FILE: &str = "net/netfilter/nf_conntrack_proto_tcp.c";
/// Where [`UDP_SECONDS`] and [`UDP_STREAM_SECONDS`] were read.
pub const CONNTRACK_UDP_FILE: &str = "net/netfilter/nf_conntrack_proto_udp.c";
/// Where [`IPVS_TCP_SECONDS`] and [`IPVS_TCP_FIN_SECONDS`] were read.
pub const IPVS_TCP_FILE: &str = "net/netfilter/ipvs/ip_vs_proto_tcp.c";
/// Where [`IPVS_UDP_SECONDS`] was read.
pub const IPVS_UDP_FILE: &str = "net/netfilter/ipvs/ip_vs_proto_udp.c";
