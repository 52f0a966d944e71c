//! Real nodes on this machine, without a container engine and without touching
//! the machine's network.
//!
//! Each node is a set of namespaces (processes, mounts, network, host name, IPC)
//! and a control group, in which Debian's containerd and the pinned kubelet and
//! kube-proxy run as they do on a machine of their own. The control plane sits in
//! a network of its own that is the switch between the nodes, so that any node can
//! lose its power. Pods find the API at its Service's address; this process finds
//! it on the loopback address.

pub(crate) mod cgroup;
pub(crate) mod door;
mod hub;
pub(crate) mod images;
mod network;
mod node;
mod options;
pub(crate) mod packages;
pub(crate) mod settings;
pub(crate) mod space;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::api::{DynamicObject, LogParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::apply;
use crate::binaries::{Binaries, Program};
use crate::client::client_of;
use crate::control_plane::{is_ready, until_account};
use crate::credentials::{self, Credentials, ServerAccess};
use crate::folder::Folder;

use door::Door;
pub use hub::Component;
use hub::Hub;
pub use images::{POD_IMAGE, write_pod_image};
pub use node::Node;
use node::Supplies;
pub use options::{Detection, NodeOptions, ProxyMode};

/// How long everything gets to be ready; minutes only on an overloaded machine.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// A running cluster with real nodes. Dropping it ends every process of it; so
/// does the end of this process, however it comes.
#[derive(Debug)]
pub struct NodeBed {
    // In the order in which they are ended.
    nodes: Vec<Node>,
    _door: Door,
    hub: Hub,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    folder: Folder,
}

/// Installs, builds and finds what real nodes need, and returns the programs. Tests find it there, and wait for each
/// other's installations and builds if not.
pub fn prepare() -> Result<Binaries> {
    supplies().map(|(_, binaries, _)| binaries)
}

/// The folder of the network plugins, the programs of nodes, and the program of the bed's images.
fn supplies() -> Result<(PathBuf, Binaries, PathBuf)> {
    let plugins = packages::ensure(&[])?;
    let binaries = Binaries::find_or_build(&Program::NODES)?;
    Ok((plugins, binaries, images::pod_program()?))
}

impl NodeBed {
    /// Starts so many nodes, otherwise as usual, and waits until they are `Ready`.
    ///
    /// Missing programs are built and missing packages installed first, which takes
    /// minutes once.
    pub async fn start(nodes: u8) -> Result<Self> {
        Self::start_with(NodeOptions::nodes(nodes)).await
    }

    /// Starts nodes of a certain kind.
    pub async fn start_with(options: NodeOptions) -> Result<Self> {
        if !(1..=NodeOptions::MOST).contains(&options.nodes) {
            bail!(
                "a bed has 1 to {} nodes, not {}",
                NodeOptions::MOST,
                options.nodes
            );
        }
        let mut this = blocking(move || Self::boot(options)).await?;
        let deadline = Instant::now() + READY_WITHIN;
        this.until_served(deadline).await?;
        let mut this = blocking(move || {
            this.hub.start_clients()?;
            this.nodes.iter_mut().try_for_each(Node::join)?;
            Ok(this)
        })
        .await?;
        let client = this.client().await?;
        let kubeconfig = this.kubeconfig.clone();
        until_account(&client, "default", deadline, &kubeconfig, || this.check()).await?;
        this.until_ready(deadline).await?;
        Ok(this)
    }

    /// Everything up to programs that use the API.
    fn boot(options: NodeOptions) -> Result<Self> {
        let (plugins, binaries, pod) = supplies()?;
        let folder = Folder::new()?;
        let supplies = Supplies {
            binaries,
            pod,
            plugins,
            folder: folder.path().to_owned(),
            options,
        };
        let credentials = credentials_of(&supplies)?;
        let archives = images::write(&supplies.pod, &supplies.folder)?;
        let mut hub = Hub::new(&supplies)?;
        hub.start_server()?;
        let server = (network::CONTROL_PLANE, network::API_PORT).into();
        let door = Door::open(hub.space().network()?, server)?;
        let kubeconfig = supplies.folder.join("admin.kubeconfig");
        let outside = [format!("https://127.0.0.1:{}", door.port())];
        fs::write(
            &kubeconfig,
            credentials.kubeconfig(&credentials::ADMIN, &outside)?,
        )
        .context("writing the administrator's kubeconfig")?;
        let mut nodes = (1..=supplies.options.nodes)
            .map(|number| Node::new(number, &supplies))
            .collect::<Result<Vec<_>>>()?;
        let space = hub.space();
        // Each waits for its own containerd most of the time.
        each(&mut nodes, |node| {
            node.boot(space)?;
            archives.iter().try_for_each(|archive| node.import_image(archive))
        })?;
        Ok(Self {
            nodes,
            _door: door,
            hub,
            kubeconfig,
            kubectl: supplies.binaries.path(Program::Kubectl)?.to_owned(),
            folder,
        })
    }

    async fn until_served(&mut self, deadline: Instant) -> Result<()> {
        let client = self.client().await?;
        while !is_ready(&client).await {
            self.pause(deadline, "the API server is not ready").await?;
        }
        Ok(())
    }

    /// Waits for the nodes that have power, and tells each its Pods' addresses, as
    /// the built-in allocator would if it knew the bed's routes.
    async fn until_ready(&mut self, deadline: Instant) -> Result<()> {
        let api: Api<NodeObject> = Api::all(self.client().await?);
        let mut waiting: BTreeSet<String> = self
            .nodes
            .iter()
            .filter(|node| node.is_on())
            .map(Node::name)
            .collect();
        while !waiting.is_empty() {
            for node in &self.nodes {
                if !waiting.contains(&node.name()) {
                    continue;
                }
                let Some(object) = api.get_opt(&node.name()).await? else {
                    continue;
                };
                if !has_range(&object) {
                    let range =
                        json!({"spec": {"podCIDR": node.pod_range(), "podCIDRs": [node.pod_range()]}});
                    api.patch(&node.name(), &PatchParams::default(), &Patch::Merge(range))
                        .await
                        .with_context(|| format!("giving {} its range of addresses", node.name()))?;
                }
                if condition(&object) == Some("True") {
                    waiting.remove(&node.name());
                }
            }
            if !waiting.is_empty() {
                self.pause(deadline, &format!("not Ready: {waiting:?}")).await?;
            }
        }
        Ok(())
    }

    async fn pause(&mut self, deadline: Instant, complaint: &str) -> Result<()> {
        self.check()?;
        if Instant::now() > deadline {
            bail!(
                "{complaint} after {} s; logs in {}",
                READY_WITHIN.as_secs(),
                self.folder.path().display()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }

    /// Fails with the last words of a program that ended by itself.
    fn check(&mut self) -> Result<()> {
        self.hub.check()?;
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// The file with the administrator's kubeconfig, for processes of this machine.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder with keys, logs and the nodes' state.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client with all rights, without retries of its own, bound to the runtime
    /// it is made in.
    pub async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig, None).await
    }

    /// The nodes, in order of their names.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its place, from 0.
    pub fn node(&mut self, index: usize) -> Result<&mut Node> {
        let count = self.nodes.len();
        self.nodes
            .get_mut(index)
            .with_context(|| format!("there are {count} nodes, none with the index {index}"))
    }

    /// Gives a node its power back, and waits until it is `Ready` again.
    pub async fn power_on(&mut self, index: usize) -> Result<()> {
        let space = self.hub.space();
        let node = self.nodes.get_mut(index).context("no such node")?;
        node.power_on(space)?;
        self.until_ready(Instant::now() + READY_WITHIN).await
    }

    /// Kills a program of the control plane, starts it anew, and waits until the
    /// API answers.
    pub async fn restart(&mut self, component: Component) -> Result<()> {
        self.hub.restart(component)?;
        self.until_served(Instant::now() + READY_WITHIN).await
    }

    /// The API server's audit log, one JSON object a line, if there is one.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.hub.audit_log()
    }

    /// Loads an image file into every node that has power.
    pub fn import_image(&mut self, archive: &Path) -> Result<()> {
        let mut on: Vec<_> = self.nodes.iter_mut().filter(|node| node.is_on()).collect();
        each(&mut on, |node| node.import_image(archive))
    }

    /// Runs kubectl as the administrator and returns what it printed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new(&self.kubectl)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("starting kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl {} ended with {}: {}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Installs a folder as `kubectl apply -k` does, on the server's side.
    pub async fn apply_kustomize(&self, folder: &Path) -> Result<String> {
        let folder = folder.display().to_string();
        self.kubectl(&["apply", "--server-side", "--kustomize", &folder])
            .await
    }

    /// Applies every document of a YAML text; see [`apply::apply_yaml`].
    pub async fn apply_yaml(&self, text: &str) -> Result<Vec<DynamicObject>> {
        apply::apply_yaml(&self.client().await?, text).await
    }

    /// Shows through the API what kube-proxy runs with on every node, as kubeadm does: a `ConfigMap`, and a Pod on each node
    /// that mounts it. Here kube-proxy is a program of the nodes, so the Pods' own program only keeps them running.
    pub async fn publish_proxy_config(&self) -> Result<()> {
        let node = self.nodes.first().context("no nodes")?;
        let config = node.proxy_config()?;
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kube-proxy", "namespace": "kube-system", "labels": {"app": "kube-proxy"}},
            "data": {"config.conf": config},
        });
        self.apply_yaml(&map.to_string()).await?;
        for node in &self.nodes {
            self.apply_yaml(&proxy_pod(&node.name()).to_string()).await?;
        }
        Ok(())
    }

    /// What a Pod with one container has printed so far, through API server and kubelet.
    pub async fn pod_log(&self, namespace: &str, pod: &str) -> Result<String> {
        Api::<Pod>::namespaced(self.client().await?, namespace)
            .logs(pod, &LogParams::default())
            .await
            .with_context(|| format!("reading the log of Pod {namespace}/{pod}"))
    }
}

/// A Pod that looks like kube-proxy's on a node.
fn proxy_pod(node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("kube-proxy-{node}"),
            "namespace": "kube-system",
            "labels": {"component": "kube-proxy"},
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": true,
            "automountServiceAccountToken": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "kube-proxy",
                "image": POD_IMAGE,
                "imagePullPolicy": "Never",
                "args": ["serve", "kube-proxy", "--config=/var/lib/kube-proxy/config.conf"],
                "env": [{"name": "PORT", "value": "18080"}],
                "volumeMounts": [{"name": "kube-proxy", "mountPath": "/var/lib/kube-proxy"}],
            }],
            "volumes": [{"name": "kube-proxy", "configMap": {"name": "kube-proxy"}}],
        },
    })
}

/// The `Ready` condition of a node: `True`, `False`, `Unknown`, or none yet.
pub(crate) fn condition(node: &NodeObject) -> Option<&str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some(ready.status.as_str())
}

fn has_range(node: &NodeObject) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some())
}

/// Keys and kubeconfigs of everybody, as files in the bed's folder.
fn credentials_of(supplies: &Supplies) -> Result<Credentials> {
    let folder = &supplies.folder;
    let names: Vec<_> = (1..=supplies.options.nodes).map(network::name).collect();
    let mut identities = vec![credentials::PROXY];
    identities.extend(names.iter().map(|name| credentials::kubelet(name)));
    let access = ServerAccess {
        names: [
            network::CONTROL_PLANE.to_string(),
            network::API_SERVICE.to_owned(),
            "kubernetes.default.svc.cluster.local".to_owned(),
        ]
        .into(),
        identities,
        instances: Vec::new(),
    };
    let credentials = Credentials::make(folder, &access)?;
    let near = [format!("https://127.0.0.1:{}", network::API_PORT)];
    let far = [format!(
        "https://{}:{}",
        network::CONTROL_PLANE,
        network::API_PORT
    )];
    let mut files = vec![
        (
            folder.join("controller-manager.kubeconfig"),
            credentials.kubeconfig(&credentials::CONTROLLER_MANAGER, &near)?,
        ),
        (
            folder.join("scheduler.kubeconfig"),
            credentials.kubeconfig(&credentials::SCHEDULER, &near)?,
        ),
        (
            folder.join("kube-proxy.kubeconfig"),
            credentials.kubeconfig(&credentials::PROXY, &far)?,
        ),
    ];
    for name in &names {
        fs::create_dir_all(folder.join(name)).with_context(|| format!("making the folder of {name}"))?;
        files.push((
            folder.join(name).join("kubelet.kubeconfig"),
            credentials.kubeconfig(&credentials::kubelet(name), &far)?,
        ));
    }
    for (path, text) in files {
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(credentials)
}

/// Does the same to all at the same time.
fn each<T: Send>(items: &mut [T], work: impl Fn(&mut T) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = items
            .iter_mut()
            .map(|item| scope.spawn(move || work(item)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .fold(Ok(()), Result::and)
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
