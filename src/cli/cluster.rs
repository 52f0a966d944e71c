//! Which cluster a command speaks to, by the flags of kubectl.

use std::future::Future;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::live;

/// Which cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
#[allow(clippy::struct_field_names, reason = "the flags are those of kubectl")]
pub(super) struct Cluster {
    /// Path of the kubeconfig
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl Cluster {
    /// The options of who connects.
    pub(super) fn options(&self) -> live::Options {
        live::Options {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            ..live::Options::default()
        }
    }

    /// The flags that name the same cluster again, with their values.
    pub(super) fn again(&self) -> impl Iterator<Item = (&'static str, String)> {
        let path = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        [
            ("--kubeconfig", path),
            ("--context", self.context.clone()),
            ("--cluster", self.cluster.clone()),
            ("--user", self.user.clone()),
        ]
        .into_iter()
        .filter_map(|(flag, value)| Some((flag, value?)))
    }
}

/// Does something that waits for a cluster, on this thread; what it spawns runs on a second one.
pub(super) fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(work)
}
