//! One node: a machine's worth of namespaces with its own container runtime,
//! kubelet and kube-proxy.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cgroup::Cgroup;
use super::options::NodeOptions;
use super::space::{Extent, Space};
use super::{network, settings};
use crate::binaries::{Binaries, Program};
use crate::process::Process;

/// How long containerd gets to answer.
const RUNTIME_WITHIN: Duration = Duration::from_secs(30);

/// How long a connection from a node may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Sets up the first process's view of the machine.
///
/// The kubelet and kube-proxy set sysctls that are not of any namespace but of the
/// whole machine; they find files of their own there, and the machine stays as it is.
const MOUNTS: &str = r#"
set -e
mount --make-rshared /
mount -t proc proc /proc
hostname "$NAME"
for dir in /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers; do
    mkdir -p "$dir" "$STATE$dir"
    mount --bind "$STATE$dir" "$dir"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/containerd /run/xtables "$STATE/sysctl"
for entry in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    own="$STATE/sysctl/$(echo "${entry%=*}" | tr / .)"
    echo "${entry#*=}" >"$own"
    mount --bind "$own" "/proc/sys/${entry%=*}"
done
sysctl -qw net.ipv4.ip_forward=1
# Packets between two Pods of a node have to pass the Service rules; where bridges
# have no such setting they do anyway.
modprobe -q br_netfilter 2>/dev/null || true
sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
"#;

/// What all nodes of a bed have in common.
#[derive(Clone, Debug)]
pub(super) struct Supplies {
    pub(super) binaries: Binaries,
    /// The program that holds namespaces.
    pub(super) pod: PathBuf,
    /// The folder of network plugins.
    pub(super) plugins: PathBuf,
    /// The folder of the bed.
    pub(super) folder: PathBuf,
    pub(super) options: NodeOptions,
}

/// A node, on or off.
#[derive(Debug)]
pub struct Node {
    number: u8,
    folder: PathBuf,
    supplies: Supplies,
    // In this order: programs, namespaces, then the control group that was theirs.
    processes: Vec<Process>,
    space: Option<Space>,
    cgroup: Cgroup,
}

impl Node {
    /// Writes the node's files. Its kubeconfigs are there already.
    pub(super) fn new(number: u8, supplies: &Supplies) -> Result<Self> {
        let folder = supplies.folder.join(network::name(number));
        let node = Self {
            number,
            folder,
            supplies: supplies.clone(),
            processes: Vec::new(),
            space: None,
            cgroup: Cgroup::new(&network::name(number))?,
        };
        node.write_settings()?;
        Ok(node)
    }

    fn write_settings(&self) -> Result<()> {
        let supplies = &self.supplies;
        let networks = self.folder.join("networks");
        fs::create_dir_all(&networks).context("making the folder of network settings")?;
        let (authority, resolv_conf) = (supplies.folder.join("ca.crt"), self.folder.join("resolv.conf"));
        let kubelet = settings::kubelet(&settings::Kubelet {
            address: self.address().to_string(),
            cgroup: self.cgroup.path(),
            authority: &authority,
            resolv_conf: &resolv_conf,
            detection: supplies.options.detection,
        });
        let proxy = settings::proxy(
            &self.name(),
            &supplies.folder.join("kube-proxy.kubeconfig"),
            supplies.options.proxy_mode,
            &supplies.options.proxy_config,
        );
        let runtime = settings::containerd(
            &self.folder.join("containerd"),
            &supplies.plugins,
            &networks,
            super::images::PAUSE_IMAGE,
        );
        // No upstream resolver: nothing outside of the bed is reached.
        for (path, text) in [
            (resolv_conf, String::new()),
            (
                networks.join("10-pods.conflist"),
                settings::pod_network(&self.pod_range()).to_string(),
            ),
            (self.folder.join("containerd.toml"), runtime),
            (self.folder.join("kubelet.yaml"), kubelet.to_string()),
            (self.folder.join("kube-proxy.yaml"), proxy.to_string()),
        ] {
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// The namespaces, the network and the container runtime.
    pub(super) fn boot(&mut self, hub: &Space) -> Result<()> {
        let folder = self.folder.clone();
        let space = Space::new("machine", Extent::Machine, &self.supplies.pod, &folder)
            .with_context(|| format!("booting {}", self.name()))?;
        let output = space
            .command("sh")
            .args(["-c", MOUNTS])
            .env("NAME", self.name())
            .env("STATE", &folder)
            .output()
            .context("starting a shell on a node")?;
        if !output.status.success() {
            bail!(
                "{} has no mounts: {}",
                self.name(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        network::plug_in(hub, &space, self.number, self.supplies.options.nodes)?;
        let config = folder.join("containerd.toml").display().to_string();
        let runtime = space.start(
            "containerd",
            Path::new("containerd"),
            &["--config".into(), config],
            &folder,
        )?;
        self.processes.push(runtime);
        let deadline = Instant::now() + RUNTIME_WITHIN;
        while let Err(error) = space.run("ctr", &["version"]) {
            if Instant::now() > deadline {
                let words = self.processes.last().map(Process::last_words);
                let words = words.unwrap_or_default();
                return Err(error.context(format!("containerd of {} does not answer:\n{words}", self.name())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.space = Some(space);
        Ok(())
    }

    /// The programs that use the API.
    pub(super) fn join(&mut self) -> Result<()> {
        let (name, folder) = (self.name(), self.folder.clone());
        let file = |file: &str| folder.join(file).display().to_string();
        let kubelet = [
            format!("--config={}", file("kubelet.yaml")),
            format!("--kubeconfig={}", file("kubelet.kubeconfig")),
            format!("--hostname-override={name}"),
            format!("--node-ip={}", self.address()),
            format!("--node-labels=topology.kubernetes.io/zone=zone-{}", self.number),
            "--v=2".to_owned(),
        ];
        let proxy = [
            format!("--config={}", file("kube-proxy.yaml")),
            "--v=2".to_owned(),
        ];
        for (program, args) in [(Program::Kubelet, &kubelet[..]), (Program::Proxy, &proxy[..])] {
            let path = self.supplies.binaries.path(program)?;
            let process = self.on()?.start(program.file_name(), path, args, &folder)?;
            self.processes.push(process);
        }
        Ok(())
    }

    fn on(&self) -> Result<&Space> {
        self.space
            .as_ref()
            .with_context(|| format!("{} is powered off", self.name()))
    }

    /// Its name in the cluster.
    pub fn name(&self) -> String {
        network::name(self.number)
    }

    /// Its `InternalIP`.
    pub fn address(&self) -> Ipv4Addr {
        network::address(self.number)
    }

    /// The addresses of its Pods.
    pub fn pod_range(&self) -> String {
        network::pod_range(self.number)
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.space.is_some()
    }

    /// Pulls the plug: every process is gone at once and says goodbye to nobody.
    pub fn power_off(&mut self) {
        // The first process takes all others along; nothing may be asked to stop before it.
        drop(self.space.take());
        self.processes.clear();
    }

    /// Puts the plug back; the disk is as it was.
    pub(super) fn power_on(&mut self, hub: &Space) -> Result<()> {
        if self.is_on() {
            return Ok(());
        }
        self.boot(hub)?;
        self.join()
    }

    /// The configuration of its kube-proxy.
    pub(super) fn proxy_config(&self) -> Result<String> {
        let path = self.folder.join("kube-proxy.yaml");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Runs a command on the node and returns what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        self.on()?.run(program, args)
    }

    /// Loads an image file.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let archive =
            fs::canonicalize(archive).with_context(|| format!("looking for {}", archive.display()))?;
        let path = archive.display().to_string();
        self.run("ctr", &["--namespace=k8s.io", "images", "import", &path])
            .with_context(|| format!("importing an image into {}", self.name()))?;
        Ok(())
    }

    /// Asks over HTTP from the node's own network, and returns the status and the body.
    ///
    /// This blocks: call it from a test through `spawn_blocking`, or let it block.
    pub fn http_get(&self, to: SocketAddr, path: &str) -> Result<(u16, String)> {
        use std::io::{Read as _, Write as _};
        let mut stream = self.on()?.connect(to, CONNECT_WITHIN)?;
        stream.set_read_timeout(Some(CONNECT_WITHIN))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {to}\r\n\r\n").context("asking")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("reading the answer")?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("the answer has no end of its head")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((
            status.context("the answer has no status")?,
            body.trim().to_owned(),
        ))
    }

    /// The programs that ended by themselves, with their last words.
    pub(super) fn check(&mut self) -> Result<()> {
        let name = self.name();
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                bail!(
                    "{} of {name} ended with {status}; its last words:\n{}",
                    process.name(),
                    process.last_words()
                );
            }
        }
        Ok(())
    }
}
