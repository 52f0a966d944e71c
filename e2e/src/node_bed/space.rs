//! A set of namespaces with a first process, and ways to be inside.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;

/// How long the kernel gets to make or to end a set of namespaces.
const CHANGED_WITHIN: Duration = Duration::from_secs(10);

/// What a space has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Only a network: for programs that may see the machine's files and processes.
    Network,
    /// Everything a machine has, so that ending the first process ends it all, as
    /// pulling the plug does.
    Machine,
}

/// A running set of namespaces. Dropping it ends every process inside.
#[derive(Debug)]
pub(crate) struct Space {
    extent: Extent,
    pid: u32,
    holder: Process,
}

impl Space {
    /// Makes one, held by the program `pod`, with its log in the folder.
    pub(crate) fn new(name: &str, extent: Extent, pod: &Path, folder: &Path) -> Result<Self> {
        let mut args: Vec<String> = match extent {
            Extent::Network => vec!["--net".into()],
            // Mounts must not reach the machine: where its root is shared, `private` cuts that
            // tie, and the next step makes a group of the node's own.
            Extent::Machine => [
                "--fork",
                "--kill-child=KILL",
                "--pid",
                "--net",
                "--uts",
                "--ipc",
                "--mount",
                "--propagation=private",
            ]
            .map(str::to_owned)
            .into(),
        };
        args.extend([pod.display().to_string(), "pause".into()]);
        let holder = Process::start(name, Path::new("unshare"), &args, folder)?;
        let mut space = Self {
            extent,
            pid: 0,
            holder,
        };
        let deadline = Instant::now() + CHANGED_WITHIN;
        while !space.entered(pod) {
            if let Some(status) = space.holder.ended()? {
                bail!(
                    "the namespaces of {name} could not be made ({status}): {}",
                    space.holder.last_words()
                );
            }
            if Instant::now() > deadline {
                bail!("the namespaces of {name} are not there after {CHANGED_WITHIN:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(space)
    }

    /// Whether the first process runs; then its number is known.
    fn entered(&mut self, pod: &Path) -> bool {
        let id = self.holder.id();
        let first = match self.extent {
            Extent::Network => Some(id),
            Extent::Machine => fs::read_to_string(format!("/proc/{id}/task/{id}/children"))
                .ok()
                .and_then(|children| children.split_whitespace().next()?.parse().ok()),
        };
        let Some(first) = first else { return false };
        self.pid = first;
        fs::read_link(format!("/proc/{first}/exe")).is_ok_and(|exe| exe == pod)
    }

    /// The first process, by the machine's own count.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    fn entrance(&self) -> Vec<String> {
        let mut words = vec!["-t".to_owned(), self.pid.to_string(), "-n".to_owned()];
        if self.extent == Extent::Machine {
            words.extend(["-m", "-u", "-i", "-p"].map(str::to_owned));
        }
        words.push("--".into());
        words
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(self.entrance())
            .arg(program)
            .stdin(Stdio::null())
            .env_remove("KUBECONFIG");
        command
    }

    /// Runs a command inside to its end and returns what it printed.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let what = || format!("{program} {}", args.join(" "));
        let output = self
            .command(program)
            .args(args)
            .output()
            .with_context(|| format!("starting {}", what()))?;
        if !output.status.success() {
            bail!(
                "{} ended with {}: {}",
                what(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a program inside that ends with us, and when the process is killed.
    pub(crate) fn start(
        &self,
        name: &str,
        program: &Path,
        args: &[String],
        folder: &Path,
    ) -> Result<Process> {
        let mut words = self.entrance();
        if self.extent == Extent::Machine {
            // The way into another process namespace forks; what is started is our grandchild
            // and has to be tied to its parent, too.
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(str::to_owned));
        }
        words.push(program.display().to_string());
        words.extend(args.iter().cloned());
        Process::start(name, Path::new("nsenter"), &words, folder)
    }

    /// Calls a function on a thread that is in this network, and returns what it
    /// returns. Sockets made there stay in this network.
    pub(crate) fn in_network<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let network = self.network()?;
        std::thread::spawn(move || {
            enter(&network)?;
            Ok(work())
        })
        .join()
        .map_err(|_| anyhow!("a thread inside a network panicked"))?
    }

    /// The network's own file, which keeps it alive as long as it is open.
    pub(crate) fn network(&self) -> Result<fs::File> {
        let path = format!("/proc/{}/ns/net", self.pid);
        fs::File::open(&path).with_context(|| format!("opening {path}"))
    }

    /// Connects from inside.
    pub(crate) fn connect(&self, to: SocketAddr, within: Duration) -> Result<TcpStream> {
        self.in_network(move || TcpStream::connect_timeout(&to, within))?
            .with_context(|| format!("connecting to {to}"))
    }

    /// Ends every process inside, at once, and waits until the first one is gone.
    pub(crate) fn end(&mut self) {
        self.holder.kill();
        let deadline = Instant::now() + CHANGED_WITHIN;
        let gone = |pid: u32| {
            fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
        };
        while !gone(self.pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.end();
    }
}

/// Moves the calling thread into a network.
pub(crate) fn enter(network: &fs::File) -> Result<()> {
    use std::os::fd::AsFd as _;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("entering a network namespace (needs root)")
}
