//! Requests of the system itself that keep a cluster alive, and whether a webhook is asked about them.

use std::sync::Arc;

use super::cel::{Value, holds};
use crate::judge::Look;
use crate::know::Known;
use crate::names::{Key, Name};
use crate::policy::Selector;
use crate::sources::selects;
use crate::sources::webhook::{Rule, Webhook};

/// The label that every Namespace carries by itself (`k8s.io/api/core/v1/well_known_labels.go`).
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// The label of slices that the control plane writes (`k8s.io/api/discovery/v1/well_known_labels.go`).
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Where requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallScope {
    /// In no namespace.
    Cluster,
    /// In this namespace.
    In(&'static str),
    /// In every namespace.
    Everywhere,
}

/// What stops when they are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stops {
    /// Nodes are declared lost.
    Nodes,
    /// Leaders lose their Leases, and controllers stop.
    Leaders,
    /// Workloads: Pods are not made, placed or published.
    Workloads,
    /// Some of the cluster's own calls.
    Calls,
}

/// What a component writes all the time. All of these kinds are served in `v1` alone since Kubernetes 1.25.
#[derive(Debug, Clone, Copy)]
pub(super) struct ComponentCall {
    pub(super) what: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) subresource: &'static str,
    pub(super) operations: &'static [&'static str],
    pub(super) scope: CallScope,
    pub(super) stops: Stops,
    /// From which `timeoutSeconds` on it is too late for the caller even where the webhook may be ignored.
    pub(super) patience: Option<u32>,
    /// Whether kubelets make it.
    kubelet: bool,
}

const NONE: ComponentCall = ComponentCall {
    what: "",
    group: "",
    resource: "",
    subresource: "",
    operations: &["CREATE", "UPDATE"],
    scope: CallScope::Everywhere,
    stops: Stops::Workloads,
    patience: None,
    kubelet: false,
};

/// How long a kubelet waits for its Lease or its status, in seconds: a quarter of the 40 s that a Lease lasts, and
/// `nodeStatusUpdateFrequency` (`cmd/kubelet/app/server.go`, `heartbeatClientConfig.Timeout`).
const KUBELET_SECONDS: u32 = 10;
/// How long a leader waits for its Lease, in seconds: half of the renew deadline of 10 s
/// (`k8s.io/component-base/config/v1alpha1`, `k8s.io/client-go/tools/leaderelection`).
const LEADER_SECONDS: u32 = 5;

/// The most harmful first.
pub(super) const REQUESTS: [ComponentCall; 12] = [
    ComponentCall {
        what: "Leases in kube-node-lease",
        group: "coordination.k8s.io",
        resource: "leases",
        scope: CallScope::In("kube-node-lease"),
        stops: Stops::Nodes,
        patience: Some(KUBELET_SECONDS),
        kubelet: true,
        ..NONE
    },
    ComponentCall {
        what: "nodes/status",
        resource: "nodes",
        subresource: "status",
        operations: &["UPDATE"],
        scope: CallScope::Cluster,
        stops: Stops::Nodes,
        patience: Some(KUBELET_SECONDS),
        kubelet: true,
        ..NONE
    },
    ComponentCall {
        what: "nodes",
        resource: "nodes",
        scope: CallScope::Cluster,
        stops: Stops::Nodes,
        ..NONE
    },
    ComponentCall {
        what: "Leases in kube-system",
        group: "coordination.k8s.io",
        resource: "leases",
        scope: CallScope::In("kube-system"),
        stops: Stops::Leaders,
        patience: Some(LEADER_SECONDS),
        ..NONE
    },
    ComponentCall {
        what: "new Pods",
        resource: "pods",
        operations: &["CREATE"],
        ..NONE
    },
    ComponentCall {
        what: "bindings of Pods to nodes",
        resource: "pods",
        subresource: "binding",
        operations: &["CREATE"],
        ..NONE
    },
    ComponentCall {
        what: "the status of Pods",
        resource: "pods",
        subresource: "status",
        operations: &["UPDATE"],
        kubelet: true,
        ..NONE
    },
    ComponentCall {
        what: "EndpointSlices",
        group: "discovery.k8s.io",
        resource: "endpointslices",
        ..NONE
    },
    ComponentCall {
        what: "tokens of Pods",
        resource: "serviceaccounts",
        subresource: "token",
        operations: &["CREATE"],
        kubelet: true,
        ..NONE
    },
    ComponentCall {
        what: "TokenReviews",
        group: "authentication.k8s.io",
        resource: "tokenreviews",
        operations: &["CREATE"],
        scope: CallScope::Cluster,
        stops: Stops::Calls,
        ..NONE
    },
    ComponentCall {
        what: "SubjectAccessReviews",
        group: "authorization.k8s.io",
        resource: "subjectaccessreviews",
        operations: &["CREATE"],
        scope: CallScope::Cluster,
        stops: Stops::Calls,
        ..NONE
    },
    ComponentCall {
        what: "CertificateSigningRequests",
        group: "certificates.k8s.io",
        resource: "certificatesigningrequests",
        scope: CallScope::Cluster,
        stops: Stops::Calls,
        ..NONE
    },
];

/// Where a webhook is asked about a request, the widest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Reach {
    /// In so many namespaces, which are fewer than half of those that are not the system's.
    Few(u32),
    /// In half of them or more.
    Most,
    /// In the namespace of its own backend, which cannot be replaced then.
    Own,
    /// In the only place of the request, or in kube-system.
    System,
}

/// Where the API server would ask a webhook about a request; `None` for nowhere. With it: whether that hangs on
/// conditions of which the answer is not known.
pub(super) fn reach(
    look: &Look<'_>,
    hook: &Webhook,
    request: &ComponentCall,
) -> Known<Option<(Reach, bool)>> {
    let operations: Vec<&str> = request
        .operations
        .iter()
        .copied()
        .filter(|operation| {
            hook.rules
                .iter()
                .any(|rule| rule_matches(rule, request, operation))
        })
        .collect();
    if operations.is_empty() {
        return Ok(None);
    }
    let asked = |namespace: Option<&str>| -> Option<bool> {
        let answers = operations
            .iter()
            .map(|one| conditions(hook, request, one, namespace));
        // One operation that the webhook is asked about is enough.
        decided(answers, true)
    };
    let named = |reach, namespace: Option<&str>| match asked(namespace) {
        Some(false) => None,
        answer => Some((reach, answer.is_none())),
    };
    match request.scope {
        CallScope::Cluster => Ok(any_node(look, hook, request)?
            .then(|| named(Reach::System, None))
            .flatten()),
        CallScope::In(namespace) => Ok((in_namespace(look, &hook.namespaces, namespace)?
            && hook.objects.matches(|_| None))
        .then(|| named(Reach::System, Some(namespace)))
        .flatten()),
        CallScope::Everywhere => everywhere(look, hook, request, &named),
    }
}

type Named<'a> = &'a dyn Fn(Reach, Option<&str>) -> Option<(Reach, bool)>;

fn everywhere(
    look: &Look<'_>,
    hook: &Webhook,
    request: &ComponentCall,
    named: Named<'_>,
) -> Known<Option<(Reach, bool)>> {
    let names = look.names();
    let system = "kube-system";
    if in_namespace(look, &hook.namespaces, system)?
        && any_object(look, hook, request, names.find(system))?
        && let Some(found) = named(Reach::System, Some(system))
    {
        return Ok(Some(found));
    }
    if let Some(service) = hook.service.filter(|_| request.resource == "pods") {
        let own = names.text(service.namespace);
        if own != system
            && in_namespace(look, &hook.namespaces, own)?
            && any_object(look, hook, request, Some(service.namespace))?
            && let Some(found) = named(Reach::Own, Some(own))
        {
            return Ok(Some(found));
        }
    }
    // Of other namespaces only what an object without labels meets is reported: the labels of Pods are not known.
    if !any_object(look, hook, request, None)? {
        return Ok(None);
    }
    let rows = match look.namespaces() {
        Ok(rows) => rows,
        Err(gap) if !by_name(&hook.namespaces) => return Err(gap),
        // A selector of names alone is met by a name that no namespace has, or by those that it lists.
        Err(_) => {
            let met = is_empty(&hook.namespaces) || in_namespace(look, &hook.namespaces, "-")?;
            return Ok(met.then(|| named(Reach::Most, None)).flatten());
        }
    };
    let others: Vec<&str> = rows
        .iter()
        .map(|(key, _)| names.text(key.name))
        .filter(|name| !name.starts_with("kube-"))
        .collect();
    among(look, hook, &others, named)
}

/// In how many of these namespaces the webhook is asked.
fn among(
    look: &Look<'_>,
    hook: &Webhook,
    namespaces: &[&str],
    named: Named<'_>,
) -> Known<Option<(Reach, bool)>> {
    let mut met = 0;
    let mut unsure = false;
    for name in namespaces {
        if in_namespace(look, &hook.namespaces, name)?
            && let Some((_, open)) = named(Reach::Most, Some(name))
        {
            met += 1;
            unsure |= open;
        }
    }
    Ok((met > 0).then(|| {
        let reach = if met * 2 >= namespaces.len() {
            Reach::Most
        } else {
            Reach::Few(u32::try_from(met).unwrap_or(u32::MAX))
        };
        (reach, unsure)
    }))
}

/// The answer that decides, where one gives it; the other where all give that; else none.
fn decided(answers: impl Iterator<Item = Option<bool>>, decides: bool) -> Option<bool> {
    let mut open = false;
    for answer in answers {
        match answer {
            Some(answer) if answer == decides => return Some(decides),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!decides)
}

/// Whether all match conditions are true of a request, as far as it is known; one that is false decides.
fn conditions(
    hook: &Webhook,
    request: &ComponentCall,
    operation: &str,
    namespace: Option<&str>,
) -> Option<bool> {
    let text = |text: &str| Value::Text(text.to_owned());
    let get = |path: &str| match path {
        "request.resource.group" | "request.requestResource.group" => text(request.group),
        "request.resource.version" | "request.requestResource.version" => text("v1"),
        "request.resource.resource" | "request.requestResource.resource" => text(request.resource),
        "request.subResource" | "request.requestSubResource" => text(request.subresource),
        "request.operation" => text(operation),
        "request.namespace" => match (request.scope, namespace) {
            (CallScope::Cluster, _) => text(""),
            (_, Some(namespace)) => text(namespace),
            (_, None) => Value::Unknown,
        },
        // Who writes is known of kubelets alone (`system:nodes`, "Using Node Authorization").
        "request.userInfo.groups" if request.kubelet => {
            Value::List(["system:nodes", "system:authenticated"].map(text).to_vec())
        }
        _ => Value::Unknown,
    };
    let answers = hook.conditions.iter().map(|one| holds(one, &get));
    decided(answers, false)
}

/// As `pkg/admission/plugin/webhook/predicates/rules` in k8s.io/apiserver. Versions that are served no longer are equal
/// to none, whatever `matchPolicy` says: `Equivalent` compares with served ones.
fn rule_matches(rule: &Rule, request: &ComponentCall, operation: &str) -> bool {
    let among = |list: &[Arc<str>], one: &str| list.iter().any(|item| &**item == "*" || &**item == one);
    let scope = match &*rule.scope {
        "Namespaced" => request.scope != CallScope::Cluster,
        "Cluster" => request.scope == CallScope::Cluster,
        _ => true,
    };
    let resource = rule.resources.iter().any(|text| {
        let (resource, subresource) = text.split_once('/').unwrap_or((text, ""));
        (resource == "*" || resource == request.resource)
            && (subresource == "*" || subresource == request.subresource)
    });
    scope
        && resource
        && among(&rule.groups, request.group)
        && among(&rule.versions, "v1")
        && among(&rule.operations, operation)
}

const fn is_empty(selector: &Selector) -> bool {
    selector.labels.is_empty() && selector.expressions.is_empty()
}

/// Whether a selector of namespaces asks for names alone.
fn by_name(selector: &Selector) -> bool {
    let own = |key: &str| key == NAMESPACE_NAME;
    selector.labels.iter().all(|(key, _)| own(key)) && selector.expressions.iter().all(|line| own(&line.key))
}

/// Whether the namespaceSelector lets a namespace through.
fn in_namespace(look: &Look<'_>, selector: &Selector, namespace: &str) -> Known<bool> {
    let own = |key: &str| key == NAMESPACE_NAME;
    // By the label that every namespace has, no list of namespaces is needed.
    if by_name(selector) {
        return Ok(selector.matches(|key| own(key).then_some(namespace)));
    }
    let names = look.names();
    let rows = look.namespaces()?;
    let row = names.find(namespace).and_then(|name| {
        rows.get(Key {
            name,
            ..Key::default()
        })
    });
    Ok(selector.matches(|key| {
        if own(key) {
            Some(namespace)
        } else {
            row?.labels.text(names, key)
        }
    }))
}

/// Whether the objectSelector lets any node through, or any object of no namespace, which have no labels.
fn any_node(look: &Look<'_>, hook: &Webhook, request: &ComponentCall) -> Known<bool> {
    if request.resource != "nodes" || is_empty(&hook.objects) {
        return Ok(hook.objects.matches(|_| None));
    }
    let names = look.names();
    let mut nodes = look.nodes()?.iter();
    Ok(nodes.any(|(_, node)| selects(&hook.objects, &node.labels, names)))
}

/// Whether the objectSelector lets an object of such a request through that is there or will be: Pods carry the labels
/// of their templates. Without a namespace: an object without labels.
fn any_object(
    look: &Look<'_>,
    hook: &Webhook,
    request: &ComponentCall,
    namespace: Option<Name>,
) -> Known<bool> {
    let objects = &hook.objects;
    if request.resource == "endpointslices" {
        let labels = |key: &str| (key == MANAGED_BY).then_some("endpointslice-controller.k8s.io");
        return Ok(objects.matches(labels));
    }
    if objects.matches(|_| None) {
        return Ok(true);
    }
    let Some(namespace) = namespace.filter(|_| request.resource == "pods") else {
        return Ok(false);
    };
    let names = look.names();
    let here = |key: Key| key.namespace == namespace;
    let sets = look.daemon_sets()?.iter();
    let deployments = look.deployments()?.iter();
    Ok(sets
        .filter(|(key, _)| here(*key))
        .any(|(_, set)| selects(objects, &set.template.labels, names))
        || deployments
            .filter(|(key, _)| here(*key))
            .any(|(_, one)| selects(objects, &one.template.labels, names))
        || look
            .pods_in(namespace)?
            .any(|(_, pod)| selects(objects, &pod.template.labels, names)))
}
