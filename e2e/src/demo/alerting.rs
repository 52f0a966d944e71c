//! A real Alertmanager for the demo, or the reason why there is none.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::ControlPlane;
use crate::address::Address;
use crate::monitoring::{Alertmanager, Programs, SERVICE, free_port};

/// An Alertmanager that an operator can be told of.
#[derive(Debug)]
pub struct Alerting {
    // Dropped in this order: what listens goes before its address.
    told: Alertmanager,
    _address: Address,
}

impl Alerting {
    /// Starts it and makes its Service; its files go to the folder. An error is a step that the demo can leave out: the
    /// programs cannot be had, or this user may not add an address.
    pub async fn start(plane: &ControlPlane, folder: &Path) -> Result<Self> {
        let address = Address::add()?;
        let programs = Programs::find_or_fetch()?;
        let at = SocketAddr::from((address.ip(), free_port()?));
        let told = Alertmanager::start(&programs, "alertmanager", folder, at).await?;
        plane.alertmanager_service(address.ip(), &[at.port()]).await?;
        Ok(Self {
            told,
            _address: address,
        })
    }

    /// What the operator must be told, to push to it.
    pub fn argument() -> String {
        format!("--alertmanager={SERVICE}")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.told.address()
    }

    /// Waits for the operator's alert.
    pub async fn fires(&self) -> Result<Value> {
        self.told.until_fires("EvenkeelFinding", &[]).await
    }

    /// Waits until a finding's alert fires no more.
    pub async fn resolves(&self, finding: &str) -> Result<()> {
        self.told
            .until_resolved("EvenkeelFinding", &[("finding", finding)])
            .await
    }
}
