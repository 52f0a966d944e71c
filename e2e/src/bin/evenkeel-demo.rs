//! The main job, on a real control plane of this machine: a path that is silent for longer than IPVS remembers it is
//! found from configuration alone, drawn, and cleared by declaring a keepalive.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use evenkeel_e2e::{ControlPlane, Options};

#[tokio::main]
async fn main() -> Result<()> {
    let evenkeel = beside("evenkeel")?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    step("starting a control plane: etcd and kube-apiserver, on loopback, in a temporary folder");
    let plane = ControlPlane::start(Options {
        controller_manager: false,
        ..Options::default()
    })
    .await?;
    plane.install_crds(&here.join("../crds")).await?;
    for file in ["cluster.yaml", "shop.yaml", "policy.yaml"] {
        apply(&plane, here, file).await?;
    }
    let kubeconfig = plane.kubeconfig_path();

    step(
        "auditing it: the client may be silent for 1800 s, and kube-proxy is in mode ipvs with tcpTimeout 0s",
    );
    let found = run(&evenkeel, kubeconfig, &["audit"])?;
    ensure!(
        found == Some(1),
        "the audit should have found the path critical and exited 1, not {found:?}"
    );

    step("drawing the path");
    let drawn = run(&evenkeel, kubeconfig, &["path", "shop/worker", "shop/reports:80"])?;
    ensure!(
        drawn == Some(0),
        "the path should have been drawn with exit 0, not {drawn:?}"
    );

    step("declaring a TCP keepalive of 300 s, and auditing again");
    apply(&plane, here, "policy-keepalive.yaml").await?;
    let cleared = run(&evenkeel, kubeconfig, &["audit"])?;
    ensure!(
        cleared == Some(0),
        "the finding should have cleared and the audit exited 0, not {cleared:?}"
    );

    step("done: the finding is gone, and the control plane with it");
    Ok(())
}

async fn apply(plane: &ControlPlane, here: &Path, file: &str) -> Result<()> {
    let path = here.join("demo").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    plane
        .apply_yaml(&text)
        .await
        .with_context(|| format!("applying {}", path.display()))?;
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
    println!("\n## {text}\n");
}

fn run(evenkeel: &Path, kubeconfig: &Path, args: &[&str]) -> Result<Option<i32>> {
    println!("$ evenkeel {}", args.join(" "));
    let status = Command::new(evenkeel)
        .args(args)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .status()
        .with_context(|| format!("running {}", evenkeel.display()))?;
    Ok(status.code())
}
