//! The container engine: the user's, or Docker in namespaces of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::run;
use crate::binaries::target_dir;
use crate::debian::Needed;
use crate::image::program::{Kind, PackageBuild};
use crate::node_bed::cgroup::Cgroup;
use crate::node_bed::space::{Extent, Space};
use crate::node_bed::{images, packages};
use crate::process::Process;

/// How long Docker gets to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What Docker needs of the distribution, and building a node image.
const PACKAGES: [Needed; 4] = [
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("debootstrap", "debootstrap"),
    ("jq", "jq"),
];

/// Sets up Docker's view of the machine. What is for nobody here ends at a bridge
/// without a way out: Service addresses need a default route before they are translated.
const MOUNTS: &str = "
set -e
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /lib/modules
hostname kind
ip link set lo up
ip link add dead-end type bridge
ip address add 10.91.0.1/24 dev dead-end
ip link set dead-end up
ip route add default dev dead-end
";

/// A container engine that answers.
#[derive(Debug)]
pub(super) enum Engine {
    /// The one that the machine's `docker` reaches.
    Found,
    /// Docker, started for this cluster.
    Own(Box<Own>),
}

#[derive(Debug)]
pub(super) struct Own {
    // In the order in which they are ended.
    docker: Process,
    space: Space,
    _cgroup: Cgroup,
    socket: PathBuf,
}

impl Engine {
    pub(super) fn find_or_start(folder: &Path) -> Result<Self> {
        if answers() {
            return Ok(Self::Found);
        }
        Ok(Self::Own(Box::new(Own::start(folder)?)))
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The network that its published ports are in, unless it is the machine's.
    pub(super) fn network(&self) -> Result<Option<File>> {
        match self {
            Self::Found => Ok(None),
            Self::Own(own) => own.space.network().map(Some),
        }
    }

    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Found => Vec::new(),
            Self::Own(own) => vec![("DOCKER_HOST", format!("unix://{}", own.socket.display()))],
        }
    }

    /// Makes a command use this engine.
    pub(super) fn aim<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.variables())
    }

    pub(super) fn docker(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("docker");
        run(
            self.aim(command.args(args)),
            &format!("docker {}", args.join(" ")),
        )
    }
}

/// Whether the machine's `docker` reaches an engine.
pub(super) fn answers() -> bool {
    Command::new("docker")
        .arg("info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What an engine of our own needs: installed packages, and the programs of the bed's images and of Docker's orders.
pub(super) fn supplies() -> Result<(PathBuf, PathBuf)> {
    packages::ensure(&PACKAGES)?;
    Ok((images::pod_program()?, oci_program()?))
}

impl Own {
    fn start(folder: &Path) -> Result<Self> {
        eprintln!("no container engine answers; starting Docker in namespaces of its own");
        let (pod, runtime) = supplies()?;
        let cgroup = Cgroup::new("kind")?;
        let space = Space::new("docker-space", Extent::Machine, &pod, folder)?;
        space
            .run("sh", &["-c", MOUNTS])
            .context("setting up a place for Docker")?;
        let socket = folder.join("docker.sock");
        let args = [
            format!("--data-root={}", folder.join("docker").display()),
            format!("--host=unix://{}", socket.display()),
            "--exec-root=/run/docker".to_owned(),
            "--pidfile=/run/docker.pid".to_owned(),
            "--oom-score-adjust=0".to_owned(),
            "--storage-driver=overlay2".to_owned(),
            format!("--cgroup-parent={}", cgroup.path()),
            format!("--add-runtime=eased={}", runtime.display()),
            "--default-runtime=eased".to_owned(),
        ];
        let docker = space.start("dockerd", Path::new("dockerd"), &args, folder)?;
        let mut own = Self {
            docker,
            space,
            _cgroup: cgroup,
            socket,
        };
        own.until_answered()?;
        Ok(own)
    }

    fn until_answered(&mut self) -> Result<()> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            let answer = Command::new("docker")
                .arg("info")
                .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
                .stdin(Stdio::null())
                .output()
                .context("starting docker")?;
            if answer.status.success() {
                return Ok(());
            }
            if self.docker.ended()?.is_some() || Instant::now() > deadline {
                bail!(
                    "Docker does not answer; its last words:\n{}",
                    self.docker.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The program that takes out of Docker's orders what this machine cannot do.
fn oci_program() -> Result<PathBuf> {
    PackageBuild {
        root: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        package: "evenkeel-e2e-pod",
        file: "evenkeel-oci",
        target_dir: target_dir().join("e2e").join("pod"),
        kind: Kind::Test,
    }
    .build()
}
