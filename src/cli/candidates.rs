//! What a shell may complete: names from the kubeconfig and from the cluster, and ids of checks and findings.
//!
//! A shell waits for the answer while somebody types, so a cluster that does not answer within [`PATIENCE`] has no names.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::CompletionCandidate;
use evenkeel_core::know::{Now, Wall};
use evenkeel_core::standing::Reason;
use evenkeel_core::{Core, checks, guards, remedies};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::checks::summary;
use crate::api::RemediationRecord;
use crate::escape::line;
use crate::files::{self, Report};
use crate::lease::NAMESPACE;
use crate::live;

/// How long a cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most names that are offered.
const MOST: u32 = 500;

/// Contexts of the kubeconfig.
pub(super) fn contexts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names = kubeconfig().map(|file| file.contexts.into_iter().map(|one| one.name));
    begun(typed, names.into_iter().flatten())
}

/// Clusters of the kubeconfig.
pub(super) fn clusters(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names = kubeconfig().map(|file| file.clusters.into_iter().map(|one| one.name));
    begun(typed, names.into_iter().flatten())
}

/// Users of the kubeconfig.
pub(super) fn users(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names = kubeconfig().map(|file| file.auth_infos.into_iter().map(|one| one.name));
    begun(typed, names.into_iter().flatten())
}

/// Namespaces of the cluster.
pub(super) fn namespaces(typed: &OsStr) -> Vec<CompletionCandidate> {
    let list = async |client: Client| named(&Api::<Namespace>::all(client)).await;
    begun(typed, asked(list).unwrap_or_default())
}

/// Records in the operator's namespace.
pub(super) fn records(typed: &OsStr) -> Vec<CompletionCandidate> {
    let list = async |client: Client| named(&Api::<RemediationRecord>::namespaced(client, NAMESPACE)).await;
    begun(typed, asked(list).unwrap_or_default())
}

/// Nodes of the cluster.
pub(super) fn nodes(typed: &OsStr) -> Vec<CompletionCandidate> {
    let list = async |client: Client| named(&Api::<Node>::all(client)).await;
    begun(typed, asked(list).unwrap_or_default())
}

/// The names of what an API lists.
async fn named<K>(api: &Api<K>) -> Option<Vec<String>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let list = api.list_metadata(&ListParams::default().limit(MOST)).await.ok()?;
    Some(
        list.items
            .into_iter()
            .filter_map(|one| one.metadata.name)
            .collect(),
    )
}

/// Services of the cluster, as `NAMESPACE/SERVICE`.
pub(super) fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    let namespace = typed.to_str().and_then(|typed| typed.split_once('/'));
    let namespace = namespace.map(|one| one.0.to_owned());
    let list = async |client: Client| {
        let api: Api<Service> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let list = api.list_metadata(&ListParams::default().limit(MOST)).await.ok()?;
        let names = list.items.into_iter().map(|one| {
            let metadata = one.metadata;
            format!(
                "{}/{}",
                metadata.namespace.unwrap_or_default(),
                metadata.name.unwrap_or_default()
            )
        });
        Some(names.collect::<Vec<_>>())
    };
    begun(typed, asked(list).unwrap_or_default())
}

/// What `explain` knows: checks, remedies, guards and reasons, and the findings of an audit where the beginning of an id was
/// typed.
pub(super) fn explainable(typed: &OsStr) -> Vec<CompletionCandidate> {
    let checks = checks::ALL.iter().map(|check| (check.id, summary(check)));
    let remedies = remedies::ALL.iter().map(|one| {
        let doc = one.doc.trim();
        (one.id, doc.lines().next().unwrap_or(doc))
    });
    let guards = guards::ALL.iter().map(|one| (one.id, one.means));
    let reasons = Reason::ALL.iter().map(|one| (one.name(), one.means()));
    let known = checks.chain(remedies).chain(guards).chain(reasons);
    let begins = |one: &CompletionCandidate| starts(one.get_value(), typed);
    let known = known.map(|(id, help)| CompletionCandidate::new(id).help(Some(help.to_owned().into())));
    let mut all: Vec<_> = known.filter(begins).collect();
    let hexadecimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if typed.to_str().is_some_and(hexadecimal) {
        all.extend(findings().into_iter().filter(begins));
    }
    all
}

fn findings() -> Vec<CompletionCandidate> {
    let from = typed_paths("--from", "-f");
    let audit = async {
        let mut core = if from.is_empty() {
            live::read(&options()).await.ok()?
        } else if from.iter().any(|path| path == Path::new("-")) {
            // What is on standard input is for the command itself.
            return None;
        } else {
            let mut core = Core::default();
            files::read(
                &mut core,
                &from,
                &files::Options::default(),
                &mut Report::default(),
            );
            core
        };
        let now = Now {
            wall: Wall(jiff::Timestamp::now().as_second()),
            ..Now::default()
        };
        core.round(now);
        let findings = core.findings(now).findings.into_iter().take(MOST as usize);
        let candidate = |one: evenkeel_core::findings::Finding| {
            let help = format!("{} {}", one.check, one.subject);
            CompletionCandidate::new(one.id).help(Some(line(&help).into_owned().into()))
        };
        Some(findings.map(candidate).collect::<Vec<_>>())
    };
    patient(audit).unwrap_or_default()
}

/// Those that begin with what was typed, with nothing in them that a terminal obeys.
fn begun(typed: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let names = names.into_iter().filter(|name| starts(OsStr::new(name), typed));
    let harmless = names.map(|name| line(&name).into_owned());
    harmless.map(CompletionCandidate::new).collect()
}

fn starts(name: &OsStr, typed: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(typed.as_encoded_bytes())
}

fn kubeconfig() -> Option<Kubeconfig> {
    match options().kubeconfig {
        Some(path) => Kubeconfig::read_from(path).ok(),
        None => Kubeconfig::read().ok(),
    }
}

/// The values of a flag that were typed before: the shell passes the whole line.
fn typed_values(flag: &str) -> Vec<String> {
    let words: Vec<String> = std::env::args().collect();
    let with = format!("{flag}=");
    let values = words.iter().enumerate().filter_map(|(at, word)| {
        let next = || (word == flag).then(|| words.get(at + 1).cloned()).flatten();
        word.strip_prefix(&*with).map(str::to_owned).or_else(next)
    });
    values.filter(|value| !value.is_empty()).collect()
}

/// The same as paths, of a flag and its short form.
fn typed_paths(flag: &str, short: &str) -> Vec<PathBuf> {
    let values = [flag, short].map(typed_values);
    values.into_iter().flatten().map(PathBuf::from).collect()
}

/// The flags of the cluster that were typed before.
fn options() -> live::Options {
    let named = |flag: &str| typed_values(flag).pop();
    live::Options {
        kubeconfig: named("--kubeconfig").map(Into::into),
        context: named("--context"),
        cluster: named("--cluster"),
        user: named("--user"),
        impersonate: named("--as"),
        ..live::Options::default()
    }
}

fn asked<F>(work: impl FnOnce(Client) -> F) -> Option<Vec<String>>
where
    F: Future<Output = Option<Vec<String>>>,
{
    patient(async {
        let (client, _) = live::connect(&options()).await.ok()?;
        work(client).await
    })
}

fn patient<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.ok().flatten() })
}
