//! One list: its address, its pages, and what its failures mean.

use std::time::Duration;

use evenkeel_core::facts::Wants;
use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};
use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::api;
use crate::resources::{RESOURCES, Resource, escape};

/// Objects in a page, as `kubectl` asks for them (`k8s.io/cli-runtime`, chunk size 500).
pub const PAGE: usize = 500;

/// How long a response may be silent.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a list is begun again after an expired page token or a busy server.
const TRIES: u32 = 4;

/// One list, or one object where `single` is set.
#[derive(Debug)]
pub(super) struct List {
    source: Source,
    /// Paths to try in order: later ones where the server does not serve the earlier.
    paths: Vec<String>,
    /// Label selector; empty for all.
    selector: String,
    /// Whether this list alone makes its source complete.
    whole: bool,
    /// The kind that items of a list do not name.
    kind: &'static str,
    single: bool,
}

/// Something for the core.
#[derive(Debug)]
pub(super) enum Page {
    Begin(Source),
    Items {
        source: Source,
        kind: &'static str,
        single: bool,
        body: String,
    },
    Synced(Source),
    Lost(Source, String),
}

fn list(resource: &Resource, namespace: &str) -> List {
    // Two lists share a source where kinds do; neither alone makes it complete.
    let whole = resource.whole && resource.kind.is_empty();
    List {
        source: resource.source,
        paths: resource.paths(namespace),
        selector: String::new(),
        whole,
        kind: resource.kind,
        single: false,
    }
}

/// Lists that are read whole.
pub(super) fn whole() -> Vec<List> {
    let lines = RESOURCES.iter().filter(|resource| resource.whole);
    lines.map(|resource| list(resource, "")).collect()
}

/// Lists and objects that the core asks for.
pub(super) fn wanted(wants: &Wants) -> Vec<List> {
    let of = |source, namespace: &str| Resource::wanted(source).map(|resource| list(resource, namespace));
    let maps = wants.config_maps.iter().filter_map(|(namespace, name)| {
        let mut list = of(Source::ConfigMaps, namespace)?;
        for path in &mut list.paths {
            path.push('/');
            path.push_str(name);
        }
        Some(List { single: true, ..list })
    });
    let pods = wants.pods.iter().filter_map(|(namespace, selector)| {
        Some(List {
            selector: selector.clone(),
            ..of(Source::Pods, namespace)?
        })
    });
    maps.chain(pods).collect()
}

#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

/// What says whether a page is the last, without its items.
#[derive(Deserialize)]
struct End {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl List {
    /// Reads it and sends its pages. A receiver that has gone away ends it.
    pub(super) async fn read(self, client: &Client, page_tx: &mpsc::Sender<Page>) {
        let mut paths = self.paths.iter();
        let mut path = paths.next();
        let outcome = loop {
            let Some(at) = path else {
                // Not served: nothing of that kind can exist.
                break Ok(());
            };
            match self.pages(client, at, page_tx).await {
                Err(kube::Error::Api(status)) if status.code == 404 => path = paths.next(),
                Err(error) => break Err(error),
                Ok(()) => break Ok(()),
            }
        };
        let last = match outcome {
            Ok(()) => Page::Synced(self.source),
            Err(error) => Page::Lost(self.source, self.explain(&error)),
        };
        let _ = page_tx.send(last).await;
    }

    async fn pages(
        &self,
        client: &Client,
        path: &str,
        page_tx: &mpsc::Sender<Page>,
    ) -> Result<(), kube::Error> {
        let mut tries = 0;
        'again: loop {
            tries += 1;
            if self.whole && page_tx.send(Page::Begin(self.source)).await.is_err() {
                return Ok(());
            }
            let mut next = String::new();
            loop {
                let body = match client.request_text(self.request(path, &next)?).await {
                    Ok(body) => body,
                    Err(kube::Error::Api(status))
                        if tries < TRIES && matches!(status.code, 410 | 429 | 503) =>
                    {
                        if status.code != 410 {
                            tokio::time::sleep(Duration::from_secs(1 << tries)).await;
                        }
                        continue 'again;
                    }
                    Err(error) => return Err(error),
                };
                next = if self.single { String::new() } else { token(&body) };
                let page = Page::Items {
                    source: self.source,
                    kind: self.kind,
                    single: self.single,
                    body,
                };
                if page_tx.send(page).await.is_err() || next.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    fn request(&self, path: &str, next: &str) -> Result<Request<Vec<u8>>, kube::Error> {
        let mut query = Vec::new();
        if !self.single {
            query.push(format!("limit={PAGE}"));
        }
        if !self.selector.is_empty() {
            query.push(format!("labelSelector={}", escape(&self.selector)));
        }
        if !next.is_empty() {
            query.push(format!("continue={}", escape(next)));
        }
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{}", query.join("&"))
        };
        Request::get(format!("{path}{query}"))
            .body(Vec::new())
            .map_err(kube::Error::HttpError)
    }

    /// A failure in words that name the right to grant.
    fn explain(&self, error: &kube::Error) -> String {
        let verb = if self.single { "get" } else { "list" };
        match error {
            kube::Error::Api(status) if status.code == 403 => {
                format!("missing right: {verb} {} ({})", self.source, status.message)
            }
            kube::Error::Api(status) if status.code == 401 => format!("not logged in: {}", status.message),
            error => format!("{verb} {}: {error}", self.source),
        }
    }
}

/// The token of the next page; empty at the end.
fn token(body: &str) -> String {
    serde_json::from_str::<End>(body)
        .ok()
        .and_then(|end| end.metadata.next)
        .unwrap_or_default()
}

impl Page {
    /// Feeds the core and returns how many objects it held.
    pub(super) fn feed(self, core: &mut Core) -> usize {
        // What the core refuses it also lists as unreadable.
        match self {
            Self::Begin(source) => drop(core.handle(Now::ONCE, Input::Begin(source))),
            Self::Synced(source) => {
                let lost = matches!(
                    core.index().fresh(source),
                    evenkeel_core::index::Fresh::Unreadable(_)
                );
                if !lost {
                    let _ = core.handle(Now::ONCE, Input::Synced(source));
                }
            }
            Self::Lost(source, why) => drop(core.handle(Now::ONCE, Input::Lost(source, &why))),
            Self::Items {
                source,
                kind: _,
                single: true,
                body,
            } => {
                let _ = core.handle(Now::ONCE, Input::Object(source, body.as_bytes()));
                return 1;
            }
            Self::Items {
                source,
                kind,
                single: false,
                body,
            } => {
                let page = match serde_json::from_str::<Items<'_>>(&body) {
                    Ok(page) => page,
                    Err(error) => {
                        let _ = core.handle(Now::ONCE, Input::Lost(source, &format!("not a list: {error}")));
                        return 0;
                    }
                };
                let items = page.items.unwrap_or_default();
                for item in &items {
                    object(core, source, kind, item.get());
                }
                return items.len();
            }
        }
        0
    }
}

/// Feeds one item of a list.
fn object(core: &mut Core, source: Source, kind: &str, item: &str) {
    match source {
        Source::Policies | Source::ClusterPolicy => api::feed(core, Now::ONCE, source, item),
        _ if kind.is_empty() => drop(core.handle(Now::ONCE, Input::Object(source, item.as_bytes()))),
        _ => {
            // Items of a list do not name their kind, and two kinds share this source.
            let item = item.replacen('{', &format!("{{\"kind\":\"{kind}\","), 1);
            let _ = core.handle(Now::ONCE, Input::Object(source, item.as_bytes()));
        }
    }
}
