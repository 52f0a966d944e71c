//! Reads a live cluster once, with read rights only.
//!
//! Lists go in pages of [`PAGE`] straight from the response's bytes into rows, several kinds at a time, so that peak
//! memory is a few pages and not a cluster. What is refused is listed with the right that is missing; its dependents
//! are Unknown. Pods and `ConfigMaps` are never listed as a whole: the core says which ones are worth reading.

mod connect;
mod list;
mod outcome;
pub(crate) mod page;
mod proxy;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};
use futures::StreamExt;
use kube::Client;
use kube::client::ConfigExt;
use tokio::sync::mpsc;

use list::List;
use outcome::ListOutcome;
use page::ListPiece;

use crate::client::{Link, RequestError};
use crate::resources::SYSTEM;

pub(crate) use connect::root;
pub use connect::{ApiServer, Ask, AskError, ConnectError};
pub use list::PAGE;
pub(crate) use list::{PAGE_BYTES, fewer};

/// Which cluster, as the usual kubeconfig flags say it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--kubeconfig`; else `KUBECONFIG`, `~/.kube/config`, or the Pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--cluster`.
    pub cluster: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--as`: the user to ask as.
    pub impersonate: Option<String>,
    /// `--as-group`: the groups of that user.
    pub impersonate_groups: Vec<String>,
    /// How long a connection may take to be made; as usual when absent.
    pub timeout: Option<Duration>,
    /// Namespaces that are read by themselves where a list of the whole cluster is refused.
    pub namespaces: Vec<String>,
    /// Whether to show progress on stderr.
    pub progress: bool,
}

/// What else is done while a cluster is read.
pub(crate) trait Beside {
    /// Adds to the core what is known besides the cluster, before the core is asked what else is worth reading.
    fn known(&mut self, core: &mut Core);

    /// Looks at a page before the core does. An error ends the reading.
    fn page(&mut self, page: &ListPiece) -> Result<()>;
}

/// Nothing.
struct Nothing;

impl Beside for Nothing {
    fn known(&mut self, _: &mut Core) {}

    fn page(&mut self, _: &ListPiece) -> Result<()> {
        Ok(())
    }
}

/// Pages on their way to the core: enough that reading and parsing overlap, few enough that memory stays small.
const IN_FLIGHT: usize = 2;

/// Lists read at the same time.
const PARALLEL: usize = 4;

/// A client for the cluster that the options name, and the server that it speaks to.
///
/// # Errors
/// What is wrong with the kubeconfig; the server was not asked.
pub async fn connect(options: &Options) -> Result<(Client, ApiServer), ConnectError> {
    let (config, server) = connect::config(options).await?;
    let client = connect::client(config, &server, Some(list::READ_TIMEOUT))?;
    Ok((client, server))
}

/// A link to the cluster that the options name, for watches and the Lease.
pub(crate) fn link(options: Options) -> Link {
    Link::new(move || {
        let options = options.clone();
        async move { watching_client(&options).await }
    })
}

/// A client for watches: how long a response may be silent is for its reader to say.
async fn watching_client(options: &Options) -> Result<Client> {
    let (config, server) = connect::config(options).await?;
    Ok(connect::client(config, &server, None)?)
}

/// A client for one API server of that cluster, by its own address. Each of their certificates has the name under which
/// Pods know them, whatever the kubeconfig calls the cluster.
pub(crate) async fn client_at(options: &Options, at: SocketAddr) -> Result<Client> {
    let (mut config, server) = connect::config(options).await?;
    ensure!(
        !config.accept_invalid_certs,
        "the kubeconfig checks no certificate, so credentials could go to any server"
    );
    config.cluster_url = http::Uri::try_from(format!("https://{at}")).context("an address")?;
    config.tls_server_name = Some("kubernetes.default.svc".to_owned());
    config.proxy_url = None;
    Ok(connect::client(config, &server, None)?)
}

/// How TLS is spoken with the API servers of that cluster where nothing may be shown of us: their CA, and no client
/// certificate. No session is resumed, so that each connection brings the server's certificate.
pub(crate) async fn anonymous_tls(options: &Options) -> Result<rustls::ClientConfig> {
    let (mut config, _) = connect::config(options).await?;
    ensure!(
        !config.accept_invalid_certs,
        "the kubeconfig checks no certificate, so any server could answer"
    );
    config.auth_info = kube::config::AuthInfo::default();
    let mut tls = config.rustls_client_config().context("the cluster's CA")?;
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(tls)
}

/// Reads the cluster into a core. An error means that it could not be reached at all.
pub async fn read(options: &Options) -> Result<Core> {
    read_beside(options, &mut Nothing).await
}

/// The same, with something done beside it.
pub(crate) async fn read_beside(options: &Options, beside: &mut dyn Beside) -> Result<Core> {
    let (client, server) = connect(options).await?;
    let version = client.apiserver_version().await;
    let version = version.map_err(|error| server.failed(&error, VERSION))?;
    tracing::debug!(version = version.git_version, "connected");
    let mut core = Core::default();
    feed(&client, &mut core, list::whole(), options, beside).await?;
    beside.known(&mut core);
    let wants = core.take_wants().unwrap_or_default();
    feed(&client, &mut core, list::wanted(&wants), options, beside).await?;
    for (namespace, maps) in &wants.config_maps {
        if let Some(why) = maps.excess() {
            let part = Part::Namespace(&**namespace);
            let beyond = Input::Freshness(Source::ConfigMaps, part, Freshness::unreadable(&why));
            core.handle(Now::ONCE, beyond);
        }
    }
    Ok(core)
}

/// What everybody may ask who is logged in.
pub(crate) const VERSION: Ask<'static> = Ask {
    verb: "get",
    resource: "/version",
    name: "",
    namespace: "",
};

/// Reads a set of lists and feeds the core as pages come. They are read by a task of their own: where the runtime has a
/// thread more, the next page is received while the last one is stored.
async fn feed(
    client: &Client,
    core: &mut Core,
    lists: Vec<List>,
    options: &Options,
    beside: &mut dyn Beside,
) -> Result<()> {
    let (page_tx, mut page_rx) = mpsc::channel::<ListPiece>(IN_FLIGHT);
    let reading = tokio::spawn(read_lists(
        client.clone(),
        lists,
        options.namespaces.clone(),
        page_tx,
    ));
    let mut seen = 0_usize;
    // An error here drops the receiver, which ends the reading.
    while let Some(page) = page_rx.recv().await {
        beside.page(&page)?;
        seen += page.feed(core);
        if options.progress {
            eprint!("\rread {seen} objects");
        }
    }
    if options.progress {
        eprint!("\r\x1b[K");
    }
    let outcomes = reading.await.context("the reading broke off")?;
    outcome::conclude(core, outcomes);
    Ok(())
}

/// Reads lists, several at a time, and says how each ended.
async fn read_lists(
    client: Client,
    lists: Vec<List>,
    namespaces: Vec<String>,
    page_tx: mpsc::Sender<ListPiece>,
) -> Vec<ListOutcome> {
    let (client, namespaces, page_tx) = (&client, &namespaces[..], &page_tx);
    let groups = groups(lists).into_iter();
    let ends: Vec<_> = futures::stream::iter(groups)
        .map(|group| read_group(client, group, namespaces, page_tx))
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    ends.into_iter().flatten().collect()
}

/// The lists with their places, in groups: a user without the right to list the Pods of a namespace is refused with every
/// selector, so the first refusal counts for all lists of a group. Those of `kube-system` are a group each, so that they are
/// read side by side: users who audit a cluster usually have the right to them.
fn groups(lists: Vec<List>) -> Vec<Vec<(usize, List)>> {
    let mut groups: Vec<Vec<(usize, List)>> = Vec::new();
    for (at, list) in lists.into_iter().enumerate() {
        let is_alone = list.resource.source != Source::Pods || list.namespace.as_deref() == Some(SYSTEM);
        match groups.last_mut() {
            Some(group)
                if !is_alone
                    && group.last().is_some_and(|(_, last)| {
                        last.resource == list.resource && last.namespace == list.namespace
                    }) =>
            {
                group.push((at, list));
            }
            _ => groups.push(vec![(at, list)]),
        }
    }
    groups
}

/// Reads the lists of a group one after the other, and asks for no more where one was refused.
async fn read_group(
    client: &Client,
    group: Vec<(usize, List)>,
    namespaces: &[String],
    page_tx: &mpsc::Sender<ListPiece>,
) -> Vec<ListOutcome> {
    let mut ends = Vec::with_capacity(group.len());
    let mut refused: Option<RequestError> = None;
    for (at, list) in group {
        let end = match &refused {
            Some(error) => Err(error.clone()),
            None => list.read(client, page_tx).await,
        };
        let instead = match &end {
            Err(error) if error.is_forbidden() && refused.is_none() => {
                refused = Some(error.clone());
                within(client, &list, namespaces, page_tx).await
            }
            _ => Vec::new(),
        };
        ends.push(ListOutcome {
            at,
            list,
            end,
            instead,
        });
    }
    ends
}

/// Reads a list that was refused in single namespaces.
async fn within(
    client: &Client,
    list: &List,
    namespaces: &[String],
    page_tx: &mpsc::Sender<ListPiece>,
) -> Vec<(String, Result<(), RequestError>)> {
    let mut ends = Vec::new();
    for namespace in namespaces {
        if let Some(list) = list.within(namespace) {
            ends.push((namespace.clone(), list.read(client, page_tx).await));
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;
    use std::sync::Arc;

    use evenkeel_core::fleet::Wants;
    use evenkeel_core::policy::Selector;
    use http::Request;
    use kube::client::Body;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::client::scripted::{self, whole};

    /// Pods of some namespaces, each by so many selectors.
    fn pods(namespaces: &[(&str, usize)]) -> Wants {
        let selector = |at: usize| Selector {
            labels: vec![("app".into(), format!("a{at}").into())],
            expressions: Vec::new(),
        };
        let pods = namespaces.iter().map(|(namespace, count)| {
            let selectors: BTreeSet<Selector> = (0..*count).map(selector).collect();
            (Arc::from(*namespace), Arc::new(selectors))
        });
        Wants {
            pods: pods.collect(),
            ..Wants::default()
        }
    }

    /// Reads these Pods of a server that refuses those of one namespace; returns how often each namespace was asked for.
    async fn asked(wants: &Wants, refused: &'static str) -> (Vec<String>, usize) {
        let (asked_tx, mut asked_rx) = unbounded_channel();
        let link = scripted::link(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let answer = if path.contains(&format!("/{refused}/")) {
                whole(403, r#"{"message": "no"}"#)
            } else if path == "/api/v1" {
                whole(200, r#"{"resources": [{"name": "pods"}]}"#)
            } else {
                whole(200, r#"{"items": []}"#)
            };
            asked_tx.send(path).unwrap();
            async { answer }
        });
        let client = link.client().await.unwrap();
        let (page_tx, mut page_rx) = mpsc::channel(64);
        let ends = read_lists(client, list::wanted(wants), Vec::new(), page_tx).await;
        page_rx.close();
        drop(link);
        let mut paths = Vec::new();
        while let Ok(path) = asked_rx.try_recv() {
            paths.push(path);
        }
        let refused = ends
            .iter()
            .filter(|one| one.end.as_ref().is_err_and(RequestError::is_forbidden));
        (paths, refused.count())
    }

    #[tokio::test]
    async fn pods_of_a_namespace_that_were_refused_are_not_asked_for_again() {
        let wants = pods(&[("pay", 3), ("shop", 16)]);
        let (asked, refused) = asked(&wants, "shop").await;
        let of = |namespace: &str| {
            let path = format!("/api/v1/namespaces/{namespace}/pods");
            asked.iter().filter(|one| **one == path).count()
        };
        assert_eq!((of("pay"), of("shop")), (3, 1), "{asked:?}");
        assert_eq!(refused, 16, "each of them is a gap");
    }

    #[tokio::test]
    async fn no_pod_is_read_by_name() {
        let (asked, _) = asked(&pods(&[("shop", 2)]), "none").await;
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked.iter().all(|path| path.ends_with("/pods")), "{asked:?}");
    }
}
