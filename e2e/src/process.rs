//! Child processes that never outlive this one.
//!
//! Dropping a [`Process`] ends it. Should this process die without running any
//! destructor, the kernel ends the children: they are started through
//! `setpriv --pdeathsig`. That signal is tied to the *thread* that forked, so all
//! children are forked by one thread that lives as long as the process does.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};

/// A running child, its output kept in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
}

impl Process {
    /// Starts `program`; both its outputs go to `<name>.log` in the folder.
    pub fn start(name: &str, program: &Path, args: &[String], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        Ok(Self {
            child: child(name, program, args, folder, &log)?,
            name: name.to_owned(),
            log,
            program: program.to_owned(),
            args: args.to_vec(),
            folder: folder.to_owned(),
        })
    }

    /// Ends it and starts it again as before.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = child(&self.name, &self.program, &self.args, &self.folder, &self.log)?;
        Ok(())
    }

    /// Its settings: the value of an argument `--name=value`.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.args
            .iter()
            .find_map(|arg| arg.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking after {}", self.name))
    }

    /// The last lines of its output, for error messages.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(15)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Ends it at once and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn child(name: &str, program: &Path, args: &[String], folder: &Path, log: &Path) -> Result<Child> {
    let output: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))?;
    let mut command = tied_to_us(program);
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(output.try_clone().context("sharing the log file")?)
        .stdout(output)
        // Programs must not use the kubeconfig of the person who runs the tests.
        .env_remove("KUBECONFIG")
        // A ctrl-c at the terminal is for us; we end the children in order.
        .process_group(0);
    fork(command).with_context(|| format!("starting {name} ({})", program.display()))
}

/// A command that dies with the thread that starts it, where the system has the
/// means.
fn tied_to_us(program: &Path) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| {
        let works = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !works {
            eprintln!("setpriv (util-linux) is missing: if this process is killed, its children stay");
        }
        works
    });
    if *SETPRIV {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

type Request = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts the command from the thread that never ends.
fn fork(command: Command) -> Result<Child> {
    static FORKER: Mutex<Option<mpsc::Sender<Request>>> = Mutex::new(None);
    let (answer, result) = mpsc::channel();
    {
        let mut forker = FORKER.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = match forker.as_ref() {
            Some(requests) => requests,
            None => forker.insert(start_forker()?),
        };
        requests
            .send((command, answer))
            .map_err(|_| anyhow!("the thread that starts processes is gone"))?;
    }
    Ok(result
        .recv()
        .context("no answer from the thread that starts processes")??)
}

fn start_forker() -> Result<mpsc::Sender<Request>> {
    let (requests, inbox) = mpsc::channel::<Request>();
    std::thread::Builder::new()
        .name("forker".into())
        .spawn(move || {
            for (mut command, answer) in inbox {
                // A caller that is gone drops the child, which is then not ours to end.
                drop(answer.send(command.spawn()));
            }
        })
        .context("starting the thread that starts processes")?;
    Ok(requests)
}

/// A line of `status` of proc(5), such as `VmRSS`, in KiB; none when the process is gone.
pub fn status_kib(id: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
