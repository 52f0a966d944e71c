//! Which load balancer stands in front of a Service.

use super::{ALIBABA, AWS, DIGITALOCEAN, HUAWEI_IDLE, LbService, OCI, OCTAVIA, TENCENT, TENCENT_OLDER};
use crate::dataplane::tree::shorten;
use crate::know::{Known, Val};

/// A kind of load balancer whose timeouts differ from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// AWS Network Load Balancer.
    AwsNlb,
    /// AWS Classic Load Balancer.
    AwsClb,
    /// Azure Load Balancer.
    Azure,
    /// GCP internal passthrough.
    GcpInternal,
    /// GCP external passthrough.
    GcpExternal,
    /// Alibaba Classic Load Balancer.
    AlibabaClb,
    /// Alibaba Network Load Balancer.
    AlibabaNlb,
    /// Huawei Elastic Load Balance.
    Huawei,
    /// Tencent Cloud Load Balancer.
    Tencent,
    /// Octavia of `OpenStack`.
    Octavia,
    /// OCI load balancer.
    Oci,
    /// OCI network load balancer.
    OciNetwork,
    /// `DigitalOcean` load balancer.
    DigitalOcean,
}

impl Device {
    /// Its name, short enough for a message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsNlb => "AWS Network Load Balancer",
            Self::AwsClb => "AWS Classic Load Balancer",
            Self::Azure => "Azure load balancer",
            Self::GcpInternal | Self::GcpExternal => "GCP passthrough load balancer",
            Self::AlibabaClb => "Alibaba CLB",
            Self::AlibabaNlb => "Alibaba NLB",
            Self::Huawei => "Huawei ELB",
            Self::Tencent => "Tencent CLB",
            Self::Octavia => "Octavia load balancer",
            Self::Oci => "OCI load balancer",
            Self::OciNetwork => "OCI network load balancer",
            Self::DigitalOcean => "DigitalOcean load balancer",
        }
    }
}

/// Recognises the load balancer: by class, then by the address it was given, then by annotations and by the cloud
/// that the nodes name. Assumed where the cloud is known and the kind only likely; a gap where nothing is.
pub fn device(service: &LbService<'_>) -> Known<Val<Device>> {
    if let Some(class) = service.class {
        return by_class(class)
            .map(|device| Val::declared(device, format!("{} loadBalancerClass {class}", service.subject)))
            .ok_or_else(|| {
                service.gap(&format!(
                    "the load balancer class {} is not known",
                    shorten(class)
                ))
            });
    }
    if let Some((device, name)) = service
        .hostnames
        .iter()
        .find_map(|name| Some((by_hostname(name)?, name)))
    {
        return Ok(Val::declared(
            device,
            format!("{} hostname {}", service.subject, shorten(name)),
        ));
    }
    if service.get(HUAWEI_IDLE).is_some()
        || ["class", "id", "autocreate"]
            .iter()
            .any(|key| service.get(&format!("kubernetes.io/elb.{key}")).is_some())
    {
        return Ok(Val::declared(
            Device::Huawei,
            format!("{} annotations kubernetes.io/elb.*", service.subject),
        ));
    }
    by_cloud(service)
}

/// Classes of aws-load-balancer-controller, EKS Auto Mode, GKE and cloud-provider-alibaba-cloud.
fn by_class(class: &str) -> Option<Device> {
    Some(match class {
        "service.k8s.aws/nlb" | "eks.amazonaws.com/nlb" => Device::AwsNlb,
        "networking.gke.io/l4-regional-internal" | "networking.gke.io/l4-regional-internal-legacy" => {
            Device::GcpInternal
        }
        "networking.gke.io/l4-regional-external" | "networking.gke.io/l4-regional-external-legacy" => {
            Device::GcpExternal
        }
        "alibabacloud.com/nlb" => Device::AlibabaNlb,
        "alibabacloud.com/clb" => Device::AlibabaClb,
        _ => return None,
    })
}

fn by_hostname(name: &str) -> Option<Device> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let aws = name
        .strip_suffix(".amazonaws.com")
        .or_else(|| name.strip_suffix(".amazonaws.com.cn"));
    if let Some(rest) = aws {
        // A Classic one is `name.region.elb`, a Network one `name.elb.region`.
        return if rest.rsplit('.').next() == Some("elb") {
            Some(Device::AwsClb)
        } else if rest.contains(".elb.") {
            Some(Device::AwsNlb)
        } else {
            None
        };
    }
    (name.ends_with(".nlb.aliyuncs.com") || name.ends_with(".nlb.aliyuncsslb.com"))
        .then_some(Device::AlibabaNlb)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cloud {
    Aws,
    Azure,
    Gcp,
    Alibaba,
    Tencent,
    OpenStack,
    Oci,
    DigitalOcean,
}

fn cloud(provider_id: &str) -> Option<Cloud> {
    if let Some((scheme, _)) = provider_id.split_once("://") {
        return Some(match scheme {
            "aws" => Cloud::Aws,
            "azure" => Cloud::Azure,
            "gce" => Cloud::Gcp,
            "alicloud" => Cloud::Alibaba,
            "qcloud" => Cloud::Tencent,
            "openstack" => Cloud::OpenStack,
            "oci" => Cloud::Oci,
            "digitalocean" => Cloud::DigitalOcean,
            _ => return None,
        });
    }
    if provider_id.starts_with("ocid1.instance.") {
        return Some(Cloud::Oci);
    }
    // Alibaba writes `region.instance`: `cn-hangzhou.i-bp1…`.
    provider_id
        .split_once('.')
        .filter(|(region, id)| region.contains('-') && id.starts_with("i-"))
        .map(|_| Cloud::Alibaba)
}

/// Beginnings of annotations that only one cloud's controller reads. They show the cloud where no node does.
const OF_ONE_CLOUD: [(&str, Cloud); 13] = [
    (AWS, Cloud::Aws),
    ("service.beta.kubernetes.io/azure-", Cloud::Azure),
    ("networking.gke.io/", Cloud::Gcp),
    ("cloud.google.com/", Cloud::Gcp),
    (ALIBABA, Cloud::Alibaba),
    (
        "service.beta.kubernetes.io/alicloud-loadbalancer-",
        Cloud::Alibaba,
    ),
    (OCTAVIA, Cloud::OpenStack),
    (OCI, Cloud::Oci),
    ("oci.oraclecloud.com/", Cloud::Oci),
    (DIGITALOCEAN, Cloud::DigitalOcean),
    (TENCENT, Cloud::Tencent),
    (TENCENT_OLDER, Cloud::Tencent),
    ("service.kubernetes.io/qcloud-", Cloud::Tencent),
];

fn by_annotation(service: &LbService<'_>) -> Option<Cloud> {
    let of = |key: &&str| {
        let found = OF_ONE_CLOUD
            .iter()
            .find(|(beginning, _)| key.starts_with(beginning));
        found.map(|(_, cloud)| *cloud)
    };
    let mut clouds = service.keys.iter().filter_map(of);
    let first = clouds.next()?;
    clouds.all(|cloud| cloud == first).then_some(first)
}

/// The cloud of the nodes; where none of them names one, that of the annotations.
fn the_cloud(service: &LbService<'_>) -> Known<Cloud> {
    let clouds: Vec<_> = service.provider_ids.iter().map(|id| cloud(id)).collect();
    // A distribution that names itself, as k3s does, says nothing of the cloud below: then the annotations do.
    let first = if clouds.iter().all(Option::is_none) {
        by_annotation(service)
    } else {
        clouds.first().copied().flatten()
    };
    if clouds.iter().flatten().any(|cloud| Some(*cloud) != first)
        || (clouds.iter().any(Option::is_some) && clouds.iter().any(Option::is_none))
    {
        return Err(service.gap("the nodes are of several providers, so the load balancer's is not known"));
    }
    first.ok_or_else(|| service.gap("the load balancer's provider is not known"))
}

/// The load balancer that a cloud makes of such a Service.
fn by_cloud(service: &LbService<'_>) -> Known<Val<Device>> {
    let subject = service.subject;
    let sure = |device, why: &str| Ok(Val::declared(device, format!("{subject} {why}")));
    match the_cloud(service)? {
        Cloud::Azure => sure(Device::Azure, "nodes or annotations of Azure"),
        Cloud::Tencent => sure(Device::Tencent, "nodes or annotations of Tencent Cloud"),
        Cloud::OpenStack => sure(Device::Octavia, "nodes or annotations of OpenStack"),
        Cloud::DigitalOcean => sure(Device::DigitalOcean, "nodes or annotations of DigitalOcean"),
        Cloud::Oci => {
            let kind = service.get("oci.oraclecloud.com/load-balancer-type");
            sure(
                if kind.as_deref() == Some("nlb") {
                    Device::OciNetwork
                } else {
                    Device::Oci
                },
                "nodes or annotations of OCI",
            )
        }
        Cloud::Alibaba => Ok(Val::assumed(
            Device::AlibabaClb,
            format!("{subject} names no class, so Alibaba's usual CLB is assumed ({ALIBABA}*)"),
        )),
        Cloud::Gcp => {
            let internal = [
                "networking.gke.io/load-balancer-type",
                "cloud.google.com/load-balancer-type",
            ];
            let internal = internal
                .iter()
                .find_map(|key| service.get(key))
                .is_some_and(|kind| kind.eq_ignore_ascii_case("internal"));
            sure(
                if internal {
                    Device::GcpInternal
                } else {
                    Device::GcpExternal
                },
                "nodes or annotations of GCP",
            )
        }
        Cloud::Aws => match service.get(&format!("{AWS}type")).as_deref() {
            Some("nlb" | "nlb-ip" | "external") => sure(Device::AwsNlb, "annotation aws-load-balancer-type"),
            Some(other) => Err(service.gap(&format!(
                "annotation {AWS}type is `{}`, expected nlb, nlb-ip or external",
                shorten(other)
            ))),
            None if service.auto_mode => sure(Device::AwsNlb, "without a class, on nodes of EKS Auto Mode"),
            None => Ok(Val::assumed(
                Device::AwsClb,
                format!(
                    "{subject} names no class or type and has no address yet, so a Classic Load Balancer is assumed"
                ),
            )),
        },
    }
}
