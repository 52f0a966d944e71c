//! What `evenkeel audit` costs in a large cluster, beside a bare client that reads the same lists and keeps nothing.
//!
//! Both run as processes of their own, one after the other. Build with `--release`; a debug build measures nothing.

mod operator;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::{ControlPlane, Options, client_of};
use futures::{TryStreamExt, stream};
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What an audit lists as a whole, in its order.
const LISTS: [&str; 11] = [
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/api/v1/nodes",
    "/api/v1/services",
    "/apis/evenkeel.dev/v1alpha1/traffichealthpolicies",
    "/apis/evenkeel.dev/v1alpha1/clustertraffichealthpolicies",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/namespaces/kube-system/deployments",
    "/api/v1/namespaces",
    "/apis/cilium.io/v2/ciliumnodeconfigs",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
];

/// Lists read at the same time, as the audit does.
const PARALLEL: usize = 4;

/// How often a process is asked how much memory it has had at most.
const LOOK_EVERY: Duration = Duration::from_millis(2);

#[derive(Parser)]
#[command(about = "Time and memory of `evenkeel audit` beside a bare client")]
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
    /// Be the bare client
    #[arg(long, hide = true, requires = "kubeconfig")]
    bare: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match &cli.kubeconfig {
        Some(path) if cli.bare => read_all(path).await,
        Some(path) if cli.operator => {
            operator::measure(path.clone(), Duration::from_secs(cli.rest_seconds)).await
        }
        Some(path) => measure(path, cli.runs),
        None => {
            let options = Options {
                controller_manager: false,
                ..Options::default()
            };
            let plane = ControlPlane::start(options).await?;
            plane
                .install_crds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds"))
                .await?;
            load(&plane.client().await?, &cli.size, |stage| {
                eprintln!("loaded {} {}", stage.count, stage.kind);
            })
            .await?;
            if cli.operator {
                let kubeconfig = plane.kubeconfig_path().to_owned();
                return operator::measure(kubeconfig, Duration::from_secs(cli.rest_seconds)).await;
            }
            measure(plane.kubeconfig_path(), cli.runs)
        }
    }
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
        peak_kib = peak_kib.max(high_water(child.id()).unwrap_or_default());
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

/// `VmHWM` of proc(5), in KiB.
fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads every list in pages of the audit's size and drops what comes.
async fn read_all(kubeconfig: &Path) -> Result<()> {
    let client = &client_of(kubeconfig, None).await?;
    stream::iter(LISTS.map(Ok))
        .try_for_each_concurrent(PARALLEL, |list| read(client, list))
        .await
}

/// A page's token and nothing else of it.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow, rename = "items")]
    _items: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default, rename = "continue")]
    next: String,
}

async fn read(client: &Client, list: &str) -> Result<()> {
    let mut next = String::new();
    loop {
        let mut path = format!("{list}?limit={}", evenkeel::live::PAGE);
        if !next.is_empty() {
            path += "&continue=";
            // The token is base64url, of which only the padding means something in a query.
            path += &next.replace('=', "%3D");
        }
        let request = http::Request::get(path).body(Vec::new())?;
        let body = match client.request_text(request).await {
            Ok(body) => body,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("reading {list}")),
        };
        next = serde_json::from_str::<Page<'_>>(&body)?.metadata.next;
        if next.is_empty() {
            return Ok(());
        }
    }
}
