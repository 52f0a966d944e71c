//! `keepalive-netns-gap`: a keepalive without a time of its own takes its time from the Pod, not from the node.

use std::fmt;
use std::sync::Arc;

use super::budget::{USES, segments};
use super::client_name;
use super::keepalive::{KERNEL_KEEPALIVE_SECONDS, SYSCTL, Sockets, gives_way, kernel_default, pods_of};
use super::span::reaches;
use crate::fleet::{FirstProbe, first_probe};
use crate::judge::{
    Advice, Change, Check, End, Evidence, Explain, Judge, Look, Memory, Path, Setting, Severities, Verdict,
};
use crate::know::{Gap, Known, Reads, Source, Val};
use crate::policy::Beat;
use crate::route::{Meets, Member};
use crate::sample::Metrics;
use crate::sources::service::Transport;

/// The check.
pub static CHECK: Check = Check {
    id: "keepalive-netns-gap",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: USES,
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
    #[cfg(test)]
    examples: || crate::checks::messages::by_scenes("keepalive-netns-gap"),
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
- The sysctl is set, but to `T` or more: Violated, warning, cause `SysctlTooLong`.
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

/// Pods whose first keepalive comes too late.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LateKeepalive {
    client: Arc<str>,
    hop: Arc<str>,
    /// The same as a sentence names it.
    table: Arc<str>,
    idle: Val<i64>,
    /// Longest silence on the wire.
    silence: Val<i64>,
    /// Whether that is so whatever was not declared.
    certain: bool,
    pods: PodKeepalive,
}

/// What the client's Pods say of their own keepalive time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PodKeepalive {
    NotDeclared,
    WithoutSysctl {
        example: Arc<str>,
        without: usize,
        of: usize,
    },
    TooLong {
        time: Val<i64>,
    },
}

fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    const NO_TABLE: Verdict = Verdict::NotApplicable("no hop on this path keeps a table");
    if path.port.transport == Transport::Udp || path.client.tcp_keepalive != Some(Beat::Enabled(None)) {
        return Ok(Verdict::NotApplicable(
            "the client does not arm TCP keepalive without a time of its own",
        ));
    }
    let segments = segments(look, path);
    let Some(segment) = segments.first().filter(|first| !first.tables.is_empty()) else {
        return Ok(NO_TABLE);
    };
    // Another hop that is not known may still be narrower.
    let unless_unknown = || segment.gap().map_or(Ok(Verdict::Met), |gap| Err(gap.clone()));
    let Some((table, idle)) = segment.tightest() else {
        return unless_unknown();
    };
    let silence = |best: bool| {
        let span = &segment.silence;
        if best {
            span.best.as_ref()
        } else {
            span.worst.as_ref()
        }
    };
    if !reaches(silence(false), idle.value) {
        return unless_unknown();
    }
    if pods_of(look, path, Sockets::Client)?.is_some_and(|pods| pods.is_empty()) {
        return Ok(Verdict::NotApplicable("no Pod of this client exists now"));
    }
    let Some(pods) = pods(look, path, idle.value)? else {
        return unless_unknown();
    };
    let declared = !matches!(pods, PodKeepalive::NotDeclared);
    let certain = table.meets == Meets::Surely && reaches(silence(true), idle.value);
    let case = LateKeepalive {
        client: client_name(&path.client.name),
        hop: table.hop.clone(),
        table: table.in_a_sentence(),
        idle: idle.clone(),
        // The client's own keepalive ends every silence, at the kernel's time if at no other.
        silence: silence(certain).cloned().unwrap_or_else(kernel_default),
        certain,
        pods,
    };
    Ok(if certain && declared {
        Verdict::violated(case)
    } else if let (Some(gap), true) = (segment.excuse(), declared) {
        return Err(gap.clone());
    } else {
        Verdict::at_risk(case)
    })
}

/// The client's Pods where one of them sends its first keepalive after a table has forgotten; `None` where all are in
/// time.
fn pods(look: &Look<'_>, path: &Path<'_>, idle: i64) -> Known<Option<PodKeepalive>> {
    let Some(pods) = pods_of(look, path, Sockets::Client)? else {
        return Ok((idle <= KERNEL_KEEPALIVE_SECONDS).then_some(PodKeepalive::NotDeclared));
    };
    let shared = |one: &&Member<'_>| one.template.host_network;
    let (shared, own): (Vec<&Member<'_>>, Vec<&Member<'_>>) = pods.iter().partition(shared);
    let count = |pods: &[&Member<'_>]| pods.iter().map(|one| one.count).sum::<usize>();
    if own.is_empty() {
        let shared = count(&shared);
        return Err(Gap::Opaque(
            format!("{shared} Pods of the client use hostNetwork: the node's {SYSCTL} is in no object")
                .into(),
        ));
    }
    let mut without: Vec<&Member<'_>> = Vec::new();
    let mut longest: Option<Val<i64>> = None;
    let mut commands = false;
    for one in &own {
        let shown = look.show(one.key);
        match first_probe(look.names(), one.template) {
            FirstProbe::Kernel => without.push(one),
            FirstProbe::Declared(time) => {
                let time = Val::declared(time, format!("{} {shown} securityContext.sysctls", one.kind));
                if longest.as_ref().is_none_or(|held| gives_way(held, &time)) {
                    longest = Some(time);
                }
            }
            FirstProbe::ByCommand(_) => commands = true,
            FirstProbe::OfTheNode => {}
        }
    }
    let example = without.iter().map(|one| look.show(one.key)).min();
    if let Some(example) = example.filter(|_| idle <= KERNEL_KEEPALIVE_SECONDS) {
        return Ok(Some(PodKeepalive::WithoutSysctl {
            example: example.into(),
            without: count(&without),
            of: count(&own),
        }));
    }
    let late = longest.filter(|time| time.value >= idle);
    if late.is_none() && commands {
        let why = format!("a command of the client's Pods seems to set {SYSCTL}: to what is in no object");
        return Err(Gap::Opaque(why.into()));
    }
    Ok(late.map(|time| PodKeepalive::TooLong { time }))
}

impl Explain for LateKeepalive {
    fn cause(&self) -> &'static str {
        match self.pods {
            PodKeepalive::NotDeclared => "PodsNotDeclared",
            PodKeepalive::WithoutSysctl { .. } => "PodWithoutSysctl",
            PodKeepalive::TooLong { .. } => "SysctlTooLong",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, table, idle) = (&self.client, &self.table, self.idle.value);
        match &self.pods {
            PodKeepalive::NotDeclared => write!(
                f,
                "{client} sets no keepalive time, and its Pods are not declared: by default the first comes at \
                 {KERNEL_KEEPALIVE_SECONDS} s, and {table} forgets after {idle} s"
            ),
            PodKeepalive::WithoutSysctl { without, of, .. } => write!(
                f,
                "{without} of {of} Pods of {client} set no keepalive time: the first comes at {KERNEL_KEEPALIVE_SECONDS} s, \
                 and {table} forgets after {idle} s"
            ),
            PodKeepalive::TooLong { time } => write!(
                f,
                "Pods of {client} send their first keepalive at {} s by their sysctl, and {table} forgets after {idle} s",
                time.value
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let unsaid = "another keepalive or the longest silence is not declared";
        let mut evidence = vec![
            Evidence::seconds("idleTimeout", &self.idle),
            Evidence::name("hop", &self.hop, self.idle.source.clone()),
            Evidence::name("client", &self.client, "policy"),
            if self.certain {
                Evidence::seconds("silence", &self.silence)
            } else {
                Evidence::seconds("silence", &Val::assumed(self.silence.value, unsaid))
            },
        ];
        match &self.pods {
            PodKeepalive::NotDeclared => {
                evidence.push(Evidence::seconds("keepalive", &kernel_default()));
                evidence.push(Evidence::undeclared("pods", "clients[].podSelector"));
            }
            PodKeepalive::WithoutSysctl { example, without, of } => {
                evidence.push(Evidence::seconds("keepalive", &kernel_default()));
                evidence.push(Evidence::count("podsWithoutSysctl", *without, "pods"));
                evidence.push(Evidence::count("pods", *of, "pods"));
                let source = format!("Pod {example} securityContext.sysctls");
                evidence.push(Evidence::name("example", example, source));
            }
            PodKeepalive::TooLong { time } => evidence.push(Evidence::seconds("keepalive", time)),
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let half = (self.idle.value / 2).max(1);
        let client = &self.client;
        let keepalive = u32::try_from(half.min(32_767)).ok().map(|seconds| Change {
            at: End::Client,
            set: Setting::TcpKeepalive(seconds),
        });
        let mut advice = vec![Advice::with(
            format!(
                "let {client} set its keepalive time itself, to {half} s or less, and declare tcpKeepalive.idleSeconds"
            ),
            keepalive,
        )];
        if self.pods == PodKeepalive::NotDeclared {
            let text = format!("or declare the podSelector of {client}, so that its Pods can be looked at");
            advice.push(text.into());
        }
        advice.push(
            format!(
                "or set {SYSCTL} to {half} in the Pods' securityContext.sysctls; the node's sysctl does not reach them"
            )
            .into(),
        );
        advice
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::policy::{Beat, Client, Connection, Hop, Protocol, Server};
    use crate::world::{NEVER, World, app, client, connection, every, l4, l7, pod, policy, service};

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
            .with(Source::Services, service("api", json!({})))
            .all(Source::Pods, pods)
            .policy(policy(vec![connection]))
            .verdict("keepalive-netns-gap")
    }

    /// A Pod that sets its time in a script of which nothing is known but the name of the sysctl.
    fn by_command() -> Value {
        let mut one = pod("job-8", "job", &[]);
        let script = "sysctl -w net.ipv4.tcp_keepalive_time=$TIME";
        one["spec"]["initContainers"] = json!([{"name": "tune", "image": "busybox", "command": ["sh", "-c", script],
            "securityContext": {"privileged": true}}]);
        one
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
    #[case::too_long(vec![pod("job-1", "job", &[("net.ipv4.tcp_keepalive_time", "7200")])], "Violated warning SysctlTooLong")]
    #[case::at_the_timeout(vec![pod("job-1", "job", &[("net.ipv4.tcp_keepalive_time", "900")])], "Violated warning SysctlTooLong")]
    #[case::below_the_timeout(vec![pod("job-1", "job", &[("net.ipv4.tcp_keepalive_time", "899")])], "Met")]
    #[case::none(Vec::new(), "NotApplicable")]
    #[case::too_long_beside_a_command(
        vec![pod("job-1", "job", &[("net.ipv4.tcp_keepalive_time", "7200")]), by_command()],
        "Violated warning SysctlTooLong"
    )]
    #[case::long_enough_beside_a_command(
        vec![pod("job-1", "job", &[("net.ipv4.tcp_keepalive_time", "60")]), by_command()],
        "Unknown unknown"
    )]
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
            .with(Source::Services, service("api", json!({})))
            .policy(policy(vec![arms(vec![l4("ipvs", Some(900))])]));
        assert_eq!(world.verdict("keepalive-netns-gap"), "Unknown unknown");
    }
}
