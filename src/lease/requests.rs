//! How the Lease is asked for, against a server that answers when the test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::client::Link;
use crate::clock::Clock;
use crate::heartbeat::Heartbeat;

/// A request, and where its answer goes: code and body.
struct Asked {
    method: String,
    body: Value,
    answer: oneshot::Sender<(u16, Value)>,
}

/// Hands every request to the test and waits for its answer.
async fn serve(mut stream: TcpStream, asked: mpsc::Sender<Asked>) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        let (answer_tx, answer_rx) = oneshot::channel();
        let asking = Asked {
            method: head.split(' ').next().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            answer: answer_tx,
        };
        if asked.send(asking).await.is_err() {
            return Ok(());
        }
        let Ok((code, body)) = answer_rx.await else {
            return Ok(());
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
}

struct LeaseBench {
    asked: mpsc::Receiver<Asked>,
    /// How many clients were made.
    clients: Arc<AtomicUsize>,
    claim: watch::Receiver<Option<Claim>>,
    heartbeat: Heartbeat,
    stop: watch::Sender<bool>,
    held: JoinHandle<()>,
}

impl LeaseBench {
    async fn start() -> Self {
        Self::with(Clock::default()).await
    }

    async fn with(clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked_tx, asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, asked_tx.clone()));
            }
        });
        let clients = Arc::new(AtomicUsize::new(0));
        let count = clients.clone();
        let link = Link::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let mut config = Config::new(url.parse().unwrap());
            config.default_retry = false;
            async { Ok(Client::try_from(config)?) }
        });
        let options = Options {
            namespace: NAMESPACE.into(),
            name: "evenkeel".into(),
            identity: "me".into(),
        };
        let (claim_tx, claim) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let (_, state) = watch::channel(String::new());
        let heartbeat = Heartbeat::new(clock);
        let held = tokio::spawn(hold(
            Arc::new(link),
            clock,
            options,
            claim_tx,
            state,
            heartbeat.clone(),
            stopped,
        ));
        Self {
            asked,
            clients,
            claim,
            heartbeat,
            stop,
            held,
        }
    }

    /// The next request, which must be of this method.
    async fn next(&mut self, method: &str) -> Asked {
        let asked = self.asked.recv().await.unwrap();
        assert_eq!(asked.method, method, "{}", asked.body);
        asked
    }

    /// The request that takes the Lease, once it was seen to be free.
    async fn taking(&mut self) -> Asked {
        let reading = self.next("get").await;
        reading.answer.send((200, lease("4", ""))).unwrap();
        self.next("put").await
    }
}

/// A Lease as the server has it.
fn lease(version: &str, holder: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "evenkeel", "namespace": NAMESPACE, "resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}})
}

fn refusal(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "X", "message": "X"})
}

#[tokio::test]
async fn a_write_under_way_at_the_end_is_waited_for_and_given_back() {
    let mut bench = LeaseBench::start().await;
    let taking = bench.taking().await;
    bench.stop.send_replace(true);
    // The server commits it although we are ending: a reader of the Lease sees us as its holder.
    taking.answer.send((200, lease("5", "me"))).unwrap();
    let giving = bench.next("put").await;
    assert_eq!(giving.body["metadata"]["resourceVersion"], "5");
    assert_eq!(giving.body["spec"]["holderIdentity"], "");
    giving.answer.send((200, lease("6", ""))).unwrap();
    bench.held.await.unwrap();
    assert_eq!(*bench.claim.borrow(), None);
}

#[tokio::test]
async fn a_lost_race_gives_back_nothing() {
    let mut bench = LeaseBench::start().await;
    let taking = bench.taking().await;
    bench.stop.send_replace(true);
    taking.answer.send((409, refusal(409))).unwrap();
    bench.held.await.unwrap();
    assert!(bench.asked.try_recv().is_err(), "another request was sent");
}

#[tokio::test]
async fn credentials_that_are_refused_are_read_anew() {
    let mut bench = LeaseBench::start().await;
    let mut refused = 0;
    // A client is made anew at most every two seconds, and a failed request is repeated every second.
    while bench.clients.load(Ordering::Relaxed) < 2 {
        bench.next("get").await.answer.send((401, refusal(401))).unwrap();
        refused += 1;
        assert!(refused < 60, "the same client is used for ever");
    }
    let taking = bench.taking().await;
    taking.answer.send((200, lease("5", "me"))).unwrap();
    assert!(bench.claim.wait_for(Option::is_some).await.is_ok());
}

#[tokio::test]
async fn while_the_loop_hangs_nothing_is_claimed_or_renewed() {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let clock = Clock::with_boot_clock(|| Duration::from_secs(PASSED.load(Ordering::Relaxed)));
    let mut bench = LeaseBench::with(clock).await;
    let taking = bench.taking().await;
    taking.answer.send((200, lease("5", "me"))).unwrap();
    assert!(bench.claim.wait_for(Option::is_some).await.is_ok());
    // The loop hangs for 6 s: the Lease would have been renewed after 5 s.
    PASSED.store(6, Ordering::Relaxed);
    assert!(bench.claim.wait_for(Option::is_none).await.is_ok());
    let watching = bench.asked.try_recv();
    assert!(
        watching.is_ok_and(|asked| asked.method == "get") && bench.asked.try_recv().is_err(),
        "only the watch of the Lease was asked for"
    );
    bench.heartbeat.beat();
    let renewing = bench.next("put").await;
    assert_eq!(renewing.body["metadata"]["resourceVersion"], "5");
    renewing.answer.send((200, lease("6", "me"))).unwrap();
    let claim = *bench.claim.wait_for(Option::is_some).await.unwrap();
    assert_eq!(
        claim.map(|claim| claim.term),
        Some(5),
        "it was not taken meanwhile"
    );
}
