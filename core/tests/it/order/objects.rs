//! Objects by number: valid ones of every kind, and some that cannot be understood.

use std::fmt::Write as _;

use evenkeel_core::know::Source;

use super::world::{Id, NAMESPACES};

fn broken(kind: u8, namespace: &str, name: &str, service: &str) -> String {
    let meta = format!(
        r#""name":"{name}","namespace":"{namespace}","labels":{{"kubernetes.io/service-name":"{service}"}}"#
    );
    match kind % 3 {
        0 => {
            format!(r#"{{"metadata":{{{meta}}},"spec":7,"addressType":7,"webhooks":7,"data":7,"status":7}}"#)
        }
        1 => format!(r#"{{"metadata":{{{meta},"annotations":7}}}}"#),
        _ => format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"kubernetes.io/service-name":null}}}}}}"#
        ),
    }
}

fn service(namespace: &str, name: &str, variant: u8) -> String {
    let spec = match variant {
        0 => r#""type":"ExternalName","externalName":"a.example""#,
        1 => r#""clusterIP":"None","ports":[{"port":80}]"#,
        2 => {
            r#""type":"LoadBalancer","externalTrafficPolicy":"Local","clusterIP":"10.0.0.1","ports":[{"port":80,"name":"http"}]"#
        }
        3 => {
            r#""clusterIP":"10.0.0.1","ports":[{"port":53,"protocol":"UDP","name":"u"},{"port":53,"name":"t"}]"#
        }
        4 => {
            r#""clusterIP":"10.0.0.1","ports":[{"port":53,"name":"t"},{"port":53,"protocol":"UDP","name":"u"},{"port":80}]"#
        }
        _ => r#""clusterIP":"10.0.0.1","ports":[{"port":80,"name":"http"},{"port":443}]"#,
    };
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"app":"a{}"}},
        "annotations":{{"service.beta.kubernetes.io/aws-load-balancer-type":"nlb"}}}},"spec":{{{spec}}}}}"#,
        variant % 2
    )
}

fn slice(namespace: &str, name: &str, service: &str, variant: u8) -> String {
    let mut endpoints = String::new();
    for at in 0..variant % 4 {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(
            endpoints,
            r#"{comma}{{"addresses":["10.1.0.{at}"],"conditions":{{"ready":{}}},"nodeName":"o{}","zone":"z{}",
            "hints":{{"forZones":[{{"name":"z{}"}}],"forNodes":[{}]}}}}"#,
            variant & 4 == 0 || at == 0,
            (variant + at) % 3,
            variant % 2,
            at % 2,
            if variant & 2 == 0 { r#"{"name":"o1"}"# } else { "" },
        );
    }
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}",
        "labels":{{"kubernetes.io/service-name":"{service}"}}}},
        "addressType":"IPv4","endpoints":[{endpoints}],"ports":[{{"port":80}}]}}"#
    )
}

fn node(name: &str, variant: u8) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","labels":{{"topology.kubernetes.io/zone":"z{}","kubernetes.io/os":"linux",
        "{}":""}},
        "annotations":{{"config.cilium.io/bpf-ct-timeout-service-tcp":"{}s"}}}},
        "spec":{{"providerID":"{}","unschedulable":{}}},
        "status":{{"conditions":[{{"type":"Ready","status":"{}"}}],
        "nodeInfo":{{"operatingSystem":"linux","kernelVersion":"{}","kubeletVersion":"v1.3{}.1"}}}}}}"#,
        variant % 3,
        if variant & 8 == 0 {
            "x"
        } else {
            "node-role.kubernetes.io/control-plane"
        },
        100 + u32::from(variant),
        if variant & 1 == 0 { "aws:///z/i-1" } else { "" },
        variant.is_multiple_of(5),
        if variant & 2 == 0 { "True" } else { "Unknown" },
        if variant & 4 == 0 { "6.6.1" } else { "5.4.0" },
        variant % 4,
    )
}

fn daemon_set(name: &str, namespace: &str, variant: u8) -> String {
    let (container, argv, image) = match variant % 4 {
        0 => (
            "kube-proxy",
            r#""--config=/var/lib/kube-proxy/o1""#,
            "kube-proxy:v1.33.1",
        ),
        1 => ("kube-proxy", r#""--proxy-mode=ipvs""#, "kube-proxy:v1.31.0"),
        2 => ("cilium-agent", r#""--config-dir=/tmp""#, "cilium:v1.16.2"),
        _ => ("other", r#""--x""#, "other:1"),
    };
    let config_map = if variant & 4 == 0 { "kube-proxy" } else { "o1" };
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"spec":{{"template":{{"spec":{{
        "containers":[{{"name":"{container}","image":"registry/{image}","command":["{container}"],"args":[{argv}],
        "volumeMounts":[{{"name":"c","mountPath":"/var/lib/kube-proxy"}}]}}],
        "volumes":[{{"name":"c","configMap":{{"name":"{config_map}"}}}}]}}}}}}}}"#
    )
}

fn config_map(name: &str, namespace: &str, variant: u8) -> String {
    let (mode, timeout) = (
        if variant & 1 == 0 { "ipvs" } else { "iptables" },
        u32::from(variant % 3) * 400,
    );
    let data = if name == "cilium-config" {
        format!(r#""bpf-ct-timeout-service-tcp":"{timeout}s","kube-proxy-replacement":"true""#)
    } else {
        format!(
            r#""o1":"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {mode}\nipvs:\n  tcpTimeout: {timeout}s\n""#
        )
    };
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"data":{{{data}}}}}"#)
}

fn pod(namespace: &str, name: &str, variant: u8) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"app":"a{}"}}}},
        "spec":{{"nodeName":"o{}","containers":[{{"name":"{}","image":"kube-proxy:v1.30.0",
        "command":["x","--proxy-mode={}"]}}],
        "securityContext":{{"sysctls":[{{"name":"net.ipv4.tcp_keepalive_time","value":"{}"}}]}}}},
        "status":{{"phase":"{}","conditions":[{{"type":"Ready","status":"{}"}}],
        "startTime":"2026-11-21T13:00:0{}Z"}}}}"#,
        variant % 2,
        variant % 3,
        match variant {
            0..6 => "app",
            6 | 7 => "kube-controller-manager",
            _ => "kube-proxy",
        },
        if variant & 1 == 0 { "ipvs" } else { "nftables" },
        u32::from(variant) * 100,
        if variant == 5 { "Failed" } else { "Running" },
        if variant & 4 == 0 { "True" } else { "False" },
        variant % 3,
    )
}

fn webhooks(kind: &str, name: &str, variant: u8) -> String {
    if variant >= 12 {
        return format!(r#"{{"kind":"{kind}","metadata":{{"name":"{name}"}},"webhooks":7}}"#);
    }
    format!(
        r#"{{"kind":"{kind}","metadata":{{"name":"{name}"}},"webhooks":[{{"name":"w{variant}",
        "failurePolicy":"Fail","rules":[{{"apiGroups":[""],"apiVersions":["v1"],"resources":["{}"],
        "operations":["*"]}}],"clientConfig":{{"service":{{"namespace":"shop","name":"o{}"}}}},
        "objectSelector":{{"matchLabels":{{{}}}}},"timeoutSeconds":{variant}}}]}}"#,
        if variant & 1 == 0 { "nodes" } else { "pods" },
        variant % 3,
        match variant % 4 {
            0 | 1 => "",
            2 => r#""topology.kubernetes.io/zone":"z1""#,
            _ => r#""app":"a1""#,
        },
    )
}

/// Objects of the sources of which little is read.
fn other(source: Source, namespace: &str, name: &str, variant: u8) -> String {
    match source {
        Source::FelixConfigurations => format!(
            r#"{{"metadata":{{"name":"{name}"}},"spec":{{"bpfEnabled":{},"bpfConntrackTimeouts":{{"tcpEstablished":"{}s"}}}}}}"#,
            variant.is_multiple_of(2),
            u32::from(variant) * 100,
        ),
        Source::Installations => format!(
            r#"{{"metadata":{{"name":"{name}"}},"spec":{{"calicoNetwork":{{"linuxDataplane":"{}"}}}}}}"#,
            if variant.is_multiple_of(2) {
                "BPF"
            } else {
                "Iptables"
            },
        ),
        Source::PriorityClasses => format!(
            r#"{{"metadata":{{"name":"{name}"}},"value":{}}}"#,
            i32::from(variant) - 3
        ),
        _ => format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"l":"{variant}"}}}}}}"#
        ),
    }
}

/// The object of these numbers, and whether it is one that cannot be understood.
pub(crate) fn object(source: Source, at: u8, name: u8, variant: u8) -> (Id, String) {
    let (name, service_at) = match (source, name) {
        (Source::ConfigMaps | Source::DaemonSets, 0) => ("kube-proxy".into(), 0),
        (Source::FelixConfigurations | Source::Installations, 0) => ("default".into(), 0),
        (Source::ConfigMaps, 2) => ("cilium-config".into(), 0),
        _ => (format!("o{name}"), name % 3),
    };
    let namespace = match source {
        Source::Nodes
        | Source::Namespaces
        | Source::Webhooks
        | Source::FelixConfigurations
        | Source::Installations
        | Source::PriorityClasses => "",
        Source::ConfigMaps | Source::DaemonSets | Source::CiliumNodeConfigs => "kube-system",
        Source::Pods if name == "o3" => "kube-system",
        // The API servers' own slice, where the name is that of another Service.
        Source::EndpointSlices if name == "o3" => "default",
        _ => NAMESPACES.get(usize::from(at % 2)).copied().unwrap_or_default(),
    };
    let name = name.as_str();
    let kind = if source == Source::Webhooks {
        if at == 0 {
            "ValidatingWebhookConfiguration"
        } else {
            "MutatingWebhookConfiguration"
        }
    } else {
        ""
    };
    let json = if variant >= 12 && kind.is_empty() {
        broken(variant, namespace, name, &format!("o{service_at}"))
    } else {
        match source {
            Source::Services => service(namespace, name, variant),
            Source::EndpointSlices if namespace == "default" => slice(namespace, name, "kubernetes", variant),
            Source::EndpointSlices => slice(
                namespace,
                name,
                &format!("o{}", (service_at + variant / 8) % 3),
                variant,
            ),
            Source::Nodes => node(name, variant),
            Source::Pods => pod(namespace, name, variant),
            Source::DaemonSets => daemon_set(name, namespace, variant),
            Source::ConfigMaps => config_map(name, namespace, variant),
            Source::CiliumNodeConfigs => format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"spec":{{
                "nodeSelector":{{"matchLabels":{{"topology.kubernetes.io/zone":"z{}"}}}},
                "defaults":{{"bpf-ct-timeout-service-tcp":"{variant}00s"}}}}}}"#,
                variant % 3
            ),
            Source::Webhooks => webhooks(kind, name, variant),
            _ => other(source, namespace, name, variant),
        }
    };
    let held = if kind.is_empty() { namespace } else { kind };
    ((source, held.into(), name.into()), json)
}
