//! The beds of this checkout that stand for people, at most one of each sort, so
//! that they can be ended from another terminal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::target_dir;

/// How long a bed gets to end everything that it started.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// Says which process stands; gone when that process is.
#[derive(Debug)]
pub struct Mark(PathBuf);

impl Mark {
    /// Marks this process as the one of its sort (`nodes`, `kind`) that stands.
    pub fn set(what: &str) -> Result<Self> {
        if let Some(pid) = standing(what)? {
            bail!(
                "{what} of this checkout runs already (process {pid}); end it with: evenkeel-bed {what} down"
            );
        }
        let path = mark(what);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // A mark of a process that is gone is not believed anyway.
        drop(fs::remove_file(&self.0));
    }
}

/// Asks the process of a sort that stands to end, and waits until it did.
pub fn end(what: &str) -> Result<()> {
    let Some(pid) = standing(what)? else {
        eprintln!("no {what} of this checkout runs");
        return Ok(());
    };
    let process = Pid::from_raw(pid).context("no process has this number")?;
    kill_process(process, Signal::TERM).with_context(|| format!("ending process {pid}"))?;
    let deadline = Instant::now() + ENDED_WITHIN;
    while runs_bed(pid) {
        if Instant::now() > deadline {
            bail!(
                "process {pid} still runs {} s after it was asked to end",
                ENDED_WITHIN.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn mark(what: &str) -> PathBuf {
    target_dir().join("e2e").join(format!("{what}.pid"))
}

fn standing(what: &str) -> Result<Option<i32>> {
    let path = mark(what);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    Ok(text.trim().parse().ok().filter(|&pid| runs_bed(pid)))
}

/// Numbers of processes are used again: only one that runs this program counts.
fn runs_bed(pid: i32) -> bool {
    let other = fs::read_link(format!("/proc/{pid}/exe"));
    let own = std::env::current_exe();
    let file = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        // The kernel says so of a program whose file was replaced by a newer build.
        Some(name.trim_end_matches(" (deleted)").to_owned())
    };
    matches!((other, own), (Ok(other), Ok(own)) if file(&other).is_some() && file(&other) == file(&own))
}
