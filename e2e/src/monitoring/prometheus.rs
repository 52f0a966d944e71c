//! A real Prometheus.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Programs, START, free_port, until_ready};
use crate::http::get;
use crate::process::Process;

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
}

/// What one scrapes, and how it is reached.
#[derive(Debug, Clone)]
pub struct Scraping {
    /// Where it listens.
    pub at: SocketAddr,
    /// Seconds between two scrapes.
    pub interval: u32,
    /// Its jobs, as `scrape_configs` has them.
    pub jobs: Value,
    /// Its web configuration, such as TLS and basic authentication.
    pub web: Option<Value>,
    /// What is before its paths; empty for nothing.
    pub prefix: String,
}

impl Scraping {
    /// One with these jobs that is reached by plain HTTP.
    pub fn of(at: SocketAddr, interval: u32, jobs: Value) -> Self {
        Self {
            at,
            interval,
            jobs,
            web: None,
            prefix: String::new(),
        }
    }
}

impl Prometheus {
    /// Starts one that scrapes these ports of the loopback address every second, evaluates the rules as often, and tells
    /// the Alertmanager.
    pub async fn start(
        programs: &Programs,
        folder: &Path,
        rules: &Value,
        scrape: &[u16],
        alertmanager: SocketAddr,
    ) -> Result<Self> {
        let rules_file = folder.join("rules.yml");
        std::fs::write(&rules_file, rules.to_string())?;
        let targets: Vec<_> = scrape.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules_file],
            "scrape_configs": [{"job_name": "evenkeel", "static_configs": [{"targets": targets}]}],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.to_string()]}]}]},
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        Self::start_with(programs, folder, &config, address).await
    }

    /// Starts one with a configuration of the caller's, at this address.
    pub async fn start_with(
        programs: &Programs,
        folder: &Path,
        config: &Value,
        address: SocketAddr,
    ) -> Result<Self> {
        let mut process = process(programs, "prometheus", folder, address, config, &[])?;
        until_ready(&mut process, address).await?;
        Ok(Self { process, address })
    }

    /// Starts one that scrapes, with its files under this name in the folder. It is ready when it accepts connections.
    pub async fn scraping(
        programs: &Programs,
        name: &str,
        folder: &Path,
        scraping: &Scraping,
    ) -> Result<Self> {
        let interval = format!("{}s", scraping.interval);
        let config = json!({
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": scraping.jobs,
        });
        let mut more = Vec::new();
        if let Some(web) = &scraping.web {
            let file = folder.join(format!("{name}.web.yml"));
            std::fs::write(&file, web.to_string())?;
            more.push(format!("--web.config.file={}", file.display()));
        }
        if !scraping.prefix.is_empty() {
            more.push(format!("--web.route-prefix={}", scraping.prefix));
        }
        let address = scraping.at;
        let process = process(programs, name, folder, address, &config, &more)?;
        let mut this = Self { process, address };
        this.accepts().await?;
        Ok(this)
    }

    /// Ends it and starts it again, with what it has stored.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.restart()?;
        self.accepts().await
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until it accepts connections.
    async fn accepts(&mut self) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let words = self.process.last_words();
            let name = self.process.name();
            ensure!(start.elapsed() < START, "{name} is not ready:\n{words}");
            ensure!(self.process.ended()?.is_none(), "it has ended:\n{words}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names of rules whose alerts are pending or firing.
    pub async fn active(&self) -> Result<Vec<(String, String)>> {
        let (code, body) = get(self.address, "/api/v1/alerts").await?;
        ensure!(
            code == 200,
            "Prometheus answers {code}: {body}\n{}",
            self.process.last_words()
        );
        let answer: Value = serde_json::from_str(&body)?;
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(alerts
            .iter()
            .map(|one| (text(&one["labels"]["alertname"]), text(&one["state"])))
            .collect())
    }
}

fn process(
    programs: &Programs,
    name: &str,
    folder: &Path,
    address: SocketAddr,
    config: &Value,
    more: &[String],
) -> Result<Process> {
    let file: PathBuf = folder.join(format!("{name}.yml"));
    std::fs::write(&file, config.to_string()).with_context(|| format!("writing {}", file.display()))?;
    let mut arguments = vec![
        format!("--config.file={}", file.display()),
        format!(
            "--storage.tsdb.path={}",
            folder.join(format!("{name}.data")).display()
        ),
        format!("--web.listen-address={address}"),
    ];
    arguments.extend_from_slice(more);
    Process::start(name, &programs.prometheus, &arguments, folder)
}
