//! YAML into the cluster, the way `kubectl apply --server-side` does it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The field manager of everything the test bed applies.
pub const FIELD_MANAGER: &str = "evenkeel-e2e";

const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// Applies every document of a YAML text and returns what the server made of each.
///
/// Unknown and repeated fields are refused. A document with a `status` has that
/// applied too, where its kind has the subresource. Documents without a namespace
/// go to `default`.
pub async fn apply_yaml(client: &Client, text: &str) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for document in documents(text)? {
        applied.push(apply_document(client, &document).await?);
    }
    Ok(applied)
}

/// Deletes objects at once, the last one first.
pub async fn remove(client: &Client, objects: &[DynamicObject]) -> Result<()> {
    for object in objects.iter().rev() {
        let types = object.types.as_ref().context("an object without a kind")?;
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let what = || format!("deleting {} {name}", types.kind);
        let kind = GroupVersionKind::try_from(types).with_context(what)?;
        let (resource, capabilities) = pinned_kind(client, &kind).await.with_context(what)?;
        let namespace = object.metadata.namespace.as_deref();
        api_for(client, &resource, &capabilities, namespace)
            .delete(name, &DeleteParams::default().grace_period(0))
            .await
            .with_context(what)?;
    }
    Ok(())
}

/// Applies the YAML files of a folder in the order of their names, and waits
/// until the CRDs among them are established and served.
pub async fn install_crds(client: &Client, folder: &Path) -> Result<()> {
    let mut files = fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .with_context(|| format!("listing {}", folder.display()))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml")
        })
        .collect::<Vec<_>>();
    files.sort();
    install_crd_files(client, &files).await
}

/// The same for chosen files.
pub async fn install_crd_files(client: &Client, files: &[impl AsRef<Path>]) -> Result<()> {
    for path in files {
        let path = path.as_ref();
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let applied = apply_yaml(client, &text)
            .await
            .with_context(|| format!("applying {}", path.display()))?;
        for object in applied {
            if object
                .types
                .as_ref()
                .is_some_and(|types| types.kind == "CustomResourceDefinition")
            {
                until_served(client, &object).await?;
            }
        }
    }
    Ok(())
}

/// The documents of a text, without the empty ones.
fn documents(text: &str) -> Result<Vec<Value>> {
    // The limits against hostile input are too tight for some published CRDs.
    let options = serde_saphyr::options! { budget: None };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).context("reading YAML")?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

async fn apply_document(client: &Client, document: &Value) -> Result<DynamicObject> {
    let object: DynamicObject =
        serde_json::from_value(document.clone()).context("a document is no Kubernetes object")?;
    let types = object
        .types
        .as_ref()
        .context("a document has no apiVersion and kind")?;
    let name = object
        .metadata
        .name
        .as_deref()
        .context("a document has no name")?;
    let what = || format!("{} {name}", types.kind);
    let kind = GroupVersionKind::try_from(types).with_context(what)?;
    let (resource, capabilities) = pinned_kind(client, &kind)
        .await
        .with_context(|| format!("looking up the kind of {}", what()))?;
    let api = api_for(
        client,
        &resource,
        &capabilities,
        object.metadata.namespace.as_deref(),
    );
    let has_status = capabilities
        .subresources
        .iter()
        .any(|(subresource, _)| subresource.plural == "status");
    let params = PatchParams::apply(FIELD_MANAGER)
        .force()
        .validation(ValidationDirective::Strict);

    let applied = api
        .patch(name, &params, &Patch::Apply(document))
        .await
        .with_context(|| format!("applying {}", what()))?;
    let Some(status) = document.get("status").filter(|_| has_status) else {
        return Ok(applied);
    };
    let document = json!({
        "apiVersion": types.api_version,
        "kind": types.kind,
        "metadata": {"name": name, "namespace": object.metadata.namespace},
        "status": status,
    });
    api.patch_status(name, &params, &Patch::Apply(&document))
        .await
        .with_context(|| format!("applying the status of {}", what()))
}

fn api_for(
    client: &Client,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    match (&capabilities.scope, namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), resource),
    }
}

/// Waits until a CRD is established and its versions are in discovery.
async fn until_served(client: &Client, applied: &DynamicObject) -> Result<()> {
    let name = applied.metadata.name.as_deref().unwrap_or_default();
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let deadline = Instant::now() + ESTABLISHED_WITHIN;
    loop {
        let definition = api
            .get(name)
            .await
            .with_context(|| format!("reading the CRD {name}"))?;
        if is_established(&definition.data) && is_served(client, &definition.data).await? {
            return Ok(());
        }
        if Instant::now() > deadline {
            let status = definition.data.get("status").unwrap_or(&Value::Null);
            bail!(
                "the CRD {name} is not served after {} s: {status}",
                ESTABLISHED_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

fn is_established(definition: &Value) -> bool {
    definition
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
        })
}

async fn is_served(client: &Client, definition: &Value) -> Result<bool> {
    let text = |pointer: &str| {
        definition
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, kind) = (text("/spec/group"), text("/spec/names/kind"));
    let versions = definition
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .context("no versions")?;
    for version in versions.iter().filter(|version| version["served"] == true) {
        let version = version["name"].as_str().unwrap_or_default();
        if pinned_kind(client, &GroupVersionKind::gvk(group, version, kind))
            .await
            .is_err()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn empty_documents_are_no_documents() {
        let found = documents("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n").unwrap();
        assert_eq!(found, [json!({"a": 1}), json!({"b": 2})]);
    }
}
