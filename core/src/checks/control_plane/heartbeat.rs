//! `admission-heartbeat-block`: no admission webhook that may be away stands between nodes and the control plane.

use std::fmt;

use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, Severity, UntypedCase, Verdict};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::names::Key;
use crate::policy::Selector;
use crate::sources::selects;
use crate::sources::service::ServiceType;
use crate::sources::webhook::{Rule, Webhook};

/// The label that every Namespace carries by itself (`k8s.io/api/core/v1/well_known_labels.go`).
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The check.
pub static CHECK: Check = Check {
    id: "admission-heartbeat-block",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Webhooks]),
    uses: Reads::of(&[
        Source::Namespaces,
        Source::Nodes,
        Source::Pods,
        Source::Services,
        Source::EndpointSlices,
    ]),
    profiles: false,
    history: Memory::Unused,
    baseline: true,
    judge: Judge::Webhook(judge),
    doc: DOC,
};

const DOC: &str = "\
No admission webhook that may be away stands between nodes and the control plane.

A webhook with `failurePolicy: Fail` refuses what it cannot be asked about. If it matches the Leases by which nodes say
that they live, all nodes are declared lost as soon as it is away; and if it matches Pods of kube-system, what would
bring it back cannot start.

## Formula

For every webhook with `failurePolicy: Fail`, with its rules, namespaceSelector and objectSelector evaluated: does it
match writes of Leases in kube-node-lease or kube-system, of nodes, of nodes/status, or new Pods in kube-system?

- it matches, and its Service has no ready endpoint: Violated;
- the same with matchConditions, which are not evaluated: AtRisk;
- it matches Leases or nodes, and its Service has ready endpoints: AtRisk, a warning when there is only one;
- it matches, and is reached by a URL or through an ExternalName: Unknown;
- else: Met.

Selectors see the labels of the Namespace, of the nodes, and of those Pods of kube-system that evenkeel reads.

## What to do

1. Take the system out of the webhook: a namespaceSelector that leaves out kube-system and kube-node-lease, and rules
   that name resources instead of `*`.
2. Where it must stay, run several replicas, outside the nodes it guards.
3. In an outage, delete the webhook configuration, not the nodes: they are healthy.

## What not to do

Do not drain or restart nodes that are NotReady because of it.
";

/// What the system itself writes all the time.
#[derive(Debug, Clone, Copy)]
struct Target {
    what: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    operations: &'static [&'static str],
    /// Empty for what belongs to no namespace.
    namespace: &'static str,
    /// Whether nodes are lost when it is refused.
    heartbeat: bool,
}

const fn target(
    what: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    namespace: &'static str,
) -> Target {
    Target {
        what,
        group,
        resource,
        subresource,
        operations: &["CREATE", "UPDATE"],
        namespace,
        heartbeat: true,
    }
}

/// The most harmful first.
const TARGETS: [Target; 5] = [
    target(
        "Leases in kube-node-lease",
        "coordination.k8s.io",
        "leases",
        "",
        "kube-node-lease",
    ),
    target("nodes/status", "", "nodes", "status", ""),
    target("nodes", "", "nodes", "", ""),
    target(
        "Leases in kube-system",
        "coordination.k8s.io",
        "leases",
        "",
        "kube-system",
    ),
    Target {
        operations: &["CREATE"],
        heartbeat: false,
        ..target("new Pods in kube-system", "", "pods", "", "kube-system")
    },
];

fn judge(look: &Look<'_>, key: Key) -> Known<Verdict> {
    let Some(row) = look.webhook(key)? else {
        return Ok(Verdict::NotApplicable("the configuration is gone"));
    };
    let mut worst = Verdict::Met;
    for hook in row.webhooks.iter().filter(|hook| hook.fails) {
        let verdict = judge_hook(look, hook).unwrap_or_else(Verdict::Unknown);
        if weight(&verdict) > weight(&worst) {
            worst = verdict;
        }
    }
    Ok(worst)
}

fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Violated(_) => 4,
        Verdict::AtRisk(case) if case.at_most() > Severity::Info => 3,
        Verdict::Unknown(_) => 2,
        Verdict::AtRisk(_) => 1,
        Verdict::Met | Verdict::NotApplicable(_) => 0,
    }
}

fn judge_hook(look: &Look<'_>, hook: &Webhook) -> Known<Verdict> {
    let mut gap = None;
    let mut hit = None;
    for target in TARGETS {
        match matches(look, hook, target) {
            Ok(true) => {
                hit = Some(target);
                break;
            }
            Ok(false) => {}
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    let Some(target) = hit else {
        return gap.map_or(Ok(Verdict::Met), Err);
    };
    let service = hook.service.ok_or_else(|| {
        Gap::Opaque(
            format!(
                "webhook {} matches {} and is reached by a URL",
                hook.name, target.what
            )
            .into(),
        )
    })?;
    let ready = look.endpoints(service)?.iter().filter(|one| one.ready).count();
    if ready == 0 && alias(look, service)? {
        return Err(Gap::Opaque(
            format!(
                "webhook {} matches {} and is reached through an ExternalName",
                hook.name, target.what
            )
            .into(),
        ));
    }
    let evidence = vec![
        Evidence::text(
            "webhook",
            &Val::declared(hook.name.clone(), "webhook configuration, failurePolicy: Fail"),
        ),
        Evidence::text(
            "matches",
            &Val::declared(target.what.into(), "rules and selectors of the webhook"),
        ),
        Evidence::count(
            "readyEndpoints",
            ready,
            format!("EndpointSlices of {}", look.show(service)),
        ),
        Evidence::text(
            "service",
            &Val::declared(look.show(service).into(), "clientConfig.service"),
        ),
    ];
    Ok(match (ready, hook.conditional) {
        (0, false) => Verdict::Violated(untyped("Blocked", evidence)),
        (0, true) => Verdict::AtRisk(untyped("BlockedIfConditionsMatch", evidence)),
        _ if target.heartbeat => Verdict::AtRisk(untyped("InTheWay", evidence)),
        _ => Verdict::Met,
    })
}

/// Whether the Service is a DNS alias, which has no endpoints to count.
fn alias(look: &Look<'_>, service: Key) -> Known<bool> {
    let row = look.service(service)?;
    Ok(row.is_some_and(|row| row.kind == ServiceType::ExternalName))
}

/// Whether the API server would ask a webhook about a write of this kind.
fn matches(look: &Look<'_>, hook: &Webhook, target: Target) -> Known<bool> {
    Ok(hook.rules.iter().any(|rule| rule_matches(rule, target))
        && in_namespace(look, &hook.namespaces, target.namespace)?
        && any_object(look, &hook.objects, target)?)
}

/// As `pkg/admission/plugin/webhook/predicates/rules` in k8s.io/apiserver; versions are left out, as an equivalent
/// version matches too.
fn rule_matches(rule: &Rule, target: Target) -> bool {
    let among =
        |list: &[std::sync::Arc<str>], one: &str| list.iter().any(|item| &**item == "*" || &**item == one);
    let scope = match &*rule.scope {
        "Namespaced" => !target.namespace.is_empty(),
        "Cluster" => target.namespace.is_empty(),
        _ => true,
    };
    let resource = rule.resources.iter().any(|text| {
        let (resource, subresource) = text.split_once('/').unwrap_or((text, ""));
        (resource == "*" || resource == target.resource)
            && (subresource == "*" || subresource == target.subresource)
    });
    scope
        && resource
        && among(&rule.groups, target.group)
        && target.operations.iter().any(|one| among(&rule.operations, one))
}

const fn is_empty(selector: &Selector) -> bool {
    selector.labels.is_empty() && selector.expressions.is_empty()
}

/// Whether the namespaceSelector lets a namespace through; what has no namespace always passes.
fn in_namespace(look: &Look<'_>, selector: &Selector, namespace: &str) -> Known<bool> {
    if namespace.is_empty() || is_empty(selector) {
        return Ok(true);
    }
    // By the label that every namespace has, no list of namespaces is needed.
    let own = |key: &str| key == NAMESPACE_NAME;
    let automatic = selector.labels.iter().all(|(key, _)| own(key))
        && selector.expressions.iter().all(|line| own(&line.key));
    if automatic {
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

/// Whether the objectSelector lets any such object through. Leases of nodes carry no labels.
fn any_object(look: &Look<'_>, selector: &Selector, target: Target) -> Known<bool> {
    if is_empty(selector) {
        return Ok(true);
    }
    let names = look.names();
    Ok(match target.resource {
        "nodes" => look
            .nodes()?
            .iter()
            .any(|(_, node)| selects(selector, &node.labels, names)),
        "pods" => look
            .pods_in(names.find(target.namespace).unwrap_or_default())?
            .any(|(_, pod)| selects(selector, &pod.template.labels, names)),
        _ => selector.matches(|_| None),
    })
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    let mild = cause == "InTheWay"
        && evidence.iter().any(|one| {
            one.what == "readyEndpoints"
                && matches!(one.value, crate::judge::Datum::Number(ready) if ready > 1)
        });
    let at_most = if mild { Severity::Info } else { Severity::Critical };
    UntypedCase::at_most(at_most, cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "webhook {} refuses {} ",
        case.show("webhook"),
        case.show("matches")
    )?;
    match case.cause {
        "Blocked" => write!(
            f,
            "now: its Service {} has no ready endpoint",
            case.show("service")
        ),
        "BlockedIfConditionsMatch" => write!(
            f,
            "if its matchConditions hold: its Service {} has no ready endpoint",
            case.show("service")
        ),
        _ => write!(
            f,
            "whenever its Service {} is away; it has {} ready endpoints",
            case.show("service"),
            case.show("readyEndpoints")
        ),
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let mut advice = vec![format!(
        "leave kube-system and kube-node-lease out by the namespaceSelector of {}, and name resources instead of `*`",
        case.show("webhook"),
    )];
    if case.cause == "InTheWay" {
        advice.push(format!(
            "where it must stay, run several replicas of {}",
            case.show("service")
        ));
    } else {
        advice.push(format!(
            "bring {} back; if that is refused too, delete this webhook configuration until it is",
            case.show("service"),
        ));
    }
    advice
}
