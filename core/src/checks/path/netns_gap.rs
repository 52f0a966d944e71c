//! `keepalive-netns-gap`: a keepalive without a time of its own takes its time from the Pod, not from the node.

use std::fmt;
use std::sync::Arc;

use super::budget::{KERNEL_KEEPALIVE_SECONDS, Segment, USES, segments};
use super::nobody;
use crate::facts::{FirstProbe, first_probe};
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Path, Severities, UntypedCase, Verdict};
use crate::know::{Known, Origin, Reads, Source, Unit, Val};
use crate::names::Key;
use crate::policy::Beat;
use crate::sources::selects;
use crate::sources::service::Transport;
use crate::sources::workload::Pod;

const SYSCTL: &str = "net.ipv4.tcp_keepalive_time";

/// The check.
pub static CHECK: Check = Check {
    id: "keepalive-netns-gap",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: USES,
    profiles: true,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
};

const DOC: &str = "\
A keepalive without a time of its own takes the Pod's kernel default, not the node's sysctl.

`net.ipv4.tcp_keepalive_time` belongs to a network namespace. Every Pod starts with the kernel's 7200 s, whatever the
node has: a sysctl set on nodes mends nothing inside of Pods, although `sysctl` on the node shows the new value. A
client that arms `SO_KEEPALIVE` and sets no time therefore sends its first probe after two hours.

## Formula

For clients with `tcpKeepalive: {state: Enabled}` and no `idleSeconds`, `T` is the least idle timeout of the L4 hops up
to the first L7 hop.

- A Pod of the client shows no sysctl `net.ipv4.tcp_keepalive_time`, `T <= 7200 s`, and the wire may be silent for `T`:
  Violated, warning, cause `PodWithoutSysctl`.
- Whether something else breaks the silence is not declared: AtRisk with origin Assumed.
- The client's Pods are not named by a `podSelector`: AtRisk with origin Assumed, cause `PodsNotDeclared`.
- Pods with `hostNetwork` share the node's value, which no object shows: Unknown when they are all there is.

## What to do

1. Give the client a time of its own (`TCP_KEEPIDLE`; in Go `net.KeepAliveConfig`, in libpq `keepalives_idle`), and
   declare `idleSeconds`.
2. Or set the sysctl in the Pod: `securityContext.sysctls`, allowed by default since Kubernetes 1.29. Older clusters need
   it in the kubelet's `allowedUnsafeSysctls`.

## What not to do

Do not raise or lower the node's sysctl for this: it does not reach Pods.
";

fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    if path.port.transport == Transport::Udp || path.client.tcp_keepalive != Some(Beat::Enabled(None)) {
        return Ok(Verdict::NotApplicable(
            "the client does not arm TCP keepalive without a time of its own",
        ));
    }
    let segments = segments(look, path);
    let Some(segment) = segments.first() else {
        return Ok(Verdict::NotApplicable("no hop on this path keeps a table"));
    };
    if segment.tables.is_empty() {
        return Ok(Verdict::NotApplicable("no hop on this path keeps a table"));
    }
    let broken = |timeout: i64| {
        let within = |silence: &Option<Val<i64>>| silence.as_ref().is_none_or(|one| one.value >= timeout);
        (within(&segment.silence.best), within(&segment.silence.worst))
    };
    let Some((table, idle)) = segment
        .tightest()
        .filter(|(_, idle)| idle.value <= KERNEL_KEEPALIVE_SECONDS)
    else {
        return segment.gap().map_or(Ok(Verdict::Met), |gap| Err(gap.clone()));
    };
    let (best, worst) = broken(idle.value);
    if !worst {
        // Another hop that is not known may still be narrower.
        return segment.gap().map_or(Ok(Verdict::Met), |gap| Err(gap.clone()));
    }
    let mut evidence = vec![
        Evidence::number("idleTimeout", Unit::Seconds, idle),
        Evidence::text("hop", &Val::declared(table.hop.clone(), idle.source.clone())),
        Evidence::text("client", &Val::declared(nobody(&path.client.name), "policy")),
        keepalive(),
        silence(segment, best),
    ];
    let Some(selector) = &path.client.pods else {
        evidence.push(Evidence::text(
            "pods",
            &Val::assumed("not declared".into(), "clients[].podSelector"),
        ));
        return Ok(Verdict::AtRisk(untyped("PodsNotDeclared", evidence)));
    };
    let names = look.names();
    let mine: Vec<(Key, &Pod)> = look
        .pods_in(path.key.namespace)?
        .filter(|(_, pod)| !pod.ended && selects(selector, &pod.template.labels, names))
        .collect();
    let own: Vec<_> = mine
        .iter()
        .filter(|(_, pod)| !pod.template.host_network)
        .collect();
    if own.is_empty() {
        return none_of_its_own(mine.len());
    }
    let without: Vec<_> = own
        .iter()
        .filter(|(_, pod)| first_probe(names, &pod.template) == FirstProbe::Kernel)
        .map(|(key, _)| look.show(*key))
        .collect();
    let Some(first) = without.iter().min() else {
        return Ok(Verdict::Met);
    };
    evidence.push(Evidence::count("podsWithoutSysctl", without.len(), "pods"));
    evidence.push(Evidence::count("pods", own.len(), "pods"));
    evidence.push(Evidence::text(
        "example",
        &Val::declared(
            first.as_str().into(),
            format!("Pod {first} securityContext.sysctls"),
        ),
    ));
    let case = untyped("PodWithoutSysctl", evidence);
    Ok(if best {
        Verdict::Violated(case)
    } else {
        Verdict::AtRisk(case)
    })
}

/// The kernel's time, which a Pod starts with.
fn keepalive() -> Evidence {
    Evidence::number(
        "keepalive",
        Unit::Seconds,
        &Val::default_of(
            KERNEL_KEEPALIVE_SECONDS,
            format!("kernel default {SYSCTL} (include/net/tcp.h)"),
        ),
    )
}

/// How long the wire may be silent: at best where that already breaks the rule.
fn silence(segment: &Segment, certain: bool) -> Evidence {
    let held = if certain {
        &segment.silence.best
    } else {
        &segment.silence.worst
    };
    let unsaid = "another keepalive or the longest silence is not declared";
    match held {
        Some(held) if certain => Evidence::number("silence", Unit::Seconds, held),
        Some(held) => Evidence {
            origin: Origin::Assumed,
            source: unsaid.into(),
            ..Evidence::number("silence", Unit::Seconds, held)
        },
        None => Evidence::text("silence", &Val::assumed(Arc::from("unbounded"), unsaid)),
    }
}

/// No Pod with a network namespace of its own.
fn none_of_its_own(shared: usize) -> Known<Verdict> {
    if shared == 0 {
        return Ok(Verdict::NotApplicable("no Pod of this client exists"));
    }
    Err(crate::know::Gap::Opaque(
        format!("{shared} Pods of the client use hostNetwork: the node's {SYSCTL} is in no object").into(),
    ))
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let client = case.show("client");
    if case.cause == "PodsNotDeclared" {
        write!(
            f,
            "{client} arms TCP keepalive without a time of its own, and its Pods are not declared: unless they set {SYSCTL}, the first probe comes after {}",
            case.cite("keepalive"),
        )?;
    } else {
        write!(
            f,
            "{client} arms TCP keepalive without a time of its own, and {} of its {} Pods, such as {}, do not set {SYSCTL}: the first probe comes after {}, whatever the node has",
            case.show("podsWithoutSysctl"),
            case.show("pods"),
            case.cite("example"),
            case.cite("keepalive"),
        )?;
    }
    write!(
        f,
        "; the {} forgets an idle connection after {}",
        case.show("hop"),
        case.cite("idleTimeout"),
    )
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let half = case.number("idleTimeout").map_or(60, |idle| (idle / 2).max(1));
    let client = case.show("client");
    let mut advice = Vec::new();
    if case.cause == "PodsNotDeclared" {
        advice.push(format!(
            "declare the podSelector of {client}, so that its Pods can be looked at"
        ));
    }
    advice.push(format!(
        "let {client} set its keepalive time itself ({half} s or less), and declare tcpKeepalive.idleSeconds"
    ));
    advice.push(format!(
        "or set {SYSCTL} to {half} in the Pods' securityContext.sysctls; the node's sysctl does not reach them"
    ));
    advice
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::checks::fixture::{
        NEVER, World, app, client, connection, every, l4, l7, pod, policy, service,
    };
    use crate::know::Source;
    use crate::policy::{Beat, Client, Connection, Hop, Protocol, Server};

    fn arms(hops: Vec<Hop>) -> Connection {
        let client = Client {
            pods: Some(app("job")),
            tcp_keepalive: Some(Beat::Enabled(None)),
            ..client("job")
        };
        Connection {
            longest_silence_seconds: Some(1800),
            hops,
            server: Server {
                tcp_keepalive: NEVER,
                ..Server::default()
            },
            ..connection(Protocol::Tcp, client)
        }
    }

    fn verdict(connection: Connection, pods: &[Value]) -> String {
        World::complete()
            .with(Source::Services, &service("api", json!({})))
            .all(Source::Pods, pods)
            .policy(policy(vec![connection]))
            .verdict("keepalive-netns-gap")
    }

    fn hosted() -> Value {
        let mut one = pod("job-9", "job", &[]);
        one["spec"]["hostNetwork"] = json!(true);
        one
    }

    #[rstest]
    #[case::without(vec![pod("job-1", "job", &[])], "Violated warning PodWithoutSysctl")]
    #[case::with(vec![pod("job-1", "job", &[("net.ipv4.tcp_keepalive_time", "300")])], "Met")]
    #[case::some(vec![pod("job-1", "job", &[]), pod("job-2", "job", &[("net.ipv4.tcp_keepalive_time", "300")])], "Violated warning PodWithoutSysctl")]
    #[case::another_sysctl(vec![pod("job-1", "job", &[("net.ipv4.tcp_fin_timeout", "30")])], "Violated warning PodWithoutSysctl")]
    #[case::of_others(vec![pod("web-1", "web", &[])], "NotApplicable")]
    #[case::none(Vec::new(), "NotApplicable")]
    #[case::host_network(vec![hosted()], "Unknown unknown")]
    #[case::host_network_and_own(vec![hosted(), pod("job-1", "job", &[])], "Violated warning PodWithoutSysctl")]
    fn pods_of_the_client(#[case] pods: Vec<Value>, #[case] expected: &str) {
        assert_eq!(verdict(arms(vec![l4("ipvs", Some(900))]), &pods), expected);
    }

    #[rstest]
    #[case::wide(vec![l4("wide", Some(7201))], "Met")]
    #[case::longer_than_the_silence(vec![l4("wide", Some(3600))], "Met")]
    #[case::unknown(vec![l4("firewall", None)], "Unknown unknown")]
    #[case::known_decides(vec![l4("firewall", None), l4("ipvs", Some(900))], "Violated warning PodWithoutSysctl")]
    #[case::behind_a_proxy(vec![l7("edge", None, None), l4("ipvs", Some(900))], "NotApplicable")]
    #[case::none(Vec::new(), "NotApplicable")]
    fn hops_of_the_path(#[case] hops: Vec<Hop>, #[case] expected: &str) {
        assert_eq!(verdict(arms(hops), &[pod("job-1", "job", &[])]), expected);
    }

    #[test]
    fn what_else_breaks_the_silence_counts() {
        let pods = [pod("job-1", "job", &[])];
        let mut one = arms(vec![l4("ipvs", Some(900))]);
        one.server.tcp_keepalive = every(120);
        assert_eq!(verdict(one.clone(), &pods), "Met");
        one.server.tcp_keepalive = None;
        assert_eq!(verdict(one, &pods), "AtRisk warning PodWithoutSysctl");
    }

    #[test]
    fn a_time_of_its_own_or_none_at_all_is_another_matter() {
        let pods = [pod("job-1", "job", &[])];
        for beat in [None, NEVER, every(30)] {
            let mut one = arms(vec![l4("ipvs", Some(900))]);
            one.clients[0].tcp_keepalive = beat;
            assert_eq!(verdict(one, &pods), "NotApplicable");
        }
    }

    #[test]
    fn pods_that_are_not_declared_are_assumed() {
        let mut one = arms(vec![l4("ipvs", Some(900))]);
        one.clients[0].pods = None;
        assert_eq!(verdict(one, &[]), "AtRisk warning PodsNotDeclared");
    }

    #[test]
    fn pods_that_were_not_read_are_unknown() {
        let mut world = World::without(&[Source::Pods])
            .with(Source::Services, &service("api", json!({})))
            .policy(policy(vec![arms(vec![l4("ipvs", Some(900))])]));
        assert_eq!(world.verdict("keepalive-netns-gap"), "Unknown unknown");
    }
}
