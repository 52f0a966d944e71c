//! A client for every endpoint of one server, and one request to one of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// Most bytes of a refusal that are read.
const REFUSAL: usize = 4 << 10;

/// How long an unused connection is kept: below the 5 min after which Prometheus closes it (`--web.read-timeout`),
/// and above the pause between two requests.
const IDLE: Duration = Duration::from_secs(90);

/// What authorizes a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A file with a bearer token.
    Bearer(PathBuf),
    /// A file with one line `user:password` (RFC 7617).
    Basic(PathBuf),
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// A file of CA certificates in PEM: makes it HTTPS. There are no system roots in our image. It is read again when it
    /// has changed.
    pub ca: Option<PathBuf>,
    /// What authorizes a request, read before each, as it may be renewed. Never without TLS: a server in place of the
    /// right one would get it.
    pub credentials: Credentials,
}

/// Whose certificate a server must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust<'a> {
    /// This name's, whatever the address: its endpoints are reached by their own.
    Name(&'a str),
    /// That of the host in the URL, under the CA file or else under the roots of this machine.
    Host,
}

/// Why a request has brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutboundError {
    #[error("no complete answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("{0}")]
    Unreachable(String),
    #[error("cannot read the credentials {0}: {1}")]
    Credentials(String, String),
    #[error("refused with {0}: {1}")]
    Refused(StatusCode, String),
    #[error("an answer of more than {} MiB", .0 >> 20)]
    TooLong(usize),
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
}

type Inside = HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client for every endpoint of one server.
#[derive(Debug)]
pub(crate) struct HttpClient {
    /// The present client, and when the CA file that it was made of was written.
    inside: Mutex<(Inside, Option<SystemTime>)>,
    options: Options,
    name: Option<ServerName<'static>>,
    secure: bool,
}

impl HttpClient {
    /// A client. An error is a file that cannot be read, or credentials that would go over plain HTTP.
    pub(crate) fn new(options: Options, trust: Trust<'_>) -> Result<Self> {
        let secure = options.ca.is_some() || trust == Trust::Host;
        ensure!(
            options.credentials == Credentials::None || secure,
            "credentials would go over plain HTTP to whatever is behind the Service: give the CA file as well"
        );
        let name = match trust {
            Trust::Name(name) => Some(ServerName::try_from(name.to_owned()).context("the Service's name")?),
            Trust::Host => None,
        };
        Ok(Self {
            inside: Mutex::new((inside(&options, name.as_ref())?, written(&options))),
            options,
            name,
            secure,
        })
    }

    /// `https` where there is a CA.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Sends a request and reads its answer to the end, at most so many bytes and within this time.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
        within: Duration,
    ) -> Result<Bytes, OutboundError> {
        tokio::time::timeout(within, self.unbounded(request, most))
            .await
            .unwrap_or(Err(OutboundError::Late(within)))
    }

    async fn unbounded(
        &self,
        mut request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Bytes, OutboundError> {
        if let Some(value) = authorization(&self.options.credentials).await? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = self.inside().request(request).await;
        let response = response.map_err(|error| OutboundError::Unreachable(causes(&error)))?;
        let status = response.status();
        if !status.is_success() {
            let body = Limited::new(response.into_body(), REFUSAL).collect().await;
            let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            return Err(OutboundError::Refused(status, text.unwrap_or_default()));
        }
        let body = Limited::new(response.into_body(), most).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                OutboundError::TooLong(most)
            } else {
                OutboundError::BrokeOff(causes(&*error))
            }
        })
    }

    /// The present client: made anew when the CA file has been written since.
    fn inside(&self) -> Inside {
        let written = written(&self.options);
        let mut held = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if written != held.1 {
            match inside(&self.options, self.name.as_ref()) {
                Ok(new) => *held = (new, written),
                // A file that is just being replaced: the next request looks again.
                Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot read the CA anew"),
            }
        }
        held.0.clone()
    }
}

/// When the CA file was written; a mounted Secret is another file then.
fn written(options: &Options) -> Option<SystemTime> {
    let path = options.ca.as_ref()?;
    std::fs::metadata(path).ok()?.modified().ok()
}

fn inside(options: &Options, name: Option<&ServerName<'static>>) -> Result<Inside> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = if options.ca.is_none() && name.is_none() {
        let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
        builder.context("the CA certificates of this machine")?
    } else {
        let roots = match &options.ca {
            Some(path) => roots(path)?,
            None => RootCertStore::empty(),
        };
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(tls)
    };
    let builder = builder.https_or_http();
    let connector = match name {
        Some(name) => builder
            .with_server_name_resolver(FixedServerNameResolver::new(name.clone()))
            .enable_http1()
            .build(),
        None => builder.enable_http1().build(),
    };
    Ok(HyperClient::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .build(connector))
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the CA certificates {}", path.display()))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    ensure!(added > 0, "{} holds no CA certificate", path.display());
    Ok(roots)
}

/// What a request is authorized by: the credentials as their file holds them now.
async fn authorization(credentials: &Credentials) -> Result<Option<HeaderValue>, OutboundError> {
    let (scheme, path) = match credentials {
        Credentials::None => return Ok(None),
        Credentials::Bearer(path) => ("Bearer", path),
        Credentials::Basic(path) => ("Basic", path),
    };
    let failed = |why: String| OutboundError::Credentials(path.display().to_string(), why);
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| failed(error.to_string()))?;
    let text = text.trim();
    let value = match credentials {
        Credentials::Basic(_) if !text.contains(':') => {
            return Err(failed("expected one line user:password".to_owned()));
        }
        Credentials::Basic(_) => BASE64_STANDARD.encode(text),
        _ => text.to_owned(),
    };
    let mut value = HeaderValue::try_from(format!("{scheme} {value}"))
        .map_err(|_| failed("it holds what no header may".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Why nothing was reached: every cause, as the first alone says no more than that it did not work.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    if causes.is_empty() {
        error.to_string()
    } else {
        causes.join(": ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;

    #[test]
    fn credentials_never_go_over_plain_http() {
        let plain = Options::default();
        assert_eq!(
            HttpClient::new(plain.clone(), Trust::Name("a.b.svc"))
                .unwrap()
                .scheme(),
            "http"
        );
        for credentials in [Credentials::Bearer("/x".into()), Credentials::Basic("/x".into())] {
            let options = Options {
                credentials,
                ..plain.clone()
            };
            let error = HttpClient::new(options, Trust::Name("a.b.svc"))
                .unwrap_err()
                .to_string();
            assert!(error.contains("give the CA file"), "{error}");
        }
    }

    #[rstest]
    #[case::bearer(Credentials::Bearer as fn(PathBuf) -> Credentials, "first\n", "Bearer first")]
    #[case::basic(Credentials::Basic as fn(PathBuf) -> Credentials, "jane:pass word\n", "Basic amFuZTpwYXNzIHdvcmQ=")]
    #[tokio::test]
    async fn credentials_are_read_anew(
        #[case] of: fn(PathBuf) -> Credentials,
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let credentials = of(path.clone());
        for text in ["x:y", text] {
            std::fs::write(&path, text).unwrap();
            assert!(authorization(&credentials).await.unwrap().is_some());
        }
        assert_eq!(authorization(&credentials).await.unwrap().unwrap(), expected);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            authorization(&credentials).await,
            Err(OutboundError::Credentials(..))
        ));
    }

    #[tokio::test]
    async fn a_password_without_a_user_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "secret").unwrap();
        let error = authorization(&Credentials::Basic(path))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("user:password") && !error.contains("secret"),
            "{error}"
        );
    }
}
