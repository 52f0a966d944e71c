//! Clients of a cluster that a file names.

use std::path::Path;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A client for a context of a kubeconfig, or for its current one. It does not
/// retry: tests want to see the first answer.
pub async fn client_of(kubeconfig: &Path, context: Option<String>) -> Result<Client> {
    Client::try_from(config_of(kubeconfig, context).await?).context("making a client")
}

/// The same, before it is a client.
pub(crate) async fn config_of(kubeconfig: &Path, context: Option<String>) -> Result<Config> {
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("reading the kubeconfig {}", kubeconfig.display()))?;
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(file, &options)
        .await
        .with_context(|| format!("using the kubeconfig {}", kubeconfig.display()))?;
    config.default_retry = false;
    config.proxy_url = None;
    Ok(config)
}
