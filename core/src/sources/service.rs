//! `v1/Service`.

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, KeptKeys, Row, Text, TextMap, all_pairs, key, name_of, or_default, pairs};
use crate::names::{Key, Name, Names, Pairs};
use crate::policy::Selector;

/// What kind of Service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// A cluster address only, or none when headless.
    ClusterIp,
    /// Also a port on every node.
    NodePort,
    /// Also a cloud load balancer.
    LoadBalancer,
    /// A DNS alias: no data plane at all.
    ExternalName,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// From the API's spelling; absent is TCP.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, DecodeError> {
        match text {
            None | Some("TCP" | "") => Ok(Self::Tcp),
            Some("UDP") => Ok(Self::Udp),
            Some("SCTP") => Ok(Self::Sctp),
            Some(other) => {
                let field = ["protocol".into()];
                Err(DecodeError::other_than(field, other, "TCP, UDP or SCTP"))
            }
        }
    }
}

/// One port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Its name; empty when it has none.
    pub name: Name,
    /// Its number.
    pub port: u16,
    /// Transport protocol.
    pub transport: Transport,
    /// `appProtocol`; empty when absent.
    pub app_protocol: Name,
}

/// What a Service object says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent fields of the object"
)]
pub struct Service {
    /// Its labels.
    pub labels: Pairs,
    /// Annotations that a load balancer or proxy reads.
    pub annotations: Pairs,
    /// What kind it is.
    pub kind: ServiceType,
    /// `clusterIP: None`.
    pub headless: bool,
    /// `spec.selector`; without one somebody else gives it endpoints, often outside of the cluster.
    pub selector: Pairs,
    /// Its ports.
    pub ports: Box<[ServicePort]>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// `trafficDistribution`; empty when absent.
    pub traffic_distribution: Name,
    /// `sessionAffinity: ClientIP`, with its timeout in seconds.
    pub affinity_seconds: Option<u32>,
    /// `loadBalancerClass`; empty when absent.
    pub load_balancer_class: Name,
    /// First hostname or address of `status.loadBalancer.ingress`; empty when absent.
    pub ingress: Name,
    /// `publishNotReadyAddresses`.
    pub publishes_not_ready: bool,
}

impl Service {
    /// Whether it selects Pods of this namespace at all.
    pub fn selects(&self) -> bool {
        !self.selector.is_empty()
    }

    /// Whether it selects Pods with these labels.
    pub fn selects_pod(&self, labels: &Pairs) -> bool {
        let mut wanted = self.selector.iter();
        self.selects() && wanted.all(|(key, value)| labels.get(key) == Some(value))
    }

    /// By what it selects Pods of this namespace; `None` where it selects none.
    pub fn pod_selector(&self, names: &Names) -> Option<Selector> {
        let labels = self.selector.iter();
        self.selects().then(|| Selector {
            labels: labels
                .map(|(key, value)| (names.shared(key), names.shared(value)))
                .collect(),
            expressions: Vec::new(),
        })
    }

    /// Whether it has any data plane: it is neither a DNS alias nor headless.
    pub fn has_data_plane(&self) -> bool {
        self.kind != ServiceType::ExternalName && !self.headless
    }
}

/// Prefixes of annotations that change how traffic flows.
const KEPT_ANNOTATIONS: [&str; 10] = [
    "service.beta.kubernetes.io/",
    "service.kubernetes.io/",
    "service.cilium.io/",
    "kubernetes.io/elb.",
    "networking.gke.io/",
    "cloud.google.com/",
    "alb.ingress.kubernetes.io/target-type",
    "service.cloud.tencent.com/",
    "loadbalancer.openstack.org/",
    "oci.oraclecloud.com/",
];

/// Whether a Service's annotation of this name changes how traffic flows, so that it is kept.
pub fn keeps_annotation(name: &str) -> bool {
    KEPT_ANNOTATIONS.iter().any(|prefix| name.starts_with(prefix))
}

/// What is read of the object.
#[derive(Deserialize)]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spec: Spec<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    status: Status<'a>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    labels: TextMap<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    annotations: TextMap<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, rename = "clusterIP", default)]
    cluster_ip: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    selector: TextMap<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    ports: Vec<Port<'a>>,
    #[serde(borrow, default)]
    internal_traffic_policy: Option<Text<'a>>,
    #[serde(borrow, default)]
    external_traffic_policy: Option<Text<'a>>,
    #[serde(borrow, default)]
    traffic_distribution: Option<Text<'a>>,
    #[serde(borrow, default)]
    session_affinity: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    session_affinity_config: AffinityConfig,
    #[serde(borrow, default)]
    load_balancer_class: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    publish_not_ready_addresses: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct AffinityConfig {
    #[serde(rename = "clientIP", default, deserialize_with = "or_default")]
    client_ip: ClientIp,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ClientIp {
    #[serde(default)]
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "the names are those of the object")]
struct Port<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    port: u16,
    #[serde(borrow, default)]
    protocol: Option<Text<'a>>,
    #[serde(borrow, default)]
    app_protocol: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    load_balancer: BalancerStatus<'a>,
}

#[derive(Deserialize, Default)]
struct BalancerStatus<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    ingress: Vec<Ingress<'a>>,
}

#[derive(Deserialize)]
struct Ingress<'a> {
    #[serde(borrow, default)]
    hostname: Option<Text<'a>>,
    #[serde(borrow, default)]
    ip: Option<Text<'a>>,
}

/// Default of `sessionAffinityConfig.clientIP.timeoutSeconds` (`k8s.io/api/core/v1`, `DefaultClientIPServiceAffinitySeconds`).
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

impl Row for Service {
    const KINDS: &'static [Kind] = &[Kind {
        evidence: true,
        ..Kind::v1("Service", "services", "what traffic is sent to")
    }];

    const KEPT_KEYS: &'static [KeptKeys] = &[("metadata.annotations", keeps_annotation)];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = key(&wire.metadata.namespace, &wire.metadata.name, names)?;
        let spec = wire.spec;
        let kind = match spec.kind.as_deref() {
            None | Some("ClusterIP" | "") => ServiceType::ClusterIp,
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            Some(other) => {
                return Err(DecodeError::other_than(
                    ["spec".into(), "type".into()],
                    other,
                    "ClusterIP, NodePort, LoadBalancer or ExternalName",
                ));
            }
        };
        let ports = spec
            .ports
            .iter()
            .enumerate()
            .map(|(at, port)| {
                let field = || ["spec".into(), "ports".into(), at.into()];
                Ok(ServicePort {
                    name: name_of(port.name.as_ref(), names),
                    port: port.port,
                    transport: Transport::parse(port.protocol.as_deref())
                        .map_err(|why| why.inside(field()))?,
                    app_protocol: name_of(port.app_protocol.as_ref(), names),
                })
            })
            .collect::<Result<_, DecodeError>>()?;
        let affinity_seconds = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            spec.session_affinity_config
                .client_ip
                .timeout_seconds
                .unwrap_or(DEFAULT_AFFINITY_SECONDS)
        });
        let ingress = wire.status.load_balancer.ingress.first();
        let row = Self {
            labels: all_pairs(&wire.metadata.labels, names),
            annotations: pairs(&wire.metadata.annotations, names, keeps_annotation),
            kind,
            headless: spec.cluster_ip.as_deref() == Some("None"),
            selector: all_pairs(&spec.selector, names),
            ports,
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            traffic_distribution: name_of(spec.traffic_distribution.as_ref(), names),
            affinity_seconds,
            load_balancer_class: name_of(spec.load_balancer_class.as_ref(), names),
            ingress: name_of(
                ingress.and_then(|one| one.hostname.as_ref().or(one.ip.as_ref())),
                names,
            ),
            publishes_not_ready: spec.publish_not_ready_addresses,
        };
        Ok((key, row))
    }
}
