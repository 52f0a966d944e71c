//! The demo: its shop, which tests use in namespaces of their own, and what it shows of a running operator.

mod alerting;
mod shown;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::ControlPlane;

pub use alerting::Alerting;
pub use shown::{Healthy, event, healthy};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a file in `examples/`.
pub fn example(file: &str) -> Result<String> {
    let path = root().join("examples").join(file);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// The same, with everything of the shop in another namespace.
pub fn example_in(file: &str, namespace: &str) -> Result<String> {
    let text = example(file)?;
    let moved = text
        .replace("namespace: shop", &format!("namespace: {namespace}"))
        .replace("{name: shop}", &format!("{{name: {namespace}}}"));
    ensure!(text != moved, "{file} does not name the shop");
    Ok(moved)
}

impl ControlPlane {
    /// A namespace with the shop of the demo and its policy.
    pub async fn shop(&self) -> Result<String> {
        let namespace = self.namespace().await?;
        for file in ["demo/shop.yaml", "demo/policy.yaml"] {
            self.apply_yaml(&example_in(file, &namespace)?).await?;
        }
        Ok(namespace)
    }
}
