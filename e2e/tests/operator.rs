//! The operator as it runs in a cluster: the real binary, under exactly the rights of our manifests, against a real API
//! server that is killed, frozen and restarted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use evenkeel::api::TrafficHealthPolicy;
use evenkeel_e2e::process::Process;
use evenkeel_e2e::{ControlPlane, Options, Proxy, under_test};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// Far above what anything here takes, on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(90);

/// One control plane at a time: each of these tests ends, freezes or restarts parts of its own.
static ONE: Mutex<()> = Mutex::const_new(());

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// A control plane with our kinds, our rights and the demo's nodes and data plane.
struct Bed {
    plane: ControlPlane,
    folder: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Bed {
    async fn start() -> Self {
        let one = ONE.lock().await;
        let options = Options {
            audit: true,
            controller_manager: false,
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await.unwrap();
        plane.install_crds(&root().join("crds")).await.unwrap();
        for file in ["namespace", "service-account", "rbac", "rbac-kube-system"] {
            plane
                .apply_yaml(&text(&format!("manifests/{file}.yaml")))
                .await
                .unwrap();
        }
        for file in ["cluster", "shop"] {
            plane
                .apply_yaml(&text(&format!("e2e/demo/{file}.yaml")))
                .await
                .unwrap();
        }
        Self {
            plane,
            folder: tempfile::tempdir().unwrap(),
            _one: one,
        }
    }

    async fn apply(&self, file: &str) {
        self.plane
            .apply_yaml(&text(&format!("e2e/demo/{file}.yaml")))
            .await
            .unwrap();
    }

    /// A kubeconfig of the operator's own account; every one has a token of its own.
    async fn kubeconfig(&self, name: &str, port: Option<u16>) -> PathBuf {
        let path = "/api/v1/namespaces/evenkeel-system/serviceaccounts/evenkeel/token";
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#.to_vec())
            .unwrap();
        let made: Value = self.plane.client().await.unwrap().request(request).await.unwrap();
        let mut config: Value = serde_saphyr::from_str(&self.plane.kubeconfig().unwrap()).unwrap();
        config["users"][0]["user"] = json!({"token": made["status"]["token"]});
        if let Some(port) = port {
            config["clusters"][0]["cluster"]["server"] = format!("https://127.0.0.1:{port}").into();
        }
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    async fn operator(&self, name: &str) -> Operator {
        let kubeconfig = self.kubeconfig(name, None).await;
        Operator::start(name, &kubeconfig, self.folder.path())
    }

    async fn policy(&self) -> TrafficHealthPolicy {
        let api: Api<TrafficHealthPolicy> = Api::namespaced(self.plane.client().await.unwrap(), "shop");
        api.get("reports").await.unwrap()
    }

    /// Status and reason of a condition of the demo's policy; empty when it has none yet.
    async fn condition(&self, kind: &str) -> (String, String) {
        let status = self.policy().await.status.unwrap_or_default();
        let found = status.conditions.into_iter().find(|one| one.r#type == kind);
        found.map_or_else(Default::default, |one| (format!("{:?}", one.status), one.reason))
    }

    async fn until(&self, kind: &str, status: &str, reason: &str) -> Duration {
        let start = Instant::now();
        loop {
            let now = self.condition(kind).await;
            if (now.0.as_str(), now.1.as_str()) == (status, reason) {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < WITHIN,
                "{kind} is {now:?}, not {status}/{reason}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn holder(&self) -> String {
        let api: Api<Lease> = Api::namespaced(self.plane.client().await.unwrap(), "evenkeel-system");
        let lease = api.get_opt("evenkeel").await.unwrap();
        lease
            .and_then(|lease| lease.spec?.holder_identity)
            .unwrap_or_default()
    }

    async fn until_holds(&self, name: &str) -> Duration {
        let start = Instant::now();
        while !self.holder().await.starts_with(&format!("{name}_")) {
            assert!(start.elapsed() < WITHIN, "{name} does not hold the Lease");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        start.elapsed()
    }

    /// What the operators have asked for, as the audit log has it: only complete answers.
    fn asked(&self) -> Vec<Value> {
        let mut events = self.plane.audit_events().unwrap();
        events.retain(|event| {
            event["user"]["username"] == "system:serviceaccount:evenkeel-system:evenkeel"
                && event["stage"] == "ResponseComplete"
        });
        events
    }

    /// How many statuses were written so far.
    fn statuses(&self) -> usize {
        self.asked()
            .iter()
            .filter(|one| one["verb"] == "patch" && one["objectRef"]["subresource"] == "status")
            .count()
    }

    fn process(&mut self, name: &str) -> &mut Process {
        let mut all = self.plane.processes().iter_mut();
        all.find(|process| process.name().starts_with(name)).unwrap()
    }
}

/// A running operator.
struct Operator {
    process: Process,
    port: u16,
}

impl Operator {
    fn start(name: &str, kubeconfig: &Path, folder: &Path) -> Self {
        // Free at this moment; nobody else here listens on it.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let arguments = [
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--instance={name}"),
            format!("--listen=127.0.0.1:{port}"),
        ];
        let process = Process::start(name, under_test::binary().unwrap(), &arguments, folder).unwrap();
        Self { process, port }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .ok()?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let code = text.split(' ').nth(1)?.parse().ok()?;
        Some((code, text.split_once("\r\n\r\n")?.1.to_owned()))
    }

    async fn until_ready(&self) -> Duration {
        let start = Instant::now();
        loop {
            if self.get("/readyz").await.is_some_and(|answer| answer.0 == 200) {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < WITHIN,
                "not ready:\n{}",
                self.process.last_words()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a scrape has a line that begins so.
    async fn until_metric(&self, line: &str) -> Duration {
        let start = Instant::now();
        loop {
            let (_, text) = self.get("/metrics").await.unwrap_or_default();
            if text.lines().any(|one| one.starts_with(line)) {
                return start.elapsed();
            }
            assert!(start.elapsed() < WITHIN, "no {line} in\n{text}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// It must still be the process that was started.
    fn lives(&mut self) {
        let ended = self.process.ended().unwrap();
        assert_eq!(ended, None, "{}", self.process.last_words());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_told_how_it_stands_and_nothing_is_written_twice() {
    let bed = Bed::start().await;
    let mut first = bed.operator("first").await;
    let ready = first.until_ready().await;
    bed.until_holds("first").await;
    bed.apply("policy").await;
    let told = bed.until("Healthy", "False", "Violated").await;
    eprintln!("ready after {ready:?}; a policy was told {told:?} after it was applied");

    let policy = bed.policy().await;
    let status = policy.status.unwrap();
    assert_eq!(status.observed_generation, policy.metadata.generation);
    assert_eq!(status.governed_services, Some(1));
    let worst = &status.findings[0];
    assert_eq!(worst.check, "path-idle-budget");
    assert!(worst.message.contains("900 s"), "{}", worst.message);
    first
        .until_metric(
            "evenkeel_findings{check=\"path-idle-budget\",verdict=\"Violated\",severity=\"critical\"} 1",
        )
        .await;
    first
        .until_metric("evenkeel_policy_unhealthy{namespace=\"shop\",policy=\"reports\"} 1")
        .await;

    let events: Api<k8s_openapi::api::core::v1::Event> =
        Api::namespaced(bed.plane.client().await.unwrap(), "shop");
    let told = events
        .list(&kube::api::ListParams::default())
        .await
        .unwrap()
        .items;
    let turned: Vec<_> = told
        .iter()
        .filter(|one| one.reason.as_deref() == Some("NotHealthy"))
        .collect();
    assert_eq!(turned.len(), 1, "{told:#?}");
    assert!(turned[0].message.as_deref().unwrap().contains("1800 s"));

    // A second process finds everything said: it writes nothing.
    first.signal("-TERM");
    let second = bed.operator("second").await;
    second.until_ready().await;
    bed.until_holds("second").await;
    second
        .until_metric("evenkeel_policies{condition=\"Healthy\",status=\"False\"} 1")
        .await;
    let before = bed.statuses();
    // What it would write it would write at once: the cleared finding comes after.
    bed.apply("policy-keepalive").await;
    let start = Instant::now();
    while bed.condition("Healthy").await.1 == "Violated" {
        assert!(start.elapsed() < WITHIN);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bed.statuses(), before + 1, "one write for one change");
    assert!(
        first
            .process
            .ended()
            .unwrap()
            .is_some_and(|status| status.success())
    );

    let forbidden: Vec<_> = bed
        .asked()
        .into_iter()
        .filter(|one| one["responseStatus"]["code"] == 403)
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    let lists = bed.asked().iter().filter(|one| one["verb"] == "list").count();
    assert_eq!(lists, 0, "this server streams its lists");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_takes_over_and_who_was_stopped_writes_nothing() {
    let bed = Bed::start().await;
    let a = bed.operator("a").await;
    a.until_ready().await;
    bed.until_holds("a").await;
    let mut b = bed.operator("b").await;
    b.until_ready().await;

    // Stopped for longer than its claim lasts, with something to say when it goes on.
    a.signal("-STOP");
    let taken = bed.until_holds("b").await;
    eprintln!("taken over {taken:?} after the holder was stopped");
    bed.apply("policy").await;
    bed.until("Healthy", "False", "Violated").await;
    let written = bed.statuses();
    a.signal("-CONT");
    a.until_metric("evenkeel_leader{} 0.0").await;
    a.until_metric("evenkeel_policies{condition=\"Healthy\",status=\"False\"} 1")
        .await;
    assert_eq!(bed.statuses(), written, "who was stopped has nothing to say");
    assert!(bed.holder().await.starts_with("b_"));

    // Killed: the other waits for the claim to run out, and no longer.
    b.process.kill();
    let taken = bed.until_holds("a").await;
    eprintln!("taken over {taken:?} after the holder was killed");
    bed.apply("policy-keepalive").await;
    let start = Instant::now();
    while bed.condition("Healthy").await.1 == "Violated" {
        assert!(start.elapsed() < WITHIN);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // Ended in good order: the Lease is given back.
    let c = bed.operator("c").await;
    c.until_ready().await;
    a.signal("-TERM");
    let taken = bed.until_holds("c").await;
    eprintln!("taken over {taken:?} after the holder was ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_die_and_come_back_need_no_restart_of_ours() {
    let mut bed = Bed::start().await;
    let mut operator = bed.operator("survivor").await;
    operator.until_ready().await;
    bed.apply("policy").await;
    bed.until("Healthy", "False", "Violated").await;

    bed.process("kube-apiserver").kill();
    operator
        .until_metric("evenkeel_source_fresh{source=\"endpointslices\"} 0")
        .await;
    bed.process("kube-apiserver").restart().unwrap();
    bed.plane.ready().await.unwrap();
    operator
        .until_metric("evenkeel_source_fresh{source=\"endpointslices\"} 1")
        .await;
    // Blindness may be told as such, never as health; what was known is known again.
    assert_ne!(bed.condition("Healthy").await.0, "True");
    bed.until("Healthy", "False", "Violated").await;

    bed.process("etcd").restart().unwrap();
    bed.plane.ready().await.unwrap();
    bed.apply("policy-keepalive").await;
    let start = Instant::now();
    while bed.condition("Healthy").await.1 == "Violated" {
        assert!(start.elapsed() < WITHIN, "{}", operator.process.last_words());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    operator.lives();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_network_is_told_by_the_operator_and_heals() {
    let bed = Bed::start().await;
    let server: Value = serde_saphyr::from_str(&bed.plane.kubeconfig().unwrap()).unwrap();
    let server = server["clusters"][0]["cluster"]["server"]
        .as_str()
        .unwrap()
        .to_owned();
    let port = server.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port).await.unwrap();
    let kubeconfig = bed.kubeconfig("frozen", Some(proxy.port())).await;
    let mut operator = Operator::start("frozen", &kubeconfig, bed.folder.path());
    operator.until_ready().await;
    bed.apply("policy").await;
    bed.until("Healthy", "False", "Violated").await;

    proxy.freeze();
    let told = operator
        .until_metric("evenkeel_source_fresh{source=\"endpointslices\"} 0")
        .await;
    eprintln!("a frozen watch was told after {told:?}");
    operator.until_metric("evenkeel_leader{} 0.0").await;
    bed.apply("policy-keepalive").await;
    proxy.heal();
    let start = Instant::now();
    while bed.condition("Healthy").await.1 == "Violated" {
        assert!(start.elapsed() < WITHIN, "{}", operator.process.last_words());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("healed {:?} after traffic returned", start.elapsed());
    operator.lives();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_older_than_the_program_is_named() {
    let bed = Bed::start().await;
    // As a release before this one had it: without counts and findings.
    let old = text("crds/traffichealthpolicies.yaml");
    let mut crd: Value = serde_saphyr::from_str(&old).unwrap();
    let status =
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
            .as_object_mut()
            .unwrap();
    assert!(status.remove("counts").is_some() && status.remove("findings").is_some());
    bed.plane.apply_yaml(&crd.to_string()).await.unwrap();
    let operator = bed.operator("newer").await;
    operator.until_ready().await;
    bed.apply("policy").await;
    bed.until("Accepted", "Unknown", "CRDTooOld").await;
    // The definition is brought up to date: the next word is whole again.
    bed.plane.apply_yaml(&old).await.unwrap();
    bed.apply("policy-keepalive").await;
    bed.until("Accepted", "True", "Accepted").await;
}
