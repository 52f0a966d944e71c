//! The programs of a control plane, started in the order in which they need each other.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{ControlPlane, READY_WITHIN};
use crate::address::Address;
use crate::binaries::{Binaries, Program};
use crate::components::{self, ApiServer, Member, Reach};
use crate::credentials::{self, Credentials, ServerAccess};
use crate::folder::Folder;
use crate::options::Options;
use crate::ports::free_ports;
use crate::process::Process;
use crate::proxy::Proxy;

/// Names of members of etcd, and of the folders in which they store.
pub(super) const MEMBERS: [&str; 5] = ["etcd", "etcd-1", "etcd-2", "etcd-3", "etcd-4"];

impl ControlPlane {
    pub(super) async fn start_once(options: &Options, binaries: &Binaries) -> Result<Self> {
        let folder = Folder::new()?;
        let dir = folder.path().to_owned();
        let addresses = own_addresses(options)?;
        let access = ServerAccess {
            instances: addresses.iter().map(Address::ip).collect(),
            ..ServerAccess::default()
        };
        let credentials = Credentials::make(&dir, &access)?;
        let members = members(options.etcd_members)?;
        let servers = servers(options, &addresses)?;
        let kubeconfig = dir.join("admin.kubeconfig");
        let urls: Vec<_> = servers.iter().map(|at| format!("https://{at}")).collect();
        for (path, identity) in [
            (kubeconfig.clone(), credentials::ADMIN),
            (
                dir.join("controller-manager.kubeconfig"),
                credentials::CONTROLLER_MANAGER,
            ),
            (dir.join("scheduler.kubeconfig"), credentials::SCHEDULER),
        ] {
            fs::write(path, credentials.kubeconfig(&identity, &urls)?).context("writing a kubeconfig")?;
        }
        let mut this = Self {
            processes: Vec::new(),
            folder: Some(folder),
            kubeconfig,
            servers,
            etcd: members.iter().map(|member| member.client).collect(),
            controller_manager: options.controller_manager,
            audit_logs: Vec::new(),
            channels: Vec::new(),
            addresses,
        };
        for member in &members {
            this.run(
                member.name,
                binaries.path(Program::Etcd)?,
                &components::etcd(&dir, member, &members),
            )?;
        }
        if let (Some(_), Some(first)) = (options.channels, members.first()) {
            for _ in 0..options.api_servers {
                this.channels.push(Proxy::start(first.client).await?);
            }
        }
        this.run_api_servers(options, binaries, &members)?;
        let deadline = Instant::now() + READY_WITHIN;
        this.until_served(deadline).await?;
        this.run_clients(options, binaries)?;
        this.until_controlled(deadline).await?;
        Ok(this)
    }

    fn run(&mut self, name: &str, program: &Path, args: &[String]) -> Result<()> {
        let process = Process::start(name, program, args, self.folder()?)?;
        self.processes.insert(0, process);
        Ok(())
    }

    fn run_api_servers(&mut self, options: &Options, binaries: &Binaries, members: &[Member]) -> Result<()> {
        let dir = self.folder()?.to_owned();
        if options.audit {
            fs::write(dir.join("audit-policy.yaml"), components::AUDIT_POLICY)
                .context("writing the audit policy")?;
            self.audit_logs = (0..self.servers.len())
                .map(|index| dir.join(format!("audit-{index}.jsonl")))
                .collect();
        }
        let etcd = members.iter().map(Member::url).collect::<Vec<_>>().join(",");
        for (index, at) in self.servers.clone().into_iter().enumerate() {
            let server = ApiServer {
                index,
                port: at.port(),
                etcd: &etcd,
                audit_log: self.audit_logs.get(index).map(PathBuf::as_path),
                accounts: options.controller_manager,
                reach: match self.addresses.get(index) {
                    Some(address) => Reach::Own(address.ip()),
                    None => Reach::Loopback,
                },
            };
            let mut args = components::api_server(&dir, &server);
            args.extend(options.api_server_args.iter().cloned());
            args.extend(self.own_channel(options.channels, index));
            self.run(
                &format!("kube-apiserver-{index}"),
                binaries.path(Program::ApiServer)?,
                &args,
            )?;
        }
        Ok(())
    }

    /// Sends one resource of an API server through its proxy.
    fn own_channel(&self, resource: Option<&str>, index: usize) -> Option<String> {
        let (resource, port) = (resource?, self.channels.get(index)?.port());
        Some(format!(
            "--etcd-servers-overrides={resource}#http://127.0.0.1:{port}"
        ))
    }

    /// Starts the programs that use the API. They come after it is ready, as some
    /// of them give up when it does not answer soon.
    fn run_clients(&mut self, options: &Options, binaries: &Binaries) -> Result<()> {
        let dir = self.folder()?.to_owned();
        if options.controller_manager {
            let mut args = components::controller_manager(&dir);
            args.extend(options.controller_manager_args.iter().cloned());
            self.run(
                "kube-controller-manager",
                binaries.path(Program::ControllerManager)?,
                &args,
            )?;
        }
        if options.scheduler {
            self.run(
                "kube-scheduler",
                binaries.path(Program::Scheduler)?,
                &components::scheduler(&dir),
            )?;
        }
        if options.kwok {
            let args = components::kwok(&self.kubeconfig);
            self.run("kwok", binaries.path(Program::Kwok)?, &args)?;
        }
        Ok(())
    }
}

fn own_addresses(options: &Options) -> Result<Vec<Address>> {
    let count = if options.own_addresses {
        options.api_servers
    } else {
        0
    };
    (0..count).map(|_| Address::add()).collect()
}

/// Where the API servers serve. Those with addresses of their own share a port, as the slice of the Service
/// `kubernetes` has one for all.
fn servers(options: &Options, addresses: &[Address]) -> Result<Vec<SocketAddr>> {
    let ports = free_ports(options.api_servers)?;
    let at = |(index, own): (usize, u16)| match (addresses.get(index), ports.first()) {
        (Some(address), Some(shared)) => SocketAddr::from((address.ip(), *shared)),
        _ => SocketAddr::from((Ipv4Addr::LOCALHOST, own)),
    };
    Ok(ports.iter().copied().enumerate().map(at).collect())
}

/// The members of etcd.
fn members(count: usize) -> Result<Vec<Member>> {
    if !(1..=MEMBERS.len()).contains(&count) {
        bail!("etcd has 1 to {} members here, not {count}", MEMBERS.len());
    }
    let ports = free_ports(2 * count)?;
    let pairs = ports.chunks_exact(2).zip(MEMBERS);
    Ok(pairs
        .filter_map(|(pair, name)| match pair {
            &[client, peer] => Some(Member { name, client, peer }),
            _ => None,
        })
        .collect())
}
