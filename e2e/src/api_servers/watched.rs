//! An operator that measures API servers by one way, and what it finds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Scraped;
use crate::ControlPlane;
use crate::cluster::NAMESPACE;
use crate::monitoring::free_port;
use crate::operator::{Operator, verdicts};
use crate::repository::root;

/// By what it measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Each API server's own page, and connections to the load balancer.
    Instances,
    /// Prometheus.
    Prometheus,
}

impl By {
    /// The argument of the operator.
    pub fn argument(self) -> String {
        match self {
            Self::Instances => "--instance-metrics".to_owned(),
            Self::Prometheus => Scraped::argument(),
        }
    }

    fn lease(self) -> String {
        format!("evenkeel-{}", self.name())
    }

    /// In a sentence, and as the name of the operator.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Prometheus => "prometheus",
        }
    }
}

/// The right to a Lease of its own, as only the leader measures; that of the usual name is in our manifests.
fn right_to_lease(by: By) -> String {
    let (name, namespace) = (by.lease(), NAMESPACE);
    let metadata = json!({"name": name, "namespace": namespace});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [name],
            "verbs": ["get", "update", "watch"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "evenkeel", "namespace": namespace}]});
    format!("{role}\n---\n{binding}\n")
}

impl ControlPlane {
    /// Gives an operator that is installed the rights of `manifests/components/instance-metrics`.
    pub async fn allow_instance_metrics(&self) -> Result<()> {
        for file in ["rbac.yaml", "rbac-kube-public.yaml"] {
            let path = root().join("manifests/components/instance-metrics").join(file);
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            self.apply_yaml(&text).await?;
        }
        Ok(())
    }
}

/// The operator.
#[derive(Debug)]
pub struct Watched {
    operator: Operator,
    debug: SocketAddr,
    by: By,
}

impl Watched {
    /// Starts one of this binary, and waits until it is ready. Several stand side by side, each with a Lease of its own.
    pub async fn start(plane: &ControlPlane, binary: &Path, by: By, folder: &Path) -> Result<Self> {
        plane.install_operator().await?;
        plane.allow_instance_metrics().await?;
        plane.apply_yaml(&right_to_lease(by)).await?;
        // Ports are free when chosen, and rarely taken before they are used.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::start_once(plane, binary, by, folder).await {
                Err(error) if attempts < 3 && format!("{error:#}").contains("Address already in use") => {}
                done => return done,
            }
        }
    }

    async fn start_once(plane: &ControlPlane, binary: &Path, by: By, folder: &Path) -> Result<Self> {
        let debug = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let more = [
            by.argument(),
            format!("--debug-listen={debug}"),
            format!("--lease={}", by.lease()),
        ];
        let operator = Operator::start(plane, binary, by.name(), &more, folder).await?;
        operator.until_ready().await?;
        Ok(Self { operator, debug, by })
    }

    /// What a check finds now.
    pub async fn found(&self, check: &str) -> Result<Option<Value>> {
        let judged = |one: &Value| one["check"] == check && one["verdict"] == "Violated";
        Ok(verdicts(self.debug).await?.into_iter().find(judged))
    }

    /// Waits until a check finds something, and says after how long.
    pub async fn until_found(&self, check: &str, within: Duration) -> Result<(Value, Duration)> {
        let start = Instant::now();
        loop {
            if let Some(found) = self.found(check).await? {
                return Ok((found, start.elapsed()));
            }
            ensure!(
                start.elapsed() < within,
                "no {check} by {} in {within:?}:\n{}",
                self.by.name(),
                self.operator.log()?
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Waits until a check finds nothing any more.
    pub async fn until_gone(&self, check: &str, within: Duration) -> Result<()> {
        let start = Instant::now();
        while let Some(found) = self.found(check).await? {
            ensure!(start.elapsed() < within, "it stays: {found:#}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// By what it measures.
    pub fn by(&self) -> By {
        self.by
    }

    /// Asks it to end.
    pub fn end(self) -> Result<()> {
        self.operator.end()
    }
}
