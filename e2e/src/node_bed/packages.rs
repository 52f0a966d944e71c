//! What a node needs from the distribution.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Programs and the Debian packages they are in.
const NEEDED: [(&str, &str); 12] = [
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("sysctl", "procps"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
];

/// Where network plugins are: Debian's folder, and everybody else's.
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
const PLUGINS: [&str; 4] = ["bridge", "host-local", "portmap", "loopback"];
const PLUGIN_PACKAGE: &str = "containernetworking-plugins";

/// Makes sure that everything is there, installing it where that is possible, and
/// returns the folder of the network plugins.
pub(crate) fn ensure() -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "real nodes need root: they are namespaces, mounts and control groups of this machine; \
             run as root, or use a cluster of your own"
        );
    }
    let missing = missing();
    if !missing.is_empty() {
        install(&missing)?;
    }
    plugins().context("the network plugins are still not there after installing them")
}

/// Makes sure of more programs, each with its package.
pub(crate) fn ensure_programs(programs: &[(&str, &'static str)]) -> Result<()> {
    let missing = absent(programs);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

fn missing() -> Vec<&'static str> {
    let mut missing = absent(&NEEDED);
    if plugins().is_none() {
        missing.push(PLUGIN_PACKAGE);
    }
    missing
}

fn absent(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut packages: Vec<_> = programs
        .iter()
        .filter(|(program, _)| !in_path(program))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn plugins() -> Option<PathBuf> {
    PLUGIN_FOLDERS
        .iter()
        .map(Path::new)
        .find(|folder| PLUGINS.iter().all(|plugin| folder.join(plugin).is_file()))
        .map(Path::to_path_buf)
}

fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !in_path("apt-get") {
        bail!(
            "missing on this machine: {names} (names of Debian's packages); install them and see that PATH has /usr/sbin"
        );
    }
    eprintln!("installing {names}");
    for args in [
        vec!["update", "-qq"],
        [
            vec!["install", "-y", "-qq", "--no-install-recommends"],
            packages.to_vec(),
        ]
        .concat(),
    ] {
        let output = Command::new("apt-get")
            .args(&args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("starting apt-get")?;
        if !output.status.success() {
            bail!(
                "apt-get {} ended with {}: {}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(())
}
