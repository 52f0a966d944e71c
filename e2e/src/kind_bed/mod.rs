//! A cluster of kind: what most people try a release on.
//!
//! Where a container engine answers, it is used as it is, with the node image that
//! kind chooses. Where none does, Debian's Docker is started in namespaces of its
//! own, and a node image is built from Debian's packages and the bed's programs,
//! so that nothing has to be pulled. Either way the same kind runs the same commands.

mod engine;
mod node_image;
mod pods;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::binaries::{Binaries, Program};
use crate::client::client_of;
use crate::folder::Folder;
use crate::node_bed::door::Door;
use engine::Engine;

/// How long nodes get to be Ready after kind is done; minutes only on an overloaded machine.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// Where the API server listens inside an engine of our own.
const API_PORT: u16 = 6443;

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct KindOptions {
    /// Workers beside the control plane.
    pub workers: u8,
    /// The node image, instead of kind's own or the one built here.
    pub image: Option<String>,
}

/// A running cluster of kind. Dropping it deletes the cluster, and ends the engine
/// where that was started for it.
#[derive(Debug)]
pub struct KindBed {
    name: String,
    kind: PathBuf,
    kubeconfig: PathBuf,
    door: Option<Door>,
    engine: Engine,
    folder: Folder,
}

/// Installs and builds what a cluster of kind needs here: all of it is there before the first test starts.
pub fn prepare() -> Result<Binaries> {
    let binaries = Binaries::find_or_build(&[Program::Kind, Program::Kubectl])?;
    if !engine::answers() {
        engine::supplies()?;
        node_image::build()?;
    }
    Ok(binaries)
}

impl KindBed {
    /// Makes a cluster and waits until its nodes are `Ready`.
    ///
    /// On a machine without an engine the first time takes minutes: Docker is
    /// installed and a node image is built.
    pub async fn start(options: KindOptions) -> Result<Self> {
        let bed = tokio::task::spawn_blocking(move || Self::create(&options)).await??;
        bed.until_ready().await?;
        Ok(bed)
    }

    fn create(options: &KindOptions) -> Result<Self> {
        let kind = Binaries::find_or_build(&[Program::Kind])?
            .path(Program::Kind)?
            .to_owned();
        let folder = Folder::new()?;
        let engine = Engine::find_or_start(folder.path())?;
        let image = match (&options.image, engine.is_own()) {
            (Some(image), _) => Some(image.clone()),
            (None, true) => Some(node_image::load(&engine)?),
            (None, false) => None,
        };
        let own_image = engine.is_own() && options.image.is_none();
        let mut bed = Self {
            name: format!("evenkeel-{}", std::process::id()),
            kind,
            kubeconfig: folder.path().join("admin.kubeconfig"),
            door: None,
            engine,
            folder,
        };
        let config = bed.folder.path().join("kind.yaml");
        fs::write(&config, cluster(options.workers, own_image).to_string())
            .context("writing kind's configuration")?;
        let config = config.display().to_string();
        let mut args = vec!["create", "cluster", "--retain", "--config", &config];
        if let Some(image) = &image {
            args.extend(["--image", image]);
        }
        bed.run_kind(&args)?;
        if own_image {
            pods::connect(&bed.engine, &bed.name)?;
        }
        if let Some(network) = bed.engine.network()? {
            let door = Door::open(network, ([127, 0, 0, 1], API_PORT).into())?;
            let text = fs::read_to_string(&bed.kubeconfig).context("reading kind's kubeconfig")?;
            let text = text.replace(
                &format!("127.0.0.1:{API_PORT}"),
                &format!("127.0.0.1:{}", door.port()),
            );
            fs::write(&bed.kubeconfig, text).context("writing the kubeconfig")?;
            bed.door = Some(door);
        }
        Ok(bed)
    }

    async fn until_ready(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client().await?);
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let waiting: Vec<_> = nodes
                .list(&ListParams::default())
                .await
                .context("listing the nodes of kind")?
                .into_iter()
                .filter(|node| crate::node_bed::condition(node) != Some("True"))
                .filter_map(|node| node.metadata.name)
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not Ready after {} s: {waiting:?}", READY_WITHIN.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn run_kind(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.kind);
        command
            .args(args)
            .args(["--name", &self.name])
            .env("KUBECONFIG", &self.kubeconfig);
        run(self.engine.aim(&mut command), &format!("kind {}", args.join(" "))).map(drop)
    }

    /// Its name in kind; nodes are called after it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file with the administrator's kubeconfig, for processes of this machine.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client with all rights, without retries of its own.
    pub async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig, None).await
    }

    /// Loads an image file into every node, as a user does it.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let archive = archive.display().to_string();
        self.run_kind(&["load", "image-archive", &archive])
    }

    /// The variables with which `docker` and `kind` reach the cluster's engine.
    pub fn engine_variables(&self) -> Vec<(&'static str, String)> {
        self.engine.variables()
    }
}

impl Drop for KindBed {
    fn drop(&mut self) {
        // Nobody comes in while it is taken down.
        drop(self.door.take());
        // An engine of our own takes its containers along.
        if !self.engine.is_own()
            && let Err(error) = self.run_kind(&["delete", "cluster"])
        {
            eprintln!("the cluster {} of kind stays: {error:#}", self.name);
        }
    }
}

/// A `Cluster` of kind. What differs with the image built here: Debian's containerd
/// drives control groups itself, and the network of Pods is not kind's own, which is
/// an image to pull.
fn cluster(workers: u8, own_image: bool) -> Value {
    let mut nodes = vec![json!({"role": "control-plane"})];
    nodes.extend((0..workers).map(|_| json!({"role": "worker"})));
    let mut config = json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": nodes,
    });
    if own_image {
        config["networking"] = json!({
            "disableDefaultCNI": true,
            "apiServerAddress": "127.0.0.1",
            "apiServerPort": API_PORT,
        });
        let kubelet = json!({
            "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": false,
        });
        config["kubeadmConfigPatches"] = json!([kubelet.to_string()]);
    }
    config
}

/// Runs a command to its end, and says what it printed if that was not a good one.
fn run(command: &mut Command, what: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {what}"))?;
    if !output.status.success() {
        bail!(
            "{what} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_image_gets_the_configuration_that_users_have() {
        assert_eq!(
            cluster(1, false),
            json!({
                "kind": "Cluster",
                "apiVersion": "kind.x-k8s.io/v1alpha4",
                "nodes": [{"role": "control-plane"}, {"role": "worker"}],
            })
        );
    }
}
