//! `evenkeel run`: the operator.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::End;
use super::cluster::Cluster;
use super::prometheus::{PLACE, PrometheusArguments};
use crate::escape;
use crate::outbound::{self, Credentials, ServicePort};
use crate::render::screen::Screen;
use crate::serve::Addresses;
use crate::{alert, lease, run};

/// How the operator runs.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Namespace of the operator, where its Lease lives
    #[arg(
        long,
        env = "POD_NAMESPACE",
        value_name = "NAME",
        default_value = lease::NAMESPACE
    )]
    namespace: String,
    /// Name of the Lease; of the operators with one Lease, one writes
    #[arg(long, value_name = "NAME", default_value = "evenkeel")]
    lease: String,
    /// Name of this instance
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "evenkeel")]
    instance: String,
    /// Node that this instance runs on, which no remedy is planned for; empty outside of the cluster. Without it, every plan is
    /// held
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Where to serve /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Where to serve /livez and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8082")]
    probe_listen: SocketAddr,
    /// Where to serve /debug, on loopback only
    #[arg(long, value_name = "ADDRESS")]
    debug_listen: Option<SocketAddr>,
    /// Push alerts to every ready endpoint of this Service
    #[arg(long, value_name = "NAMESPACE/SERVICE:PORT")]
    alertmanager: Option<ServicePort>,
    /// CA certificates (PEM) of the Alertmanager; makes it HTTPS
    #[arg(long, value_name = "FILE", requires = "alertmanager")]
    alertmanager_ca_file: Option<PathBuf>,
    /// Bearer token for the Alertmanager, read before each push; only over HTTPS, so with a CA file
    #[arg(long, value_name = "FILE", requires_all = ["alertmanager", "alertmanager_ca_file"])]
    alertmanager_token_file: Option<PathBuf>,
    /// Ask the ready endpoints of this Service, a Prometheus, for what it has measured
    #[arg(long, value_name = "NAMESPACE/SERVICE:PORT", group = PLACE)]
    prometheus: Option<ServicePort>,
    #[command(flatten)]
    asked: PrometheusArguments,
    /// Read each API server's /metrics by its own address, every 60 s. Needs the rights of
    /// manifests/components/instance-metrics
    #[arg(long)]
    instance_metrics: bool,
    /// Carry out remedies whose mode is Enforce in the ClusterTrafficHealthPolicy, and those of mode Suggest that a person agreed
    /// to; without it they are planned and shown. Needs the rights and admission policies of
    /// manifests/components/remedy-cordon. Not finished, and for test clusters: see docs/remedies.md
    #[arg(long)]
    remedies: bool,
    /// What to log: a level, or levels by module, such as `info,evenkeel::watch=debug`. What the client logs of its own is
    /// logged by us already
    #[arg(
        long,
        env = "EVENKEEL_LOG",
        value_name = "FILTER",
        default_value = "info,kube_client=off"
    )]
    log: String,
    /// Form of the log
    #[arg(long, value_enum, value_name = "FORM", default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    #[command(flatten)]
    cluster: Cluster,
}

/// Forms of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

/// Runs the operator until it is asked to end.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    arguments.log()?;
    let alertmanager = arguments.alertmanager.clone().map(|at| alert::Options {
        at,
        outbound: outbound::Options {
            ca: arguments.alertmanager_ca_file.clone(),
            credentials: bearer(arguments.alertmanager_token_file.clone()),
        },
    });
    let options = run::Options {
        cluster: arguments.cluster.options(),
        namespace: arguments.namespace.clone(),
        lease: arguments.lease.clone(),
        instance: arguments.instance.clone(),
        node: arguments.node_name.clone(),
        listen: Addresses {
            metrics: arguments.listen,
            probes: arguments.probe_listen,
            debug: arguments.debug_listen,
        },
        alertmanager,
        prometheus: arguments.prometheus.clone().map(|at| arguments.asked.options(at)),
        instance_metrics: arguments.instance_metrics,
        remedies: arguments.remedies,
    };
    // One thread for all but the loop, which has another.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(run::run(options))?;
    Ok(End::Good)
}

/// The credentials that a file with a token is.
fn bearer(path: Option<PathBuf>) -> Credentials {
    path.map_or(Credentials::None, Credentials::Bearer)
}

impl Arguments {
    fn log(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log).with_context(|| format!("--log {}", self.log))?;
        let json = self.log_format == LogFormat::Json;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || escape::Log { json });
        // No subscriber was set before: this is the process's beginning.
        let set = match self.log_format {
            LogFormat::Json => log.json().flatten_event(true).try_init(),
            LogFormat::Text => log.with_ansi(Screen::log_takes_colour()).try_init(),
        };
        set.map_err(|error| anyhow::anyhow!("cannot log: {error}"))
    }
}
