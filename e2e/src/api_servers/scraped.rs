//! A real Prometheus that scrapes API servers and etcd, and the Service by which an operator finds it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::monitoring::{PROMETHEUS, Programs, Prometheus, free_port};
use crate::{Address, ControlPlane};

/// Prometheus at work.
#[derive(Debug)]
pub struct Scraped {
    // Dropped in this order: what listens goes before its address.
    _prometheus: Prometheus,
    _address: Address,
}

impl Scraped {
    /// Starts it; its files go to the folder. It scrapes every 15 s, with the administrator's token.
    pub async fn start(plane: &ControlPlane, folder: &Path) -> Result<Self> {
        let address = Address::add()?;
        let at = SocketAddr::from((address.ip(), free_port()?));
        let (ca, token) = (folder.join("scrape.ca.crt"), folder.join("scrape.token"));
        std::fs::write(&ca, plane.authority()?)?;
        std::fs::write(&token, plane.admin_token()?)?;
        let servers: Vec<String> = plane.servers().iter().map(ToString::to_string).collect();
        let members: Vec<String> = plane
            .etcd()
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let config = json!({
            "global": {"scrape_interval": "15s"},
            "scrape_configs": [
                {"job_name": "apiserver", "scheme": "https", "static_configs": [{"targets": servers}],
                    "authorization": {"credentials_file": token},
                    "tls_config": {"ca_file": ca, "server_name": "kubernetes.default.svc"}},
                {"job_name": "etcd", "static_configs": [{"targets": members}]},
            ],
        });
        let programs = Programs::find_or_fetch()?;
        let prometheus = Prometheus::start_with(&programs, folder, &config, at).await?;
        plane.prometheus_service(address.ip(), at.port()).await?;
        Ok(Self {
            _prometheus: prometheus,
            _address: address,
        })
    }

    /// What an operator must be given, to ask it.
    pub fn argument() -> String {
        format!("--prometheus={PROMETHEUS}")
    }
}
