//! What `evenkeel audit` costs in a large cluster, beside a bare client that reads the same lists and keeps nothing.
//!
//! Both run as processes of their own, one after the other. Build with `--release`; a debug build measures nothing.

mod at_ceilings;
mod bare;
mod bare_reaction;
mod ceilings;
mod crowd;
mod crowds;
mod feeders;
mod namespaces;
mod operator;
mod reaction;
mod rest;
mod scrape;
mod statuses;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::process::status_kib;
use evenkeel_e2e::{ControlPlane, Options};

use ceilings::{Ceilings, NamespaceCount};
use crowd::Crowd;
use operator::{Bench, Measured};
use reaction::{CHANGES, Neighbours};

/// How often a process is asked how much memory it has had at most.
const LOOK_EVERY: Duration = Duration::from_millis(2);

#[derive(Parser)]
#[command(about = "Time and memory of `evenkeel audit` beside a bare client")]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Cli {
    /// Measure on this cluster as it is, instead of a new one
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Nodes of the new cluster, such as 500 or 5k
    #[arg(long, default_value = "5k")]
    size: Size,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Measure the operator instead
    #[arg(long)]
    operator: bool,
    /// With --operator: how long to look at it at rest
    #[arg(long, default_value_t = 60)]
    rest_seconds: u64,
    /// With --operator, and instead of rest: what policies of one namespace cost the others, of which there are so many,
    /// such as 5000
    #[arg(long, requires = "operator")]
    crowd: Option<u32>,
    /// With --crowd: how many policies of the largest size to measure in a third run
    #[arg(long, default_value_t = 20, requires = "crowd")]
    largest: u32,
    /// With --operator, and instead of reactions: start and rest with so many namespaces that have a policy each, such as
    /// 1000
    #[arg(long, requires = "operator", conflicts_with = "crowd")]
    namespaces: Option<u32>,
    /// With --operator, and instead of reactions: rest without and with a Prometheus that measures every node and the API
    /// server's own page
    #[arg(long, requires = "operator", conflicts_with_all = ["crowd", "namespaces"])]
    feeders: bool,
    /// With --operator, and instead of rest: what others' reactions cost while so many namespaces have all that one may
    /// have: a number, or `all` for as many as reach the ceilings of the cluster
    #[arg(long, requires = "operator", conflicts_with_all = ["crowd", "namespaces", "feeders"])]
    ceilings: Option<NamespaceCount>,
    /// With --ceilings: Pods of each of these namespaces
    #[arg(long, default_value_t = 20_000, requires = "ceilings")]
    pods: u32,
    /// Be the bare client
    #[arg(long, hide = true, requires = "kubeconfig")]
    bare: bool,
    /// Be the bare client of reactions
    #[arg(long, hide = true, requires = "kubeconfig")]
    bare_reaction: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match &cli.kubeconfig {
        Some(path) if cli.bare => bare::read_all(path).await,
        Some(path) if cli.bare_reaction => bare_reaction::react(path).await,
        Some(path) if cli.operator => operator(&Bench::of(path.clone(), cli.size).await?, &cli).await,
        Some(path) => measure(path, cli.runs),
        None => {
            let options = Options {
                controller_manager: false,
                audit: cli.operator,
                // Its page is read by the address that `default/kubernetes` names.
                own_addresses: cli.feeders,
                ..Options::default()
            };
            let plane = ControlPlane::start(options).await?;
            plane.install_operator().await?;
            load(&plane.client().await?, &cli.size, |stage| {
                eprintln!("loaded {} {}", stage.count, stage.kind);
            })
            .await?;
            if cli.operator {
                return operator(&Bench::on(plane, cli.size).await?, &cli).await;
            }
            measure(plane.kubeconfig_path(), cli.runs)
        }
    }
}

/// Measures the operator: at rest and reacting, or with a crowd of policies in another namespace.
async fn operator(bench: &Bench, cli: &Cli) -> Result<()> {
    if let Some(count) = cli.namespaces {
        return namespaces::measure(bench, count, Duration::from_secs(cli.rest_seconds)).await;
    }
    if cli.feeders {
        return feeders::measure(bench, Duration::from_secs(cli.rest_seconds)).await;
    }
    if let Some(count) = cli.ceilings {
        return at_ceilings::measure(bench, Ceilings::new(count, cli.pods)).await;
    }
    let Some(count) = cli.crowd else {
        let measured = Measured::start(bench).await?;
        measured.tell();
        rest::at_rest(bench, &measured, Duration::from_secs(cli.rest_seconds)).await?;
        let own = [
            reaction::reactions(bench, Some(&measured), 0, Neighbours::Quiet).await?,
            reaction::reactions(bench, Some(&measured), CHANGES, Neighbours::Quiet).await?,
        ];
        println!(
            "memory: {} MiB, peak {} MiB",
            measured.resident_mib(),
            measured.peak_mib()
        );
        measured.end()?;
        let bare = bare_reaction::measured(bench).await?;
        own.iter().chain(&bare).for_each(reaction::Reactions::print);
        reaction::print_beside(&own, &bare);
        return Ok(());
    };
    let crowds = [
        None,
        Some(Crowd::small(count, false)),
        Some(Crowd::small(count, true)),
        Some(Crowd::largest(cli.largest)),
    ];
    crowds::side_by_side(bench, crowds).await
}

/// One run of a process.
#[derive(Clone, Copy)]
struct Cost {
    took: Duration,
    peak_kib: u64,
}

fn measure(kubeconfig: &Path, runs: usize) -> Result<()> {
    ensure!(runs > 0, "nothing can be said of no run");
    let this = std::env::current_exe()?;
    let evenkeel = this.with_file_name("evenkeel");
    let bare = || {
        run(
            Command::new(&this)
                .arg("--bare")
                .arg("--kubeconfig")
                .arg(kubeconfig),
            &[0],
        )
    };
    let audit = || {
        let mut command = Command::new(&evenkeel);
        command
            .args(["audit", "-o", "json", "--kubeconfig"])
            .arg(kubeconfig);
        // 1 is a finding and 2 a source that could not be read: both have read what there is.
        run(&mut command, &[0, 1, 2])
    };
    // The first one fills the API server's caches for both.
    bare()?;
    let (mut bares, mut audits) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        bares.push(bare()?);
        audits.push(audit()?);
    }
    let (bare, audit) = (median(&mut bares)?, median(&mut audits)?);
    println!("{:<16} {:>10} {:>10}", "", "wall s", "peak MiB");
    for (name, cost) in [("bare client", bare), ("evenkeel audit", audit)] {
        println!(
            "{name:<16} {:>10.2} {:>10}",
            cost.took.as_secs_f64(),
            cost.peak_kib.div_ceil(1024)
        );
    }
    Ok(())
}

/// The middle one by time, with the largest peak of all.
fn median(costs: &mut [Cost]) -> Result<Cost> {
    costs.sort_by_key(|cost| cost.took);
    let middle = costs.get(costs.len() / 2).context("no runs")?;
    let peak_kib = costs.iter().map(|cost| cost.peak_kib).max().unwrap_or_default();
    Ok(Cost { peak_kib, ..*middle })
}

/// Runs a command to its end. Its peak is the kernel's own high-water mark, read while it runs.
fn run(command: &mut Command, fine: &[i32]) -> Result<Cost> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("running {}", command.get_program().display()))?;
    let mut peak_kib = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak_kib = peak_kib.max(status_kib(child.id(), "VmHWM").unwrap_or_default());
        std::thread::sleep(LOOK_EVERY);
    };
    let took = start.elapsed();
    ensure!(
        status.code().is_some_and(|code| fine.contains(&code)),
        "{} ended with {status}",
        command.get_program().display()
    );
    Ok(Cost { took, peak_kib })
}
