//! The control plane of a bed, in a network of its own in the middle of the nodes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::network::{self, API_PORT, CONTROL_PLANE};
use super::node::Supplies;
use super::space::{Extent, Space};
use crate::binaries::Program;
use crate::components::{self, ApiServer, Member, Reach};
use crate::process::Process;

/// A program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// The built-in controllers.
    ControllerManager,
    /// The scheduler.
    Scheduler,
}

impl Component {
    fn program(self) -> Program {
        match self {
            Self::Etcd => Program::Etcd,
            Self::ApiServer => Program::ApiServer,
            Self::ControllerManager => Program::ControllerManager,
            Self::Scheduler => Program::Scheduler,
        }
    }
}

#[derive(Debug)]
struct Part {
    component: Component,
    path: PathBuf,
    args: Vec<String>,
    process: Process,
}

/// The switch and the control plane on it.
#[derive(Debug)]
pub(super) struct Hub {
    // In the order in which they are ended: each before those that it uses.
    parts: Vec<Part>,
    space: Space,
    supplies: Supplies,
}

impl Hub {
    /// The switch, with nothing on it yet.
    pub(super) fn new(supplies: &Supplies) -> Result<Self> {
        let space = Space::new("switch", Extent::Network, &supplies.pod, &supplies.folder)?;
        network::lay_switch(&space)?;
        Ok(Self {
            parts: Vec::new(),
            space,
            supplies: supplies.clone(),
        })
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    /// Starts the store and the API server.
    pub(super) fn start_server(&mut self) -> Result<()> {
        let folder = self.supplies.folder.clone();
        self.start(
            Component::Etcd,
            components::etcd(&folder, &Member::ALONE, &[Member::ALONE]),
        )?;
        let audit_log = self.audit_log();
        if audit_log.is_some() {
            std::fs::write(folder.join("audit-policy.yaml"), components::AUDIT_POLICY)
                .context("writing the audit policy")?;
        }
        let mut args = components::api_server(
            &folder,
            &ApiServer {
                index: 0,
                port: API_PORT,
                etcd: &Member::ALONE.url(),
                audit_log: audit_log.as_deref(),
                accounts: true,
                reach: Reach::Network(CONTROL_PLANE),
            },
        );
        args.extend(self.supplies.options.api_server_args.iter().cloned());
        self.start(Component::ApiServer, args)
    }

    /// Starts those that use the API, once it answers.
    pub(super) fn start_clients(&mut self) -> Result<()> {
        let folder = self.supplies.folder.clone();
        let mut args = components::controller_manager(&folder);
        args.extend(self.supplies.options.detection.controller_args());
        args.extend(self.supplies.options.controller_manager_args.iter().cloned());
        self.start(Component::ControllerManager, args)?;
        self.start(Component::Scheduler, components::scheduler(&folder))
    }

    pub(super) fn audit_log(&self) -> Option<PathBuf> {
        let path = self.supplies.folder.join("audit-0.jsonl");
        self.supplies.options.audit.then_some(path)
    }

    fn start(&mut self, component: Component, args: Vec<String>) -> Result<()> {
        let program = component.program();
        let path = self.supplies.binaries.path(program)?.to_owned();
        let process = self.launch(program.file_name(), &path, &args)?;
        self.parts.insert(
            0,
            Part {
                component,
                path,
                args,
                process,
            },
        );
        Ok(())
    }

    fn launch(&self, name: &str, path: &Path, args: &[String]) -> Result<Process> {
        self.space.start(name, path, args, &self.supplies.folder)
    }

    fn position(&self, component: Component) -> Result<usize> {
        self.parts
            .iter()
            .position(|part| part.component == component)
            .with_context(|| format!("{component:?} was never started"))
    }

    /// Kills a program, if it still runs, and starts it anew.
    pub(super) fn restart(&mut self, component: Component) -> Result<()> {
        let position = self.position(component)?;
        self.parts[position].process.kill();
        let Part { path, args, .. } = &self.parts[position];
        let process = self.launch(component.program().file_name(), path, args)?;
        self.parts[position].process = process;
        Ok(())
    }

    pub(super) fn check(&mut self) -> Result<()> {
        for part in &mut self.parts {
            if let Some(status) = part.process.ended()? {
                bail!(
                    "{} ended with {status}; its last words:\n{}",
                    part.process.name(),
                    part.process.last_words()
                );
            }
        }
        Ok(())
    }
}
