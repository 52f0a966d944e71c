//! A control plane of one's own, on free ports of the loopback address.

mod start;
mod waits;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::OnceCell;

use crate::address::Address;
use crate::apply;
use crate::audit;
use crate::binaries::Binaries;
use crate::client::client_of;
use crate::credentials::{self, context_name};
use crate::folder::Folder;
use crate::options::Options;
use crate::process::Process;
use crate::proxy::Proxy;

use waits::pause;
pub(crate) use waits::{is_ready, until_account};

/// Names the kubeconfig of a cluster for [`ControlPlane::shared`] to use instead
/// of starting one. The usual `KUBECONFIG` is never looked at, so no test can
/// reach a cluster that was not meant for it.
pub const KUBECONFIG_ENV: &str = "EVENKEEL_E2E_KUBECONFIG";

/// How long the programs get to be ready; minutes only on an overloaded machine.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A running control plane. Dropping it ends its processes; its folder stays
/// until the end of this process, and for good after a panic.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order in which they are ended: one that uses another goes before it.
    processes: Vec<Process>,
    folder: Option<Folder>,
    kubeconfig: PathBuf,
    servers: Vec<SocketAddr>,
    /// Ports of the members of etcd, for clients.
    etcd: Vec<u16>,
    controller_manager: bool,
    audit_logs: Vec<PathBuf>,
    channels: Vec<Proxy>,
    // After the processes that listen on them.
    addresses: Vec<Address>,
}

impl ControlPlane {
    /// Starts the programs and waits until every API server is ready.
    ///
    /// Missing programs are built first, which takes minutes once.
    pub async fn start(options: Options) -> Result<Self> {
        if options.api_servers == 0 {
            bail!("a control plane needs an API server");
        }
        let programs = options.programs();
        let binaries = tokio::task::spawn_blocking(move || Binaries::find_or_build(&programs)).await??;
        // Ports are free when chosen, and rarely taken before they are used.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::start_once(&options, &binaries).await {
                Err(error) if attempts < 3 && format!("{error:#}").contains("address already in use") => {}
                done => return done,
            }
        }
    }

    /// The one control plane of this test binary, with default options, or the
    /// cluster that [`KUBECONFIG_ENV`] names.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async {
                match std::env::var_os(KUBECONFIG_ENV) {
                    Some(path) => Ok(Self::existing(path.into())),
                    None => Self::start(Options::default()).await,
                }
            })
            .await
    }

    fn existing(kubeconfig: PathBuf) -> Self {
        Self {
            processes: Vec::new(),
            folder: None,
            kubeconfig,
            servers: Vec::new(),
            etcd: Vec::new(),
            controller_manager: true,
            audit_logs: Vec::new(),
            channels: Vec::new(),
            addresses: Vec::new(),
        }
    }

    fn folder(&self) -> Result<&Path> {
        self.folder
            .as_ref()
            .map(Folder::path)
            .context("this cluster was not started by the test bed")
    }

    /// Waits for every API server.
    async fn until_served(&mut self, deadline: Instant) -> Result<()> {
        for index in 0..self.servers.len() {
            let client = self.client_for(index).await?;
            while !is_ready(&client).await {
                self.all_run()?;
                pause(
                    deadline,
                    &format!("API server {index} is not ready"),
                    &self.kubeconfig,
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Waits for the controllers to have made the first `ServiceAccount`, without
    /// which no Pod could be made.
    async fn until_controlled(&mut self, deadline: Instant) -> Result<()> {
        if self.controller_manager {
            let (client, kubeconfig) = (self.client().await?, self.kubeconfig.clone());
            until_account(&client, "default", deadline, &kubeconfig, || self.all_run()).await?;
        }
        self.all_run()
    }

    fn all_run(&mut self) -> Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                bail!(
                    "{} ended with {status}; its last words:\n{}",
                    process.name(),
                    process.last_words()
                );
            }
        }
        Ok(())
    }

    /// The file with the administrator's kubeconfig: one context for each API
    /// server (`api-0`, `api-1`, ...), the first one current.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The text of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> Result<String> {
        fs::read_to_string(&self.kubeconfig).with_context(|| format!("reading {}", self.kubeconfig.display()))
    }

    /// A client with all rights, without retries of its own, bound to the runtime
    /// it is made in.
    pub async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig, None).await
    }

    /// The same for one of several API servers.
    pub async fn client_for(&self, api_server: usize) -> Result<Client> {
        client_of(&self.kubeconfig, Some(context_name(api_server))).await
    }

    /// Applies every document of a YAML text; see [`apply::apply_yaml`].
    pub async fn apply_yaml(&self, text: &str) -> Result<Vec<DynamicObject>> {
        apply::apply_yaml(&self.client().await?, text).await
    }

    /// Deletes what was applied; see [`apply::remove`].
    pub async fn remove(&self, applied: &[DynamicObject]) -> Result<()> {
        apply::remove(&self.client().await?, applied).await
    }

    /// Installs the CRDs of a folder; see [`apply::install_crds`].
    pub async fn install_crds(&self, folder: &Path) -> Result<()> {
        apply::install_crds(&self.client().await?, folder).await
    }

    /// The audit events of all API servers so far.
    pub fn audit_events(&self) -> Result<Vec<serde_json::Value>> {
        let mut all = Vec::new();
        for log in &self.audit_logs {
            all.extend(audit::events(log)?);
        }
        Ok(all)
    }

    /// The started programs, for tests that look at or end one of them.
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// Waits until every API server answers, as after one was started again.
    pub async fn ready(&mut self) -> Result<()> {
        self.until_served(Instant::now() + READY_WITHIN).await
    }

    /// The first started program whose name begins so, for tests that end or freeze it.
    pub fn process(&mut self, begins: &str) -> Result<&mut Process> {
        let mut all = self.processes.iter_mut();
        all.find(|process| process.name().starts_with(begins))
            .with_context(|| format!("no program {begins}"))
    }

    /// Where the API servers listen.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Ports of the members of etcd on the loopback address, for clients and for their metrics.
    pub fn etcd(&self) -> &[u16] {
        &self.etcd
    }

    /// The administrator's token.
    pub fn admin_token(&self) -> Result<String> {
        let config: serde_json::Value = serde_saphyr::from_str(&self.kubeconfig()?)?;
        let token = config["users"][0]["user"]["token"].as_str();
        Ok(token.context("the kubeconfig has no token")?.to_owned())
    }

    /// By what one API server reaches etcd for the resource of [`Options::channels`].
    pub fn channel(&self, api_server: usize) -> Result<&Proxy> {
        self.channels
            .get(api_server)
            .context("this API server has no channel of its own for a resource")
    }

    /// The certificate of the authority that signed for the API servers, in PEM.
    pub fn authority(&self) -> Result<String> {
        credentials::authority(self.folder()?)
    }

    /// Makes a new authority, which signs new certificates, and starts every API server again with them. The
    /// administrator's kubeconfig names the new one; no client trusts the old one any more.
    pub async fn replace_authority(&mut self) -> Result<()> {
        let own: Vec<_> = self.addresses.iter().map(Address::ip).collect();
        credentials::certify(self.folder()?, &[], &own)?;
        for process in &mut self.processes {
            if process.name().starts_with("kube-apiserver") {
                process.restart()?;
            }
        }
        self.ready().await
    }

    /// A new namespace of its own for a test, ready for Pods.
    pub async fn namespace(&self) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let client = self.client().await?;
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("test-{number}-")),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let made = Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .context("making a namespace")?;
        let name = made.metadata.name.context("the new namespace has no name")?;
        if self.controller_manager {
            let deadline = Instant::now() + READY_WITHIN;
            until_account(&client, &name, deadline, &self.kubeconfig, || Ok(())).await?;
        }
        Ok(name)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.processes.clear();
        if let Some(folder) = &self.folder {
            // The logs may still be wanted, the stored objects are large.
            for member in start::MEMBERS {
                drop(fs::remove_dir_all(folder.path().join(member)));
            }
        }
    }
}
