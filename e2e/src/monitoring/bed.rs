//! What every test of alerts needs.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::{Alertmanager, Programs};
use crate::operator::Operator;
use crate::process::Process;
use crate::repository::example;
use crate::{ControlPlane, Options, under_test};

/// One control plane at a time: each of these tests ends parts of its own.
static ONE: Mutex<()> = Mutex::const_new(());

/// A control plane with the demo's nodes, data plane, shop and policy: one critical finding.
#[derive(Debug)]
pub struct AlertBed {
    /// The control plane.
    pub plane: ControlPlane,
    programs: Programs,
    folder: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl AlertBed {
    /// Starts it, once no other runs in this process.
    pub async fn start() -> Result<Self> {
        let one = ONE.lock().await;
        let options = Options {
            controller_manager: false,
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await?;
        plane.install_operator().await?;
        for file in ["demo/cluster.yaml", "demo/shop.yaml", "demo/policy.yaml"] {
            plane.apply_yaml(&example(file)?).await?;
        }
        Ok(Self {
            plane,
            programs: Programs::find_or_fetch()?,
            folder: tempfile::tempdir()?,
            _one: one,
        })
    }

    /// Where its programs keep their files.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Prometheus and its company.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Starts an operator of this build.
    pub async fn operator(&self, name: &str, more: &[String]) -> Result<Operator> {
        Operator::start(&self.plane, under_test::binary()?, name, more, self.path()).await
    }

    /// Starts an Alertmanager.
    pub async fn alertmanager(&self, name: &str, address: SocketAddr) -> Result<Alertmanager> {
        Alertmanager::start(&self.programs, name, self.path(), address).await
    }

    /// Clears the finding, as the demo does.
    pub async fn declare_keepalive(&self) -> Result<()> {
        self.plane.apply_yaml(&example("demo-keepalive.yaml")?).await?;
        Ok(())
    }

    /// The API server's process.
    pub fn server(&mut self) -> Result<&mut Process> {
        self.plane.process("kube-apiserver")
    }
}
