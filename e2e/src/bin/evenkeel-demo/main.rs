//! The main job, on a real control plane of this machine: a path that is silent for longer than IPVS remembers it is
//! found from configuration alone, drawn, told by the operator in every way it has, and cleared by declaring a keepalive.

mod stories;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use evenkeel_e2e::demo::{Alerting, event, healthy};
use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::repository::example;
use evenkeel_e2e::{ControlPlane, Options};

/// How long a metric may take.
const WITHIN: Duration = Duration::from_secs(60);

/// The series that says that the demo's policy is not healthy.
const UNHEALTHY: &str = "evenkeel_policy_unhealthy{namespace=\"shop\",policy=\"reports\"} 1";

/// Shown by `--help`.
const HELP: &str = "The main job of evenkeel, on a control plane of its own: a finding, its alert, and its repair.

Usage: evenkeel-demo [--story d1|d2]

Exits with 0 when all came about, else with 1.

--story d1  instead: a load balancer that believes in one of three API servers; 10 minutes, needs root
--story d2  instead: one API server whose connection to etcd is slow for one resource; 15 minutes, needs root

It starts etcd and kube-apiserver on this machine, unpacks Debian's Prometheus and Alertmanager below target/ where they are not
in the PATH, and removes what it started. `make demo` builds what it needs first.";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let evenkeel = || beside("evenkeel");
    match arguments[..] {
        [] => repair(&evenkeel()?).await,
        ["--help" | "-h"] => {
            say(HELP);
            Ok(())
        }
        ["--story", "d1"] => stories::balancer(&evenkeel()?).await,
        ["--story", "d2"] => stories::channel(&evenkeel()?).await,
        _ => anyhow::bail!(
            "`{}` are no arguments of evenkeel-demo; see --help",
            arguments.join(" ")
        ),
    }
}

/// The main job: a finding, its alert, and its repair.
async fn repair(evenkeel: &Path) -> Result<()> {
    let start = Instant::now();
    step("starting a control plane: etcd and kube-apiserver, on loopback, in a temporary folder");
    let plane = ControlPlane::start(Options {
        controller_manager: false,
        ..Options::default()
    })
    .await?;
    plane.install_operator().await?;
    for file in ["demo/cluster.yaml", "demo/shop.yaml", "demo/policy.yaml"] {
        apply(&plane, file).await?;
    }
    let kubeconfig = plane.kubeconfig_path();

    step(
        "auditing it: the client may be silent for 1800 s, and kube-proxy is in mode ipvs with tcpTimeout 0s",
    );
    expect(evenkeel, kubeconfig, &["audit"], 1)?;
    step("drawing the path");
    expect(
        evenkeel,
        kubeconfig,
        &["path", "shop/worker", "shop/reports:80"],
        0,
    )?;

    step("running the operator beside it, under its own account and the rights of manifests/");
    let folder = tempfile::tempdir().context("making a folder")?;
    let alerting = Alerting::start(&plane, folder.path()).await;
    let more: Vec<String> = alerting.iter().map(|_| Alerting::argument()).collect();
    say(format_args!("$ evenkeel run {}", more.join(" ")));
    let operator = Operator::start(&plane, evenkeel, "operator", &more, folder.path()).await?;
    let finding = show_broken(&plane, &operator, &alerting).await?;
    say("");
    expect(evenkeel, kubeconfig, &["status"], 1)?;

    step("declaring a TCP keepalive of 300 s, and auditing again");
    apply(&plane, "demo-keepalive.yaml").await?;
    expect(evenkeel, kubeconfig, &["audit"], 0)?;
    step("what the operator says of it now");
    show_cleared(&plane, &operator, &alerting, &finding).await?;
    operator.end()?;

    step(&format!(
        "done in {} s: the finding is gone, and with it the operator and the control plane",
        start.elapsed().as_secs()
    ));
    Ok(())
}

/// Shows the condition, the Event, the metric and the alert; returns the finding's id as the alert has it.
async fn show_broken(
    plane: &ControlPlane,
    operator: &Operator,
    alerting: &Result<Alerting>,
) -> Result<String> {
    let told = healthy(plane, |one| one.status == "False").await?;
    say(format_args!(
        "condition  Healthy={}, reason {}",
        told.status, told.reason
    ));
    say(format_args!("           {}", told.message));
    let event = event(plane, "NotHealthy").await?;
    say(format_args!(
        "Event      {} NotHealthy, from {}",
        event.type_.unwrap_or_default(),
        event.reporting_component.unwrap_or_default()
    ));
    say(format_args!(
        "metric     {}",
        operator.until_metric(UNHEALTHY, WITHIN).await?
    ));
    match alerting {
        Ok(alerting) => {
            let alert = alerting.fires().await?;
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
            say(format_args!(
                "alert      {} of {}, severity {}, in the Alertmanager on {}",
                label("alertname"),
                label("check"),
                label("severity"),
                alerting.address()
            ));
            Ok(label("finding"))
        }
        Err(why) => {
            say(format_args!(
                "alert      left out, as there is no Alertmanager to push to: {why:#}"
            ));
            Ok(String::new())
        }
    }
}

/// Shows that all of it has turned.
async fn show_cleared(
    plane: &ControlPlane,
    operator: &Operator,
    alerting: &Result<Alerting>,
    finding: &str,
) -> Result<()> {
    let told = healthy(plane, |one| one.status != "False").await?;
    say(format_args!(
        "condition  Healthy={}, reason {}",
        told.status, told.reason
    ));
    say(format_args!("           {}", told.message));
    let start = Instant::now();
    while operator.metric(UNHEALTHY).await?.is_some() {
        ensure!(start.elapsed() < WITHIN, "the metric stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say(format_args!("metric     evenkeel_policy_unhealthy has no series"));
    if let Ok(alerting) = alerting {
        alerting.resolves(finding).await?;
        say(format_args!("alert      resolved"));
    }
    Ok(())
}

async fn apply(plane: &ControlPlane, file: &str) -> Result<()> {
    plane
        .apply_yaml(&example(file)?)
        .await
        .with_context(|| format!("applying {file}"))?;
    Ok(())
}

/// A binary of the same build.
fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} does not exist: `make demo` builds it",
        path.display()
    );
    Ok(path)
}

fn step(text: &str) {
    say(format_args!("\n## {text}\n"));
}

/// Prints a line. A reader that has gone away, as `| head`, does not end the demo: what it started is still removed.
fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Runs it as people do; the demo has failed when it does not exit as it should.
fn expect(evenkeel: &Path, kubeconfig: &Path, args: &[&str], code: i32) -> Result<()> {
    say(format_args!("$ evenkeel {}", args.join(" ")));
    let status = Command::new(evenkeel)
        .args(args)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .status()
        .with_context(|| format!("running {}", evenkeel.display()))?;
    ensure!(
        status.code() == Some(code),
        "evenkeel {} should have exited with {code}: {status}",
        args.join(" ")
    );
    Ok(())
}
