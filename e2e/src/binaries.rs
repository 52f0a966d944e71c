//! Where the programs of the control plane come from.
//!
//! Each program is looked for in the folder that `KUBEBUILDER_ASSETS` names, and
//! what is not there is built from the Go modules beside this crate, once for
//! each state of their `go.mod` and `go.sum`. Builds of several processes at the
//! same time wait for each other on a file lock; a finished build is marked, so
//! that an interrupted one is never taken for whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::go_module::GoModule;

/// Names a folder with ready-made programs, as setup-envtest prints it.
pub const ASSETS_ENV: &str = "KUBEBUILDER_ASSETS";

/// A program the test bed can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// The built-in controllers.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// The node's Service data plane.
    Proxy,
    /// The command line.
    Kubectl,
    /// The simulator of kubelets.
    Kwok,
    /// The real agent of a node.
    Kubelet,
    /// What kind sets its clusters up with.
    Kubeadm,
    /// Clusters in containers.
    Kind,
    /// The cluster's DNS.
    CoreDns,
    /// The package manager of charts.
    Helm,
    /// The linter of GitHub's workflows.
    Actionlint,
}

impl Program {
    /// What a control plane without real nodes needs.
    pub const CONTROL_PLANE: [Self; 7] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Proxy,
        Self::Kubectl,
        Self::Kwok,
    ];

    /// What real nodes and their control plane need.
    pub const NODES: [Self; 7] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Proxy,
        Self::Kubectl,
        Self::Kubelet,
    ];

    /// The file name, as in released archives.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Proxy => "kube-proxy",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::Kubelet => "kubelet",
            Self::Kubeadm => "kubeadm",
            Self::Kind => "kind",
            Self::CoreDns => "coredns",
            Self::Helm => "helm",
            Self::Actionlint => "actionlint",
        }
    }

    fn module(self) -> GoModule {
        match self {
            Self::Kwok => GoModule::Kwok,
            Self::Kubelet | Self::Kubeadm => GoModule::Node,
            Self::Kind => GoModule::Kind,
            Self::CoreDns => GoModule::CoreDns,
            Self::Helm | Self::Actionlint => GoModule::Packaging,
            _ => GoModule::ControlPlane,
        }
    }
}

/// Paths of programs that are ready to run.
#[derive(Clone, Debug)]
pub struct Binaries {
    paths: BTreeMap<Program, PathBuf>,
}

impl Binaries {
    /// Finds the wanted programs, and builds those that are nowhere.
    ///
    /// The first build takes minutes and a Go toolchain; its progress goes to
    /// standard error.
    pub fn find_or_build(wanted: &[Program]) -> Result<Self> {
        let assets = std::env::var_os(ASSETS_ENV).map(PathBuf::from);
        let mut paths = BTreeMap::new();
        let mut to_build = BTreeSet::new();
        for &program in wanted {
            match assets.as_deref().and_then(|dir| present(dir, program)) {
                Some(path) => {
                    paths.insert(program, path);
                }
                None => {
                    to_build.insert(program);
                }
            }
        }
        let modules: BTreeSet<GoModule> = to_build.iter().map(|program| program.module()).collect();
        for module in modules {
            let dir = built(module).with_context(|| missing(&to_build, module))?;
            for &program in to_build.iter().filter(|program| program.module() == module) {
                let path = present(&dir, program)
                    .with_context(|| format!("{} did not come out of its build", program.file_name()))?;
                paths.insert(program, path);
            }
        }
        Ok(Self { paths })
    }

    /// The path of a program that was asked for.
    pub fn path(&self, program: Program) -> Result<&Path> {
        self.paths
            .get(&program)
            .map(PathBuf::as_path)
            .with_context(|| format!("{} was not asked for", program.file_name()))
    }

    /// All paths, by program.
    pub fn iter(&self) -> impl Iterator<Item = (Program, &Path)> {
        self.paths
            .iter()
            .map(|(program, path)| (*program, path.as_path()))
    }
}

fn missing(programs: &BTreeSet<Program>, module: GoModule) -> String {
    let names: Vec<_> = programs
        .iter()
        .filter(|program| program.module() == module)
        .map(|program| program.file_name())
        .collect();
    format!(
        "missing {}: install Go and let the test bed build it, or name a folder that has it in {ASSETS_ENV}",
        names.join(", "),
    )
}

fn present(dir: &Path, program: Program) -> Option<PathBuf> {
    let path = dir.join(program.file_name());
    path.is_file().then_some(path)
}

/// The folder with the programs of a module, built if need be.
fn built(module: GoModule) -> Result<PathBuf> {
    let root = target_dir().join("e2e").join("bin");
    fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    let flags = module.linker_flags()?;
    let mut hasher = DefaultHasher::new();
    (module.pinned()?, &flags).hash(&mut hasher);
    let dir = root.join(format!("{}-{:016x}", module.name(), hasher.finish()));
    let done = dir.join(".complete");
    if done.is_file() {
        return Ok(dir);
    }
    let lock = File::create(dir.with_extension("lock")).context("making the lock file of the build")?;
    lock.lock().context("waiting for another build")?;
    if !done.is_file() {
        install(module, &dir, &flags)?;
        File::create(&done).context("marking the build as whole")?;
    }
    Ok(dir)
}

fn install(module: GoModule, dir: &Path, flags: &str) -> Result<()> {
    eprintln!(
        "building {} from its Go module; the first time takes minutes",
        module.name()
    );
    let status = Command::new("go")
        .args(["install", "-trimpath", "-ldflags", flags, "tool"])
        .current_dir(module.dir())
        .env("GOBIN", dir)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly")
        .stdin(Stdio::null())
        .status()
        .context("starting the go command")?;
    if !status.success() {
        bail!("go install in {} ended with {status}", module.dir().display());
    }
    // The etcd server's command carries the name of its folder.
    let server = dir.join("server");
    if server.is_file() {
        fs::rename(&server, dir.join(Program::Etcd.file_name())).context("naming etcd")?;
    }
    Ok(())
}

/// Cargo's target folder, found from the running program, as cargo tells it to
/// nobody at run time.
pub(crate) fn target_dir() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| {
            exe.ancestors()
                .find(|dir| dir.join("CACHEDIR.TAG").is_file())
                .map(Path::to_path_buf)
        })
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}
