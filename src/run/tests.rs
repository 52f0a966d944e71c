//! The whole process against a server that is a function, in virtual time: what ends first when it is asked to end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Mutex;

use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::*;
use crate::client::scripted::{Answer, endless, link, whole};

/// What the server has seen.
#[derive(Clone)]
struct Server {
    /// Each status that was patched, and the way to let it be answered.
    patches: mpsc::UnboundedSender<oneshot::Sender<()>>,
    released: Arc<Mutex<Option<Instant>>>,
}

impl Server {
    async fn answer(self, request: Request<Body>) -> Answer {
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

    fn lease(&self, mut lease: Value) -> Answer {
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

/// A process whose first status is under way; the way to let that be answered, and the process's tasks.
struct Started {
    tasks: Tasks,
    stop: watch::Sender<bool>,
    released: watch::Receiver<bool>,
    server: Server,
    answer: oneshot::Sender<()>,
}

async fn started() -> Started {
    let (patches, mut patched) = mpsc::unbounded_channel();
    let server = Server {
        patches,
        released: Arc::default(),
    };
    let answers = server.clone();
    let link = Arc::new(link(move |request| answers.clone().answer(request)));
    let any = ([127, 0, 0, 1], 0).into();
    let listen = Addresses {
        metrics: any,
        probes: any,
        debug: None,
    };
    let listeners = Listeners::bind(listen).await.unwrap();
    let options = Options {
        cluster: live::Options::default(),
        namespace: "evenkeel-system".into(),
        lease: "evenkeel".into(),
        instance: "pod".into(),
        listen,
        alertmanager: None,
    };
    let (stop, stopped) = watch::channel(false);
    let (release_tx, released) = watch::channel(false);
    let mut tasks = Tasks::new();
    let release = Arc::new(release_tx);
    // Virtual time alone counts.
    let clock = Clock::with_boot_clock(|| Duration::ZERO);
    start(&mut tasks, link, clock, options, listeners, stopped, &release).unwrap();
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
