//! What a node needs from the distribution.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debian::{self, Needed};

/// Programs and the Debian packages they are in.
const NEEDED: [Needed; 12] = [
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

/// Makes sure that everything is there, and `more`, installing it where that is possible, and returns the folder of the
/// network plugins.
pub(crate) fn ensure(more: &[Needed]) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "real nodes need root: they are namespaces, mounts and control groups of this machine; \
             run as root, or use a cluster of your own"
        );
    }
    debian::ensure(|| missing(more))?;
    plugins().context("the network plugins are still not there after installing them")
}

fn missing(more: &[Needed]) -> Vec<&'static str> {
    let mut missing = debian::absent(&[&NEEDED, more].concat());
    if plugins().is_none() {
        missing.push(PLUGIN_PACKAGE);
    }
    missing
}

fn plugins() -> Option<PathBuf> {
    PLUGIN_FOLDERS
        .iter()
        .map(Path::new)
        .find(|folder| PLUGINS.iter().all(|plugin| folder.join(plugin).is_file()))
        .map(Path::to_path_buf)
}
