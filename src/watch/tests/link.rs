//! The link against a server that speaks HTTP by hand: what the pumps see of headers, lines and connections.

use std::sync::atomic::{AtomicUsize, Ordering};

use kube::{Client, Config};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{advance, pause, resume};

use super::super::link::LONGEST_LINE;
use super::*;
use crate::client::Link;

/// A server that gives every request the same answer, byte by byte as written here.
struct ByteServer {
    url: String,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ByteServer {
    async fn start(chunks: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let heads = Arc::new(Mutex::new(Vec::<String>::new()));
        let (count, log) = (connections.clone(), heads.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let log = log.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while let Ok(byte) = stream.read_u8().await {
                        head.push(byte);
                        if head.ends_with(b"\r\n\r\n") {
                            let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                            log.lock().unwrap().push(text.to_lowercase());
                            for chunk in chunks {
                                stream.write_all(chunk.as_bytes()).await.unwrap();
                                stream.flush().await.unwrap();
                                tokio::task::yield_now().await;
                            }
                            if !chunks.concat().contains("chunked") || !chunks.concat().ends_with("0\r\n\r\n")
                            {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self {
            url,
            connections,
            heads,
        }
    }

    /// A link to it, and how many clients it has made.
    fn link(&self) -> (Link, Arc<AtomicUsize>) {
        let made = Arc::new(AtomicUsize::new(0));
        let (count, url) = (made.clone(), self.url.clone());
        let link = Link::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let mut config = Config::new(url.parse().unwrap());
            config.default_retry = false;
            async { Ok(Client::try_from(config)?) }
        });
        (link, made)
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[rstest]
#[case::whole(&[CHUNKED, "8\r\none\ntwo\n\r\n", "0\r\n\r\n"], &["one", "two"], Ok(()))]
#[case::in_pieces(&[CHUNKED, "2\r\non\r\n", "4\r\ne\nt\n\r\n", "1\r\n\n\r\n", "0\r\n\r\n"], &["one", "t"], Ok(()))]
#[case::cut_within_a_line(&[CHUNKED, "6\r\none\ntw\r\n", "0\r\n\r\n"], &["one"], Err("within a line"))]
#[case::cut_within_a_chunk(&[CHUNKED, "9\r\none\n"], &["one"], Err(""))]
#[tokio::test]
async fn lines_are_put_together(
    #[case] chunks: &'static [&'static str],
    #[case] lines: &[&str],
    #[case] end: Result<(), &str>,
) {
    let wire = ByteServer::start(chunks).await;
    let mut stream = wire.link().0.watch("/x?watch=true".into()).await.unwrap();
    for expected in lines {
        assert_eq!(stream.next().await.unwrap().as_deref(), Some(expected.as_bytes()));
    }
    match (stream.next().await, end) {
        (Ok(None), Ok(())) => {}
        (Err(RequestError::Broken(why)), Err(part)) => assert!(why.contains(part), "{why}"),
        (other, _) => panic!("{other:?}"),
    }
}

/// A server whose answers are larger than what anybody keeps.
async fn flood(head: &'static str, megabytes: usize, then: &'static str) -> (Link, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 4096];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(head.as_bytes()).await;
            let megabyte = vec![b'x'; 1 << 20];
            for _ in 0..megabytes {
                if stream.write_all(&megabyte).await.is_err() {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            let _ = stream.write_all(then.as_bytes()).await;
        }
    });
    let link = Link::new(move || {
        let mut config = Config::new(url.parse().unwrap());
        config.default_retry = false;
        async { Ok(Client::try_from(config)?) }
    });
    (link, sent)
}

#[tokio::test]
async fn of_a_line_without_end_only_the_beginning_is_kept() {
    let (link, _) = flood("HTTP/1.1 200 OK\r\n\r\n", 64, "\nnext\n").await;
    let mut stream = link.watch("/x?watch=true".into()).await.unwrap();
    let long = stream.next().await.unwrap().unwrap();
    assert_eq!(long.len(), LONGEST_LINE);
    assert_eq!(stream.next().await.unwrap().as_deref(), Some(b"next".as_slice()));
    assert_eq!(stream.next().await, Ok(None));
}

#[tokio::test]
async fn a_page_without_end_is_not_read_to_it() {
    let (link, sent) = flood("HTTP/1.1 200 OK\r\n\r\n", 256, "").await;
    assert_eq!(link.page("/x".into()).await, Err(RequestError::TooLong(16 << 20)));
    // What lies in sockets counts as sent.
    assert!(sent.load(Ordering::Relaxed) < 64, "{sent:?} MiB");
}

#[tokio::test]
async fn an_error_without_end_is_an_error() {
    let (link, sent) = flood("HTTP/1.1 503 Service Unavailable\r\n\r\n", 256, "").await;
    let refused = link.page("/x".into()).await;
    assert_eq!(
        refused,
        Err(RequestError::refused(503, "503 Service Unavailable", None))
    );
    assert!(sent.load(Ordering::Relaxed) < 64, "{sent:?} MiB");
}

#[tokio::test]
async fn a_refusal_has_the_servers_message_and_retry_after() {
    let wire = ByteServer::start(&[
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 38\r\n\r\n",
        r#"{"kind":"Status","message":"too many"}"#,
    ])
    .await;
    let refused = wire.link().0.page("/x".into()).await;
    let expected = RequestError::refused(429, "too many", Some(Duration::from_secs(7)));
    assert_eq!(refused, Err(expected));
}

#[tokio::test]
async fn an_answer_that_is_no_status_is_shown_as_it_is() {
    let wire = ByteServer::start(&[
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 9\r\n\r\n",
        "a balance",
    ])
    .await;
    let refused = wire.link().0.watch("/x".into()).await.map(|_| ());
    let expected = RequestError::refused(502, "a balance", None);
    assert_eq!(refused, Err(expected));
}

#[tokio::test]
async fn watches_are_not_compressed() {
    let wire = ByteServer::start(&[CHUNKED, "0\r\n\r\n"]).await;
    wire.link().0.watch("/x?watch=true".into()).await.unwrap();
    let heads = wire.heads.lock().unwrap().concat();
    assert!(heads.contains("accept-encoding: identity\r\n"), "{heads}");
}

#[tokio::test]
async fn after_doubt_a_new_client_makes_new_connections() {
    let wire = ByteServer::start(&[CHUNKED, "0\r\n\r\n"]).await;
    let (link, made) = wire.link();
    let ask = async || assert_eq!(link.watch("/x".into()).await.unwrap().next().await, Ok(None));
    ask().await;
    ask().await;
    assert_eq!(made.load(Ordering::Relaxed), 1);
    // Not more often than every two seconds, however many pumps doubt.
    link.renew();
    ask().await;
    assert_eq!(made.load(Ordering::Relaxed), 1);
    let before = wire.connections.load(Ordering::Relaxed);
    // The time between in an instant; the server is a real one and answers in its own.
    pause();
    advance(Duration::from_millis(2_100)).await;
    resume();
    ask().await;
    assert_eq!(made.load(Ordering::Relaxed), 2);
    assert_eq!(wire.connections.load(Ordering::Relaxed), before + 1);
    ask().await;
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_client_that_cannot_be_made_is_a_fault_and_is_tried_again() {
    let link = Link::new(|| async { Err(anyhow::anyhow!("no such file")) });
    for _ in 0..2 {
        let fault = link.page("/x".into()).await;
        assert_eq!(fault, Err(RequestError::Broken("no such file".into())));
    }
}
