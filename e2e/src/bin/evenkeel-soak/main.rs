//! The operator against a real API server through a network that freezes, cuts, delays, repeats and truncates, while
//! objects come, change and go. Looked at all along: the process lives and answers its probes, its memory stays flat, and
//! nothing that is violated at the server is called healthy. In the end its word is compared with that of an operator
//! that judges from nothing, and with an audit.
//!
//! `--minutes` and `--seed` say how long and which faults; the seed is printed.

mod churn;
mod ending;
mod vigil;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use evenkeel_e2e::chaos::Chaos;
use evenkeel_e2e::monitoring::free_port;
use evenkeel_e2e::operator::{Operator, OperatorAccess};
use evenkeel_e2e::repository::{example, example_in};
use evenkeel_e2e::{ControlPlane, Options};
use kube::Client;
use tempfile::TempDir;

use churn::{Churn, THIN};
use vigil::Vigil;

/// Far above what a start takes, on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

/// How often the operator is looked at.
const EVERY: Duration = Duration::from_millis(500);

#[derive(Parser)]
struct Arguments {
    /// How long the network is bad.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Which faults and changes; one is chosen and printed when absent.
    #[arg(long)]
    seed: Option<u64>,
}

/// The cluster of a soak.
struct Bed {
    plane: ControlPlane,
    client: Client,
    folder: TempDir,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("soak of {} min with seed {seed}", arguments.minutes);
    let bed = Bed::start().await?;
    let chaos = Chaos::start(&bed.plane, seed).await?;
    let mut operator = bed.operator("soaked", Some(&chaos.server())).await?;
    operator.process.until_ready().await?;
    operator
        .process
        .until_metric("evenkeel_leader{} 1.0", WITHIN)
        .await?;

    let mut churn = Churn::new(bed.client.clone(), seed);
    let mut vigil = Vigil::default();
    let end = Instant::now() + Duration::from_secs(60 * arguments.minutes);
    let mut look = tokio::time::interval(EVERY);
    while Instant::now() < end {
        tokio::select! {
            changed = churn.step() => changed.context("changing the cluster")?,
            _ = look.tick() => vigil.look(&bed.client, &mut operator, churn.thin_since()).await?,
        }
    }
    let [requests, faults, freezes] = chaos.counts().all();
    println!(
        "{} changes; {requests} requests, {faults} faults, {freezes} freezes",
        churn.steps()
    );
    vigil.tell();
    chaos.calm();
    churn.remove_nodes().await?;
    ending::compare(&bed, operator, &mut vigil).await?;
    vigil.is_flat()?;
    println!("held");
    Ok(())
}

/// A running operator, and where it serves `/debug`.
struct Soaked {
    process: Operator,
    debug: SocketAddr,
}

impl Bed {
    async fn start() -> Result<Self> {
        let plane = ControlPlane::start(Options {
            controller_manager: false,
            ..Options::default()
        })
        .await?;
        plane.install_operator().await?;
        plane.apply_yaml(&example("demo/cluster.yaml")?).await?;
        for namespace in churn::NAMESPACES {
            plane
                .apply_yaml(&example_in("demo/shop.yaml", namespace)?)
                .await?;
            plane
                .apply_yaml(&example_in("demo/policy.yaml", namespace)?)
                .await?;
        }
        plane.apply_yaml(&example_in("demo/shop.yaml", THIN)?).await?;
        plane.apply_yaml(churn::THIN_POLICY).await?;
        Ok(Self {
            client: plane.client().await?,
            plane,
            folder: tempfile::tempdir().context("making a folder")?,
        })
    }

    /// Starts an operator of the binary beside this one.
    async fn operator(&self, name: &str, server: Option<&str>) -> Result<Soaked> {
        let access = OperatorAccess::make(&self.plane, name, self.folder.path(), None).await?;
        if let Some(server) = server {
            access.put_server(server)?;
        }
        let debug = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let more = [format!("--debug-listen={debug}")];
        let process =
            Operator::start_with(&access.kubeconfig(), &binary()?, name, &more, self.folder.path())?;
        Ok(Soaked { process, debug })
    }
}

/// The program of this build.
fn binary() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("evenkeel"))
}
