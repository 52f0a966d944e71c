//! Connections that never say what they want.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use futures::{StreamExt, stream};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::attack::Attack;

/// As many as filled 300 MiB before they were bounded.
const CONNECTIONS: usize = 800;

/// A header that does not end.
const HEADER: usize = 400_000;

/// Where they come from. A Pod has an address of its own, which is neither the kubelet's nor Prometheus': connections are
/// bounded by peer, and one that displaces the connections of its own address displaces the probes' no more.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// Sends a beginning of a request and keeps the connection; the server may end it.
async fn half_open(to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((ATTACKER, 0).into()).ok()?;
    let mut stream = socket.connect(to).await.ok()?;
    let start = format!("GET /metrics HTTP/1.1\r\nHost: {to}\r\nX-Long: ");
    let _ = stream.write_all(start.as_bytes()).await;
    let piece = vec![b'x'; 4_000];
    for _ in 0..HEADER / piece.len() {
        let written =
            tokio::time::timeout(std::time::Duration::from_millis(500), stream.write_all(&piece)).await;
        if !matches!(written, Ok(Ok(()))) {
            break;
        }
    }
    Some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_block_no_other() {
    let attack = Attack::begin("connections").await;
    for port in [attack.operator.port(), attack.operator.probe_port()] {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let held: Vec<_> = stream::iter(0..CONNECTIONS)
            .map(|_| half_open(to))
            .buffer_unordered(64)
            .collect()
            .await;
        let opened = held.iter().flatten().count();
        assert_eq!(opened, CONNECTIONS, "port {}", to.port());
        let start = Instant::now();
        let (code, _) = attack.operator.get("/metrics").await.unwrap();
        assert_eq!(code, 200);
        eprintln!(
            "{} half-open connections: a scrape took {:?}",
            held.len(),
            start.elapsed()
        );
        drop(held);
    }
    attack.until_seen().await;
    let figures = attack.end().await;
    let [before, most, _] = figures.memory;
    assert!(most < before + 64, "{most} MiB of {before}");
}
