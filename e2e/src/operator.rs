//! The operator as a Pod would run it: the real binary, under its own account and exactly the rights of our manifests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::ControlPlane;
use crate::cluster::NAMESPACE;
use crate::http::get;
use crate::ports::free_ports;
use crate::process::Process;
use crate::repository::root;

/// What of the manifests a control plane without kubelets needs.
const MANIFESTS: [&str; 4] = ["namespace", "service-account", "rbac", "rbac-kube-system"];

/// Far above what a start takes, on a machine that is busy with other tests.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// The same for an answer of `/debug`.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// All findings, as `/debug/verdicts` lists them. A loop that is busy says so, and an answer that takes too long is cut: then
/// the question is asked again.
pub async fn verdicts(debug: SocketAddr) -> Result<Vec<Value>> {
    let start = Instant::now();
    loop {
        if let Ok((200, text)) = get(debug, "/debug/verdicts").await
            && let Ok(mut list) = serde_json::from_str::<Value>(&text)
            && let Some(Value::Array(all)) = list.get_mut("findings").map(Value::take)
        {
            return Ok(all);
        }
        ensure!(
            start.elapsed() < ANSWERS_WITHIN,
            "/debug/verdicts does not answer"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

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
}

/// How an operator reaches its cluster: the two files that a kubelet gives to a Pod and keeps up to date, `ca.crt` and
/// `token`, and a kubeconfig that names them.
#[derive(Debug)]
pub struct OperatorAccess {
    folder: PathBuf,
}

impl OperatorAccess {
    /// Makes the folder of an operator of this name, with a token of its own; `port` is where it finds the API server
    /// instead, such as a proxy's.
    pub async fn make(plane: &ControlPlane, name: &str, folder: &Path, port: Option<u16>) -> Result<Self> {
        let this = Self {
            folder: folder.join(format!("{name}.access")),
        };
        std::fs::create_dir_all(&this.folder).context("making the folder of an account")?;
        this.put("ca.crt", &plane.authority()?)?;
        this.put("token", &plane.token(NAMESPACE, "evenkeel").await?)?;
        let mut config: Value = serde_saphyr::from_str(&plane.kubeconfig()?)?;
        config["users"][0]["user"] = json!({"tokenFile": this.folder.join("token")});
        let cluster = &mut config["clusters"][0]["cluster"];
        cluster["certificate-authority"] = json!(this.folder.join("ca.crt"));
        if let Some(port) = port {
            cluster["server"] = format!("https://127.0.0.1:{port}").into();
        }
        this.put("kubeconfig", &config.to_string())?;
        Ok(this)
    }

    /// Names another server in the kubeconfig, such as a proxy of another protocol.
    pub fn put_server(&self, server: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.kubeconfig()).context("reading a kubeconfig")?;
        let mut config: Value = serde_json::from_str(&text).context("reading a kubeconfig")?;
        config["clusters"][0]["cluster"] = json!({"server": server});
        self.put("kubeconfig", &config.to_string())
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Replaces the authority's certificate.
    pub fn put_authority(&self, pem: &str) -> Result<()> {
        self.put("ca.crt", pem)
    }

    /// Replaces the token.
    pub fn put_token(&self, token: &str) -> Result<()> {
        self.put("token", token)
    }

    /// At once, as a kubelet does it: nobody reads half a file.
    fn put(&self, name: &str, text: &str) -> Result<()> {
        let (new, path) = (self.folder.join(format!("{name}.new")), self.folder.join(name));
        std::fs::write(&new, text).with_context(|| format!("writing {}", new.display()))?;
        std::fs::rename(&new, &path).with_context(|| format!("replacing {}", path.display()))
    }
}

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    port: u16,
    probe_port: u16,
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
        let access = OperatorAccess::make(plane, name, folder, None).await?;
        Self::start_with(&access.kubeconfig(), binary, name, more, folder)
    }

    /// The same with a kubeconfig of the caller's.
    pub fn start_with(
        kubeconfig: &Path,
        binary: &Path,
        name: &str,
        more: &[String],
        folder: &Path,
    ) -> Result<Self> {
        let ports = free_ports(2)?;
        let [port, probe_port] = ports[..] else {
            bail!("no two free ports");
        };
        let mut arguments = vec![
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--instance={name}"),
            format!("--listen=127.0.0.1:{port}"),
            format!("--probe-listen=127.0.0.1:{probe_port}"),
        ];
        arguments.extend_from_slice(more);
        let process = Process::start(name, binary, &arguments, folder)?;
        Ok(Self {
            process,
            port,
            probe_port,
        })
    }

    /// Where it serves its metrics, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it answers probes, on loopback.
    pub fn probe_port(&self) -> u16 {
        self.probe_port
    }

    /// Its process.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything that it has logged.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.process.log()).context("reading the operator's log")
    }

    /// Sends it a signal, as kill(1) names it: `-STOP`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status()?;
        ensure!(status.success(), "the operator cannot be signalled");
        Ok(())
    }

    /// It must still be the process that was started.
    pub fn lives(&mut self) -> Result<()> {
        let ended = self.process.ended()?;
        ensure!(ended.is_none(), "{ended:?}: {}", self.process.last_words());
        Ok(())
    }

    /// Asks it to end and waits until it has, in good order.
    pub fn end(mut self) -> Result<()> {
        self.signal("-TERM")?;
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

    /// Code and body of a GET.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        get(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), path).await
    }

    /// Code and body of a probe: `/livez` or `/readyz`.
    pub async fn probe(&self, path: &str) -> Result<(u16, String)> {
        get(SocketAddr::from((Ipv4Addr::LOCALHOST, self.probe_port)), path).await
    }

    /// Waits until it is ready, and tells how long that took.
    pub async fn until_ready(&self) -> Result<Duration> {
        let start = Instant::now();
        while !matches!(self.probe("/readyz").await, Ok((200, _))) {
            ensure!(
                start.elapsed() < READY_WITHIN,
                "not ready:\n{}",
                self.process.last_words()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(start.elapsed())
    }

    /// The first line of its metrics that begins so.
    pub async fn metric(&self, begins: &str) -> Result<Option<String>> {
        // Not listening yet is no line yet.
        let Ok((_, text)) = self.get("/metrics").await else {
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
