//! The configuration files of a node's programs.

use std::path::Path;

use serde_json::{Value, json};

use super::network::{DNS_SERVICE, POD_RANGE};
use super::options::{Detection, ProxyMode};

/// Where containerd listens, inside the node.
pub(crate) const RUNTIME_SOCKET: &str = "/run/containerd/containerd.sock";

/// containerd, in the second version of its format, which 1.6 to 2.x read.
///
/// `restrict_oom_score_adj`: without the capability to lower a score (a container,
/// a small virtual machine) every Pod would fail to start.
pub(crate) fn containerd(root: &Path, plugins: &Path, networks: &Path, pause_image: &str) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
oom_score = 0

[grpc]
address = "{RUNTIME_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "{pause_image}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        root = root.display(),
        plugins = plugins.display(),
        networks = networks.display(),
    )
}

/// The network of Pods: a bridge, addresses from the node's range, no masquerade,
/// as every node and the control plane have routes.
pub(crate) fn pod_network(pod_range: &str) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isDefaultGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": pod_range}]]},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// What tells one kubelet from another.
pub(crate) struct Kubelet<'a> {
    pub(crate) address: String,
    pub(crate) cgroup: String,
    pub(crate) authority: &'a Path,
    pub(crate) resolv_conf: &'a Path,
    pub(crate) detection: Detection,
}

/// A `KubeletConfiguration`. Limits that depend on the machine's disk are off: a
/// full disk of a developer is no reason to evict.
pub(crate) fn kubelet(kubelet: &Kubelet<'_>) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": kubelet.address,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": kubelet.authority},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": kubelet.cgroup,
        // Machines with version 1 of control groups still exist; kubelets refuse it by default.
        "failCgroupV1": false,
        "failSwapOn": false,
        "protectKernelDefaults": false,
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": format!("unix://{RUNTIME_SOCKET}"),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": kubelet.resolv_conf,
        "nodeLeaseDurationSeconds": kubelet.detection.lease_seconds(),
        "nodeStatusUpdateFrequency": "4s",
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
    })
}

/// A `KubeProxyConfiguration`. Bounds of connection tracking stay the kernel's:
/// they are the machine's, and no network of ours may change them.
pub(crate) fn proxy(node: &str, kubeconfig: &Path, mode: ProxyMode, more: &Value) -> Value {
    let mut config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode.name(),
        "hostnameOverride": node,
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": POD_RANGE,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    config
}
