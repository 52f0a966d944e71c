//! The certificate that a server shows: a fresh TLS connection, closed again without a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::sample::Why;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// How long a connection may take, from its first packet to the certificate.
const WITHIN: Duration = Duration::from_secs(4);

/// The name that the certificate of every API server has, and the load balancer passes on.
const NAME: &str = "kubernetes.default.svc";

/// Most addresses of a name that are looked at.
const MOST_ADDRESSES: usize = 16;

/// A certificate, as it was sent.
pub(super) type Certificate = Vec<u8>;

/// The certificate that the server at this address shows, checked under the cluster's CA.
pub(super) async fn shown(tls: &Arc<ClientConfig>, at: SocketAddr) -> Result<Certificate, (Why, String)> {
    tokio::time::timeout(WITHIN, unbounded(tls.clone(), at))
        .await
        .unwrap_or_else(|_| {
            Err((
                Why::TimedOut,
                format!("{at}: no certificate within {} s", WITHIN.as_secs()),
            ))
        })
}

async fn unbounded(tls: Arc<ClientConfig>, at: SocketAddr) -> Result<Certificate, (Why, String)> {
    let unreachable = |error: std::io::Error| (Why::Unreachable, format!("{at}: {error}"));
    let name = ServerName::try_from(NAME).map_err(|error| (Why::NotUnderstood, error.to_string()))?;
    let stream = TcpStream::connect(at).await.map_err(unreachable)?;
    let mut stream = TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .map_err(unreachable)?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = shown.map(|one| one.to_vec());
    // How it ends changes nothing: it has shown what there is to see.
    drop(stream.shutdown().await);
    certificate.ok_or_else(|| (Why::NotUnderstood, format!("{at}: no certificate")))
}

/// Where a host and its port are: `host:port`. A name may have several addresses.
pub(super) async fn resolved(at: &str) -> Result<Vec<SocketAddr>, (Why, String)> {
    if let Ok(address) = at.parse() {
        return Ok(vec![address]);
    }
    let unknown = |error: std::io::Error| (Why::Unreachable, format!("{at}: {error}"));
    let found = tokio::time::timeout(WITHIN, lookup_host(at)).await;
    let found = found.map_err(|_| {
        (
            Why::TimedOut,
            format!("{at}: no address within {} s", WITHIN.as_secs()),
        )
    })?;
    let mut all: Vec<SocketAddr> = found.map_err(unknown)?.take(MOST_ADDRESSES).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Whether these are the addresses of API servers themselves: then nothing is between them and their clients.
pub(super) fn are_instances(addresses: &[SocketAddr], instances: &[SocketAddr]) -> bool {
    let own = |at: IpAddr| instances.iter().any(|one| one.ip() == at);
    !addresses.is_empty() && addresses.iter().all(|one| own(one.ip()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[tokio::test]
    async fn an_address_needs_no_lookup() {
        let found = resolved("[2001:db8::1]:6443").await.unwrap();
        assert_eq!(found, ["[2001:db8::1]:6443".parse().unwrap()]);
    }

    #[test]
    fn a_name_of_api_servers_alone_is_no_balancer() {
        let of = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let instances = [of("192.0.2.1:6443"), of("192.0.2.2:6443")];
        assert!(are_instances(&[of("192.0.2.1:443")], &instances));
        assert!(!are_instances(
            &[of("192.0.2.1:6443"), of("192.0.2.9:6443")],
            &instances
        ));
        assert!(!are_instances(&[], &instances));
    }
}
