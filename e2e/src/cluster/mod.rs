//! The operator as people run it: Pods of its own image on real kubelets, installed from the manifests.
//!
//! Any bed that has kubelets is enough ([`Bed`]), so that the same story is told on nodes in namespaces and on kind.

mod claims;
mod overlay;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use evenkeel::api::{TrafficHealthPolicy, TrafficHealthPolicyStatus};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::binaries::{Binaries, Program};
use crate::client::client_of;
use crate::kind_bed::KindBed;
use crate::node_bed::NodeBed;

pub use claims::Claims;
pub use overlay::Overlay;

/// The operator's namespace, by the manifests.
pub const NAMESPACE: &str = "evenkeel-system";

/// Selects its Pods.
const SELECTOR: &str = "app.kubernetes.io/name=evenkeel";

/// Far above what anything takes on a busy machine; nothing is judged by it.
pub const WITHIN: Duration = Duration::from_secs(180);

/// How often a condition is asked for: what is measured is this much too long at most.
const EVERY: Duration = Duration::from_millis(20);

/// A cluster with kubelets, made for tests.
pub trait Bed {
    /// The administrator's kubeconfig.
    fn kubeconfig(&self) -> &Path;

    /// Gives an image file to every node.
    fn load(&mut self, archive: &Path) -> Result<()>;
}

impl Bed for NodeBed {
    fn kubeconfig(&self) -> &Path {
        self.kubeconfig_path()
    }

    fn load(&mut self, archive: &Path) -> Result<()> {
        self.import_image(archive)
    }
}

impl Bed for KindBed {
    fn kubeconfig(&self) -> &Path {
        self.kubeconfig_path()
    }

    fn load(&mut self, archive: &Path) -> Result<()> {
        self.load_image(archive)
    }
}

/// A cluster with the operator in it, or about to have it, as its administrator sees it.
#[allow(missing_debug_implementations, reason = "a client has none")]
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

impl Cluster {
    /// The cluster of a bed.
    pub async fn of(bed: &impl Bed) -> Result<Self> {
        let kubectl = tokio::task::spawn_blocking(|| Binaries::find_or_build(&[Program::Kubectl])).await??;
        Ok(Self {
            client: client_of(bed.kubeconfig(), None).await?,
            kubeconfig: bed.kubeconfig().to_owned(),
            kubectl: kubectl.path(Program::Kubectl)?.to_owned(),
        })
    }

    /// A client with all rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl as the administrator, and returns both its outputs.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new(&self.kubectl)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("starting kubectl")?;
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {text}", args.join(" "));
        Ok(text)
    }

    /// Installs an overlay by the command of the README. A warning of the API server, such as one of Pod Security, is
    /// an error.
    pub async fn install(&self, overlay: &Overlay) -> Result<()> {
        let folder = overlay.folder().display().to_string();
        let text = self.kubectl(&["apply", "-k", &folder]).await?;
        ensure!(!text.contains("Warning"), "installing gives warnings: {text}");
        Ok(())
    }

    /// Waits until all replicas run this image and are ready, and no other Pod is left.
    pub async fn until_rolled_out(&self, image: &str) -> Result<Duration> {
        until("both replicas are ready", WITHIN, async || {
            let pods = self.pods().await?;
            ensure!(pods.len() == 2, "there are {} Pods", pods.len());
            for pod in &pods {
                ensure!(is_ready(pod), "not ready: {}", brief(pod));
                let runs = pod
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.containers[0].image.as_deref());
                ensure!(runs == Some(image), "runs {runs:?}");
            }
            Ok(())
        })
        .await
    }

    /// The operator's Pods.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        let pods = api.list(&ListParams::default().labels(SELECTOR)).await;
        Ok(pods.context("listing the operator's Pods")?.items)
    }

    /// How often containers of the operator were started again.
    pub async fn restarts(&self) -> Result<i32> {
        Ok(self.pods().await?.iter().map(restarts).sum())
    }

    /// The Pod that holds the Lease, with its identity.
    pub async fn leader(&self) -> Result<(Pod, String)> {
        let api: Api<Lease> = Api::namespaced(self.client(), NAMESPACE);
        let lease = api.get("evenkeel").await.context("reading the Lease")?;
        let holder = lease
            .spec
            .and_then(|spec| spec.holder_identity)
            .unwrap_or_default();
        let (name, _) = holder
            .rsplit_once('_')
            .with_context(|| format!("nobody holds the Lease: {holder:?}"))?;
        let pods = self.pods().await?;
        let pod = pods
            .into_iter()
            .find(|pod| pod.metadata.name.as_deref() == Some(name));
        Ok((
            pod.with_context(|| format!("{name} leads, and is no Pod"))?,
            holder,
        ))
    }

    /// Waits until somebody else than this identity leads.
    pub async fn until_led_by_another(&self, than: &str) -> Result<Duration> {
        until("another leads", WITHIN, async || {
            let (_, holder) = self.leader().await?;
            ensure!(holder != than, "{holder} still leads");
            Ok(())
        })
        .await
    }

    /// What a Pod of the operator answers over HTTP, through the API server.
    pub async fn ask(&self, pod: &Pod, path: &str) -> Result<String> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}:8080/proxy{path}");
        let request = http::Request::get(&path).body(Vec::new())?;
        self.client
            .request_text(request)
            .await
            .with_context(|| format!("asking for {path}"))
    }

    /// One metric of a Pod of the operator; the line has to begin with `series` and a space.
    pub async fn metric(&self, pod: &Pod, series: &str) -> Result<f64> {
        let text = self.ask(pod, "/metrics").await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no {series} in {text}"))?;
        value.parse().with_context(|| format!("{series} is {value}"))
    }

    /// The status of a policy, empty when it has none yet.
    pub async fn status(&self, namespace: &str, policy: &str) -> Result<TrafficHealthPolicyStatus> {
        let api: Api<TrafficHealthPolicy> = Api::namespaced(self.client(), namespace);
        let policy = api.get(policy).await.context("reading a policy")?;
        let generation = policy.metadata.generation;
        Ok(policy
            .status
            // What was said of an older generation says nothing of this one.
            .filter(|status| status.observed_generation == generation)
            .unwrap_or_default())
    }

    /// Waits until a policy's condition `Healthy` has a status and a reason, told of its present generation.
    pub async fn until_healthy_is(
        &self,
        namespace: &str,
        policy: &str,
        wanted: [&str; 2],
    ) -> Result<Duration> {
        until(&format!("Healthy is {wanted:?}"), WITHIN, async || {
            let status = self.status(namespace, policy).await?;
            let [_, holds, reason, _] = condition(&status, "Healthy");
            ensure!(
                [&*holds, &*reason] == wanted,
                "it is {holds}/{reason}: {status:#?}"
            );
            Ok(())
        })
        .await
    }
}

/// Type, status, reason and time of the last transition of a condition.
pub fn condition(status: &TrafficHealthPolicyStatus, kind: &str) -> [String; 4] {
    let found = status.conditions.iter().find(|one| one.r#type == kind);
    found.map_or_else(Default::default, |one| {
        [
            one.r#type.clone(),
            format!("{:?}", one.status),
            one.reason.clone(),
            one.last_transition_time.0.to_string(),
        ]
    })
}

/// How often a Pod's containers were started again.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|one| one.restart_count).sum()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|one| one.type_ == "Ready" && one.status == "True")
}

/// What matters of a Pod that is not ready.
fn brief(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    format!(
        "{:?}: {:?}, {:?}",
        pod.metadata.name, status.phase, status.container_statuses
    )
}

/// Asks until the answer is good, tells how long that took, and what the last bad answer was if it never is.
pub async fn until(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Result<()>,
) -> Result<Duration> {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(()) => return Ok(start.elapsed()),
            Err(last) if start.elapsed() > within => {
                bail!("still not so after {} s: {what}; {last:#}", within.as_secs())
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}
