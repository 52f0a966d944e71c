//! A real Prometheus and a real Alertmanager, run by hand on free ports, with everything in a folder of the caller's.

pub mod answers;
mod bed;
mod fake;
mod packages;
mod prometheus;
mod rules;
mod service;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::http::get;
use crate::ports::free_ports;
use crate::process::Process;

pub use bed::AlertBed;
pub use fake::{Asked, FakePrometheus, Reply};
pub use packages::{Programs, ensure_nft, node_exporter};
pub use prometheus::{Prometheus, Scraping};
pub use rules::{check_rules, impatient, rules, test_rules};
pub use service::{PROMETHEUS, SERVER_NAME, SERVICE};

/// How long an alert may take to come or go: far above what it takes, on a machine that is busy with other tests.
pub const WITHIN: Duration = Duration::from_secs(180);

/// Far above what a start takes, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// A free port of the loopback address, and of every other.
pub fn free_port() -> Result<u16> {
    free_ports(1)?.first().copied().context("no free port")
}

async fn until_ready(process: &mut Process, at: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while !matches!(get(at, "/-/ready").await, Ok((200, _))) {
        let words = process.last_words();
        ensure!(
            process.ended()?.is_none(),
            "{} has ended:\n{words}",
            process.name()
        );
        ensure!(
            start.elapsed() < START,
            "{} is not ready:\n{words}",
            process.name()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A running Alertmanager that tells nobody and can be asked.
#[derive(Debug)]
pub struct Alertmanager {
    process: Process,
    address: SocketAddr,
}

impl Alertmanager {
    /// Starts it and waits until it is ready.
    pub async fn start(programs: &Programs, name: &str, folder: &Path, address: SocketAddr) -> Result<Self> {
        let mut process = Self::process(programs, name, folder, address, &[])?;
        until_ready(&mut process, address).await?;
        Ok(Self { process, address })
    }

    /// Starts one that serves HTTPS, with its certificate and key in PEM; it is ready when it accepts connections.
    pub async fn start_tls(
        programs: &Programs,
        name: &str,
        folder: &Path,
        address: SocketAddr,
        (certificate, key): (&str, &str),
    ) -> Result<Process> {
        let (certificate_file, key_file) = (folder.join("web.crt"), folder.join("web.key"));
        std::fs::write(&certificate_file, certificate)?;
        std::fs::write(&key_file, key)?;
        let web = json!({"tls_server_config": {"cert_file": certificate_file, "key_file": key_file}});
        let file = folder.join(format!("{name}.web.yml"));
        std::fs::write(&file, web.to_string())?;
        let argument = format!("--web.config.file={}", file.display());
        let mut process = Self::process(programs, name, folder, address, &[argument])?;
        let start = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let words = process.last_words();
            ensure!(process.ended()?.is_none(), "{name} has ended:\n{words}");
            ensure!(start.elapsed() < START, "{name} is not ready:\n{words}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(process)
    }

    fn process(
        programs: &Programs,
        name: &str,
        folder: &Path,
        address: SocketAddr,
        more: &[String],
    ) -> Result<Process> {
        let file = folder.join(format!("{name}.yml"));
        let config = json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]});
        std::fs::write(&file, config.to_string())?;
        let mut arguments = vec![
            format!("--config.file={}", file.display()),
            format!("--storage.path={}", folder.join(format!("{name}.data")).display()),
            format!("--web.listen-address={address}"),
            // Alone: members of a cluster share alerts, which would hide who got ours.
            "--cluster.listen-address=".to_owned(),
        ];
        arguments.extend_from_slice(more);
        let (program, arguments) = programs.alertmanager(&arguments);
        Process::start(name, &program, &arguments, folder)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The alerts that fire, by API v2.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        let (code, body) = get(self.address, "/api/v2/alerts").await?;
        ensure!(code == 200, "{} answers {code}: {body}", self.process.name());
        serde_json::from_str(&body).context("the answer is no list of alerts")
    }

    /// The first firing alert of this name and these labels.
    pub async fn alert(&self, name: &str, labels: &[(&str, &str)]) -> Result<Option<Value>> {
        Ok(self.alerts().await?.into_iter().find(|one| {
            let has = |label: &str, value: &str| one["labels"][label] == value;
            has("alertname", name) && labels.iter().all(|(label, value)| has(label, value))
        }))
    }

    /// Waits for such an alert.
    pub async fn until_fires(&self, name: &str, labels: &[(&str, &str)]) -> Result<Value> {
        let start = Instant::now();
        loop {
            if let Some(alert) = self.alert(name, labels).await? {
                return Ok(alert);
            }
            let all = self.alerts().await?;
            ensure!(start.elapsed() < WITHIN, "no {name} {labels:?} in {all:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until no such alert fires.
    pub async fn until_resolved(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let start = Instant::now();
        while let Some(alert) = self.alert(name, labels).await? {
            ensure!(start.elapsed() < WITHIN, "{name} still fires: {alert:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}
