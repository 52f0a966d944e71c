//! A control plane starts as asked, and leaves nothing running behind.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_e2e::{ControlPlane, Options, kubernetes_version};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended; only its parent has not asked yet.
    !status.is_empty() && !status.contains(") Z ")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn minimal() -> Options {
    Options {
        controller_manager: false,
        ..Options::default()
    }
}

/// The processes whose command line names a folder.
fn processes_of(folder: &Path) -> Vec<u32> {
    let name = folder.display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(&name)
        })
        .collect()
}

#[tokio::test]
async fn two_api_servers_share_one_store_and_end_with_their_owner() {
    let mut plane = ControlPlane::start(Options {
        api_servers: 2,
        audit: true,
        ..minimal()
    })
    .await
    .unwrap();
    let pids: Vec<_> = plane
        .processes()
        .iter()
        .map(evenkeel_e2e::process::Process::id)
        .collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|&pid| runs(pid)));

    let (first, second) = (
        plane.client_for(0).await.unwrap(),
        plane.client_for(1).await.unwrap(),
    );
    for client in [&first, &second] {
        let version = client.apiserver_version().await.unwrap();
        assert_eq!(version.git_version, kubernetes_version().unwrap());
        assert!(
            version
                .git_version
                .starts_with(&format!("v{}.{}.", version.major, version.minor))
        );
    }
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("side-by-side".into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    Api::<ConfigMap>::namespaced(first, "default")
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
    Api::<ConfigMap>::namespaced(second, "default")
        .get("side-by-side")
        .await
        .unwrap();

    let writes = plane.audit_events().unwrap();
    assert!(
        writes
            .iter()
            .any(|event| event["verb"] == "create" && event["objectRef"]["name"] == "side-by-side")
    );
    assert!(plane.kubeconfig().unwrap().contains("api-1"));

    drop(plane);
    assert!(!pids.iter().any(|&pid| runs(pid)));
}

#[test]
fn a_panic_keeps_the_logs() {
    // Until the shell that removes folders has ended, too: it shares the standard error.
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel-bed"))
        .args(["panic", "--no-controller-manager"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(101), "the exit code of a panic");
    let text = String::from_utf8(output.stderr).unwrap();
    let folder = text
        .lines()
        .find_map(|line| line.strip_prefix("logs of the control plane stay in "));
    let folder = PathBuf::from(folder.unwrap_or_else(|| panic!("no folder is named in {text}")));
    until("the processes are gone", || processes_of(&folder).is_empty());
    assert!(folder.join("kube-apiserver-0.log").is_file());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nothing_stays_when_the_owner_is_killed() {
    let mut bed = Command::new(env!("CARGO_BIN_EXE_evenkeel-bed"))
        .args(["up", "--no-controller-manager"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(bed.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let folder = Path::new(line.trim()).parent().unwrap().to_owned();
    assert!(processes_of(&folder).len() >= 2);
    bed.kill().unwrap();
    bed.wait().unwrap();
    until("the processes are gone", || processes_of(&folder).is_empty());
    until("the folder is gone", || !folder.exists());
}

#[test]
fn exec_hands_over_the_cluster_and_the_exit_code() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel-bed"))
        .args(["exec", "--no-controller-manager", "--"])
        .args([
            "sh",
            "-c",
            r#"grep -q 127.0.0.1 "$KUBECONFIG" && echo "$EVENKEEL_E2E_KUBECONFIG" && exit 7"#,
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("admin.kubeconfig")
    );
}
