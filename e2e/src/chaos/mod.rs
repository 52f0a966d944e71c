//! An API server behind a bad network and worse proxies: answers that come late, twice, in part, or never.
//!
//! Requests come by plain HTTP and go on by TLS, with the credentials that they came with, so that a fault can hit a
//! request, an answer, or a line of a watch. What is drawn for each request follows from a seed and its number; when it
//! comes does not, so a seed repeats the kinds of faults and not the very history.

mod body;
mod fault;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ControlPlane;

use fault::Fault;

/// What a body may end with instead of its end.
type Broken = std::io::Error;

/// A body on its way to the client.
type Body = UnsyncBoxBody<Bytes, Broken>;

/// What the proxy has done so far.
#[derive(Debug, Default)]
pub struct Counts {
    requests: AtomicU64,
    faults: AtomicU64,
    freezes: AtomicU64,
}

impl Counts {
    /// Requests, faults that hit one of them, and times that everything stood still.
    pub fn all(&self) -> [u64; 3] {
        [&self.requests, &self.faults, &self.freezes].map(|one| one.load(Ordering::Relaxed))
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    seed: u64,
    is_calm: AtomicBool,
    counts: Counts,
    /// Whether nothing gets through at the moment.
    frozen: watch::Receiver<bool>,
    /// How often all connections were ended.
    cuts: watch::Sender<u32>,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Chaos {
    port: u16,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl Chaos {
    /// Starts one before an API server.
    pub async fn start(plane: &ControlPlane, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("listening for the proxy")?;
        let port = listener.local_addr()?.port();
        let (frozen_tx, frozen) = watch::channel(false);
        let shared = Arc::new(Shared {
            upstream: Upstream(without_credentials(plane).await?),
            seed,
            is_calm: AtomicBool::new(false),
            counts: Counts::default(),
            frozen,
            cuts: watch::channel(0).0,
        });
        let freezer = tokio::spawn(freezes(shared.clone(), frozen_tx));
        let of_all = shared.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, of_all.clone()));
            }
        });
        Ok(Self {
            port,
            shared,
            tasks: [freezer, server],
        })
    }

    /// Where it is found.
    pub fn server(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has done so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// From now on everything gets through; connections of before end.
    pub fn calm(&self) {
        self.shared.is_calm.store(true, Ordering::Relaxed);
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A client that sends what it is given, with no credentials of its own.
struct Upstream(Client);

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upstream").finish_non_exhaustive()
    }
}

async fn without_credentials(plane: &ControlPlane) -> Result<Client> {
    let file = Kubeconfig::read_from(plane.kubeconfig_path()).context("reading the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.auth_info = AuthInfo::default();
    config.default_retry = false;
    config.proxy_url = None;
    Client::try_from(config).context("making a client")
}

/// Now and then nothing gets through for a while, sometimes for longer than a claim on the Lease lasts.
async fn freezes(shared: Arc<Shared>, frozen_tx: watch::Sender<bool>) {
    let mut rng = fastrand::Rng::with_seed(shared.seed);
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(8_000..30_000))).await;
        if shared.is_calm.load(Ordering::Relaxed) {
            return;
        }
        shared.counts.freezes.fetch_add(1, Ordering::Relaxed);
        frozen_tx.send_replace(true);
        tokio::time::sleep(Duration::from_millis(rng.u64(500..18_000))).await;
        frozen_tx.send_replace(false);
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut cuts_rx = shared.cuts.subscribe();
    let service = service_fn(|request| answer(request, shared.clone()));
    tokio::select! {
        // A connection that a fault has cut ends with an error, as it should.
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
        _ = cuts_rx.changed() => {}
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Broken> {
    let number = shared.counts.requests.fetch_add(1, Ordering::Relaxed);
    let mut rng = fastrand::Rng::with_seed(shared.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let is_calm = shared.is_calm.load(Ordering::Relaxed);
    let fault = if is_calm {
        Fault::None
    } else {
        Fault::draw(&mut rng, &request)
    };
    if fault != Fault::None {
        shared.counts.faults.fetch_add(1, Ordering::Relaxed);
    }
    thaw(shared.frozen.clone()).await;
    match fault {
        Fault::Refused(code) => return Ok(refusal(code)),
        Fault::Late(by) => tokio::time::sleep(by).await,
        _ => {}
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(Broken::other)?.to_bytes();
    let send = async || {
        let mut request = Request::new(kube::client::Body::from(body.to_vec()));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        // The way upstream has names and lengths of its own.
        for name in [
            http::header::HOST,
            http::header::CONTENT_LENGTH,
            http::header::ACCEPT_ENCODING,
        ] {
            request.headers_mut().remove(name);
        }
        shared.upstream.0.send(request).await.map_err(Broken::other)
    };
    let mut response = send().await?;
    if fault == Fault::Repeated {
        let again = send().await?;
        // The client hears of one of the two.
        if rng.bool() {
            response = again;
        }
    }
    thaw(shared.frozen.clone()).await;
    if fault == Fault::Lost {
        return Err(Broken::other("the answer is lost"));
    }
    let (mut head, body) = response.into_parts();
    for name in [
        http::header::CONTENT_LENGTH,
        http::header::TRANSFER_ENCODING,
        http::header::CONTENT_ENCODING,
    ] {
        head.headers.remove(name);
    }
    let body = body::faulty(body, fault, rng, shared.frozen.clone());
    Ok(Response::from_parts(head, body))
}

fn refusal(code: StatusCode) -> Response<Body> {
    let text = format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"chaos\",\"code\":{}}}",
        code.as_u16()
    );
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    if code == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    response
}

/// Waits until something gets through.
async fn thaw(mut frozen: watch::Receiver<bool>) {
    // The sender is gone only when it is over with freezes.
    drop(frozen.wait_for(|frozen| !frozen).await);
}
