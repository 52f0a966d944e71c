//! What a listener of a load balancer does with a connection: it forwards packets, or ends it and opens another.

use super::{
    ALIBABA, AWS, Bounds, DIGITALOCEAN, Device, LbPort, LbService, OCI, OCTAVIA, declared_or, device,
    huawei_speaks_http, idle_of, likely,
};
use crate::know::{Known, Val};

/// What a listener forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwards {
    /// Packets of one connection from end to end: keepalives pass through and count.
    Packets,
    /// Bytes between two connections, one to one: only data counts on either.
    Bytes,
    /// Requests between connections that it pools towards the Service.
    Requests,
}

/// A listener, with times in seconds.
#[derive(Debug, Clone)]
pub struct Listener {
    /// What the load balancer is called.
    pub name: &'static str,
    /// What it forwards.
    pub forwards: Forwards,
    /// After how long it forgets, or closes, an idle connection of its client.
    pub idle: Val<i64>,
    /// After how long it closes an idle connection towards the Service; as `idle` where it forwards packets.
    pub upstream_idle: Val<i64>,
    /// Whether it reuses idle connections towards the Service for that long, as its vendor documents.
    pub reuses_upstream: bool,
    /// Whether it forwards a connection that it has forgotten by a hash, which leads to the same node while none comes or
    /// goes.
    pub finds_again: bool,
    /// How long it waits for an answer, where that is a time of its own.
    pub request: Option<Val<i64>>,
}

/// Octavia's amphora, milliseconds: octavia/common/config.py, `timeout_client_data` and `timeout_member_data`.
pub(super) const OCTAVIA_MILLISECONDS: i64 = 50_000;
const OCI_TCP: Bounds = Bounds {
    usual: 300,
    range: 1..=7200,
};
const OCI_HTTP: Bounds = Bounds {
    usual: 60,
    range: 1..=7200,
};
/// OCI closes idle connections towards its backends after this, seconds: OCI guide, "Keep-Alive Settings".
const OCI_BACKEND_SECONDS: i64 = 300;
/// An OCI network load balancer, TCP and UDP, seconds: OCI guide, "Changing a Listener's Idle Timeout". No annotation sets
/// them.
const OCI_NETWORK_SECONDS: (i64, i64) = (360, 120);
const DIGITALOCEAN_HTTP: Bounds = Bounds {
    usual: 60,
    range: 30..=600,
};
/// How long an HTTP listener of an Alibaba CLB waits for an answer: ACK guide, annotations of a Service.
const ALIBABA_REQUEST: Bounds = Bounds {
    usual: 60,
    range: 1..=180,
};

/// The listener in front of a port.
pub fn listener(service: &LbService<'_>, port: LbPort<'_>) -> Known<Listener> {
    let found = device(service)?;
    let idle = idle_of(service, &found, port)?;
    let forwards = forwards(service, found.value, port);
    let request = match (found.value, forwards) {
        (Device::AlibabaClb, Forwards::Requests) => {
            let key = format!("{ALIBABA}request-timeout");
            let request = declared_or(
                service,
                &key,
                &ALIBABA_REQUEST,
                "Alibaba CLB, HTTP listener, request",
            )?;
            Some(likely(request, &found))
        }
        _ => None,
    };
    let upstream_idle = match (found.value, forwards) {
        (Device::Octavia, Forwards::Bytes) => likely(octavia(service, "timeout-member-data")?, &found),
        (Device::Oci, Forwards::Requests) => Val::default_of(
            OCI_BACKEND_SECONDS,
            format!(
                "{}: OCI load balancer, fixed towards its backends",
                service.subject
            ),
        ),
        _ => idle.clone(),
    };
    Ok(Listener {
        name: found.value.name(),
        forwards,
        idle,
        upstream_idle,
        // A server has to keep them longer: ELB guide, "Configure the idle connection timeout"; OCI guide, "Keep-Alive
        // Settings".
        reuses_upstream: forwards == Forwards::Requests
            && matches!(found.value, Device::AwsClb | Device::Oci),
        finds_again: found.value == Device::GcpInternal,
        request,
    })
}

/// What a load balancer forwards of a port's connections.
fn forwards(service: &LbService<'_>, device: Device, port: LbPort<'_>) -> Forwards {
    let speaks = |key: &str| service.is_http(key, port.number);
    match device {
        // Both connections end there, and keepalives carry no data: ELB guide, "Configure the idle connection timeout".
        Device::AwsClb => match service.get(&format!("{AWS}backend-protocol")).as_deref() {
            Some("http" | "https") => Forwards::Requests,
            _ => Forwards::Bytes,
        },
        Device::AlibabaClb if speaks(&format!("{ALIBABA}protocol-port")) => Forwards::Requests,
        Device::Huawei if huawei_speaks_http(service, port.number) => Forwards::Requests,
        Device::Octavia if !port.udp => Forwards::Bytes,
        Device::Oci if oci_speaks_http(service) => Forwards::Requests,
        Device::DigitalOcean if digitalocean_speaks_http(service, port.number) => Forwards::Requests,
        Device::Oci | Device::DigitalOcean => Forwards::Bytes,
        Device::AwsNlb
        | Device::Azure
        | Device::GcpInternal
        | Device::GcpExternal
        | Device::AlibabaClb
        | Device::AlibabaNlb
        | Device::Huawei
        | Device::Octavia
        | Device::OciNetwork
        | Device::Tencent => Forwards::Packets,
    }
}

/// A timeout of Octavia, which counts milliseconds; rounded down to seconds.
pub(super) fn octavia(service: &LbService<'_>, name: &str) -> Known<Val<i64>> {
    let key = format!("{OCTAVIA}{name}");
    // Zero asks for Octavia's own default, as does an absent annotation.
    let declared = service.number(&key, "milliseconds", &(0..=31_536_000_000))?;
    Ok(match declared.filter(|val| val.value > 0) {
        Some(val) => val.map(|milliseconds| milliseconds / 1000),
        None => Val::assumed(
            OCTAVIA_MILLISECONDS / 1000,
            format!(
                "{}: Octavia's default of {OCTAVIA_MILLISECONDS} ms, annotation {key} is not set",
                service.subject
            ),
        ),
    })
}

/// An OCI load balancer, whose idle time counts between two bytes.
pub(super) fn oci(service: &LbService<'_>) -> Known<Val<i64>> {
    let (limit, what) = if oci_speaks_http(service) {
        (&OCI_HTTP, "OCI load balancer, HTTP listener")
    } else {
        (&OCI_TCP, "OCI load balancer, TCP listener")
    };
    declared_or(service, &format!("{OCI}connection-idle-timeout"), limit, what)
}

/// An OCI network load balancer, which forwards packets.
pub(super) fn oci_network(service: &LbService<'_>, udp: bool) -> Val<i64> {
    let (tcp, of_udp) = OCI_NETWORK_SECONDS;
    let what = if udp { "UDP" } else { "TCP" };
    Val::default_of(
        if udp { of_udp } else { tcp },
        format!(
            "{}: OCI network load balancer default for {what}",
            service.subject
        ),
    )
}

fn oci_speaks_http(service: &LbService<'_>) -> bool {
    let protocol = service.get(&format!("{OCI}backend-protocol"));
    protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("http"))
}

/// A `DigitalOcean` load balancer: only its HTTP listeners document a time.
pub(super) fn digitalocean(service: &LbService<'_>, port: u16) -> Known<Val<i64>> {
    if digitalocean_speaks_http(service, port) {
        return declared_or(
            service,
            &format!("{DIGITALOCEAN}http-idle-timeout-seconds"),
            &DIGITALOCEAN_HTTP,
            "DigitalOcean load balancer, HTTP listener",
        );
    }
    Err(service.gap("the idle timeout of a DigitalOcean load balancer for TCP is not documented"))
}

/// Whether a listener speaks HTTP: its port is in one of the lists, which come before the protocol of all ports. TLS that
/// is passed through is TCP.
fn digitalocean_speaks_http(service: &LbService<'_>, port: u16) -> bool {
    let text = |name: &str| service.get(&format!("{DIGITALOCEAN}{name}"));
    let lists = |name: &str| {
        let ports = text(name).unwrap_or_default();
        ports.split(',').any(|one| one.trim().parse() == Ok(port))
    };
    let passes_tls = text("tls-passthrough").is_some_and(|text| text.trim() == "true");
    if lists("tls-ports") || lists("http2-ports") || lists("http3-port") {
        return !passes_tls;
    }
    if lists("http-ports") {
        return true;
    }
    match text("protocol").as_deref() {
        Some("http") => true,
        Some("https" | "http2" | "http3") => !passes_tls,
        _ => false,
    }
}
