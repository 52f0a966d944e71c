//! Cloud load balancers in front of a Service: which one it is, and when it forgets an idle connection.
//!
//! No provider reports the timeout through the Kubernetes API: only what a Service asks for can be read, and the
//! rest are the vendors' documented defaults. Where even the device is unclear the answer is a gap; a default of a
//! device that is only likely is Assumed.

mod listener;
mod provider;
mod targets;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use crate::dataplane::tree::shorten;
use crate::know::{Gap, Known, Origin, Val};

pub use listener::{Forwards, Listener, listener};
pub use provider::{Device, device};
pub use targets::{Platform, Targets, targets};

const AWS: &str = "service.beta.kubernetes.io/aws-load-balancer-";
const ALIBABA: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-";
/// Where MetalLB lives, which balances in the cluster itself (`metallb/metallb`, `config/manifests`).
pub const HOMES: &[&str] = &["metallb-system"];

/// Azure's annotation, in minutes: cloud-provider-azure, `pkg/consts/consts.go`.
const AZURE_IDLE: &str = "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout";
/// Huawei's annotation: CCE guide, "Configuring Timeout for a `LoadBalancer` Service".
const HUAWEI_IDLE: &str = "kubernetes.io/elb.keepalive_timeout";
/// cloud-provider-openstack, `docs/openstack-cloud-controller-manager/expose-applications-using-loadbalancer-type-service.md`.
const OCTAVIA: &str = "loadbalancer.openstack.org/";
/// oci-cloud-controller-manager, `docs/load-balancer-annotations.md`.
const OCI: &str = "service.beta.kubernetes.io/oci-load-balancer-";
/// digitalocean-cloud-controller-manager, `docs/controllers/services/annotations.md`.
const DIGITALOCEAN: &str = "service.beta.kubernetes.io/do-loadbalancer-";

/// AWS NLB, TCP and TLS listeners: ELB guide, "Update the TCP idle timeout".
const AWS_NLB_TCP: Bounds = Bounds {
    usual: 350,
    range: 60..=6000,
};
/// AWS NLB, UDP; from general knowledge, so Assumed.
const AWS_NLB_UDP_SECONDS: i64 = 120;
/// AWS CLB: cloud-provider-aws, `docs/service_controller.md`.
const AWS_CLB: Bounds = Bounds {
    usual: 60,
    range: 1..=4000,
};
/// Azure LB in minutes: cloud-provider-azure, `pkg/provider/azure_loadbalancer.go`.
const AZURE_MINUTES: Bounds = Bounds {
    usual: 4,
    range: 4..=100,
};
/// GCP internal passthrough load balancer: compute API, `connectionTrackingPolicy.idleTimeoutSec`, which can be set only for
/// affinity by less than the connection, and by no annotation. A packet without an entry is forwarded by a hash over the
/// healthy nodes ("Traffic distribution for internal passthrough Network Load Balancers").
const GCP_INTERNAL_SECONDS: i64 = 600;
/// Alibaba CLB, TCP: cloud-provider-alibaba-cloud, `pkg/model/slb/load_balancer.go`. Assumed: one vendor page says 500.
const ALIBABA_CLB_TCP: Bounds = Bounds {
    usual: 900,
    range: 10..=900,
};
/// Alibaba CLB, HTTP: the same file.
const ALIBABA_CLB_HTTP: Bounds = Bounds {
    usual: 15,
    range: 1..=60,
};
/// Alibaba NLB, TCP: cloud-provider-alibaba-cloud, `pkg/model/nlb`.
const ALIBABA_NLB_TCP: Bounds = Bounds {
    usual: 900,
    range: 1..=900,
};
/// Alibaba NLB, UDP: the same.
const ALIBABA_NLB_UDP: Bounds = Bounds {
    usual: 20,
    range: 10..=20,
};
/// Tencent CLB, TCP and UDP, seconds: CLB API reference, `CreateListener`, `IdleConnectTimeout`. No annotation of a
/// Service sets them.
const TENCENT_SECONDS: (i64, i64) = (900, 300);
/// What only Tencent's controller reads: TKE guide, annotations of a Service.
const TENCENT: &str = "service.cloud.tencent.com/";
/// The same, in its older spelling.
const TENCENT_OLDER: &str = "service.kubernetes.io/tke-";
/// Huawei ELB, TCP: CCE guide, annotations of a Service.
const HUAWEI_TCP: Bounds = Bounds {
    usual: 300,
    range: 10..=4000,
};
/// Huawei ELB, HTTP: the same.
const HUAWEI_HTTP: Bounds = Bounds {
    usual: 60,
    range: 0..=4000,
};

struct Bounds {
    usual: i64,
    range: RangeInclusive<i64>,
}

/// The port of a Service that a listener is made for.
#[derive(Debug, Clone, Copy)]
pub struct LbPort<'a> {
    /// Its number.
    pub number: u16,
    /// Its name; empty when it has none.
    pub name: &'a str,
    /// Whether it speaks UDP.
    pub udp: bool,
}

/// What is known of a Service of type `LoadBalancer`.
#[derive(Clone, Copy)]
pub struct LbService<'a> {
    /// How it is named to people: `Service shop/web`.
    pub subject: &'a str,
    /// `spec.loadBalancerClass`.
    pub class: Option<&'a str>,
    /// Names of its annotations.
    pub keys: &'a [&'a str],
    /// Looks up an annotation.
    pub annotation: &'a dyn Fn(&str) -> Option<String>,
    /// `spec.providerID` of the cluster's nodes.
    pub provider_ids: &'a [&'a str],
    /// `status.loadBalancer.ingress[].hostname`.
    pub hostnames: &'a [&'a str],
    /// Whether nodes are EKS Auto Mode's ([`Platform::auto_mode`]).
    pub auto_mode: bool,
}

impl LbService<'_> {
    fn get(&self, key: &str) -> Option<String> {
        (self.annotation)(key)
    }

    fn gap(&self, why: &str) -> Gap {
        Gap::Opaque(format!("{}: {why}", self.subject).into())
    }

    /// The value of an annotation, if it is there; refused where it is no whole number in the range.
    fn number(&self, key: &str, unit: &str, range: &RangeInclusive<i64>) -> Known<Option<Val<i64>>> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        self.parse(&format!("annotation {key}"), &text, unit, range)
            .map(Some)
    }

    fn parse(&self, what: &str, text: &str, unit: &str, range: &RangeInclusive<i64>) -> Known<Val<i64>> {
        match text.parse::<i64>() {
            Ok(value) if range.contains(&value) => Ok(Val::declared(
                value,
                format!("{} {what}: {value} {unit}", self.subject),
            )),
            _ => Err(self.gap(&format!(
                "{what} is `{}`, expected a whole number of {unit} from {} to {}",
                shorten(text),
                range.start(),
                range.end()
            ))),
        }
    }

    /// Whether a list such as `https:443,http:80` makes a port HTTP.
    fn is_http(&self, key: &str, port: u16) -> bool {
        let Some(list) = self.get(key) else { return false };
        list.split(',')
            .filter_map(|item| item.split_once(':'))
            .any(|(protocol, of)| {
                protocol.trim().to_ascii_lowercase().starts_with("http") && of.trim().parse() == Ok(port)
            })
    }
}

/// The idle timeout of the load balancer in front of a port, seconds.
pub fn idle(service: &LbService<'_>, listener: LbPort<'_>) -> Known<Val<i64>> {
    idle_of(service, &device(service)?, listener)
}

fn idle_of(service: &LbService<'_>, device: &Val<Device>, listener: LbPort<'_>) -> Known<Val<i64>> {
    let LbPort {
        number: port, udp, ..
    } = listener;
    let found = match device.value {
        Device::AwsNlb => aws_nlb(service, listener),
        Device::AwsClb if udp => Err(service.gap("a Classic Load Balancer has no UDP listener")),
        Device::AwsClb => declared_or(
            service,
            &format!("{AWS}connection-idle-timeout"),
            &AWS_CLB,
            "AWS CLB",
        ),
        Device::Azure => azure(service, udp),
        Device::GcpInternal => Ok(Val::default_of(
            GCP_INTERNAL_SECONDS,
            format!(
                "{}: GCP internal passthrough load balancer (connectionTrackingPolicy.idleTimeoutSec)",
                service.subject
            ),
        )),
        // Compute API, `connectionTrackingPolicy.idleTimeoutSec`: it forwards packets as they are, so what it has forgotten
        // is lost only where the nodes have changed.
        Device::GcpExternal => Err(service.gap(
            "GCP's external passthrough load balancer forgets a connection after 60 s, and then finds its node again \
             unless nodes have come or gone: how long one lasts is not known",
        )),
        Device::AlibabaClb => alibaba_clb(service, port, udp),
        Device::AlibabaNlb => {
            let limit = if udp { &ALIBABA_NLB_UDP } else { &ALIBABA_NLB_TCP };
            declared_or(service, &format!("{ALIBABA}idle-timeout"), limit, "Alibaba NLB")
        }
        Device::Huawei => huawei(service, port, udp),
        Device::Tencent => tencent(service, port, udp),
        Device::Octavia if udp => Err(service.gap("the idle timeout of Octavia for UDP is not documented")),
        Device::Octavia => listener::octavia(service, "timeout-client-data"),
        Device::Oci => listener::oci(service),
        Device::OciNetwork => Ok(listener::oci_network(service, udp)),
        Device::DigitalOcean => listener::digitalocean(service, port),
    }?;
    Ok(likely(found, device))
}

/// A default of a device that is only likely is Assumed.
fn likely(found: Val<i64>, device: &Val<Device>) -> Val<i64> {
    if device.origin == Origin::Assumed && found.origin == Origin::Default {
        Val::assumed(found.value, format!("{}; {}", found.source, device.source))
    } else {
        found
    }
}

fn huawei_speaks_http(service: &LbService<'_>, port: u16) -> bool {
    service.is_http("kubernetes.io/elb.protocol-port", port)
}

fn declared_or(service: &LbService<'_>, key: &str, limit: &Bounds, what: &str) -> Known<Val<i64>> {
    let declared = service.number(key, "seconds", &limit.range)?;
    Ok(declared.unwrap_or_else(|| {
        Val::default_of(
            limit.usual,
            format!("{}: {what} default, annotation {key} is not set", service.subject),
        )
    }))
}

fn aws_nlb(service: &LbService<'_>, listener: LbPort<'_>) -> Known<Val<i64>> {
    const ATTRIBUTE: &str = "tcp.idle_timeout.seconds";
    let LbPort {
        number: port,
        name,
        udp,
    } = listener;
    let subject = service.subject;
    if udp {
        return Ok(Val::assumed(
            AWS_NLB_UDP_SECONDS,
            format!("{subject}: AWS NLB default for UDP"),
        ));
    }
    // People put the Classic annotation here as well, where nothing reads it.
    let classic = format!("{AWS}connection-idle-timeout");
    let note = service
        .get(&classic)
        .map(|_| format!("; annotation {classic} has no effect on an NLB"))
        .unwrap_or_default();
    let tls = service.get(&format!("{AWS}ssl-cert")).is_some() && {
        let ports = service
            .get(&format!("{AWS}ssl-ports"))
            .unwrap_or_else(|| "*".into());
        ports
            .split(',')
            .map(str::trim)
            // By number or by name: aws-load-balancer-controller, `pkg/service/model_build_listener.go`.
            .any(|p| p == "*" || p.parse() == Ok(port) || (!p.is_empty() && p == name))
    };
    let legacy = service.class.is_none() && service.get(&format!("{AWS}type")).as_deref() == Some("nlb");
    if tls {
        return Ok(Val::default_of(
            AWS_NLB_TCP.usual,
            format!("{subject}: AWS NLB, fixed for TLS listeners{note}"),
        ));
    }
    for protocol in ["TCP", "TCP_UDP"] {
        let key = format!("{AWS}listener-attributes.{protocol}-{port}");
        let Some(list) = service.get(&key).filter(|_| !legacy) else {
            continue;
        };
        let mut wanted = list.split(',').filter_map(|item| item.split_once('='));
        if let Some((_, value)) = wanted.rfind(|(name, _)| name.trim() == ATTRIBUTE) {
            let what = format!("annotation {key} {ATTRIBUTE}");
            return service.parse(&what, value.trim(), "seconds", &AWS_NLB_TCP.range);
        }
    }
    Ok(Val::default_of(
        AWS_NLB_TCP.usual,
        format!("{subject}: AWS NLB default for TCP{note}"),
    ))
}

fn azure(service: &LbService<'_>, udp: bool) -> Known<Val<i64>> {
    let minutes = service.number(AZURE_IDLE, "minutes", &AZURE_MINUTES.range)?;
    let usual = AZURE_MINUTES.usual * 60;
    if udp {
        return Ok(Val::assumed(
            usual,
            format!("{}: Azure load balancer default, for UDP", service.subject),
        ));
    }
    Ok(match minutes {
        Some(minutes) => minutes.map(|minutes| minutes * 60),
        None => Val::default_of(
            usual,
            format!(
                "{}: Azure load balancer default, annotation {AZURE_IDLE} is not set",
                service.subject
            ),
        ),
    })
}

fn alibaba_clb(service: &LbService<'_>, port: u16, udp: bool) -> Known<Val<i64>> {
    if udp {
        return Err(service.gap("the idle timeout of an Alibaba CLB for UDP is not documented"));
    }
    if service.is_http(&format!("{ALIBABA}protocol-port"), port) {
        return declared_or(
            service,
            &format!("{ALIBABA}idle-timeout"),
            &ALIBABA_CLB_HTTP,
            "Alibaba CLB, HTTP listener",
        );
    }
    let key = format!("{ALIBABA}established-timeout");
    let declared = service.number(&key, "seconds", &ALIBABA_CLB_TCP.range)?;
    Ok(declared.unwrap_or_else(|| {
        let source = format!(
            "{}: Alibaba CLB default by most vendor pages, annotation {key} is not set",
            service.subject
        );
        Val::assumed(ALIBABA_CLB_TCP.usual, source)
    }))
}

fn tencent(service: &LbService<'_>, port: u16, udp: bool) -> Known<Val<i64>> {
    if let Some(protocol) = tencent_protocol(service, port)? {
        return Err(service.gap(&format!(
            "the idle timeout of a Tencent CLB for {} is not documented",
            shorten(&protocol)
        )));
    }
    let (tcp, of_udp) = TENCENT_SECONDS;
    let (seconds, what) = if udp { (of_udp, "UDP") } else { (tcp, "TCP") };
    let source = format!("{}: Tencent CLB default for {what}", service.subject);
    // One that others made or configure may have been given another time.
    let of_others = [
        format!("{TENCENT_OLDER}existed-lbid"),
        format!("{TENCENT}tke-service-config"),
    ];
    Ok(match of_others.iter().find(|key| service.get(key).is_some()) {
        Some(key) => Val::assumed(seconds, format!("{source}; annotation {key} may give it another")),
        None => Val::default_of(seconds, source),
    })
}

/// What a listener speaks that is not plain TCP or UDP: TKE guide, `specify-protocol`,
/// `{"443": {"protocol": ["HTTPS"]}}`.
fn tencent_protocol(service: &LbService<'_>, port: u16) -> Known<Option<String>> {
    #[derive(serde::Deserialize)]
    struct TencentPort {
        #[serde(default)]
        protocol: Vec<String>,
    }
    let key = format!("{TENCENT}specify-protocol");
    let Some(text) = service.get(&key) else {
        return Ok(None);
    };
    let ports: std::collections::BTreeMap<String, TencentPort> =
        serde_json::from_str(&text).map_err(|_| {
            service.gap(&format!(
                "annotation {key} is `{}`, expected JSON",
                shorten(&text)
            ))
        })?;
    let spoken = ports.get(&port.to_string()).map_or(&[][..], |one| &one.protocol);
    Ok(spoken
        .iter()
        .find(|one| !matches!(&***one, "TCP" | "UDP"))
        .cloned())
}

fn huawei(service: &LbService<'_>, port: u16, udp: bool) -> Known<Val<i64>> {
    if udp {
        return Err(
            service.gap("the idle timeout of a Huawei ELB for UDP cannot be set and is not documented")
        );
    }
    let http = huawei_speaks_http(service, port);
    let (limit, what) = if http {
        (&HUAWEI_HTTP, "Huawei ELB, HTTP listener")
    } else {
        (&HUAWEI_TCP, "Huawei ELB")
    };
    declared_or(service, HUAWEI_IDLE, limit, what)
}
