//! Debian's package manager, used by one of our threads and processes at a time.
//!
//! `apt-get` waits for the lock of dpkg when it is asked to, but never for those of its lists and of its archives
//! (apt's `pkgAcquire::GetLock`): it ends with "Could not get lock". So our own processes take turns on a lock file, and
//! while a foreign one works, such as unattended upgrades, the command is repeated.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::binaries::target_dir;

/// How long a foreign package manager may hold its locks. Unattended upgrades take minutes.
const LOCKED_AT_MOST: Duration = Duration::from_secs(600);

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// A program, and the package that has it.
pub(crate) type Needed = (&'static str, &'static str);

/// Whether a program is in the `PATH`.
pub(crate) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The packages of the programs that are not in the `PATH`, each once.
pub(crate) fn absent(programs: &[Needed]) -> Vec<&'static str> {
    let mut packages: Vec<_> = programs
        .iter()
        .filter(|(program, _)| !in_path(program))
        .map(|(_, package)| *package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs what `missing` names. It is asked again when it is our turn, as another process may have installed it.
pub(crate) fn ensure(missing: impl Fn() -> Vec<&'static str>) -> Result<()> {
    if missing().is_empty() {
        return Ok(());
    }
    let turn = Turn::wait()?;
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !in_path("apt-get") {
        bail!(
            "missing on this machine: {names} (names of Debian's packages); install them and see that PATH has /usr/sbin"
        );
    }
    eprintln!("installing {names}");
    turn.apt(Path::new("/"), &["update", "-qq"])?;
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    turn.apt(Path::new("/"), &[&install, packages.as_slice()].concat())
}

/// The right to run the package manager, among our processes.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for it.
    pub(crate) fn wait() -> Result<Self> {
        let folder = target_dir().join("e2e");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let lock = File::create(folder.join("packages.lock")).context("making the lock file of packages")?;
        lock.lock().context("waiting for another installation")?;
        Ok(Self { _lock: lock })
    }

    /// Runs `apt-get` in a folder.
    #[expect(clippy::unused_self, reason = "only the one that has the turn may call it")]
    pub(crate) fn apt(&self, folder: &Path, arguments: &[&str]) -> Result<()> {
        let timeout = format!("DPkg::Lock::Timeout={}", LOCKED_AT_MOST.as_secs());
        let deadline = Instant::now() + LOCKED_AT_MOST;
        loop {
            let output = Command::new("apt-get")
                .args(["-o", &timeout])
                .args(arguments)
                .current_dir(folder)
                .env("DEBIAN_FRONTEND", "noninteractive")
                // Messages are compared below.
                .env("LC_ALL", "C")
                .stdin(Stdio::null())
                .output()
                .context("starting apt-get")?;
            if output.status.success() {
                return Ok(());
            }
            let why = String::from_utf8_lossy(&output.stderr);
            if is_locked(&why) && Instant::now() < deadline {
                eprintln!("another process uses the package manager; trying again");
                std::thread::sleep(PAUSE);
                continue;
            }
            bail!(
                "apt-get {} ended with {}: {}",
                arguments.join(" "),
                output.status,
                why.trim()
            );
        }
    }
}

/// Whether apt ended because another process holds one of its locks (`GetLock` in apt-pkg/contrib/fileutl.cc).
fn is_locked(message: &str) -> bool {
    message.contains("Could not get lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_is_worth_another_attempt() {
        assert!(is_locked(
            "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 17 (apt-get)\n\
             E: Unable to lock directory /var/lib/apt/lists/"
        ));
        assert!(!is_locked("E: Unable to locate package runc"));
    }

    #[test]
    fn a_package_of_two_missing_programs_is_named_once() {
        let needed = [
            ("no-such-program-b", "two"),
            ("sh", "dash"),
            ("no-such-program-a", "one"),
            ("no-such-program-c", "two"),
        ];
        assert_eq!(absent(&needed), ["one", "two"]);
    }
}
