//! `evenkeel uninstall`: takes everything of evenkeel out of a cluster, in an order that leaves nothing half done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};

use super::cluster::{Cluster, words};
use super::undo::{self, UndoOutcome};
use super::{End, answer, note};
use crate::escape::line;
use crate::live::{ApiServer, Ask, AskError};
use crate::render::findings::counted;
use crate::{api, lease, live, render};

/// What to delete, and of which cluster.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Do it; without this only what would be deleted is shown
    #[arg(long)]
    yes: bool,
    /// Keep the definitions of evenkeel's kinds, and with them every policy
    #[arg(long)]
    keep_policies: bool,
    /// Namespace of the operator; it is deleted where it carries the label app.kubernetes.io/name=evenkeel
    #[arg(long, value_name = "NAME", default_value = lease::NAMESPACE)]
    operator_namespace: String,
    #[command(flatten)]
    cluster: Cluster,
}

impl Arguments {
    /// The flags that name the same things again.
    fn again(&self) -> String {
        let own = self.operator_namespace.clone();
        let own = (own != lease::NAMESPACE).then_some(("--operator-namespace", own));
        let keep = if self.keep_policies {
            " --keep-policies"
        } else {
            ""
        };
        words(own.into_iter().chain(self.cluster.again())) + keep
    }
}

/// The label that everything we install carries.
const OURS: &str = "app.kubernetes.io/name=evenkeel";

/// Whether these labels hold [`OURS`].
fn is_ours(labels: Option<&BTreeMap<String, String>>) -> bool {
    OURS.split_once('=').is_some_and(|(key, value)| {
        labels
            .and_then(|labels| labels.get(key))
            .is_some_and(|one| one == value)
    })
}

/// How long Pods of the operator and its namespace may take to end: three times the kubelet's default grace of 30 s,
/// as a Pod on a node without power never does.
const GONE_WITHIN: Duration = Duration::from_secs(90);

/// How often something that ends is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One thing to delete.
struct Deletion {
    /// As shown: `clusterrole evenkeel`.
    shown: String,
    api: Api<DynamicObject>,
    name: String,
    /// Whether it is the operator itself.
    writes: bool,
}

impl Deletion {
    /// Waits until it is gone. One that cannot be read is not.
    async fn gone(&self) -> bool {
        let gone = async {
            while !matches!(self.api.get_metadata_opt(&self.name).await, Ok(None)) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(GONE_WITHIN, gone).await.is_ok()
    }
}

/// Deletes, or shows what would be.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    arguments.cluster.wait(uninstall(arguments))
}

/// What is said where Nodes may not be listed.
const UNSEEN: &str = "whether nodes are fenced is not known";
/// The same in place of the answer that nothing is there.
const NOTHING_ELSE: &str = "Nothing else of evenkeel is in this cluster. Look for fences with the right to list nodes: evenkeel undo --all --dry-run\n";

async fn uninstall(arguments: &Arguments) -> anyhow::Result<End> {
    let (client, server) = live::connect(&arguments.cluster.options()).await?;
    let items = items(&client, &server, arguments).await?;
    let namespaces = told_in(&client, &server).await?;
    let fenced = match undo::fenced(&client, &server).await {
        Ok((_, fenced)) => Some(fenced),
        Err(error @ AskError::Forbidden(_)) => {
            note(&format!("{UNSEEN}: {error}"));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let (fenced, end, nothing) = match fenced {
        Some(fenced) => (fenced, End::Good, "Nothing of evenkeel is in this cluster.\n"),
        None => (Vec::new(), End::Unread, NOTHING_ELSE),
    };
    if items.is_empty() && namespaces.is_empty() && fenced.is_empty() {
        answer(nothing)?;
        return Ok(end);
    }
    let mut text = String::new();
    let verb = if arguments.yes { "deleting" } else { "would delete" };
    for item in &items {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{verb} {}", line(&item.shown));
    }
    let verb_of_fences = if arguments.yes { "undoing" } else { "would undo" };
    for live in &fenced {
        let _ = writeln!(text, "{verb_of_fences} the fence of node {}", line(&live.name));
    }
    for (namespace, events) in &namespaces {
        let _ = writeln!(text, "{verb} {events} Events of evenkeel in {namespace}");
    }
    if !arguments.yes {
        let program = render::program();
        let again = line(&arguments.again()).into_owned();
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "\nNothing was changed. To do it: {program} uninstall{again} --yes"
        );
        if !arguments.keep_policies {
            text.push_str("(--keep-policies keeps the policies and their definitions)\n");
        }
        answer(&text)?;
        return Ok(end);
    }
    answer(&text)?;
    delete(
        (&client, &server),
        &items,
        namespaces.into_keys().collect(),
        &arguments.again(),
    )
    .await?;
    answer("Everything above is deleted.\n")?;
    Ok(End::Good)
}

/// Deletes in order, and waits for what takes time to end: a script goes on with the next step.
async fn delete(
    (client, server): (&Client, &ApiServer),
    items: &[Deletion],
    mut namespaces: BTreeSet<String>,
    again: &str,
) -> anyhow::Result<()> {
    let mut failed = 0;
    // After the end of the operator, which could fence again.
    let mut undone = false;
    // The operator keeps its rights until it has ended: else it would report sources that it cannot read.
    let (writers, rest): (Vec<_>, Vec<_>) = items.iter().partition(|item| item.writes);
    for (items, needs) in [
        (writers, "its Pods have not ended"),
        (rest, "it is still being deleted"),
    ] {
        let mut ending = Vec::new();
        for item in items {
            match item.api.delete(&item.name, &DeleteParams::foreground()).await {
                Ok(_) => ending.push(item),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    failed += 1;
                    note(&format!("cannot delete {}: {error}", item.shown));
                }
            }
        }
        for item in ending {
            if !item.gone().await {
                failed += 1;
                let seconds = GONE_WITHIN.as_secs();
                note(&format!("{}: {needs} after {seconds} s", item.shown));
            }
        }
        if !undone {
            failed += undo_fences(client, server).await;
            undone = true;
        }
    }
    // Those that it wrote until its end.
    namespaces.extend(told_in(client, server).await?.into_keys());
    for namespace in namespaces {
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        if let Err(error) = api.delete_collection(&DeleteParams::default(), &events()).await {
            failed += 1;
            note(&format!("cannot delete Events in {namespace}: {error}"));
        }
    }
    if failed > 0 {
        let program = render::program();
        bail!("{failed} steps failed; what is left is shown by `{program} uninstall{again}`");
    }
    Ok(())
}

/// Undoes every fence, and says how many could not be.
async fn undo_fences(client: &Client, server: &ApiServer) -> usize {
    match undo::fenced(client, server).await {
        Ok((_, fenced)) => {
            let undone = undo::undo_all(client, server, fenced, false).await;
            let failed = undone
                .iter()
                .filter(|one| matches!(one.outcome, UndoOutcome::Failed(_)));
            failed.map(|one| note(&one.told())).count()
        }
        Err(error) => {
            note(&format!("{UNSEEN}, and none is undone: {error}"));
            1
        }
    }
}

fn refused(server: &ApiServer, error: &kube::Error, verb: &'static str, resource: &str) -> AskError {
    let ask = Ask {
        verb,
        resource,
        name: "",
        namespace: "",
    };
    server.failed(error, ask)
}

/// Everything to delete, in order: first who writes, then what lets it, then what it writes to.
async fn items(client: &Client, server: &ApiServer, arguments: &Arguments) -> anyhow::Result<Vec<Deletion>> {
    let own = arguments.operator_namespace.as_str();
    let space = namespace((client, server), own, &arguments.cluster.words()).await?;
    let mut items = Vec::new();
    for (group, kind, namespace) in [
        ("apps", "Deployment", Some(own)),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding", None),
        ("rbac.authorization.k8s.io", "ClusterRole", None),
        ("rbac.authorization.k8s.io", "RoleBinding", None),
        ("rbac.authorization.k8s.io", "Role", None),
        ("scheduling.k8s.io", "PriorityClass", None),
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding",
            None,
        ),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", None),
    ] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let list = match api.list(&ListParams::default().labels(OURS)).await {
            // Before Kubernetes 1.30 there are no admission policies.
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            list => list,
        };
        for object in list.map_err(|error| refused(server, &error, "list", &resource.plural))? {
            let name = object.metadata.name.unwrap_or_default();
            let home = object.metadata.namespace;
            if space.is_some() && namespace.is_none() && home.as_deref() == Some(own) {
                // It goes with its namespace.
                continue;
            }
            let place = home.as_ref().map_or(String::new(), |home| format!("{home}/"));
            items.push(Deletion {
                shown: format!("{} {place}{name}", kind.to_lowercase()),
                api: match &home {
                    Some(home) => Api::namespaced_with(client.clone(), home, &resource),
                    None => api.clone(),
                },
                name,
                writes: kind == "Deployment",
            });
        }
    }
    if !arguments.keep_policies {
        items.extend(definitions(client, server).await?);
    }
    items.extend(space);
    Ok(items)
}

/// The operator's namespace, where it exists and is ours: a name that was mistyped must not delete another namespace.
///
/// `words` are the flags by which kubectl asks the same cluster.
async fn namespace(
    (client, server): (&Client, &ApiServer),
    own: &str,
    words: &str,
) -> anyhow::Result<Option<Deletion>> {
    let spaces: Api<Namespace> = Api::all(client.clone());
    let found = spaces.get_opt(own).await;
    let Some(space) = found.map_err(|error| refused(server, &error, "get", "namespaces"))? else {
        return Ok(None);
    };
    if !is_ours(space.metadata.labels.as_ref()) {
        note(&format!(
            "namespace {own} is kept, as it does not carry the label {OURS}; what else of evenkeel is in it is shown by kubectl -n {own} get services,serviceaccounts,poddisruptionbudgets,networkpolicies -l {OURS}{words}"
        ));
        return Ok(None);
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
    Ok(Some(Deletion {
        shown: format!("namespace {own} and everything in it"),
        api: Api::all_with(client.clone(), &resource),
        name: own.to_owned(),
        writes: false,
    }))
}

/// The definitions of our kinds that exist, with how many objects go with each.
async fn definitions(client: &Client, server: &ApiServer) -> anyhow::Result<Vec<Deletion>> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk(&kind);
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut items = Vec::new();
    for crd in api::crds().into_iter().chain(api::ledger_crds()) {
        let name = crd.metadata.name.unwrap_or_default();
        if all
            .get_opt(&name)
            .await
            .map_err(|error| {
                refused(
                    server,
                    &error,
                    "get",
                    "customresourcedefinitions.apiextensions.k8s.io",
                )
            })?
            .is_none()
        {
            continue;
        }
        let gvk = GroupVersionKind::gvk(api::GROUP, api::VERSION, &crd.spec.names.kind);
        let objects: Api<DynamicObject> = Api::all_with(
            client.clone(),
            &ApiResource::from_gvk_with_plural(&gvk, &crd.spec.names.plural),
        );
        let count = objects.list_metadata(&ListParams::default()).await;
        let count = count.map_or_else(
            |_| "all objects of it".into(),
            |list| counted(list.items.len(), "object of it", "objects of it"),
        );
        items.push(Deletion {
            shown: format!("customresourcedefinition {name} and {count}"),
            api: all.clone(),
            name,
            writes: false,
        });
    }
    Ok(items)
}

/// Our Events: they would vanish by themselves after an hour, the API server's default.
fn events() -> ListParams {
    ListParams::default().fields("reportingComponent=evenkeel.dev/operator")
}

/// Namespaces that hold Events of ours, and how many.
async fn told_in(client: &Client, server: &ApiServer) -> anyhow::Result<BTreeMap<String, usize>> {
    let all: Api<Event> = Api::all(client.clone());
    let mut namespaces = BTreeMap::new();
    let list = all.list_metadata(&events()).await;
    for event in list.map_err(|error| refused(server, &error, "list", "events"))? {
        let namespace = event.metadata.namespace.unwrap_or_default();
        *namespaces.entry(namespace).or_default() += 1;
    }
    Ok(namespaces)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::ours(&[("app.kubernetes.io/name", "evenkeel"), ("a", "b")], true)]
    #[case::of_another_program(&[("app.kubernetes.io/name", "checkout")], false)]
    #[case::part_of_is_not_the_mark(&[("app.kubernetes.io/part-of", "evenkeel")], false)]
    #[case::without(&[], false)]
    fn only_a_namespace_with_our_label_is_ours(#[case] labels: &[(&str, &str)], #[case] ours: bool) {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        assert_eq!(is_ours(Some(&labels.collect())), ours);
        assert!(!is_ours(None));
    }
}
