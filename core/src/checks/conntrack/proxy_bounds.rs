//! `proxy-bounds`: every node runs the data plane that the platform declares.

use std::fmt;
use std::sync::Arc;

use crate::dataplane::ProxyMode;
use crate::facts::Class;
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::policy::Range;

/// The check.
pub static CHECK: Check = Check {
    id: "proxy-bounds",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::ClusterPolicy]),
    uses: Reads::NONE,
    profiles: true,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
Every node runs the data plane that the platform declares.

A cluster is seldom of one piece: an upgrade that stopped half-way, a second node pool or an edit by hand leaves nodes
with another proxy mode or another idle timeout, and the same Service behaves differently by where the client runs.

## Formula

For every class of nodes of equal settings, against `dataPlane` of the ClusterTrafficHealthPolicy:

- the proxy mode differs from `proxyMode`, or the idle timeout of a Service connection is below
  `serviceIdleTimeoutSeconds.minimum` or above its `maximum`: Violated;
- the same with a value that is only assumed: AtRisk;
- a class whose value is not known: Unknown, unless another class decides.

Windows nodes have one mode only, which `proxyMode` does not speak of. Where no connection table stands between client
and backend (socket load balancing) there is no idle timeout to bound. Without `dataPlane` in a cluster policy the
check does not apply.

## What to do

1. Decide which of the two is right: the declaration or the nodes.
2. Change the nodes' configuration pool by pool, beginning with one node.

## What not to do

Do not change the mode of running nodes in place: rules of the old mode may stay behind until the node restarts.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let Some(policy) = look.cluster_policy()? else {
        return Ok(Verdict::NotApplicable("no cluster policy declares a data plane"));
    };
    let wanted = &policy.data_plane;
    if wanted.proxy_mode.is_none() && wanted.service_idle_timeout_seconds.is_none() {
        return Ok(Verdict::NotApplicable(
            "the cluster policy declares neither proxy mode nor idle timeout",
        ));
    }
    let fleet = look.fleet();
    let mut gap = fleet.gap.clone();
    let mut worst: Option<(bool, Case)> = None;
    for class in &fleet.classes {
        let mode = wanted.proxy_mode.map(|mode| judge_mode(class, mode));
        let idle = wanted
            .service_idle_timeout_seconds
            .map(|range| judge_idle(class, range));
        for found in [mode, idle].into_iter().flatten() {
            match found {
                Ok(None) => {}
                // Classes are in a fixed order: the first case of the worse kind is told.
                Ok(Some(case)) => {
                    let sure = !case.assumes();
                    if worst.as_ref().is_none_or(|held| sure && !held.0) {
                        worst = Some((sure, case));
                    }
                }
                Err(one) => gap = gap.or(Some(one)),
            }
        }
    }
    match (worst, gap) {
        (Some((true, case)), _) => Ok(Verdict::Violated(case)),
        (Some((false, case)), _) => Ok(Verdict::AtRisk(case)),
        (None, Some(gap)) => Err(gap),
        (None, None) if fleet.classes.is_empty() => Err(Gap::Opaque("no node's data plane is known".into())),
        (None, None) => Ok(Verdict::Met),
    }
}

fn judge_mode(class: &Class, wanted: ProxyMode) -> Known<Option<Case>> {
    let mode = class.profile.mode.clone()?;
    if mode.value == wanted || mode.value == ProxyMode::Kernelspace {
        return Ok(None);
    }
    let runs: Val<Arc<str>> = mode.map(|mode| mode.name().into());
    let mut evidence = vec![
        Evidence::text("proxyMode", &runs),
        Evidence::text(
            "wantedMode",
            &Val::declared(wanted.name().into(), declared("proxyMode")),
        ),
    ];
    evidence.extend(nodes_of(class, runs.origin));
    Ok(Some(untyped("ProxyMode", evidence)))
}

fn judge_idle(class: &Class, range: Range) -> Known<Option<Case>> {
    let Some(idle) = class.profile.service_idle_seconds.clone()? else {
        return Ok(None);
    };
    let (cause, bound, field) = match (range.minimum, range.maximum) {
        (Some(least), _) if idle.value < least => ("IdleTimeoutTooShort", least, "minimum"),
        (_, Some(most)) if idle.value > most => ("IdleTimeoutTooLong", most, "maximum"),
        _ => return Ok(None),
    };
    let place = declared(&format!("serviceIdleTimeoutSeconds.{field}"));
    let mut evidence = vec![
        Evidence::number("idleTimeout", Unit::Seconds, &idle),
        Evidence::number("bound", Unit::Seconds, &Val::declared(bound, place)),
    ];
    evidence.extend(nodes_of(class, idle.origin));
    Ok(Some(untyped(cause, evidence)))
}

fn declared(field: &str) -> String {
    format!("ClusterTrafficHealthPolicy spec.dataPlane.{field}")
}

fn nodes_of(class: &Class, origin: Origin) -> [Evidence; 2] {
    let sample: Arc<str> = if class.sample.is_empty() {
        "nodes were not read".into()
    } else {
        class.sample.join(", ").into()
    };
    let sample = Val {
        value: sample,
        origin,
        source: "nodes of equal settings".into(),
    };
    [
        Evidence::count("nodes", class.nodes, "nodes of equal settings"),
        Evidence::text("sample", &sample),
    ]
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match case.cause {
        "ProxyMode" => write!(
            f,
            "proxy mode is {} where {} is declared",
            case.cite("proxyMode"),
            case.cite("wantedMode"),
        )?,
        cause => write!(
            f,
            "Service connections are forgotten after {} of idleness, {} the declared {}",
            case.cite("idleTimeout"),
            if cause == "IdleTimeoutTooShort" {
                "below"
            } else {
                "above"
            },
            case.cite("bound"),
        )?,
    }
    write!(f, ", on {} nodes ({})", case.show("nodes"), case.show("sample"))
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let mut advice = Vec::new();
    if case.assumes() {
        advice.push("find out what these nodes really run: the value is assumed, not read".into());
    }
    advice.push(if case.cause == "ProxyMode" {
        format!(
            "decide which is right: declare {} in spec.dataPlane.proxyMode, or move the nodes to {} pool by pool",
            case.show("proxyMode"),
            case.show("wantedMode"),
        )
    } else {
        format!(
            "bring the idle timeout of these nodes to the declared bound of {}, beginning with one node, or correct \
             the bound",
            case.show("bound"),
        )
    });
    advice
}
