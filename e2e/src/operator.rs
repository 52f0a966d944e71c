//! The operator as a Pod would run it: the real binary, under its own account and exactly the rights of our manifests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::ControlPlane;
use crate::demo::root;
use crate::monitoring::{free_port, get};
use crate::process::Process;

/// What of the manifests a control plane without kubelets needs.
const MANIFESTS: [&str; 4] = ["namespace", "service-account", "rbac", "rbac-kube-system"];

impl ControlPlane {
    /// Installs the kinds, the operator's account and its rights.
    pub async fn install_operator(&self) -> Result<()> {
        self.install_crds(&root().join("crds")).await?;
        for file in MANIFESTS {
            let path = root().join(format!("manifests/{file}.yaml"));
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            self.apply_yaml(&text).await?;
        }
        Ok(())
    }

    /// Writes a kubeconfig of the operator's account, with a token of its own.
    async fn operator_kubeconfig(&self, name: &str, folder: &Path) -> Result<PathBuf> {
        let path = "/api/v1/namespaces/evenkeel-system/serviceaccounts/evenkeel/token";
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#.to_vec())?;
        let made: Value = self
            .client()
            .await?
            .request(request)
            .await
            .context("asking for a token")?;
        let mut config: Value = serde_saphyr::from_str(&self.kubeconfig()?)?;
        config["users"][0]["user"] = json!({"token": made["status"]["token"]});
        let path = folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    port: u16,
}

impl Operator {
    /// Starts the binary on a control plane; its files and its log go to the folder.
    pub async fn start(
        plane: &ControlPlane,
        binary: &Path,
        name: &str,
        more: &[String],
        folder: &Path,
    ) -> Result<Self> {
        let kubeconfig = plane.operator_kubeconfig(name, folder).await?;
        let port = free_port()?;
        let mut arguments = vec![
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--instance={name}"),
            format!("--listen=127.0.0.1:{port}"),
        ];
        arguments.extend_from_slice(more);
        let process = Process::start(name, binary, &arguments, folder)?;
        Ok(Self { process, port })
    }

    /// Where it serves its metrics, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Everything that it has logged.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.process.log()).context("reading the operator's log")
    }

    /// Asks it to end and waits until it has, in good order.
    pub fn end(mut self) -> Result<()> {
        let status = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status()?;
        ensure!(status.success(), "the operator cannot be signalled");
        let start = Instant::now();
        loop {
            if let Some(ended) = self.process.ended()? {
                ensure!(ended.success(), "the operator ended with {ended}");
                return Ok(());
            }
            ensure!(
                start.elapsed() < Duration::from_secs(60),
                "the operator does not end"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first line of its metrics that begins so.
    pub async fn metric(&self, begins: &str) -> Result<Option<String>> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // Not listening yet is no line yet.
        let Ok((_, text)) = get(at, "/metrics").await else {
            return Ok(None);
        };
        Ok(text
            .lines()
            .find(|line| line.starts_with(begins))
            .map(str::to_owned))
    }

    /// Waits for a line of its metrics that begins so.
    pub async fn until_metric(&self, begins: &str, within: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            if let Some(line) = self.metric(begins).await? {
                return Ok(line);
            }
            ensure!(
                start.elapsed() < within,
                "no {begins}; the operator says:\n{}",
                self.process.last_words()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
