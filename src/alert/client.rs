//! One request to one Alertmanager.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::Options;

/// How long one push may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of a refusal that are read.
const REFUSAL: usize = 4 << 10;

/// Why a push failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Late,
    #[error("{0}")]
    Unreachable(String),
    #[error("cannot read the token {0}: {1}")]
    Token(String, std::io::Error),
    #[error("refused with {0}: {1}")]
    Refused(StatusCode, String),
}

impl PushError {
    /// As counted.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Late | Self::Unreachable(_) => "unreachable",
            Self::Token(..) | Self::Refused(..) => "refused",
        }
    }
}

/// A client for every endpoint of one Service.
#[derive(Debug)]
pub(super) struct Client {
    inside: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: &'static str,
    token: Option<PathBuf>,
}

impl Client {
    pub(super) fn new(options: &Options) -> Result<Self> {
        ensure!(
            options.token.is_none() || options.ca.is_some(),
            "a token would go over plain HTTP to whatever is behind the Service: give --alertmanager-ca-file as well"
        );
        let mut roots = RootCertStore::empty();
        if let Some(path) = &options.ca {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| format!("cannot read the CA certificates {}", path.display()))?;
            let (added, _) = roots.add_parsable_certificates(certificates);
            ensure!(added > 0, "{} holds no CA certificate", path.display());
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Endpoints are addresses; their certificate is the Service's.
        let name = format!("{}.{}.svc", options.service, options.namespace);
        let name = ServerName::try_from(name).context("the Service's name")?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http1()
            .build();
        Ok(Self {
            inside: HyperClient::builder(TokioExecutor::new()).build(connector),
            scheme: if options.ca.is_some() { "https" } else { "http" },
            token: options.token.clone(),
        })
    }

    /// Posts a body of alerts.
    pub(super) async fn post(&self, to: SocketAddr, body: Vec<u8>) -> Result<(), PushError> {
        let mut request = Request::post(format!("{}://{to}/api/v2/alerts", self.scheme))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(path) = &self.token {
            request = request.header(header::AUTHORIZATION, authorization(path).await?);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| PushError::Unreachable(error.to_string()))?;
        let exchange = async {
            let response = self
                .inside
                .request(request)
                .await
                .map_err(|error| unreachable(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), REFUSAL).collect().await;
            if status.is_success() {
                return Ok(());
            }
            let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            Err(PushError::Refused(status, text.unwrap_or_default()))
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .unwrap_or(Err(PushError::Late))
    }
}

/// What a request is authorized by: the token as the file holds it now.
async fn authorization(path: &Path) -> Result<String, PushError> {
    let token = tokio::fs::read_to_string(path).await;
    let token = token.map_err(|error| PushError::Token(path.display().to_string(), error))?;
    Ok(format!("Bearer {}", token.trim()))
}

/// Why no Alertmanager was reached: every cause, as the first alone says no more than that it did not work.
fn unreachable(error: &(dyn std::error::Error + 'static)) -> PushError {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    PushError::Unreachable(if causes.is_empty() {
        error.to_string()
    } else {
        causes.join(": ")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_token_never_goes_over_plain_http() {
        let mut options: Options = "monitoring/alertmanager:9093".parse().unwrap();
        assert_eq!(Client::new(&options).unwrap().scheme, "http");
        options.token = Some("/var/run/token".into());
        let error = Client::new(&options).unwrap_err().to_string();
        assert!(error.contains("give --alertmanager-ca-file"), "{error}");
    }

    #[tokio::test]
    async fn a_token_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for token in ["first", "second"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(authorization(&path).await.unwrap(), format!("Bearer {token}"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(authorization(&path).await, Err(PushError::Token(..))));
    }
}
