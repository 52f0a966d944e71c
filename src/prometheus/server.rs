//! One query to a Prometheus, by whichever way it is reached.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use evenkeel_core::sample::Why;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::{self, AnswerError};
use crate::client::Refusal;
use crate::outbound::{self, Credentials, HttpClient, OutboundError, ServicePort, Trust};

/// What one answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerLimits {
    /// How long it may take. The server gets a limit of its own that ends a little earlier.
    pub(crate) within: Duration,
    /// Most bytes.
    pub(crate) bytes: usize,
}

impl Default for AnswerLimits {
    /// Of the largest question: 16,384 Nodes with five series of some 150 bytes each.
    fn default() -> Self {
        Self {
            within: Duration::from_secs(10),
            bytes: 12 << 20,
        }
    }
}

impl AnswerLimits {
    /// The limit that the server is given, in milliseconds.
    fn of_server(self) -> u128 {
        self.within.as_millis() * 4 / 5
    }
}

/// The header that names a tenant: Mimir, Cortex, Thanos' receivers and Loki's relatives.
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Which Prometheus, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its Service.
    pub at: ServicePort,
    /// How it is reached.
    pub outbound: outbound::Options,
    /// What is before `/api/v1`, such as `/select/0/prometheus`; may be empty.
    pub path_prefix: String,
    /// `X-Scope-OrgID`, where it has tenants.
    pub tenant: Option<String>,
}

/// The way to a Prometheus.
#[derive(Debug)]
pub(crate) struct PrometheusServer {
    way: PrometheusAccess,
    path_prefix: String,
    tenant: Option<HeaderValue>,
}

enum PrometheusAccess {
    /// Its endpoints, each by its address.
    Endpoints(HttpClient),
    /// A URL, as a person has it.
    Url(HttpClient, String),
    /// The API server's proxy for Services, under the user's own rights.
    Proxy(kube::Client, String),
}

impl std::fmt::Debug for PrometheusAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Endpoints(_) => "Endpoints",
            Self::Url(..) => "Url",
            Self::Proxy(..) => "Proxy",
        })
    }
}

impl PrometheusServer {
    /// By the addresses of its endpoints.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let name = options.at.server_name();
        let client = HttpClient::new(options.outbound.clone(), Trust::Name(&name)).context("--prometheus")?;
        Self::by(
            PrometheusAccess::Endpoints(client),
            &options.path_prefix,
            options.tenant.as_deref(),
        )
    }

    /// By a URL that a person has given.
    pub(crate) fn at_url(
        url: &str,
        outbound: outbound::Options,
        path_prefix: &str,
        tenant: Option<&str>,
    ) -> Result<Self> {
        let secure = url.starts_with("https://");
        ensure!(
            secure || url.starts_with("http://"),
            "expected a URL that begins with http:// or https://"
        );
        ensure!(
            secure || outbound.credentials == Credentials::None,
            "credentials would go over plain HTTP: give a URL that begins with https://"
        );
        let authority = url.split('/').nth(2).unwrap_or_default();
        ensure!(
            !authority.contains('@'),
            "a password in a URL would be seen in the list of processes and in the next command: give a file of it"
        );
        let client = HttpClient::new(outbound, Trust::Host)?;
        let way = PrometheusAccess::Url(client, url.trim_end_matches('/').to_owned());
        Self::by(way, path_prefix, tenant)
    }

    /// By the API server's proxy: `get services/proxy`, with the user's own rights.
    pub(crate) fn by_proxy(
        client: kube::Client,
        at: &ServicePort,
        secure: bool,
        path_prefix: &str,
        tenant: Option<&str>,
    ) -> Result<Self> {
        // k8s.io/kubernetes, `pkg/registry/core/service/storage/storage.go`, `ResourceLocation`: scheme:name:port.
        let scheme = if secure { "https:" } else { "" };
        let ServicePort {
            namespace,
            service,
            port,
        } = at;
        let base = format!("/api/v1/namespaces/{namespace}/services/{scheme}{service}:{port}/proxy");
        Self::by(PrometheusAccess::Proxy(client, base), path_prefix, tenant)
    }

    fn by(way: PrometheusAccess, path_prefix: &str, tenant: Option<&str>) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:".contains(c);
        ensure!(
            path_prefix.chars().all(plain),
            "the path prefix {path_prefix} holds what a path may not"
        );
        let path_prefix = path_prefix.trim_matches('/');
        Ok(Self {
            way,
            path_prefix: if path_prefix.is_empty() {
                String::new()
            } else {
                format!("/{path_prefix}")
            },
            tenant: tenant
                .map(HeaderValue::try_from)
                .transpose()
                .context("the tenant")?,
        })
    }

    /// Asks, at this endpoint where it is one of several; returns the answer's text. `at` is the time to evaluate the query
    /// at, in milliseconds since 1970.
    ///
    /// # Errors
    /// Why nothing came.
    pub(crate) async fn query(
        &self,
        endpoint: Option<SocketAddr>,
        promql: &str,
        at: Option<i64>,
        limits: AnswerLimits,
    ) -> Result<Bytes, (Why, String)> {
        let query = utf8_percent_encode(promql, NON_ALPHANUMERIC);
        let timeout = limits.of_server();
        let mut path = format!(
            "{}/api/v1/query?timeout={timeout}ms&query={query}",
            self.path_prefix
        );
        if let Some(at) = at {
            // A Unix time in seconds, with decimals. A String takes every write.
            let _ = write!(path, "&time={}.{:03}", at.div_euclid(1000), at.rem_euclid(1000));
        }
        let body = match &self.way {
            PrometheusAccess::Endpoints(client) => {
                let endpoint = endpoint
                    .ok_or_else(|| (Why::Unreachable, "its Service has no ready endpoint".to_owned()))?;
                let url = format!("{}://{endpoint}{path}", client.scheme());
                self.outbound(client, url, limits).await?
            }
            PrometheusAccess::Url(client, base) => {
                self.outbound(client, format!("{base}{path}"), limits).await?
            }
            PrometheusAccess::Proxy(client, base) => {
                let exchange = self.proxied(client, format!("{base}{path}"), limits.bytes);
                let exchange = tokio::time::timeout(limits.within, exchange).await;
                exchange.unwrap_or_else(|_| {
                    let seconds = limits.within.as_secs();
                    Err((Why::TimedOut, format!("no answer within {seconds} s")))
                })?
            }
        };
        Ok(body)
    }

    async fn outbound(
        &self,
        client: &HttpClient,
        url: String,
        limits: AnswerLimits,
    ) -> Result<Bytes, (Why, String)> {
        let request = self.request(url, Full::new(Bytes::new()))?;
        client
            .exchange(request, limits.bytes, limits.within)
            .await
            .map_err(|error| of_outbound(&error))
    }

    async fn proxied(
        &self,
        client: &kube::Client,
        path: String,
        most: usize,
    ) -> Result<Bytes, (Why, String)> {
        let request = self.request(path, Body::empty())?;
        let response = client.send(request).await;
        let response =
            response.map_err(|error| (Why::Unreachable, format!("{:#}", anyhow::Error::new(error))))?;
        if !response.status().is_success() {
            let refusal = Refusal::read(response).await;
            let why = refused(refusal.code);
            return Err((why, refusal.to_string()));
        }
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body.map_err(|error| {
            let why = if error.is::<http_body_util::LengthLimitError>() {
                Why::TooLarge
            } else {
                Why::Truncated
            };
            (why, error.to_string())
        })?;
        Ok(body.to_bytes())
    }

    fn request<B>(&self, url: String, body: B) -> Result<Request<B>, (Why, String)> {
        let mut request = Request::get(url);
        if let Some(tenant) = &self.tenant {
            request = request.header(TENANT, tenant);
        }
        request
            .body(body)
            .map_err(|error| (Why::Unreachable, error.to_string()))
    }
}

const fn refused(code: u16) -> Why {
    match code {
        401 | 403 => Why::Refused,
        // Prometheus answers 503 where a query timed out (`web/api/v1/api.go`, `respondError`), and so does what stands
        // before a server that is gone.
        _ => Why::Unreachable,
    }
}

/// What became of a request, as a gap.
fn of_outbound(error: &OutboundError) -> (Why, String) {
    let why = match error {
        OutboundError::Late(_) => Why::TimedOut,
        OutboundError::Unreachable(_) => Why::Unreachable,
        OutboundError::Credentials(..) => Why::Refused,
        OutboundError::TooLong(_) => Why::TooLarge,
        OutboundError::BrokeOff(_) => Why::Truncated,
        OutboundError::Refused(status, text) => {
            // An error of the API itself comes with a status of 4xx or 5xx.
            if let Err(error @ AnswerError::Failed { .. }) = answer::read(text.as_bytes(), 0, &mut |_| {}) {
                return of_answer(&error);
            }
            refused(status.as_u16())
        }
    };
    (why, error.to_string())
}

/// What is wrong with an answer, as a gap.
pub(super) fn of_answer(error: &AnswerError) -> (Why, String) {
    let why = match error {
        AnswerError::NotOne(_) | AnswerError::NotAVector(_) => Why::NotUnderstood,
        AnswerError::Failed { kind, .. } if kind == "timeout" || kind == "canceled" => Why::TimedOut,
        AnswerError::Failed { .. } => Why::Refused,
        AnswerError::Partial(_) => Why::Partly,
        AnswerError::TooManySeries(_) => Why::TooLarge,
    };
    (why, error.to_string())
}
