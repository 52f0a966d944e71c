//! Waits until an API server answers and its controllers have begun.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use super::READY_WITHIN;

/// Waits for the controllers to have made a namespace's `ServiceAccount`.
pub(crate) async fn until_account(
    client: &Client,
    namespace: &str,
    deadline: Instant,
    kubeconfig: &Path,
    mut all_run: impl FnMut() -> Result<()>,
) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    while accounts.get_opt("default").await?.is_none() {
        all_run()?;
        let complaint = format!("the namespace {namespace} has no ServiceAccount");
        pause(deadline, &complaint, kubeconfig).await?;
    }
    Ok(())
}

/// Whether the API server says so.
pub(crate) async fn is_ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return false;
    };
    client.request_text(request).await.is_ok()
}

pub(super) async fn pause(deadline: Instant, complaint: &str, kubeconfig: &Path) -> Result<()> {
    if Instant::now() > deadline {
        let folder = kubeconfig.parent().unwrap_or(kubeconfig);
        bail!(
            "{complaint} after {} s; logs in {}",
            READY_WITHIN.as_secs(),
            folder.display()
        );
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}
