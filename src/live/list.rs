//! One list: its address, its pages, and what its failures mean.

use std::time::Duration;

use evenkeel_core::fleet::Wants;
use evenkeel_core::know::Source;
use http::Request;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::page::{Items, ListPiece};
use crate::client::{self, Refusal, RequestError};
use crate::resources::{Resource, escape};
use crate::rights::refusal;

/// Objects in a page, as `kubectl` asks for them (`k8s.io/cli-runtime`, chunk size 500).
pub const PAGE: usize = 500;

/// How long a response may be silent.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of a page: five of the largest objects that etcd stores (1.5 MiB), or 500 of 30 kB. Where a page has more,
/// smaller ones are asked for. One object stays below it: of its bytes JSON may make six (`\u003c`).
pub(crate) const PAGE_BYTES: usize = 16 << 20;

/// Most bytes of a discovery document: some hundred times that of the largest group.
const DISCOVERY: usize = 4 << 20;

/// How many objects to ask for where a page of so many has had too many bytes; none where one alone has.
pub(crate) const fn fewer(objects: usize) -> Option<usize> {
    match objects {
        0 | 1 => None,
        2..8 => Some(1),
        objects => Some(objects / 4),
    }
}

/// How often a list is begun again after an expired page token or a busy server.
const TRIES: u32 = 4;

/// One list, or one object where `name` is set.
#[derive(Debug)]
pub(super) struct List {
    pub(super) resource: &'static Resource,
    /// Its namespace; `None` for the whole cluster.
    pub(super) namespace: Option<String>,
    /// The only object that is wanted.
    pub(super) name: Option<String>,
    /// Label selector; empty for all.
    selector: String,
    /// Whether this list alone makes its source complete.
    whole: bool,
}

/// What discovery says of a version of a group.
#[derive(Debug, Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Served>,
}

/// One resource of it.
#[derive(Debug, Deserialize)]
struct Served {
    name: String,
}

/// Lists that are read whole.
pub(super) fn whole() -> Vec<List> {
    let wanted_later = |resource: &&Resource| matches!(resource.source, Source::Pods | Source::ConfigMaps);
    Resource::read_once()
        .filter(|resource| !wanted_later(resource))
        .map(|resource| List {
            resource,
            namespace: None,
            name: None,
            selector: String::new(),
            whole: resource.source != Source::Webhooks,
        })
        .collect()
}

/// Lists and objects that the core asks for.
pub(super) fn wanted(wants: &Wants) -> Vec<List> {
    let of = |source| Resource::read_once().filter(move |resource| resource.source == source);
    let maps = of(Source::ConfigMaps).flat_map(|resource| {
        let all = wants.config_maps.iter();
        let names = all.flat_map(|(namespace, maps)| maps.names.iter().map(move |name| (namespace, name)));
        names.map(move |(namespace, name)| List {
            resource,
            namespace: Some(namespace.to_string()),
            name: Some(name.to_string()),
            selector: String::new(),
            whole: false,
        })
    });
    let pods = of(Source::Pods).flat_map(|resource| {
        let all = wants.pods.iter();
        let selectors = all.flat_map(|(namespace, pods)| pods.iter().map(move |one| (namespace, one)));
        selectors.map(move |(namespace, selector)| List {
            resource,
            namespace: Some(namespace.to_string()),
            name: None,
            selector: selector.to_string(),
            whole: false,
        })
    });
    maps.chain(pods).collect()
}

impl List {
    /// The same list of one namespace, where that is of use.
    pub(super) fn within(&self, namespace: &str) -> Option<Self> {
        (self.resource.by_namespace() && self.namespace.is_none()).then(|| Self {
            resource: self.resource,
            namespace: Some(namespace.to_owned()),
            name: None,
            selector: self.selector.clone(),
            whole: false,
        })
    }

    /// Reads it and sends its pages. A receiver that has gone away ends it.
    pub(super) async fn read(
        &self,
        client: &Client,
        page_tx: &mpsc::Sender<ListPiece>,
    ) -> Result<(), RequestError> {
        for path in self.resource.paths(self.namespace.as_deref().unwrap_or_default()) {
            match self.pages(client, &path, page_tx).await {
                // Not served, or not there.
                Err(RequestError::Refused(refusal)) if refusal.code == 404 => {}
                // Without the right the server does not say that a kind is not served; discovery does, to everybody.
                Err(error) if error.is_forbidden() && !self.is_served(client).await => {
                    return self.nothing(page_tx).await;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether the API server serves the kind in any version that is understood. Where it does not answer, it may.
    async fn is_served(&self, client: &Client) -> bool {
        for root in self.resource.roots() {
            match get(client, root, DISCOVERY).await {
                Ok(body) => {
                    let Ok(list) = serde_json::from_str::<ResourceList>(&body) else {
                        return true;
                    };
                    if list
                        .resources
                        .iter()
                        .any(|one| one.name == self.resource.plural())
                    {
                        return true;
                    }
                }
                Err(RequestError::Refused(refusal)) if refusal.code == 404 => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// The list of a kind that is not served: it is empty.
    async fn nothing(&self, page_tx: &mpsc::Sender<ListPiece>) -> Result<(), RequestError> {
        if self.whole {
            // A receiver that has gone away ends the reading by itself.
            let _ = page_tx.send(ListPiece::Begin(self.resource)).await;
        }
        Ok(())
    }

    async fn pages(
        &self,
        client: &Client,
        path: &str,
        page_tx: &mpsc::Sender<ListPiece>,
    ) -> Result<(), RequestError> {
        let (mut tries, mut objects) = (0, PAGE);
        'again: loop {
            tries += 1;
            if self.whole && page_tx.send(ListPiece::Begin(self.resource)).await.is_err() {
                return Ok(());
            }
            let mut next = String::new();
            loop {
                let body = match get(client, self.address(path, objects, &next), PAGE_BYTES).await {
                    Ok(body) => body,
                    Err(RequestError::TooLong(_)) if self.name.is_none() && fewer(objects).is_some() => {
                        objects = fewer(objects).unwrap_or(1);
                        continue;
                    }
                    Err(RequestError::Refused(refusal))
                        if tries < TRIES && matches!(refusal.code, 410 | 429 | 503) =>
                    {
                        if refusal.code != 410 {
                            tokio::time::sleep(Duration::from_secs(1 << tries)).await;
                        }
                        continue 'again;
                    }
                    Err(error) => return Err(error),
                };
                let items;
                (items, next) = if self.name.is_some() {
                    (Items::single(self.resource, body), String::new())
                } else {
                    Items::list(self.resource, body)
                };
                if page_tx.send(ListPiece::Items(items)).await.is_err() || next.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// Where a page of so many objects is, or the only object.
    fn address(&self, path: &str, objects: usize, next: &str) -> String {
        if let Some(name) = &self.name {
            return format!("{path}/{name}");
        }
        let mut query = format!("{path}?limit={objects}");
        if !self.selector.is_empty() {
            query = query + "&labelSelector=" + &escape(&self.selector);
        }
        if !next.is_empty() {
            query = query + "&continue=" + &escape(next);
        }
        query
    }

    /// Why a list could not be read, for people: the right to grant, where one is missing.
    pub(super) fn explain(&self, error: &RequestError) -> String {
        let verb = if self.name.is_some() { "get" } else { "list" };
        let source = self.resource.source;
        match error {
            RequestError::Refused(answer) if answer.code == 403 => {
                refusal(format_args!("{verb} {source} ({})", answer.message))
            }
            RequestError::Refused(answer) if answer.code == 401 => {
                format!("not logged in: {}", answer.message)
            }
            error => format!("{verb} {source}: {error}"),
        }
    }
}

/// Reads a document of at most so many bytes.
async fn get(client: &Client, address: String, most: usize) -> Result<String, RequestError> {
    let request = Request::get(address).body(Body::empty());
    let request = request.map_err(|error| RequestError::Broken(error.to_string()))?;
    let response = client.send(request).await.map_err(RequestError::broken)?;
    if !response.status().is_success() {
        return Err(RequestError::Refused(Refusal::read(response).await));
    }
    let body = client::read(response.into_body(), most).await?;
    String::from_utf8(body).map_err(|_| RequestError::Broken("the answer is no UTF-8".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::client::scripted::{self, ScriptedResponse, whole};

    /// Reads all Services of a server that is a function of path and query; returns what was asked, and the end.
    async fn read(
        answer: impl Fn(&str) -> ScriptedResponse + Clone + Send + Sync + 'static,
    ) -> (Vec<String>, usize, Result<(), RequestError>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let link = scripted::link(move |request: Request<Body>| {
            let path = request.uri().to_string();
            let answer = answer(&path);
            log.lock().unwrap().push(path);
            async { answer }
        });
        let client = link.client().await.unwrap();
        let list = whole_of(Source::Services);
        let (page_tx, mut page_rx) = mpsc::channel(64);
        let end = list.read(&client, &page_tx).await;
        drop(page_tx);
        let mut objects = 0;
        while let Some(page) = page_rx.recv().await {
            if let ListPiece::Items(items) = page {
                objects += items.objects().count();
            }
        }
        let asked = asked.lock().unwrap().clone();
        (asked, objects, end)
    }

    fn whole_of(source: Source) -> List {
        super::whole()
            .into_iter()
            .find(|list| list.resource.source == source)
            .unwrap()
    }

    #[tokio::test]
    async fn of_large_objects_fewer_are_asked_for_at_a_time() {
        let large = "x".repeat(1 << 20);
        let (asked, objects, end) = read(move |path| {
            // 31 objects in all, of 1 MiB each.
            let limit: usize = path.split(['=', '&']).nth(1).unwrap().parse().unwrap();
            let from: usize = path
                .split("continue=")
                .nth(1)
                .map_or(0, |token| token.parse().unwrap());
            let to = (from + limit).min(31);
            let items: Vec<_> = (from..to).map(|_| json!({"a": large})).collect();
            let next = if to < 31 { to.to_string() } else { String::new() };
            whole(
                200,
                json!({"metadata": {"continue": next}, "items": items}).to_string(),
            )
        })
        .await;
        assert_eq!((objects, end), (31, Ok(())));
        let queries: Vec<_> = asked.iter().map(|path| path.split_once('?').unwrap().1).collect();
        assert_eq!(queries[..4], ["limit=500", "limit=125", "limit=31", "limit=7"]);
        assert_eq!(
            queries[4..],
            [
                "limit=7&continue=7",
                "limit=7&continue=14",
                "limit=7&continue=21",
                "limit=7&continue=28"
            ]
        );
    }

    #[tokio::test]
    async fn a_discovery_document_without_end_says_nothing() {
        let (asked, _, end) = read(|path| {
            if path.ends_with("/api/v1") {
                whole(200, vec![b' '; DISCOVERY + 1])
            } else {
                whole(403, r#"{"message": "no"}"#)
            }
        })
        .await;
        assert_eq!(asked.len(), 2);
        assert!(end.unwrap_err().is_forbidden(), "it may be served");
    }

    #[tokio::test]
    async fn an_object_that_is_larger_than_any_page_ends_its_list() {
        let (asked, objects, end) = read(|_| whole(200, vec![b' '; PAGE_BYTES + 1])).await;
        assert_eq!((asked.len(), objects), (5, 0), "500, 125, 31, 7 and 1");
        assert_eq!(end, Err(RequestError::TooLong(PAGE_BYTES)));
    }
}
