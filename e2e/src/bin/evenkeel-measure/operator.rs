//! The operator that is measured, and the cluster that it watches.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use evenkeel_e2e::load::Size;
use evenkeel_e2e::operator::{Access, Operator};
use evenkeel_e2e::{ControlPlane, client_of};
use kube::Client;
use serde_json::Value;
use tempfile::TempDir;

use super::high_water;
use super::scrape::Scrape;

/// How long a start or a reaction may take before the measurement gives up.
const WITHIN: Duration = Duration::from_secs(120);

/// Where the measured policy lives.
pub(super) const NAMESPACE: &str = "load-000";

/// Wants 15 ready backends of a Service whose slice will lose one.
const POLICY: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: TrafficHealthPolicy
metadata: {name: measured, namespace: load-000}
spec:
  services: {names: [service-00000]}
  balance: {minimumReadyBackends: 15}
---
apiVersion: v1
kind: Namespace
metadata: {name: evenkeel-system}
";

/// A cluster that has been loaded, with the measured policy.
pub(super) struct Bench {
    /// The administrator's, or whoever's kubeconfig was named.
    pub(super) client: Client,
    /// What it was loaded with.
    pub(super) size: Size,
    kubeconfig: PathBuf,
    folder: TempDir,
    /// The control plane, if it is our own: only then there is an audit log.
    pub(super) plane: Option<ControlPlane>,
}

impl Bench {
    /// A cluster of somebody's. The operator has the rights of the kubeconfig.
    pub(super) async fn of(kubeconfig: PathBuf, size: Size) -> Result<Self> {
        Self::with(kubeconfig, size, None, tempfile::tempdir()?).await
    }

    /// A control plane of our own. The operator has the rights of the manifests.
    pub(super) async fn on(plane: ControlPlane, size: Size) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let access = Access::make(&plane, "measured", folder.path(), None).await?;
        Self::with(access.kubeconfig(), size, Some(plane), folder).await
    }

    async fn with(
        kubeconfig: PathBuf,
        size: Size,
        plane: Option<ControlPlane>,
        folder: TempDir,
    ) -> Result<Self> {
        let administrator = plane.as_ref().map_or(&*kubeconfig, ControlPlane::kubeconfig_path);
        let client = client_of(administrator, None).await?;
        evenkeel_e2e::apply::apply_yaml(&client, POLICY).await?;
        Ok(Self {
            client,
            size,
            kubeconfig,
            folder,
            plane,
        })
    }

    /// Waits until a policy's condition Healthy has this status, and tells how long that took since `start`.
    pub(super) async fn until_healthy(&self, status: &str, start: Instant) -> Result<Duration> {
        let path =
            format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/traffichealthpolicies/measured");
        loop {
            let request = http::Request::get(&path).body(Vec::new())?;
            let policy: Value = self.client.request(request).await?;
            let conditions = policy["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            let healthy = conditions.find(|one| one["type"] == "Healthy");
            if healthy.is_some_and(|one| one["status"] == status) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > WITHIN {
                bail!("not {status} within {} s: {healthy:?}", WITHIN.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Changes an object.
    pub(super) async fn patch(&self, path: &str, kind: &str, body: &Value) -> Result<()> {
        let request = http::Request::patch(path)
            .header(http::header::CONTENT_TYPE, kind)
            .body(serde_json::to_vec(body)?)?;
        let answer = self.client.request_text(request).await;
        answer.with_context(|| format!("patching {path}")).map(drop)
    }
}

/// A running operator, and how long it took to begin.
pub(super) struct Measured {
    operator: Operator,
    ready: Duration,
    peak_at_start: u64,
}

impl Measured {
    /// Starts it and waits until it leads and has told the measured policy that all is well.
    pub(super) async fn start(bench: &Bench) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("evenkeel");
        let start = Instant::now();
        let more = ["--log=warn".to_owned()];
        let operator =
            Operator::start_with(&bench.kubeconfig, &binary, "measured", &more, bench.folder.path())?;
        let ready = operator.until_ready().await?;
        operator.until_metric("evenkeel_leader{} 1.0", WITHIN).await?;
        bench.until_healthy("True", start).await?;
        let mut this = Self {
            operator,
            ready,
            peak_at_start: 0,
        };
        this.peak_at_start = this.peak_mib();
        Ok(this)
    }

    /// How long it took to be ready.
    pub(super) fn ready(&self) -> Duration {
        self.ready
    }

    /// Prints how it began.
    pub(super) fn tell(&self) {
        println!(
            "cold start to the first verdicts: {:.2} s",
            self.ready.as_secs_f64()
        );
        println!("peak memory after the start: {} MiB", self.peak_at_start);
    }

    pub(super) async fn scrape(&self) -> Result<Scrape> {
        let (code, text) = self.operator.get("/metrics").await?;
        anyhow::ensure!(code == 200, "/metrics answers {code}");
        Ok(Scrape(text))
    }

    /// What it holds now (`VmRSS` of proc(5)), rounded down.
    pub(super) fn resident_mib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.operator.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    }

    /// What it has held at most, by the kernel's own mark.
    pub(super) fn peak_mib(&self) -> u64 {
        high_water(self.operator.id()).unwrap_or(0) / 1024
    }

    /// Ends it in good order, so that the next one can lead at once.
    pub(super) fn end(self) -> Result<()> {
        self.operator.end()
    }
}
