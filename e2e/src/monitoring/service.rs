//! The Service of an Alertmanager or a Prometheus, as an operator finds it.

use std::net::Ipv4Addr;

use anyhow::Result;
use serde_json::json;

use crate::ControlPlane;

/// As `--alertmanager` takes it.
pub const SERVICE: &str = "monitoring/alertmanager:web";

/// As `--prometheus` takes it.
pub const PROMETHEUS: &str = "monitoring/prometheus:web";

/// The name that the certificate of an Alertmanager must have.
pub const SERVER_NAME: &str = "alertmanager.monitoring.svc";

impl ControlPlane {
    /// Makes the Service of an Alertmanager.
    pub async fn alertmanager_service(&self, address: Ipv4Addr, ports: &[u16]) -> Result<()> {
        self.endpoints("monitoring", "alertmanager", address, ports).await
    }

    /// Makes the Service of a Prometheus.
    pub async fn prometheus_service(&self, address: Ipv4Addr, port: u16) -> Result<()> {
        self.endpoints("monitoring", "prometheus", address, &[port]).await
    }

    /// Makes the Service with a port `web` whose endpoints are these ports of the address, one `EndpointSlice` each.
    pub async fn endpoints(
        &self,
        namespace: &str,
        name: &str,
        address: Ipv4Addr,
        ports: &[u16],
    ) -> Result<()> {
        let mut objects = vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                "spec": {"ports": [{"name": "web", "port": 9093}]}}),
        ];
        objects.extend(ports.iter().map(|port| {
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{name}-{port}"),
                    "namespace": namespace,
                    "labels": {
                        "kubernetes.io/service-name": name,
                        "endpointslice.kubernetes.io/managed-by": "evenkeel-bed",
                    },
                },
                "addressType": "IPv4",
                "ports": [{"name": "web", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
            })
        }));
        for object in objects {
            self.apply_yaml(&object.to_string()).await?;
        }
        Ok(())
    }
}
