//! Where Prometheus, Alertmanager and `node_exporter` come from.
//!
//! What is in the `PATH` is used. Else Debian's packages are fetched with `apt-get download` and unpacked into the
//! target folder. They are not installed: an installed package would start a service of its own on this machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::binaries::target_dir;
use crate::debian::{self, Turn};

/// Debian's packages.
const PACKAGES: [&str; 2] = ["prometheus", "prometheus-alertmanager"];

/// Debian's package of `node_exporter`, and its program there.
const NODE_EXPORTER: &str = "prometheus-node-exporter";

/// Makes sure that `nft` is there, installing it where that is possible. The error says what to do.
pub fn ensure_nft() -> Result<()> {
    debian::ensure(|| debian::absent(&[("nft", "nftables")]))
}

/// Finds `node_exporter`, or fetches it once. The error says what to do.
pub fn node_exporter() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = [NODE_EXPORTER, "node_exporter"];
    let mut installed = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    if let Some(found) = installed.find(|path| path.is_file()) {
        return Ok(found);
    }
    let folder = fetched("node-exporter", &[NODE_EXPORTER]).context(
        "node_exporter is not in the PATH, and Debian's package could not be fetched: put it into the PATH",
    )?;
    Ok(folder.join("bin").join(NODE_EXPORTER))
}

/// Paths of the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The server.
    pub prometheus: PathBuf,
    /// Its tool for rules.
    pub promtool: PathBuf,
    alertmanager: PathBuf,
    /// What an Alertmanager that is unpacked, and not installed, must see as `/usr/share`.
    share: Option<PathBuf>,
}

impl Programs {
    /// Finds them, or fetches them once. The error says what to do.
    pub fn find_or_fetch() -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed: Vec<PathBuf> = std::env::split_paths(&path).collect();
        if let Some(found) = Self::within(&installed) {
            return Ok(found);
        }
        let folder = fetched("debian", &PACKAGES).context(
            "prometheus, promtool and alertmanager are not in the PATH, and Debian's packages could not be fetched: \
             put them into the PATH",
        )?;
        let found = Self::within(std::slice::from_ref(&folder.join("bin")))
            .with_context(|| format!("not everything is in {}", folder.display()))?;
        Ok(Self {
            share: Some(folder.join("share")),
            ..found
        })
    }

    /// The program to start for an Alertmanager, and its arguments.
    ///
    /// Debian's reads a template at a fixed path below `/usr/share`. Where it is not installed, it runs in a mount
    /// namespace of its own in which the unpacked folder is there; nobody else sees it.
    pub(super) fn alertmanager(&self, arguments: &[String]) -> (PathBuf, Vec<String>) {
        let Some(share) = &self.share else {
            return (self.alertmanager.clone(), arguments.to_vec());
        };
        let mut command = vec!["--mount".to_owned()];
        if !is_root() {
            command.extend(["--user", "--map-root-user"].map(str::to_owned));
        }
        let script = "mount --bind \"$0\" /usr/share && exec \"$@\"";
        command.extend(["--", "sh", "-c", script].map(str::to_owned));
        command.extend([share, &self.alertmanager].map(|path| path.display().to_string()));
        command.extend_from_slice(arguments);
        ("unshare".into(), command)
    }

    /// All of them, if each is in one of the folders. Debian gives Alertmanager a longer name.
    fn within(folders: &[PathBuf]) -> Option<Self> {
        let find = |name: &str| {
            let mut paths = folders.iter().map(|folder| folder.join(name));
            paths.find(|path| path.is_file())
        };
        Some(Self {
            prometheus: find("prometheus")?,
            promtool: find("promtool")?,
            alertmanager: find("prometheus-alertmanager").or_else(|| find("alertmanager"))?,
            share: None,
        })
    }
}

/// Whether this process may mount without a user namespace of its own: it owns what root owns.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The folder `usr` of the unpacked packages, which lie in a folder of this name.
fn fetched(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let root = target_dir().join("e2e").join(name);
    fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    let done = root.join(".complete");
    let lock = File::create(root.join(".lock")).context("making the lock file")?;
    lock.lock().context("waiting for another fetch")?;
    if !done.is_file() {
        fetch(&root, packages)?;
        File::create(&done).context("marking the packages as whole")?;
    }
    Ok(root.join("usr"))
}

fn fetch(root: &Path, packages: &[&str]) -> Result<()> {
    eprintln!("fetching Debian's packages {}", packages.join(" and "));
    let turn = Turn::wait()?;
    if let Err(first) = download(&turn, root, packages) {
        // The lists of packages may be missing or old; only root can renew them.
        turn.apt(root, &["update", "-qq"])
            .with_context(|| format!("renewing the lists of packages, after: {first:#}"))?;
        download(&turn, root, packages)?;
    }
    drop(turn);
    let mut unpacked = 0;
    for entry in fs::read_dir(root).context("looking for the packages")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let path = path.to_str().context("the target folder's path is not UTF-8")?;
            extract(root, path)?;
            unpacked += 1;
        }
    }
    ensure!(
        unpacked >= packages.len(),
        "{unpacked} packages were fetched, not {}",
        packages.len()
    );
    Ok(())
}

fn download(turn: &Turn, root: &Path, packages: &[&str]) -> Result<()> {
    let arguments = [&["download", "-qq", "-o", "APT::Sandbox::User="], packages].concat();
    turn.apt(root, &arguments)
}

fn extract(root: &Path, package: &str) -> Result<()> {
    let output = Command::new("dpkg-deb")
        .args(["--extract", package, "."])
        .current_dir(root)
        .output()
        .context("running dpkg-deb")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("unpacking {package} ended with {}: {}", output.status, why.trim());
    }
    Ok(())
}
