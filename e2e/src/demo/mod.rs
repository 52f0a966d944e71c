//! The demo: its shop, which tests use in namespaces of their own, and what it shows of a running operator.

mod alerting;
mod shown;

use anyhow::Result;

use crate::ControlPlane;
use crate::repository::example_in;

pub use alerting::Alerting;
pub use shown::{Healthy, event, healthy};

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
