//! What is declared of the connections to each port of a Service, and what a person has to add.

use std::collections::BTreeSet;

use evenkeel_core::checks::path::budget::{Segment, segments};
use evenkeel_core::fleet::{FirstProbe, first_probe};
use evenkeel_core::judge::{Look, Path, ServiceCase};
use evenkeel_core::know::{Gap, Known};
use evenkeel_core::policy::{Client, Connection, Door, Policy, Protocol};
use evenkeel_core::sources::service::{ServicePort, ServiceType, Transport};

use super::page::{CommentedYaml, name};
use super::protocol::protocol;
use super::{connection, scaffold};
use crate::api::{is_dns_label, is_port_name};

/// Most connections of a policy, as the schema allows.
const MOST: usize = 16;

/// The first keepalive that is proposed where every table on the way remembers for longer, in seconds: below the 350 s to 900 s
/// of the usual tables (docs/recipes.md).
const KEEPALIVE_SECONDS: i64 = 300;

/// Writes `connections`; says how many paths of one Service they make.
pub(super) fn connections(page: &mut CommentedYaml, look: &Look<'_>, case: &ServiceCase<'_>) -> usize {
    let names = look.names();
    let mut ports: Vec<_> = case
        .service
        .ports
        .iter()
        .filter_map(|port| Some((port, protocol(names, port)?)))
        .collect();
    let all = case.service.ports.len();
    if ports.len() < all {
        let left = all - ports.len();
        page.say(2, &format!("Left out: {left} of SCTP, which no check judges."));
    }
    if ports.len() > MOST {
        let left = ports.len() - MOST;
        page.say(
            2,
            &format!(
                "Left out: {left} more ports; a policy has {MOST} connections at most. Write a second one."
            ),
        );
        ports.truncate(MOST);
    }
    if ports.is_empty() {
        return 1;
    }
    page.field(2, "connections:");
    let pods = pods(look, case);
    let policy = scaffold(names.text(case.key.namespace));
    let mut called = BTreeSet::new();
    let mut paths = 0;
    for (port, (protocol, how)) in ports {
        let connection = connection(protocol);
        let spoken = PortConnection {
            look,
            case,
            policy: &policy,
            port,
            connection: &connection,
        };
        spoken.head(page, &how, &mut called);
        paths += spoken.clients(page);
        spoken.server(page, &pods);
    }
    paths
}

/// One port under a draft.
struct PortConnection<'a> {
    look: &'a Look<'a>,
    case: &'a ServiceCase<'a>,
    policy: &'a Policy,
    port: &'a ServicePort,
    connection: &'a Connection,
}

impl PortConnection<'_> {
    /// What is spoken on which port, and how long it may be silent.
    fn head(&self, page: &mut CommentedYaml, how: &str, called: &mut BTreeSet<String>) {
        let (port, said) = (self.port, self.look.names().text(self.port.name));
        let transport = match port.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Sctp => "SCTP",
        };
        let by_number = format!("port-{}-{}", port.port, transport.to_ascii_lowercase());
        let own = if is_dns_label(said) && said.len() <= 63 && !called.contains(said) {
            said.to_owned()
        } else {
            by_number
        };
        page.field(4, &format!("- name: {}", name(&own)));
        called.insert(own);
        page.say(6, &format!("Seen: port {}/{transport}.", port.port));
        if is_port_name(said) && said.len() <= 15 {
            page.field(6, &format!("ports: [{}]", name(said)));
        } else {
            page.field(6, &format!("ports: [{}]", port.port));
        }
        page.say(6, how);
        page.field(6, &format!("protocol: {}", self.connection.protocol.name()));
        page.say(
            6,
            "Yours: the longest time that an open connection carries no byte.",
        );
        page.off(6, "longestSilenceSeconds: 300");
        if self.connection.protocol != Protocol::Udp {
            page.say(6, "Yours: the longest time that one request takes.");
            page.off(6, "longestRequestSeconds: 30");
        }
    }

    /// Who opens the connections; says how many clients that are.
    fn clients(&self, page: &mut CommentedYaml) -> usize {
        page.field(6, "clients:");
        page.say(
            8,
            "Assumed: some Pod of the cluster. Better: an entry for each client, with its podSelector.",
        );
        self.client(page, "in-cluster", Door::Cluster);
        if self.case.service.kind != ServiceType::LoadBalancer {
            return 1;
        }
        page.say(8, "Seen: the Service has type LoadBalancer.");
        self.client(page, "load-balancer", Door::LoadBalancer);
        2
    }

    fn client(&self, page: &mut CommentedYaml, called: &str, from: Door) {
        let client = Client::undeclared(called.into(), from);
        let path = Path {
            key: self.case.key,
            service: self.case.service,
            port: self.port,
            policy: self.policy,
            connection: self.connection,
            client: &client,
        };
        let segments = segments(self.look, &path);
        page.field(8, &format!("- name: {called}"));
        if from == Door::LoadBalancer {
            page.field(10, "from: LoadBalancer");
        }
        let (first, unknown) = first_to_forget(&segments);
        match (&first, &unknown) {
            (Some(first), _) => page.say(
                10,
                &format!(
                    "Seen on its way: the first to forget an idle connection is the {}, after {} s ({}).",
                    first.hop, first.seconds, first.source
                ),
            ),
            (None, None) => page.say(10, "Seen on its way: nothing that forgets an idle connection."),
            (None, Some(_)) => {}
        }
        if let Some(gap) = unknown {
            let what = if first.is_some() {
                "something else"
            } else {
                "something"
            };
            page.say(
                10,
                &format!("Not seen: after how long {what} on its way forgets ({gap})."),
            );
        }
        let seconds = first.map_or(KEEPALIVE_SECONDS, |first| first.seconds / 2);
        let seconds = seconds.clamp(1, KEEPALIVE_SECONDS);
        self.beats(page, 10, "", seconds, "Yours: what the client's library does.");
        page.off(10, "idleTimeoutSeconds: 60");
        if self.connection.protocol != Protocol::Udp {
            page.off(10, "requestTimeoutSeconds: 30");
        }
    }

    /// Keepalives and pings as fields to fill in, behind `margin`.
    fn beats(&self, page: &mut CommentedYaml, indent: usize, margin: &str, seconds: i64, whose: &str) {
        page.say(indent, whose);
        if self.connection.protocol != Protocol::Udp {
            page.off(
                indent,
                &format!("{margin}tcpKeepalive: {{state: Enabled, idleSeconds: {seconds}}}"),
            );
        }
        if self.connection.protocol.has_ping() {
            page.off(
                indent,
                &format!("{margin}ping: {{state: Enabled, intervalSeconds: {seconds}, withoutCalls: true}}"),
            );
        }
    }

    /// Who accepts the connections.
    fn server(&self, page: &mut CommentedYaml, pods: &Known<Vec<FirstProbe>>) {
        if self.connection.protocol != Protocol::Udp {
            page.say(6, &probes(pods));
        }
        page.say(6, "Yours: what the server does.");
        page.off(6, "server:");
        if self.connection.protocol != Protocol::Udp {
            page.off(
                6,
                &format!("  tcpKeepalive: {{state: Enabled, idleSeconds: {KEEPALIVE_SECONDS}}}"),
            );
            page.off(6, "  requestTimeoutSeconds: 60");
        }
        page.off(6, "  idleTimeoutSeconds: 75");
        if self.connection.protocol.has_ping() {
            page.off(6, "  minimumPingIntervalSeconds: 10");
            page.off(6, "  maxConnectionAgeSeconds: 1800");
        }
    }
}

/// What forgets or closes an idle connection first.
struct FirstToForget {
    hop: String,
    seconds: i64,
    source: String,
}

/// The first of all segments, as far as it is known, and why it is not known of one of them.
fn first_to_forget(segments: &[Segment]) -> (Option<FirstToForget>, Option<&Gap>) {
    let tables = segments.iter().filter_map(Segment::tightest);
    let tables = tables.map(|(table, idle)| (&table.hop, idle));
    let closings = segments.iter().flat_map(|segment| &segment.closings);
    let closings = closings.map(|one| (&one.hop, &one.idle));
    let first = tables.chain(closings).min_by_key(|(_, idle)| idle.value);
    let first = first.map(|(hop, idle)| FirstToForget {
        hop: hop.to_string(),
        seconds: idle.value,
        source: idle.source.to_string(),
    });
    (first, segments.iter().find_map(Segment::gap))
}

/// When the Pods behind a Service send the first probe of a keepalive that has no time of its own.
fn pods(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Vec<FirstProbe>> {
    let pods = look.pods_in(case.key.namespace)?;
    let own = pods.filter(|(_, pod)| !pod.ended && case.service.selects_pod(&pod.template.labels));
    Ok(own
        .map(|(_, pod)| first_probe(look.names(), &pod.template))
        .collect())
}

/// The same in a sentence.
fn probes(pods: &Known<Vec<FirstProbe>>) -> String {
    let pods = match pods {
        Ok(pods) if pods.is_empty() => return "Seen: no Pod behind it.".into(),
        Ok(pods) => pods,
        Err(gap) => return format!("Not seen: its Pods ({gap})."),
    };
    let count = |is: fn(&FirstProbe) -> bool| pods.iter().filter(|one| is(one)).count();
    let seconds: BTreeSet<_> = pods
        .iter()
        .filter_map(|one| match one {
            FirstProbe::Declared(seconds) | FirstProbe::ByCommand(Some(seconds)) => Some(*seconds),
            _ => None,
        })
        .collect();
    let set = match (seconds.first(), seconds.last()) {
        (Some(least), Some(most)) if least < most => format!("after {least} s to {most} s by their sysctl"),
        (Some(only), _) => format!("after {only} s by their sysctl"),
        _ => String::new(),
    };
    let kinds = [
        (
            count(|one| *one == FirstProbe::Kernel),
            "after the kernel's 7200 s".to_owned(),
        ),
        (
            count(|one| matches!(one, FirstProbe::Declared(_) | FirstProbe::ByCommand(Some(_)))),
            set,
        ),
        (
            count(|one| *one == FirstProbe::ByCommand(None)),
            "after a time that a command of theirs sets".to_owned(),
        ),
        (
            count(|one| *one == FirstProbe::OfTheNode),
            "after the node's time, as they use its network".to_owned(),
        ),
    ];
    let kinds: Vec<_> = kinds
        .iter()
        .filter(|one| one.0 > 0)
        .map(|(count, when)| format!("{count} {when}"))
        .collect();
    let count = pods.len();
    let pods = if count == 1 { "Pod" } else { "Pods" };
    let kinds = kinds.join(", ");
    format!("Seen: {count} {pods}. A keepalive without a time of its own is first sent: {kinds}.")
}
