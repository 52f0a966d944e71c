//! What shape of control plane to start.

use crate::binaries::Program;

/// What to start.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a program that runs or does not"
)]
#[derive(Clone, Debug)]
pub struct Options {
    /// How many API servers, side by side on one etcd.
    pub api_servers: usize,
    /// How many members etcd has; every API server knows all of them.
    pub etcd_members: usize,
    /// Whether each API server has an address of its own (on the loopback device; needs root) that the slice of the
    /// Service `kubernetes` names, and a certificate of its own, as in a cluster with several.
    pub own_addresses: bool,
    /// A resource, as in `/configmaps`, for which each API server reaches the first member of etcd through a proxy of its
    /// own, [`ControlPlane::channel`](crate::ControlPlane::channel).
    pub channels: Option<&'static str>,
    /// The built-in controllers: garbage collection, namespaces, node lifecycle.
    pub controller_manager: bool,
    /// The scheduler.
    pub scheduler: bool,
    /// kwok, for nodes with the annotation `kwok.x-k8s.io/node: fake`.
    pub kwok: bool,
    /// Whether each API server writes an audit log, with the bodies of writes.
    pub audit: bool,
    /// More arguments for every API server; the last one of a name counts.
    pub api_server_args: Vec<String>,
    /// More arguments for the controller manager, such as shorter grace periods.
    pub controller_manager_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_servers: 1,
            etcd_members: 1,
            own_addresses: false,
            channels: None,
            controller_manager: true,
            scheduler: false,
            kwok: false,
            audit: false,
            api_server_args: Vec::new(),
            controller_manager_args: Vec::new(),
        }
    }
}

impl Options {
    /// The programs these options need.
    pub fn programs(&self) -> Vec<Program> {
        let mut programs = vec![Program::Etcd, Program::ApiServer];
        let optional = [
            (self.controller_manager, Program::ControllerManager),
            (self.scheduler, Program::Scheduler),
            (self.kwok, Program::Kwok),
        ];
        programs.extend(
            optional
                .into_iter()
                .filter(|(wanted, _)| *wanted)
                .map(|(_, program)| program),
        );
        programs
    }
}
