//! The operator that is measured, and the cluster that it watches.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use evenkeel_e2e::load::Size;
use evenkeel_e2e::operator::{Operator, OperatorAccess};
use evenkeel_e2e::process::status_kib;
use evenkeel_e2e::{ControlPlane, client_of};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::api::WatchEvent;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use super::scrape::Scrape;

/// How long a start or a reaction may take before the measurement gives up.
const WITHIN: Duration = Duration::from_secs(120);

/// Where the measured policy lives.
pub(super) const NAMESPACE: &str = "load-000";

/// Its name.
pub(super) const POLICY_NAME: &str = "measured";

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
    /// By the administrator's kubeconfig, or the one that was named.
    pub(super) client: Client,
    /// What it was loaded with.
    pub(super) size: Size,
    kubeconfig: PathBuf,
    /// The account of the bare client of reactions, in a control plane of our own.
    bare: Option<NamedTempFile>,
    folder: TempDir,
    /// The control plane, if it is our own: only then there is an audit log.
    pub(super) plane: Option<ControlPlane>,
}

/// The rights that the bare client of reactions needs, as rules of a `ClusterRole`. They are not those of the manifests: the
/// operator gets no policy by name.
fn rights_of_bare() -> [Value; 3] {
    [
        ("discovery.k8s.io", "endpointslices", ["list", "watch"].as_slice()),
        ("evenkeel.dev", "traffichealthpolicies", &["get"]),
        ("evenkeel.dev", "traffichealthpolicies/status", &["patch"]),
    ]
    .map(|(group, resource, verbs)| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs}))
}

impl Bench {
    /// A cluster of somebody's. The operator has the rights of the kubeconfig.
    pub(super) async fn of(kubeconfig: PathBuf, size: Size) -> Result<Self> {
        Self::with(kubeconfig, size, None, tempfile::tempdir()?).await
    }

    /// A control plane of our own. The operator has the rights of the manifests.
    pub(super) async fn on(plane: ControlPlane, size: Size) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let access = OperatorAccess::make(&plane, "measured", folder.path(), None).await?;
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
        let bare = match &plane {
            Some(plane) => Some(plane.account(NAMESPACE, "bare-client", &rights_of_bare()).await?),
            None => None,
        };
        evenkeel_e2e::apply::apply_yaml(&client, POLICY).await?;
        Ok(Self {
            client,
            size,
            kubeconfig,
            bare,
            folder,
            plane,
        })
    }

    /// The kubeconfig of the bare client of reactions. In a cluster that was named it has the operator's rights, which
    /// are not enough where those are exactly the rights of the manifests: it reads one policy by name.
    pub(super) fn bare_kubeconfig(&self) -> &Path {
        self.bare.as_ref().map_or(&*self.kubeconfig, NamedTempFile::path)
    }

    /// Follows the measured policy, from how it stands.
    pub(super) async fn follow(&self) -> Result<Statuses> {
        let uri = format!(
            "/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/traffichealthpolicies\
             ?watch=true&fieldSelector=metadata.name={POLICY_NAME}"
        );
        let request = http::Request::get(uri).body(Vec::new())?;
        Ok(Statuses(self.client.request_events(request).await?.boxed()))
    }

    /// What the API server has noted so far; nothing where its log cannot be read.
    pub(super) fn noted(&self) -> Result<Option<Vec<Value>>> {
        self.plane.as_ref().map(ControlPlane::audit_events).transpose()
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

/// The measured policy, each time that it changes: polling would be a load of its own.
pub(super) struct Statuses(BoxStream<'static, kube::Result<WatchEvent<Value>>>);

impl Statuses {
    /// Waits until its condition Healthy has this status, and tells how long that took since `start`.
    pub(super) async fn until_healthy(&mut self, status: &str, start: Instant) -> Result<Duration> {
        let until = tokio::time::Instant::from_std(start + WITHIN);
        loop {
            let event = tokio::time::timeout_at(until, self.0.try_next());
            let event = event
                .await
                .with_context(|| format!("not {status} within {} s", WITHIN.as_secs()))?;
            let (WatchEvent::Added(policy) | WatchEvent::Modified(policy)) =
                event?.context("the watch has ended")?
            else {
                continue;
            };
            let mut conditions = policy["status"]["conditions"].as_array().into_iter().flatten();
            let healthy = conditions.find(|one| one["type"] == "Healthy");
            if healthy.is_some_and(|one| one["status"] == status) {
                return Ok(start.elapsed());
            }
        }
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
        Self::start_with(bench, &[]).await
    }

    /// The same with more arguments.
    pub(super) async fn start_with(bench: &Bench, arguments: &[String]) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("evenkeel");
        let start = Instant::now();
        let mut more = vec!["--log=warn".to_owned()];
        more.extend_from_slice(arguments);
        let operator =
            Operator::start_with(&bench.kubeconfig, &binary, "measured", &more, bench.folder.path())?;
        let ready = operator.until_ready().await?;
        operator.until_metric("evenkeel_leader{} 1.0", WITHIN).await?;
        bench.follow().await?.until_healthy("True", start).await?;
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

    /// How many sockets it has open: connections to the API server, but for a few.
    pub(super) fn sockets(&self) -> Result<usize> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.operator.id()))?;
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        Ok(links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count())
    }

    /// What it holds now (`VmRSS` of proc(5)), rounded down.
    pub(super) fn resident_mib(&self) -> u64 {
        status_kib(self.operator.id(), "VmRSS").unwrap_or(0) / 1024
    }

    /// What it has held at most, by the kernel's own mark.
    pub(super) fn peak_mib(&self) -> u64 {
        status_kib(self.operator.id(), "VmHWM").unwrap_or(0) / 1024
    }

    /// Ends it in good order, so that the next one can lead at once.
    pub(super) fn end(self) -> Result<()> {
        self.operator.end()
    }
}
