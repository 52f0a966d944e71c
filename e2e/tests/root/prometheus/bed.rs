//! A control plane with four nodes that exist as objects only, and operators that ask a Prometheus about them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use evenkeel_e2e::monitoring::answers::NodeAnswers;
use evenkeel_e2e::monitoring::{Programs, free_port};
use evenkeel_e2e::operator::{Operator, verdicts};
use evenkeel_e2e::under_test::binary;
use evenkeel_e2e::{Address, ControlPlane, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Far above what anything takes on a busy machine.
pub(super) const WITHIN: Duration = Duration::from_secs(480);

/// The check that everything here is about.
pub(super) const PRESSURE: &str = "ct-table-pressure";

/// Nodes and their addresses, of TEST-NET-2 (RFC 5737).
pub(super) const NODES: [(&str, &str); 4] = [
    ("n1", "198.51.100.1"),
    ("n2", "198.51.100.2"),
    ("n3", "198.51.100.3"),
    ("n4", "198.51.100.4"),
];

/// The limit of each table.
pub(super) const LIMIT: f64 = 100_000.0;

/// Entries of each table: that of `n2` is nearly full.
pub(super) const ENTRIES: [f64; 4] = [10_000.0, 95_000.0, 12_000.0, 9_000.0];

pub(super) struct Bed {
    pub(super) plane: ControlPlane,
    pub(super) folder: TempDir,
    pub(super) programs: Programs,
    address: Address,
}

impl Bed {
    pub(super) async fn start() -> Self {
        let options = Options {
            controller_manager: false,
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await.unwrap();
        plane.install_operator().await.unwrap();
        for (name, address) in NODES {
            let node = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": address}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            });
            plane.apply_yaml(&node.to_string()).await.unwrap();
        }
        Self {
            plane,
            folder: tempfile::tempdir().unwrap(),
            programs: Programs::find_or_fetch().unwrap(),
            address: Address::add().unwrap(),
        }
    }

    /// The address of everything that a Service may name here.
    pub(super) fn ip(&self) -> Ipv4Addr {
        self.address.ip()
    }

    /// A free place for a server that a Service may name.
    pub(super) fn place(&self) -> SocketAddr {
        SocketAddr::from((self.address.ip(), free_port().unwrap()))
    }

    /// Makes the Service of this name in the namespace `monitoring`, with these endpoints.
    pub(super) async fn service(&self, name: &str, at: &[SocketAddr]) {
        let ports: Vec<u16> = at.iter().map(SocketAddr::port).collect();
        self.plane
            .endpoints("monitoring", name, self.address.ip(), &ports)
            .await
            .unwrap();
    }

    /// An operator with a Lease of its own that asks the Prometheus behind this Service.
    pub(super) async fn operator(&self, name: &str, service: &str, more: &[String]) -> Asking {
        let debug = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        let mut arguments = vec![
            format!("--prometheus=monitoring/{service}:web"),
            format!("--lease={name}"),
            format!("--debug-listen={debug}"),
        ];
        arguments.extend_from_slice(more);
        let kubeconfig = self.plane.kubeconfig_path();
        let operator = Operator::start_with(
            kubeconfig,
            binary().unwrap(),
            name,
            &arguments,
            self.folder.path(),
        );
        let operator = operator.unwrap();
        operator.until_ready().await.unwrap();
        Asking { operator, debug }
    }

    /// Writes a file, and returns its path.
    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// A running operator that asks a Prometheus.
pub(super) struct Asking {
    pub(super) operator: Operator,
    debug: SocketAddr,
}

impl Asking {
    /// What a check finds now.
    pub(super) async fn found(&self, check: &str) -> Vec<Value> {
        let mut found = verdicts(self.debug).await.unwrap();
        found.retain(|one| one["check"] == check);
        found
    }

    /// Waits until a check finds what is asked for, and returns how long that took.
    pub(super) async fn until(&self, check: &str, what: &str, is: impl Fn(&[Value]) -> bool) -> Duration {
        let start = Instant::now();
        loop {
            let found = self.found(check).await;
            if is(&found) {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < WITHIN,
                "{check} is not {what}: {found:#?}\n{}",
                self.operator.log().unwrap()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the nearly full table of `n2` is critical, and no other is.
    pub(super) async fn until_critical(&self) -> Duration {
        let critical = |found: &[Value]| matches!(found, [one] if is_critical(one));
        self.until(PRESSURE, "critical on n2 alone", critical).await
    }

    /// Waits until a check is Unknown for this reason and for nothing else, and says nothing besides.
    pub(super) async fn until_unknown(&self, check: &str, reason: &str) -> Duration {
        let unknown = |found: &[Value]| {
            let is = |one: &Value| one["verdict"] == "Unknown" && message(one).contains(reason);
            !found.is_empty() && found.iter().all(is)
        };
        self.until(check, &format!("Unknown: {reason}"), unknown).await
    }
}

/// Whether it is the finding on the nearly full table.
pub(super) fn is_critical(finding: &Value) -> bool {
    finding["subject"]["name"] == "n2"
        && finding["verdict"] == "Violated"
        && finding["severity"] == "critical"
}

/// The message of a finding.
pub(super) fn message(finding: &Value) -> &str {
    finding["message"].as_str().unwrap_or_default()
}

/// What a Prometheus says of the nodes.
pub(super) fn honest() -> NodeAnswers {
    let nodes = NODES.map(|(name, address)| (name.to_owned(), address.to_owned()));
    NodeAnswers {
        nodes: nodes.to_vec(),
        values: vec![
            ("node_nf_conntrack_entries", ENTRIES.to_vec()),
            ("node_nf_conntrack_entries_limit", vec![LIMIT; 4]),
        ],
        taken: None,
    }
}
