//! The Go modules beside this crate, which pin what the test bed runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const CILIUM: &str = "github.com/cilium/cilium";
const KIND: &str = "sigs.k8s.io/kind";
const KUBERNETES: &str = "k8s.io/kubernetes";

/// One of the Go modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GoModule {
    /// etcd and the Kubernetes programs.
    ControlPlane,
    /// The simulator of kubelets.
    Kwok,
    /// The kubelet and kubeadm.
    Node,
    /// Clusters in containers.
    Kind,
    /// The cluster's DNS.
    CoreDns,
    /// Nothing to build, only files to read.
    Cilium,
    /// What checks the chart and the workflows.
    Packaging,
}

impl GoModule {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlplane",
            Self::Kwok => "kwok",
            Self::Node => "node",
            Self::Kind => "kind",
            Self::CoreDns => "coredns",
            Self::Cilium => "cilium",
            Self::Packaging => "packaging",
        }
    }

    pub(crate) fn dir(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.name())
    }

    fn go_mod(self) -> Result<String> {
        let path = self.dir().join("go.mod");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Everything that pins versions, for telling one build from another.
    pub(crate) fn pinned(self) -> Result<String> {
        let sums = self.dir().join("go.sum");
        let sums = fs::read_to_string(&sums).with_context(|| format!("reading {}", sums.display()))?;
        Ok(self.go_mod()? + &sums)
    }

    /// Flags for the linker: no debug tables, and the version that a release has.
    pub(crate) fn linker_flags(self) -> Result<String> {
        let mut flags = "-s -w".to_owned();
        if matches!(self, Self::ControlPlane | Self::Node) {
            let version = required_version(&self.go_mod()?, KUBERNETES)?;
            let mut parts = version.trim_start_matches('v').split('.');
            let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            for (name, value) in [
                ("gitVersion", version.as_str()),
                ("gitMajor", major),
                ("gitMinor", minor),
            ] {
                flags.push_str(" -X k8s.io/component-base/version.");
                flags.push_str(name);
                flags.push('=');
                flags.push_str(value);
            }
        }
        Ok(flags)
    }
}

/// The version of Kubernetes the test bed builds, as the API server reports it.
pub fn kubernetes_version() -> Result<String> {
    required_version(&GoModule::ControlPlane.go_mod()?, KUBERNETES)
}

/// The folder of kind's own node image, downloaded if need be.
pub(crate) fn kind_base() -> Result<PathBuf> {
    Ok(downloaded(GoModule::Kind, KIND)?.join("images/base"))
}

/// The folder of Cilium's own CRD files, downloaded if need be.
///
/// They are installed from Go's module cache and never copied, so what the tests
/// see is what Cilium ships.
pub fn cilium_crds() -> Result<PathBuf> {
    Ok(downloaded(GoModule::Cilium, CILIUM)?.join("pkg/k8s/apis/cilium.io/client/crds/v2"))
}

/// Where Go keeps the files of a required module, downloaded if need be.
fn downloaded(by: GoModule, module: &str) -> Result<PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", module])
        .current_dir(by.dir())
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting the go command, which fetches {module}"))?;
    if !output.status.success() {
        bail!("go mod download {module} ended with {}", output.status);
    }
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading the answer of go mod download")?;
    answer
        .get("Dir")
        .and_then(|dir| dir.as_str())
        .map(PathBuf::from)
        .context("go mod download names no folder")
}

/// The version a `go.mod` requires of a module.
fn required_version(go_mod: &str, module: &str) -> Result<String> {
    go_mod
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("require ").strip_prefix(module))
        .filter_map(|rest| rest.split_whitespace().next())
        .find(|version| version.starts_with('v'))
        .map(str::to_owned)
        .with_context(|| format!("go.mod requires no version of {module}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_version_comes_from_the_requirement_and_not_from_a_command() {
        let text =
            "tool (\n\tk8s.io/kubernetes/cmd/kubectl\n)\nrequire k8s.io/kubernetes v1.2.3 // indirect\n";
        assert_eq!(required_version(text, KUBERNETES).unwrap(), "v1.2.3");
        assert!(required_version(text, CILIUM).is_err());
    }

    #[test]
    fn nodes_are_of_the_version_of_their_control_plane() {
        let node = required_version(&GoModule::Node.go_mod().unwrap(), KUBERNETES);
        assert_eq!(node.unwrap(), kubernetes_version().unwrap());
    }

    #[test]
    fn the_flags_carry_the_version() {
        let flags = GoModule::ControlPlane.linker_flags().unwrap();
        assert!(
            flags.contains(&format!("gitVersion={}", kubernetes_version().unwrap())),
            "{flags}"
        );
    }
}
