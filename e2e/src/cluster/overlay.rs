//! What a user writes to install the operator with an image of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::NAMESPACE;

/// A kustomize overlay over copies of the manifests, which need not be below it.
#[derive(Debug)]
pub struct Overlay {
    _copies: TempDir,
    folder: PathBuf,
}

impl Overlay {
    /// Over the manifests of this checkout, with an image (repository and tag).
    pub fn new(image: &str) -> Result<Self> {
        let copies = tempfile::tempdir().context("making a folder for an overlay")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in ["manifests", "crds"] {
            let target = copies.path().join(folder);
            fs::create_dir(&target).with_context(|| format!("making a copy of {folder}"))?;
            copy_files(&root.join(folder), &target)?;
        }
        let folder = copies.path().join("overlay");
        fs::create_dir(&folder).context("making the overlay")?;
        let (name, tag) = image.rsplit_once(':').context("an image has a tag")?;
        let text = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["../manifests", "scrapes.json"],
            "images": [{"name": "evenkeel", "newName": name, "newTag": tag}],
        });
        fs::write(folder.join("kustomization.yaml"), text.to_string()).context("writing the overlay")?;
        fs::write(folder.join("scrapes.json"), scrapes().to_string()).context("writing the overlay")?;
        Ok(Self {
            _copies: copies,
            folder,
        })
    }

    /// The folder to give to `kubectl apply -k`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Lets the API server scrape: tests ask through it, and it is not in the namespace of a Prometheus.
fn scrapes() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "scrapes", "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "evenkeel"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}],
        },
    })
}

/// The files of a folder; components are not in the base.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name)).with_context(|| format!("copying {}", path.display()))?;
        }
    }
    Ok(())
}
