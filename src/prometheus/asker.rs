//! One question to the Prometheus behind a Service, at the endpoints of that Service.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_core::sample::{PageScope, Why};
use tokio::time::Instant;

use super::server::AnswerLimits;
use super::{PrometheusServer, Question, ask, is_the_servers};
use crate::metrics::Metrics;
use crate::outbound::ServicePort;
use crate::query::{Handle, Query};
use crate::samples::{KnownSubjects, OwnedPage, now_millis};

/// Most endpoints that one question is tried at.
const ENDPOINTS: usize = 5;

/// How long what is known of Nodes serves for questions about them.
const NODES_FOR: Duration = Duration::from_secs(10);

/// Who asks.
pub(super) struct Asker {
    pub(super) at: ServicePort,
    server: PrometheusServer,
    handle: Handle,
    metrics: Arc<Metrics>,
    /// The endpoint that has answered last: one that does not answer is not waited for again with each question.
    answered: Mutex<Option<SocketAddr>>,
    /// What labels of Nodes may name, and since when that is known.
    nodes: Mutex<Option<(Instant, Arc<KnownSubjects>)>>,
}

/// An answer, and what it took.
#[derive(Debug)]
pub(super) struct AskedPage {
    pub(super) page: OwnedPage,
    pub(super) bytes: usize,
    pub(super) took: Duration,
}

impl Asker {
    pub(super) fn new(
        at: ServicePort,
        server: PrometheusServer,
        handle: Handle,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            at,
            server,
            handle,
            metrics,
            answered: Mutex::default(),
            nodes: Mutex::default(),
        }
    }

    /// Asks one endpoint after the other until one answers or `patience` has passed; `None` when the loop has ended.
    pub(super) async fn ask(
        &self,
        question: &Question,
        limits: AnswerLimits,
        patience: Duration,
    ) -> Option<AskedPage> {
        let known = self.known(&question.scope).await?;
        let endpoints = self.endpoints().await?;
        let began = Instant::now();
        let until = began + patience;
        let mut bytes = 0;
        let mut last = None;
        for endpoint in endpoints {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let limits = AnswerLimits {
                within: limits.within.min(left),
                ..limits
            };
            let (page, read) = ask(&self.server, endpoint, question, &known, None, limits).await;
            bytes += read;
            let failed = page.gap.as_ref().is_some_and(|gap| is_the_servers(gap.0));
            self.metrics
                .asked_prometheus(if page.gap.is_none() { "answered" } else { "failed" }, read);
            last = Some(page);
            if !failed {
                *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
                break;
            }
        }
        let unreachable = || question.failed(now_millis(), (Why::Unreachable, String::new()));
        Some(AskedPage {
            page: last.unwrap_or_else(unreachable),
            bytes,
            took: began.elapsed(),
        })
    }

    /// What labels may name. A dozen questions about thousands of Nodes are asked within half a minute, and one answer does for
    /// those of a few seconds: a new Node is known to the next ones.
    async fn known(&self, scope: &PageScope<Arc<str>>) -> Option<Arc<KnownSubjects>> {
        let held = |asker: &Self| {
            let nodes = asker.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let (at, known) = nodes.as_ref()?;
            (at.elapsed() < NODES_FOR).then(|| known.clone())
        };
        let is_nodes = *scope == PageScope::Nodes;
        if let Some(known) = held(self).filter(|_| is_nodes) {
            return Some(known);
        }
        let asked = scope.clone();
        let known = self
            .handle
            .ask(|answer| Query::KnownSubjects { scope: asked, answer })
            .await?;
        let known = Arc::new(known);
        if is_nodes {
            *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), known.clone()));
        }
        Some(known)
    }

    /// The endpoints to try, the one that has answered last before the others; one `None` where there is none.
    async fn endpoints(&self) -> Option<Vec<Option<SocketAddr>>> {
        let service = self.at.clone();
        let mut sockets = self
            .handle
            .ask(|answer| Query::Sockets { service, answer })
            .await?;
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are equal keep their order.
        sockets.sort_by_key(|one| Some(*one) != answered);
        sockets.truncate(ENDPOINTS);
        let mut endpoints: Vec<_> = sockets.into_iter().map(Some).collect();
        if endpoints.is_empty() {
            endpoints.push(None);
        }
        Some(endpoints)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    use evenkeel_core::fleet::SampleWants;
    use evenkeel_core::sample::{Metric, Metrics};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::super::{Options, questions};
    use super::*;
    use crate::outbound;

    const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

    /// A server that answers each connection once, or never; with how many it has had.
    async fn server(tasks: &mut JoinSet<()>, answers: bool) -> (SocketAddr, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        tasks.spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                if answers {
                    let mut request = [0; 4096];
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    let length = EMPTY.len();
                    let head =
                        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.write_all(EMPTY.as_bytes()).await.unwrap();
                } else {
                    held.push(stream);
                }
            }
        });
        (at, count)
    }

    fn asker(handle: Handle) -> Asker {
        let at: ServicePort = "monitoring/prometheus:web".parse().unwrap();
        let options = Options {
            at: at.clone(),
            outbound: outbound::Options::default(),
            path_prefix: String::new(),
            tenant: None,
        };
        let server = PrometheusServer::of(&options).unwrap();
        Asker::new(at, server, handle, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_nodes_serves_for_some_seconds_and_nothing_else_does() {
        let (handle, mut queries) = crate::query::channel();
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(query) = queries.recv().await {
                let Query::KnownSubjects { answer, .. } = query else {
                    panic!("{query:?}")
                };
                counted.fetch_add(1, Ordering::Relaxed);
                drop(answer.send(KnownSubjects::default()));
            }
        });
        let asker = asker(handle);
        for (scope, seconds, asked) in [
            (PageScope::Nodes, 0, 1),
            (PageScope::Nodes, 9, 1),
            (PageScope::Instances, 0, 2),
            (PageScope::Instances, 0, 3),
            (PageScope::Nodes, 1, 4),
            (PageScope::Nodes, 0, 4),
        ] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            asker.known(&scope).await.unwrap();
            assert_eq!(
                count.load(Ordering::Relaxed),
                asked,
                "{scope:?} after {seconds} s"
            );
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_is_silent_is_not_waited_for_again() {
        let mut tasks = JoinSet::new();
        let (silent, waited) = server(&mut tasks, false).await;
        let (good, _) = server(&mut tasks, true).await;
        let (handle, mut queries) = crate::query::channel();
        tasks.spawn(async move {
            while let Some(query) = queries.recv().await {
                match query {
                    Query::KnownSubjects { answer, .. } => drop(answer.send(KnownSubjects::default())),
                    Query::Sockets { answer, .. } => drop(answer.send(vec![silent, good])),
                    other => panic!("{other:?}"),
                }
            }
        });
        let asker = asker(handle);
        let wants = SampleWants {
            metrics: Metrics::of(&[Metric::ConntrackEntries]),
            ..SampleWants::default()
        };
        let question = questions(&Arc::new(BTreeMap::from([(PageScope::Nodes, wants)]))).remove(0);
        let limits = AnswerLimits {
            within: Duration::from_millis(500),
            ..AnswerLimits::default()
        };
        for _ in 0..3 {
            let answer = asker
                .ask(&question, limits, Duration::from_secs(60))
                .await
                .unwrap();
            assert_eq!(answer.page.gap, None);
            assert_eq!(answer.bytes, EMPTY.len());
        }
        assert_eq!(waited.load(Ordering::Relaxed), 1);
    }
}
