//! Alerts on real servers: a Prometheus that loads our rules and scrapes the operator, and Alertmanagers that are told by
//! it, or by the operator itself. Debian's packages are fetched when they are missing; pushes need root, for an address
//! that an `EndpointSlice` may name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_e2e::demo::demo;
use evenkeel_e2e::monitoring::{
    Address, Alertmanager, Programs, Prometheus, SERVER_NAME, SERVICE, check_rules, free_port, impatient,
    rules, test_rules,
};
use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::process::Process;
use evenkeel_e2e::{ControlPlane, Options, under_test};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard, mpsc};

/// Far above what anything here takes, on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(180);

/// One control plane at a time: each of these tests ends parts of its own.
static ONE: Mutex<()> = Mutex::const_new(());

struct Bed {
    plane: ControlPlane,
    programs: Programs,
    folder: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Bed {
    /// A control plane with the demo's nodes, data plane, shop and policy: one critical finding.
    async fn start() -> Self {
        let one = ONE.lock().await;
        let options = Options {
            controller_manager: false,
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await.unwrap();
        plane.install_operator().await.unwrap();
        for file in ["cluster.yaml", "shop.yaml", "policy.yaml"] {
            plane.apply_yaml(&demo(file).unwrap()).await.unwrap();
        }
        Self {
            plane,
            programs: Programs::find_or_fetch().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            _one: one,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn operator(&self, name: &str, more: &[String]) -> Operator {
        let binary = under_test::binary().unwrap();
        Operator::start(&self.plane, binary, name, more, self.path())
            .await
            .unwrap()
    }

    fn server(&mut self) -> &mut Process {
        let mut all = self.plane.processes().iter_mut();
        all.find(|one| one.name().starts_with("kube-apiserver")).unwrap()
    }

    async fn declare_keepalive(&self) {
        let policy = demo("policy-keepalive.yaml").unwrap();
        self.plane.apply_yaml(&policy).await.unwrap();
    }

    async fn alertmanager(&self, name: &str, address: SocketAddr) -> Alertmanager {
        Alertmanager::start(&self.programs, name, self.path(), address)
            .await
            .unwrap()
    }
}

/// Waits for an alert.
async fn fires(told: &Alertmanager, name: &str, labels: &[(&str, &str)]) -> Value {
    let start = Instant::now();
    loop {
        if let Some(alert) = told.alert(name, labels).await.unwrap() {
            return alert;
        }
        let all = told.alerts().await.unwrap();
        assert!(start.elapsed() < WITHIN, "no {name} {labels:?} in {all:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until no alert of a name fires.
async fn resolves(told: &Alertmanager, name: &str) {
    let start = Instant::now();
    while let Some(alert) = told.alert(name, &[]).await.unwrap() {
        assert!(start.elapsed() < WITHIN, "{name} still fires: {alert:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn the_rules_do_what_their_unit_tests_say() {
    let programs = Programs::find_or_fetch().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checked = check_rules(&programs, folder.path()).unwrap();
    let count = rules().unwrap()["groups"][0]["rules"].as_array().unwrap().len();
    assert!(checked.contains(&format!("{count} rules found")), "{checked}");
    test_rules(&programs, folder.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_fire_and_resolve_on_a_real_prometheus() {
    let bed = Bed::start().await;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let told = bed.alertmanager("alertmanager", at).await;
    let mut operator = bed.operator("watched", &[]).await;
    // How long each rule waits is what promtool tests; here every one waits for a second.
    let rules = impatient(rules().unwrap());
    let prometheus = Prometheus::start(&bed.programs, bed.path(), &rules, &[operator.port()], at)
        .await
        .unwrap();

    fires(&told, "EvenkeelWatchdog", &[]).await;
    let labels = [("check", "path-idle-budget"), ("severity", "critical")];
    let alert = fires(&told, "EvenkeelCriticalFinding", &labels).await;
    assert_eq!(
        alert["annotations"]["summary"],
        "1 critical findings of path-idle-budget"
    );
    let labels = [("namespace", "shop"), ("policy", "reports")];
    fires(&told, "EvenkeelPolicyUnhealthy", &labels).await;
    // With a leader that reads everything, those of the operator itself are silent, and not about to fire.
    resolves(&told, "EvenkeelNoLeader").await;
    resolves(&told, "EvenkeelSourceStale").await;
    let active = prometheus.active().await.unwrap();
    for own in [
        "EvenkeelDown",
        "EvenkeelNoLeader",
        "EvenkeelSourceStale",
        "EvenkeelCannotWrite",
    ] {
        assert!(active.iter().all(|one| one.0 != own), "{active:?}");
    }

    bed.declare_keepalive().await;
    resolves(&told, "EvenkeelCriticalFinding").await;
    resolves(&told, "EvenkeelPolicyUnhealthy").await;

    operator.process_mut().kill();
    fires(&told, "EvenkeelDown", &[("severity", "critical")]).await;
    fires(&told, "EvenkeelNoLeader", &[("severity", "critical")]).await;
    operator.process_mut().restart().unwrap();
    resolves(&told, "EvenkeelDown").await;
    resolves(&told, "EvenkeelNoLeader").await;
}

/// Accepts alerts and tells which `Authorization` came with each push.
async fn listener(address: SocketAddr) -> mpsc::UnboundedReceiver<Option<String>> {
    let listener = TcpListener::bind(address).await.unwrap();
    let (seen_tx, seen_rx) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.contains("\r\n\r\n") {
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                if read == 0 {
                    break;
                }
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            let mut lines = text.lines();
            let sent = lines.find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.ok();
            seen_tx.send(sent).ok();
        }
    });
    seen_rx
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_reach_every_alertmanager_that_lives_and_end_when_the_finding_does() {
    let mut bed = Bed::start().await;
    let address = Address::add().unwrap();
    let at = || SocketAddr::from((address.ip(), free_port().unwrap()));
    let a = bed.alertmanager("a", at()).await;
    let b = bed.alertmanager("b", at()).await;
    let (dead, checked) = (at(), at());
    let mut seen = listener(checked).await;
    let ports = [a.address(), b.address(), dead, checked].map(|one| one.port());
    bed.plane
        .alertmanager_service(address.ip(), &ports)
        .await
        .unwrap();
    let token = bed.path().join("token");
    std::fs::write(&token, "first\n").unwrap();
    let mut operator = bed
        .operator(
            "pushing",
            &[
                format!("--alertmanager={SERVICE}"),
                format!("--alertmanager-token-file={}", token.display()),
            ],
        )
        .await;

    let labels = [
        ("check", "path-idle-budget"),
        ("severity", "critical"),
        ("policy", "shop/reports"),
        ("namespace", "shop"),
        ("name", "reports"),
    ];
    let first = fires(&a, "EvenkeelFinding", &labels).await;
    fires(&b, "EvenkeelFinding", &labels).await;
    let description = first["annotations"]["description"].as_str().unwrap();
    assert!(description.contains("900 s"), "{description}");
    assert!(description.contains("1800 s"), "{description}");
    assert_eq!(seen.recv().await.unwrap().as_deref(), Some("Bearer first"));
    // The dead one is counted, named in the log with the cause, and delays nobody.
    let unreachable = "evenkeel_alerts_total{outcome=\"unreachable\"}";
    operator.until_metric(unreachable, WITHIN).await.unwrap();
    let log = operator.log().unwrap();
    assert!(log.contains(&dead.to_string()), "{log}");
    assert!(log.contains("Connection refused"), "{log}");

    // Repeated: the same alert, and its end moves. The token is read anew for it.
    std::fs::write(&token, "second\n").unwrap();
    let start = Instant::now();
    loop {
        let now = fires(&a, "EvenkeelFinding", &labels).await;
        assert_eq!(now["startsAt"], first["startsAt"]);
        if now["endsAt"].as_str().unwrap() > first["endsAt"].as_str().unwrap() {
            break;
        }
        assert!(start.elapsed() < WITHIN, "not repeated: {now:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("repeated {:?} after it was first seen", start.elapsed());
    while seen.recv().await.unwrap().as_deref() != Some("Bearer second") {}

    // Not to see is no all-clear.
    bed.server().kill();
    let blind = "evenkeel_source_fresh{source=\"endpointslices\"} 0";
    operator.until_metric(blind, WITHIN).await.unwrap();
    operator
        .until_metric("evenkeel_leader{} 0", WITHIN)
        .await
        .unwrap();
    for told in [&a, &b] {
        assert!(told.alert("EvenkeelFinding", &labels).await.unwrap().is_some());
    }
    bed.server().restart().unwrap();
    bed.plane.ready().await.unwrap();
    operator
        .until_metric("evenkeel_leader{} 1", WITHIN)
        .await
        .unwrap();
    fires(&a, "EvenkeelFinding", &labels).await;

    bed.declare_keepalive().await;
    resolves(&a, "EvenkeelFinding").await;
    resolves(&b, "EvenkeelFinding").await;
    assert_eq!(operator.process_mut().ended().unwrap(), None);
    operator.end().unwrap();
}

/// A CA, and a certificate and key that it has signed for a name; in PEM.
fn certificate(name: &str) -> (String, (String, String)) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    (authority, (certificate, key.serialize_pem()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_is_refused_and_said_so() {
    let bed = Bed::start().await;
    let address = Address::add().unwrap();
    let at = SocketAddr::from((address.ip(), free_port().unwrap()));
    let (authority, (certificate_pem, key)) = certificate(SERVER_NAME);
    let (stranger, _) = certificate(SERVER_NAME);
    let _told = Alertmanager::start_tls(&bed.programs, "tls", bed.path(), at, (&certificate_pem, &key))
        .await
        .unwrap();
    bed.plane
        .alertmanager_service(address.ip(), &[at.port()])
        .await
        .unwrap();
    let arguments = |name: &str, pem: &str| {
        let file = bed.path().join(name);
        std::fs::write(&file, pem).unwrap();
        [
            format!("--alertmanager={SERVICE}"),
            format!("--alertmanager-ca-file={}", file.display()),
        ]
    };

    let wrong = bed.operator("wrong", &arguments("stranger.crt", &stranger)).await;
    let unreachable = "evenkeel_alerts_total{outcome=\"unreachable\"}";
    wrong.until_metric(unreachable, WITHIN).await.unwrap();
    let log = wrong.log().unwrap();
    assert!(log.contains("invalid peer certificate"), "{log}");
    let accepted = "evenkeel_alerts_total{outcome=\"accepted\"}";
    assert_eq!(wrong.metric(accepted).await.unwrap(), None);
    wrong.end().unwrap();

    let right = bed
        .operator("right", &arguments("authority.crt", &authority))
        .await;
    right.until_metric(accepted, WITHIN).await.unwrap();
    right.end().unwrap();
}
