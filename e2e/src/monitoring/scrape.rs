//! A Prometheus as the operator finds it: behind a Service, with targets of the caller's.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Programs, until_ready};
use crate::ControlPlane;
use crate::process::Process;

/// As `--prometheus` takes it.
pub const MEASURES: &str = "measures/prometheus:web";

/// Starts a Prometheus at this address that scrapes these static targets every 5 seconds.
///
/// # Errors
/// Why it is not ready.
pub async fn scraping(
    programs: &Programs,
    folder: &Path,
    address: SocketAddr,
    targets: &[Value],
) -> Result<Process> {
    let config = json!({
        "global": {"scrape_interval": "5s"},
        "scrape_configs": [{"job_name": "pods", "static_configs": targets}],
    });
    let file = folder.join("scraping.yml");
    std::fs::write(&file, config.to_string())?;
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.join("scraping.data").display()),
        format!("--web.listen-address={address}"),
    ];
    let mut process = Process::start("scraping", &programs.prometheus, &arguments, folder)?;
    until_ready(&mut process, address).await?;
    Ok(process)
}

impl ControlPlane {
    /// Makes the Service whose only endpoint is this Prometheus.
    ///
    /// # Errors
    /// What the API server refuses.
    pub async fn prometheus_service(&self, at: SocketAddr) -> Result<()> {
        let [namespace, name] = ["measures", "prometheus"];
        let labels = json!({
            "kubernetes.io/service-name": name,
            "endpointslice.kubernetes.io/managed-by": "evenkeel-bed",
        });
        for object in [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                "spec": {"ports": [{"name": "web", "port": 9090}]}}),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "ports": [{"name": "web", "port": at.port(), "protocol": "TCP"}],
                "endpoints": [{"addresses": [at.ip().to_string()], "conditions": {"ready": true}}]}),
        ] {
            self.apply_yaml(&object.to_string()).await?;
        }
        Ok(())
    }
}
