//! `ipvs-reuse-mode-mismatch`: IPVS on this kernel lets a reused source port go to a living backend at once.

use std::fmt;
use std::sync::Arc;

use super::on_nodes;
use super::source_ports::{source_ports, usual};
use crate::dataplane::ProxyMode;
use crate::dataplane::entry::Entry;
use crate::dataplane::version::Version;
use crate::fleet::Class;
use crate::index::Dep;
use crate::judge::{
    Advice, Check, Evidence, Explain, Judge, Look, Memory, Path, Severities, Verdict, declares,
};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::names::Key;
use crate::policy::{Client, Connection, Policy, Protocol};
use crate::route::met;
use crate::sample::Metrics;
use crate::sources::service::Service;

/// For so many seconds IPVS remembers a closed connection (Linux `net/netfilter/ipvs/ip_vs_proto_tcp.c`,
/// `IP_VS_TCP_S_TIME_WAIT`).
const CLOSED_SECONDS: i64 = 120;

/// The check.
pub static CHECK: Check = Check {
    id: "ipvs-reuse-mode-mismatch",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::NONE,
    uses: Reads::of(&[
        Source::Policies,
        Source::Services,
        Source::EndpointSlices,
        Source::Pods,
        Source::Nodes,
        Source::Deployments,
        Source::DaemonSets,
    ]),
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
IPVS on this kernel lets a reused source port go to a living backend at once.

Before Linux 5.9 IPVS has no good answer to a client that opens a connection from a port it has just closed. With
`net.ipv4.vs.conn_reuse_mode` 1 the first SYN is dropped and the connection takes a second longer; with 0, which
kube-proxy sets on kernels from 4.1 up to 5.9, it goes to the old backend, even one that is shutting down. During a
rollout such clients keep hitting Pods that are gone.

## Formula

For every class of nodes in mode IPVS with a kernel before 5.9:

- a policy declares a client that opens more than `P / 120 s` new TCP connections in a second, and they meet IPVS on such
  a node: Violated. `P` is the number of source ports that it takes first: every second one of its range, 14116 by the
  kernel's default (117/s), or of the smallest `net.ipv4.ip_local_port_range` that one of its Pods sets. 120 s is how
  long IPVS remembers a closed connection. Connections to a headless Service, or that another table carries, do not meet
  IPVS;
- otherwise AtRisk, as the rate is not known or lower;
- the kernel's version is not known: Unknown.

A mode that is only assumed makes it AtRisk at most. Vendors back-port: a kernel named 4.18 may have the fix.

## What to do

1. Pool connections, so that ports do not come round.
2. Move the nodes to Linux 5.9 or later, or to another proxy mode.
3. Until then let terminating Pods serve for at least 120 s.

## What not to do

Do not set conn_reuse_mode by hand: kube-proxy writes it again whenever it starts.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let fleet = look.fleet();
    let mut gap = fleet.gap.clone();
    let mut old: Option<(&Class, Version, Val<ProxyMode>)> = None;
    let mut nodes = 0_u32;
    for class in &fleet.classes {
        match old_ipvs(look, class) {
            Ok(None) => {}
            Ok(Some((kernel, mode))) => {
                nodes = nodes.saturating_add(class.nodes);
                // A mode that is sure weighs more than one that is assumed; else the first, as classes have an order.
                let surer = |held: &(&Class, Version, Val<ProxyMode>)| {
                    held.2.origin == Origin::Assumed && mode.origin != Origin::Assumed
                };
                if old.as_ref().is_none_or(surer) {
                    old = Some((class, kernel, mode));
                }
            }
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    let Some((class, kernel, mode)) = old else {
        return gap.map_or(
            Ok(Verdict::NotApplicable("no node runs IPVS on a kernel before 5.9")),
            Err,
        );
    };
    let reuse = fastest(look);
    let fast = reuse.as_ref().is_some_and(Reuse::is_in_time);
    let sure = mode.origin != Origin::Assumed;
    let case = ReusedPort {
        kernel: class.profile.kernel.clone(),
        drops: !kernel.at_least(4, 1),
        mode,
        nodes,
        sample: class.sample.clone(),
        reuse,
    };
    Ok(if fast && sure {
        Verdict::violated(case)
    } else {
        Verdict::at_risk(case)
    })
}

/// The kernel of a class that runs IPVS on one before 5.9.
fn old_ipvs(look: &Look<'_>, class: &Class) -> Known<Option<(Version, Val<ProxyMode>)>> {
    let mode = class.profile.mode.clone()?;
    if mode.value != ProxyMode::Ipvs {
        return Ok(None);
    }
    let text = &*class.profile.kernel;
    if text.is_empty() {
        // Which nodes there are, Pods say as well; what they run, only Nodes.
        look.node_sums(Dep::NodeCount)?;
    }
    let kernel = Version::parse(text).ok_or_else(|| {
        let node = class.sample.first().map_or("of the cluster", |name| &**name);
        let field = "status.nodeInfo.kernelVersion";
        let why = if text.is_empty() {
            format!("node {node} reports no kernel version ({field})")
        } else {
            format!("node {node} reports `{text}`, which is no kernel version ({field})")
        };
        Gap::Opaque(why.into())
    })?;
    Ok((!kernel.at_least(5, 9)).then_some((kernel, mode)))
}

/// How fast a client takes its source ports, and how many it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reuse {
    rate: Val<i64>,
    ports: Val<i64>,
}

impl Reuse {
    /// Whether it comes back to a port that IPVS still remembers.
    const fn is_in_time(&self) -> bool {
        self.rate.value.saturating_mul(CLOSED_SECONDS) > self.ports.value
    }

    /// Whether it comes back to a port sooner than another one does.
    fn is_sooner_than(&self, other: &Self) -> bool {
        let (own, held) = (
            self.rate.value.saturating_mul(other.ports.value),
            other.rate.value.saturating_mul(self.ports.value),
        );
        (own, &self.rate.source) > (held, &other.rate.source)
    }
}

/// New connections in a second above which this many ports come round in time.
const fn threshold(ports: i64) -> i64 {
    ports / CLOSED_SECONDS
}

/// The client that comes back to its source ports soonest, of those that declare a rate and whose connections meet IPVS
/// on an old kernel. Where policies or Services were not read no rate is known, which never makes the verdict better than
/// when none is declared.
fn fastest(look: &Look<'_>) -> Option<Reuse> {
    let policies = look.policies().ok()?;
    let mut fastest: Option<Reuse> = None;
    for (_, policy) in policies.iter() {
        let connections = policy.connections.iter();
        for connection in connections.filter(|one| one.protocol != Protocol::Udp) {
            for client in &connection.clients {
                let Some(rate) = client.new_connections_per_second else {
                    continue;
                };
                let place = format!(
                    "policy {}/{} {}.clients[{}].newConnectionsPerSecond",
                    policy.namespace, policy.name, connection.name, client.name
                );
                let rate = Val::declared(i64::from(rate), place);
                let Some(ports) = met_with(look, policy, connection, client) else {
                    continue;
                };
                let one = Reuse { rate, ports };
                if fastest.as_ref().is_none_or(|held| one.is_sooner_than(held)) {
                    fastest = Some(one);
                }
            }
        }
    }
    fastest
}

/// The source ports with which a client's connections to one of the policy's Services meet IPVS on an old kernel; `None`
/// where they meet none.
fn met_with(look: &Look<'_>, policy: &Policy, connection: &Connection, client: &Client) -> Option<Val<i64>> {
    let services = look.known_services().ok()?;
    let governed = |(key, service): &(Key, &Service)| {
        look.names().text(key.namespace) == &*policy.namespace && look.governs(policy, *key, service)
    };
    services.iter().filter(governed).find_map(|(key, service)| {
        let ports = service.ports.iter();
        ports
            .filter(|port| declares(connection, port, look.names()))
            .find_map(|port| {
                let path = Path {
                    key,
                    service,
                    port,
                    policy,
                    connection,
                    client,
                };
                let met = met(look, &path).ok()?;
                met.iter()
                    .any(|one| is_old_ipvs(look, one.class, one.entry))
                    .then(|| source_ports(look, &path))
            })
    })
}

/// Whether what enters this way meets IPVS on an old kernel.
fn is_old_ipvs(look: &Look<'_>, class: &Class, entry: Entry) -> bool {
    let by_ipvs = class
        .profile
        .table(entry, false)
        .as_ref()
        .is_ok_and(|table| table.as_ref().is_some_and(|table| &*table.keeper == "IPVS"));
    by_ipvs && matches!(old_ipvs(look, class), Ok(Some(_)))
}

/// IPVS that sends a reused source port to its old backend, or makes it wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ReusedPort {
    kernel: Arc<str>,
    /// Whether the first packet is dropped, as before Linux 4.1; else it goes to the old backend.
    drops: bool,
    mode: Val<ProxyMode>,
    nodes: u32,
    sample: Vec<Arc<str>>,
    /// The client that comes back to its ports soonest; `None` where no rate is declared.
    reuse: Option<Reuse>,
}

impl ReusedPort {
    /// Source ports that a client takes first.
    fn ports(&self) -> Val<i64> {
        self.reuse
            .as_ref()
            .map_or_else(usual, |reuse| reuse.ports.clone())
    }
}

impl Explain for ReusedPort {
    fn cause(&self) -> &'static str {
        if self.drops { "Delay" } else { "OldBackend" }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "on {} IPVS of kernel {} {}",
            on_nodes(self.nodes as usize, &self.sample),
            self.kernel,
            if self.drops {
                "lets a reused source port wait for 1 s"
            } else {
                "sends a reused source port to its old backend"
            }
        )?;
        let threshold = threshold(self.ports().value);
        match &self.reuse {
            Some(reuse) if reuse.is_in_time() => write!(
                f,
                "; a client opens {}/s, and above {threshold}/s its ports come round in time",
                reuse.rate.value
            ),
            _ => write!(f, "; it matters above {threshold} connections/s of one client"),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let nodes = "nodes of equal settings";
        let kernel = "Node status.nodeInfo.kernelVersion";
        let ports = self.ports();
        let threshold = Val {
            value: threshold(ports.value),
            origin: ports.origin,
            source: "sourcePorts / 120 s (net/netfilter/ipvs/ip_vs_proto_tcp.c)".into(),
        };
        let mut evidence = vec![
            Evidence::text("proxyMode", &self.mode.clone().map(|mode| mode.name().into())),
            Evidence::name("kernel", &self.kernel, kernel),
            Evidence::count("nodes", self.nodes, nodes),
            Evidence::name("sample", &self.sample.join(", ").into(), nodes),
            Evidence::number("sourcePorts", Unit::Count, &ports),
            Evidence::number("threshold", Unit::PerSecond, &threshold),
        ];
        if let Some(reuse) = &self.reuse {
            evidence.push(Evidence::number("rate", Unit::PerSecond, &reuse.rate));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "let clients pool their connections, so that source ports do not come round".into(),
            "let terminating Pods serve for at least 120 s, as long as a closed connection is remembered"
                .into(),
            "move these nodes to Linux 5.9 or later, or to another proxy mode".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let reuse = |rate| Reuse {
        rate: Val::declared(rate, "policy shop/p clients[front].newConnectionsPerSecond"),
        ports: usual(),
    };
    let of = |kernel: &str, drops, nodes, reuse| ReusedPort {
        kernel: kernel.into(),
        drops,
        mode: Val::declared(ProxyMode::Ipvs, "ConfigMap kube-system/kube-proxy mode"),
        nodes,
        sample: vec!["node-1".into()],
        reuse,
    };
    vec![
        Verdict::violated(of("3.10.0", true, 3, Some(reuse(500)))),
        Verdict::violated(of("4.19.0", false, 1, Some(reuse(500)))),
        Verdict::at_risk(of("3.10.0", true, 3, None)),
        Verdict::at_risk(of("4.19.0", false, 1, Some(reuse(5)))),
    ]
}
