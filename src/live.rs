//! Reads a living cluster into a core.

use std::path::PathBuf;

use evenkeel_core::Core;

/// Which cluster is read, and how much of it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The kubeconfig file; the usual places when absent.
    pub kubeconfig: Option<PathBuf>,
    /// The context; the current one when absent.
    pub context: Option<String>,
    /// The cluster, in place of the context's.
    pub cluster: Option<String>,
    /// The user, in place of the context's.
    pub user: Option<String>,
    /// Namespaces of interest; all when empty.
    pub namespaces: Vec<String>,
}

/// Reads the cluster.
///
/// # Errors
/// When no cluster can be reached.
#[allow(clippy::unused_async)] // the reading to come waits for the network
pub async fn read(_options: &Options) -> anyhow::Result<Core> {
    anyhow::bail!("reading a live cluster is not built yet; use --from with files")
}
