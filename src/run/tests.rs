//! The whole process against a server that is a function: what ends first when it is asked to end, and what becomes of one
//! whose loop hangs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::*;
use crate::client::scripted::{ScriptedResponse, endless, link, whole};

/// What the server has seen.
#[derive(Clone)]
struct ScriptedServer {
    /// Each status that was patched, and the way to let it be answered.
    patches: mpsc::UnboundedSender<oneshot::Sender<()>>,
    released: Arc<Mutex<Option<Instant>>>,
}

impl ScriptedServer {
    async fn answer(self, request: Request<Body>) -> ScriptedResponse {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let watching = parts.uri.query().is_some_and(|query| query.contains("watch="));
        if parts.uri.path().contains("/leases") {
            return match parts.method {
                _ if watching => endless(200, ""),
                Method::GET => whole(404, absent().to_string()),
                _ => self.lease(body),
            };
        }
        if parts.method == Method::PATCH {
            let (answer_tx, answer_rx) = oneshot::channel();
            self.patches.send(answer_tx).unwrap();
            if answer_rx.await.is_err() {
                std::future::pending::<()>().await;
            }
            return whole(200, r#"{"metadata":{"resourceVersion":"12"}}"#);
        }
        if !watching {
            return whole(201, "{}");
        }
        let object = if parts.uri.path().ends_with("/traffichealthpolicies") {
            // Refused by its reader, whatever the cluster holds: there is something to say.
            policy().to_string() + "\n"
        } else {
            String::new()
        };
        endless(200, object + &complete().to_string() + "\n")
    }

    fn lease(&self, mut lease: Value) -> ScriptedResponse {
        if lease["spec"]["holderIdentity"] == "" {
            *self.released.lock().unwrap() = Some(Instant::now());
        }
        lease["metadata"]["resourceVersion"] = "20".into();
        whole(200, lease.to_string())
    }
}

fn absent() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "none"})
}

fn policy() -> Value {
    json!({"type": "ADDED", "object": {"apiVersion": "evenkeel.dev/v1alpha1", "kind": "TrafficHealthPolicy",
        "metadata": {"namespace": "shop", "name": "a", "uid": "1", "generation": 1, "resourceVersion": "9"},
        "spec": {"services": {}}}})
}

/// The end of the initial events.
fn complete() -> Value {
    json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "10",
        "annotations": {"k8s.io/initial-events-end": "true"}}}})
}

async fn listeners() -> Listeners {
    Listeners::bind(options("any").listen).await.unwrap()
}

fn options(instance: &str) -> Options {
    let any = ([127, 0, 0, 1], 0).into();
    Options {
        cluster: live::Options::default(),
        namespace: "evenkeel-system".into(),
        lease: "evenkeel".into(),
        instance: instance.into(),
        node: None,
        listen: Addresses {
            metrics: any,
            probes: any,
            debug: None,
        },
        alertmanager: None,
        prometheus: None,
        instance_metrics: false,
        remedies: false,
    }
}

/// A process whose first status is under way; the way to let that be answered, and the process's tasks.
struct Started {
    tasks: Tasks,
    stop: watch::Sender<bool>,
    released: watch::Receiver<bool>,
    server: ScriptedServer,
    answer: oneshot::Sender<()>,
}

async fn started() -> Started {
    let (patches, mut patched) = mpsc::unbounded_channel();
    let server = ScriptedServer {
        patches,
        released: Arc::default(),
    };
    let answers = server.clone();
    let link = Arc::new(link(move |request| answers.clone().answer(request)));
    let links = Links {
        watching: link.clone(),
        lease: link,
    };
    let (listeners, options) = (listeners().await, options("pod"));
    let (stop, stopped) = watch::channel(false);
    let (release_tx, released) = watch::channel(false);
    let mut tasks = Tasks::new();
    // Virtual time alone counts.
    let clock = Clock::with_boot_clock(|| Duration::ZERO);
    let until = release_tx.subscribe();
    let drive = start(&mut tasks, links, clock, options, listeners, &stopped, until).unwrap();
    tasks.spawn(async move {
        let driven = Box::pin(drive.run(stopped)).await;
        release_tx.send_replace(true);
        ("the loop", driven)
    });
    let patched = tokio::time::timeout(Duration::from_secs(120), patched.recv()).await;
    let answer = patched.expect("a status within two minutes").unwrap();
    Started {
        tasks,
        stop,
        released,
        server,
        answer,
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_given_back_after_the_last_answer() {
    let started = started().await;
    started.stop.send_replace(true);
    let ending = tokio::spawn(end(started.tasks, started.released));
    sleep(Duration::from_secs(3)).await;
    assert!(
        started.server.released.lock().unwrap().is_none(),
        "a request is under way"
    );
    started.answer.send(()).unwrap();
    ending.await.unwrap();
    assert!(started.server.released.lock().unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_holds_the_lease_until_its_permit_ends() {
    let started = started().await;
    let sent = Instant::now();
    drop(started.answer);
    started.stop.send_replace(true);
    end(started.tasks, started.released).await;
    let released = started.server.released.lock().unwrap().unwrap();
    let held = released - sent;
    assert!(
        held >= Duration::from_millis(4900) && held <= Duration::from_millis(5500),
        "{held:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_never_ends_leaves_the_lease_to_expire() {
    let (_release, released) = watch::channel(false);
    let mut tasks = Tasks::new();
    tasks.spawn(std::future::pending());
    let began = Instant::now();
    end(tasks, released).await;
    assert_eq!(began.elapsed().as_millis(), REQUESTS_END.as_millis());
}

/// A Lease that several may strive for.
#[derive(Clone, Default)]
struct Contended(Arc<Mutex<(u64, Value)>>);

impl Contended {
    async fn answer(self, request: Request<Body>) -> ScriptedResponse {
        let (parts, body) = request.into_parts();
        if parts.uri.query().is_some_and(|query| query.contains("watch=")) {
            // It ends soon, so that a replica that waits looks at its clock again.
            sleep(Duration::from_millis(20)).await;
            return whole(200, "");
        }
        let body = body.collect().await.unwrap().to_bytes();
        let mut held = self.0.lock().unwrap();
        if parts.method != Method::GET {
            let mut new: Value = serde_json::from_slice(&body).unwrap();
            let over = new["metadata"]["resourceVersion"].as_str();
            let over = over.and_then(|version| version.parse::<u64>().ok());
            if held.0 > 0 && over != Some(held.0) {
                let conflict = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409,
                    "message": "another version"});
                return whole(409, conflict.to_string());
            }
            held.0 += 1;
            new["metadata"]["resourceVersion"] = held.0.to_string().into();
            held.1 = new;
        }
        match held.0 {
            0 => whole(404, absent().to_string()),
            _ => whole(200, held.1.to_string()),
        }
    }

    fn holder(&self) -> String {
        let held = self.0.lock().unwrap();
        held.1["spec"]["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    async fn held_by(&self, instance: &str) {
        while !self.holder().starts_with(instance) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn probe(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Real threads and a blocked one; only the time that has passed is what the test says.
#[tokio::test]
async fn a_loop_that_hangs_is_not_alive_and_another_replica_takes_over() {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let clock = Clock::with_boot_clock(|| Duration::from_secs(PASSED.load(Ordering::Relaxed)));
    let lease = Contended::default();
    let (hung_tx, mut hung) = mpsc::unbounded_channel();
    let (_go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let (patches, _patched) = mpsc::unbounded_channel();
    let server = ScriptedServer {
        patches,
        released: Arc::default(),
    };
    let mut tasks = Tasks::new();
    let (_stop, stopped) = watch::channel(false);
    let mut start_one = |instance: &str, listeners: Listeners| {
        let (lease, server) = (lease.clone(), server.clone());
        let (hung, wait) = (hung_tx.clone(), wait.clone());
        let watching = link(move |request: Request<Body>| {
            if request.method() == Method::PATCH {
                // On the loop's thread, which sends what it writes: it goes no further.
                hung.send(()).unwrap();
                let _ = wait.lock().unwrap().recv();
            }
            server.clone().answer(request)
        });
        let links = Links {
            watching: Arc::new(watching),
            lease: Arc::new(link(move |request| lease.clone().answer(request))),
        };
        let (release, released) = watch::channel(false);
        let options = options(instance);
        let drive = start(&mut tasks, links, clock, options, listeners, &stopped, released).unwrap();
        drive_apart(&mut tasks, drive, stopped.clone(), release).unwrap();
    };
    let own = listeners().await;
    let probes = own.addresses().unwrap().probes;
    start_one("first", own);
    hung.recv().await.unwrap();
    assert!(lease.holder().starts_with("first"));
    assert!(probe(probes, "/livez").await.starts_with("HTTP/1.1 200"));

    PASSED.store(40, Ordering::Relaxed);
    let answer = probe(probes, "/livez").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("no sign of life for"),
        "{answer}"
    );
    // A standby waits until it has seen the Lease unchanged for as long as that lasts.
    let before = lease.0.lock().unwrap().0;
    start_one("second", listeners().await);
    sleep(Duration::from_millis(100)).await;
    assert!(lease.0.lock().unwrap().0 == before && lease.holder().starts_with("first"));
    PASSED.store(60, Ordering::Relaxed);
    let taken = tokio::time::timeout(Duration::from_secs(60), lease.held_by("second"));
    assert!(taken.await.is_ok(), "held by {}", lease.holder());
}
