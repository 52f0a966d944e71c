//! The command lines of the programs of a control plane.

use std::net::Ipv4Addr;
use std::path::Path;

/// Addresses handed out to Services; wide enough for the largest load.
const SERVICE_RANGE: &str = "10.96.0.0/12";

fn args(list: &[&str]) -> Vec<String> {
    list.iter().map(|&arg| arg.to_owned()).collect()
}

/// One member of etcd, on ports of the loopback address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) client: u16,
    pub(crate) peer: u16,
}

impl Member {
    /// The only one, where ports need not be chosen.
    pub(crate) const ALONE: Self = Self {
        name: "etcd",
        client: 2379,
        peer: 2380,
    };

    /// Where API servers reach it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }
}

/// A member of etcd, as fast as it gets: what it stores need not survive the machine.
pub(crate) fn etcd(folder: &Path, member: &Member, members: &[Member]) -> Vec<String> {
    let mut list = args(&[
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    ]);
    let (client, peer) = (member.url(), member.peer_url());
    let all: Vec<_> = members
        .iter()
        .map(|one| format!("{}={}", one.name, one.peer_url()))
        .collect();
    list.extend([
        format!("--name={}", member.name),
        format!("--data-dir={}", folder.join(member.name).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={}", all.join(",")),
    ]);
    list
}

/// What tells one API server from another.
pub(crate) struct ApiServer<'a> {
    pub(crate) index: usize,
    pub(crate) port: u16,
    pub(crate) etcd: &'a str,
    pub(crate) audit_log: Option<&'a Path>,
    pub(crate) accounts: bool,
    pub(crate) reach: Reach,
}

/// Where an API server is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// On the loopback address only, with no kubelets.
    Loopback,
    /// On an address of its own on the loopback device, with a certificate of its own and no kubelets.
    Own(Ipv4Addr),
    /// On an address that nodes and Pods reach, from where kubelets are reached.
    Network(Ipv4Addr),
}

/// An API server.
///
/// What one on the loopback address advertises is an address for documentation: a
/// loopback address would be refused as an endpoint, and the machine's own need
/// not exist.
pub(crate) fn api_server(folder: &Path, server: &ApiServer<'_>) -> Vec<String> {
    let mut list = args(&[
        "--service-account-issuer=https://kubernetes.default.svc",
        "--allow-privileged=true",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
    ]);
    let file = |name: &str| folder.join(name).display().to_string();
    let serving = match server.reach {
        Reach::Own(address) => address.to_string(),
        Reach::Loopback | Reach::Network(_) => "serving".to_owned(),
    };
    list.extend([
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        format!("--secure-port={}", server.port),
        format!("--etcd-servers={}", server.etcd),
        format!("--cert-dir={}", file("certs")),
        format!("--tls-cert-file={}", file(&format!("{serving}.crt"))),
        format!("--tls-private-key-file={}", file(&format!("{serving}.key"))),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--token-auth-file={}", file("tokens.csv")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--service-account-key-file={}", file("accounts.pub")),
    ]);
    match server.reach {
        Reach::Loopback => list.extend([
            "--bind-address=127.0.0.1".into(),
            "--authorization-mode=RBAC".into(),
            format!("--advertise-address=192.0.2.{}", server.index + 1),
        ]),
        Reach::Own(address) => list.extend([
            format!("--bind-address={address}"),
            "--authorization-mode=RBAC".into(),
            format!("--advertise-address={address}"),
        ]),
        Reach::Network(address) => list.extend([
            "--bind-address=0.0.0.0".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            format!("--advertise-address={address}"),
            format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
            format!("--kubelet-client-key={}", file("kubelet-client.key")),
            "--kubelet-preferred-address-types=InternalIP".into(),
            // Webhooks are called at their Pods: no proxy translates Service addresses there.
            "--enable-aggregator-routing=true".into(),
        ]),
    }
    if !server.accounts {
        // Nobody makes the default ServiceAccount, which Pods would wait for.
        list.push("--disable-admission-plugins=ServiceAccount".into());
    }
    if let Some(log) = server.audit_log {
        list.push(format!("--audit-policy-file={}", file("audit-policy.yaml")));
        list.push(format!("--audit-log-path={}", log.display()));
    }
    list
}

/// Every write with its body, and those to Nodes and what evenkeel keeps in its namespace with their answers as well, by which
/// [`crate::invariants`] are judged; every read without.
pub(crate) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  verbs: [create, update, patch, delete]
  resources:
  - group: \"\"
    resources: [nodes]
  - group: evenkeel.dev
    resources: [remediations, remediations/status, remediationapprovals]
- level: RequestResponse
  verbs: [create, update, patch, delete]
  namespaces: [evenkeel-system]
  resources:
  - group: \"\"
    resources: [configmaps]
  - group: coordination.k8s.io
    resources: [leases]
- level: Request
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
";

/// The built-in controllers, each under its own account as in a real cluster.
pub(crate) fn controller_manager(folder: &Path) -> Vec<String> {
    let mut list = args(&[
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]);
    let file = |name: &str| folder.join(name).display().to_string();
    list.extend([
        format!("--kubeconfig={}", file("controller-manager.kubeconfig")),
        format!("--service-account-private-key-file={}", file("accounts.key")),
        format!("--root-ca-file={}", file("ca.crt")),
    ]);
    list
}

/// The scheduler.
pub(crate) fn scheduler(folder: &Path) -> Vec<String> {
    let mut list = args(&["--leader-elect=false", "--secure-port=0"]);
    list.push(format!(
        "--kubeconfig={}",
        folder.join("scheduler.kubeconfig").display()
    ));
    list
}

/// kwok plays the kubelet of every node that carries its annotation, and of no
/// other: nodes applied with a status of their own keep it.
pub(crate) fn kwok(kubeconfig: &Path) -> Vec<String> {
    let mut list = args(&[
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
        "--cidr=10.244.0.1/16",
    ]);
    list.push(format!("--kubeconfig={}", kubeconfig.display()));
    list
}
