//! Whether and where the API server asks a webhook about the requests that keep a cluster alive.

use std::sync::Arc;

use super::calls::{CallScope, Caller, ComponentCall};
use super::cel::{Value, holds};
use crate::judge::Look;
use crate::know::Known;
use crate::names::{Key, Name, Pairs};
use crate::policy::Selector;
use crate::sources::selects;
use crate::sources::webhook::{Rule, Webhook};

/// The label that every Namespace carries by itself (`k8s.io/api/core/v1/well_known_labels.go`).
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// The label of slices that the control plane writes (`k8s.io/api/discovery/v1/well_known_labels.go`).
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

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

type NamedMatch<'a> = &'a dyn Fn(Reach, Option<&str>) -> Option<(Reach, bool)>;

fn everywhere(
    look: &Look<'_>,
    hook: &Webhook,
    request: &ComponentCall,
    named: NamedMatch<'_>,
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
    named: NamedMatch<'_>,
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
    let place = || match (request.scope, namespace) {
        (CallScope::Cluster, _) => text(""),
        (_, Some(namespace)) => text(namespace),
        (_, None) => Value::Unknown,
    };
    let get = |path: &str| match path {
        "request.resource.group" | "request.requestResource.group" => text(request.group),
        "request.resource.version" | "request.requestResource.version" => text("v1"),
        "request.resource.resource" | "request.requestResource.resource" => text(request.resource),
        "request.subResource" | "request.requestSubResource" => text(request.subresource),
        "request.kind.kind" | "request.requestKind.kind" | "object.kind" => text(request.kind),
        "request.operation" => text(operation),
        "request.namespace" => place(),
        "object.metadata.namespace" if request.scope != CallScope::Cluster => place(),
        "request.userInfo.username" => user(request.caller),
        "request.userInfo.groups" => groups(request.caller),
        _ => Value::Unknown,
    };
    let answers = hook.conditions.iter().map(|one| holds(one, &get));
    decided(answers, false)
}

/// The user name of a caller.
fn user(caller: Caller) -> Value {
    match caller {
        Caller::Any => Value::Unknown,
        Caller::Kubelet => Value::Begins("system:node:".to_owned()),
        Caller::Component(name) => Value::Text(name.to_owned()),
        Caller::Controller(name) => Value::Text(format!("system:serviceaccount:kube-system:{name}")),
    }
}

/// The groups of a caller.
fn groups(caller: Caller) -> Value {
    let own: &[&str] = match caller {
        Caller::Any => return Value::Unknown,
        Caller::Kubelet => &["system:nodes"],
        Caller::Component(_) => &[],
        Caller::Controller(_) => &["system:serviceaccounts", "system:serviceaccounts:kube-system"],
    };
    let all = own.iter().chain(&["system:authenticated"]);
    Value::List(all.map(|one| Value::Text((*one).to_owned())).collect())
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
    // A Binding carries no labels of its Pod.
    let carries = request.resource == "pods" && request.subresource != "binding";
    let Some(namespace) = namespace.filter(|_| carries) else {
        return Ok(false);
    };
    let names = look.names();
    let here = |key: Key| key.namespace == namespace;
    let makers = look.templates_in(namespace)?;
    let pods = look.pods_in(namespace)?.map(|(_, pod)| &pod.template);
    let labels: Vec<&Pairs> = makers.chain(pods).map(|one| &one.labels).collect();
    if labels.iter().any(|labels| selects(objects, labels, names)) {
        return Ok(true);
    }
    // Where none of the webhook's own Pods is there, and what makes them is of another kind, such as a StatefulSet, they
    // still have the labels that its Service selects.
    let Some(service) = hook.service.filter(|service| here(*service)) else {
        return Ok(false);
    };
    let Ok(Some(row)) = look.service(service) else {
        return Ok(false);
    };
    let known = labels.iter().any(|labels| row.selects_pod(labels));
    Ok(!known && row.selects() && selects(objects, &row.selector, names))
}
