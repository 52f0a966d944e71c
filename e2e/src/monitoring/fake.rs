//! A server that answers as a Prometheus does, or as one that is broken, slow or lies, which a real one cannot be made to do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, rustls};

/// Requests that are remembered.
const REMEMBERED: usize = 1_000;

/// A request to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its path, without the query string.
    pub path: String,
    /// The query in PromQL.
    pub promql: String,
    /// The header `Authorization`, where there is one.
    pub authorization: Option<String>,
    /// The header `X-Scope-OrgID`, where there is one.
    pub tenant: Option<String>,
}

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    body: Bytes,
    /// How long it lets wait.
    late: Duration,
    /// Whether the connection ends in the middle of the body.
    cut: bool,
}

impl Reply {
    /// This body, with status 200.
    pub fn body(body: impl Into<Bytes>) -> Self {
        Self::status(200, body)
    }

    /// Another status.
    pub fn status(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            late: Duration::ZERO,
            cut: false,
        }
    }

    /// The same after a while.
    #[must_use]
    pub fn after(self, late: Duration) -> Self {
        Self { late, ..self }
    }

    /// Half of it, and then the end of the connection.
    #[must_use]
    pub fn cut(self) -> Self {
        Self { cut: true, ..self }
    }
}

/// What decides how it answers.
type Behaviour = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// What all connections share.
struct FakeState {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<VecDeque<Asked>>,
    queries: AtomicU64,
    bytes: AtomicU64,
}

/// A running one. Dropping it ends it.
pub struct FakePrometheus {
    address: SocketAddr,
    shared: Arc<FakeState>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for FakePrometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakePrometheus")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl FakePrometheus {
    /// Starts one at this address.
    pub async fn start(
        at: SocketAddr,
        behaviour: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::serve(at, None, Arc::new(behaviour)).await
    }

    /// Starts one that serves HTTPS, with its certificate and key in PEM.
    pub async fn start_tls(
        at: SocketAddr,
        (certificate, key): (&str, &str),
        behaviour: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                certificates.collect::<Result<_, _>>()?,
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::serve(at, Some(acceptor), Arc::new(behaviour)).await
    }

    async fn serve(at: SocketAddr, tls: Option<TlsAcceptor>, behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind(at)
            .await
            .with_context(|| format!("listening on {at}"))?;
        let address = listener.local_addr().context("asking for its address")?;
        let shared = Arc::new(FakeState {
            behaviour: Mutex::new(behaviour),
            asked: Mutex::default(),
            queries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let of_all = shared.clone();
        let task = tokio::spawn(async move {
            // Connections end with the task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(secured(stream, tls.clone(), of_all.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it answers so.
    pub fn behave(&self, behaviour: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        let mut now = self
            .shared
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(behaviour);
    }

    /// The last requests, at most a thousand.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().cloned().collect()
    }

    /// How many queries it has been asked, and how many bytes it has answered.
    pub fn traffic(&self) -> (u64, u64) {
        let of = |one: &AtomicU64| one.load(Ordering::Relaxed);
        (of(&self.shared.queries), of(&self.shared.bytes))
    }
}

impl Drop for FakePrometheus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn secured(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<FakeState>) {
    match tls {
        None => connection(stream, shared).await,
        // A client that does not trust the certificate ends the connection.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, shared).await;
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send, shared: Arc<FakeState>) {
    let service = service_fn(|request| answer(request, shared.clone()));
    // A connection that is cut ends with an error, as it should.
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<FakeState>,
) -> Result<Response<UnsyncBoxBody<Bytes, io::Error>>, Infallible> {
    let asked = asked(&request);
    let behaviour = shared
        .behaviour
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let Reply {
        status,
        mut body,
        late,
        cut,
    } = behaviour(&asked);
    {
        let mut all = shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(asked);
    }
    tokio::time::sleep(late).await;
    if cut {
        body.truncate(body.len() / 2);
    }
    shared.queries.fetch_add(1, Ordering::Relaxed);
    shared.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    let end = async {
        // What is written together with the end of its connection never leaves.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err(io::Error::other("cut"))
    };
    let begins = stream::iter([Ok(Frame::data(body))]);
    let ends = stream::iter(cut.then_some(end)).then(|end| end);
    let body = StreamBody::new(begins.chain(ends)).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(response)
}

fn asked(request: &Request<Incoming>) -> Asked {
    let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
    let query = request.uri().query().unwrap_or_default();
    let promql = query.split('&').find_map(|pair| pair.strip_prefix("query="));
    Asked {
        path: request.uri().path().to_owned(),
        promql: decoded(promql.unwrap_or_default()),
        authorization: header("authorization"),
        tenant: header("x-scope-orgid"),
    }
}

/// A part of a URL without its escapes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escape = (byte == b'%').then(|| {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        });
        bytes.push(escape.flatten().unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
