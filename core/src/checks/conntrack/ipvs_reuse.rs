//! `ipvs-reuse-mode-mismatch`: IPVS on this kernel lets a reused source port go to a living backend at once.

use std::fmt;
use std::sync::Arc;

use crate::dataplane::ProxyMode;
use crate::dataplane::entry::Entry;
use crate::dataplane::version::Version;
use crate::fleet::{Class, met};
use crate::judge::{
    Advice, Check, Evidence, Explain, Judge, Look, Memory, Path, Severities, Verdict, declares,
};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::names::Key;
use crate::policy::{Connection, Door, Policy, Protocol};
use crate::sources::service::Service;

/// Above this, one client comes round all 28232 source ports within the 120 s that IPVS remembers a closed connection
/// (Linux `net/netfilter/ipvs/ip_vs_proto_tcp.c`).
const RATE: i64 = 28_232 / 120;

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
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
IPVS on this kernel lets a reused source port go to a living backend at once.

Before Linux 5.9 IPVS has no good answer to a client that opens a connection from a port it has just closed. With
`net.ipv4.vs.conn_reuse_mode` 1 the first SYN is dropped and the connection takes a second longer; with 0, which
kube-proxy sets on kernels from 4.1 up to 5.9, it goes to the old backend, even one that is shutting down. During a
rollout such clients keep hitting Pods that are gone.

## Formula

For every class of nodes in mode IPVS with a kernel before 5.9:

- a policy declares a client from the cluster with more than 235 new TCP connections in a second (28232 source ports
  within the 120 s that a closed connection is remembered), and they meet IPVS on such a node: Violated. Connections to
  a headless Service, or that another table carries, do not;
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
        match old_ipvs(class) {
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
    let rate = fastest(look);
    let fast = rate.as_ref().is_some_and(|rate| rate.value > RATE);
    let sure = mode.origin != Origin::Assumed;
    let case = ReusedPort {
        kernel: class.profile.kernel.clone(),
        drops: !kernel.at_least(4, 1),
        mode,
        nodes,
        sample: class.sample.clone(),
        rate,
    };
    Ok(if fast && sure {
        Verdict::violated(case)
    } else {
        Verdict::at_risk(case)
    })
}

/// The kernel of a class that runs IPVS on one before 5.9.
fn old_ipvs(class: &Class) -> Known<Option<(Version, Val<ProxyMode>)>> {
    let mode = class.profile.mode.clone()?;
    if mode.value != ProxyMode::Ipvs {
        return Ok(None);
    }
    let kernel = Version::parse(&class.profile.kernel).ok_or_else(|| {
        let sample = class.sample.first().map_or("of the cluster", |name| &**name);
        Gap::Opaque(
            format!(
                "kernel version of node {sample}: `{}` is none",
                class.profile.kernel
            )
            .into(),
        )
    })?;
    Ok((!kernel.at_least(5, 9)).then_some((kernel, mode)))
}

/// The highest rate of new TCP connections that a policy declares for a client whose connections meet IPVS on an old
/// kernel. Where policies or Services were not read no rate is known, which never makes the verdict better than when none
/// is declared.
fn fastest(look: &Look<'_>) -> Option<Val<i64>> {
    let policies = look.policies().ok()?;
    let mut fastest: Option<Val<i64>> = None;
    for (_, policy) in policies.iter() {
        for connection in policy
            .connections
            .iter()
            .filter(|one| one.protocol != Protocol::Udp)
        {
            for (client, rate) in connection
                .clients
                .iter()
                .filter(|client| client.from == Door::Cluster)
                .filter_map(|client| Some((client, client.new_connections_per_second?)))
            {
                let place = format!(
                    "policy {}/{} {}.clients[{}].newConnectionsPerSecond",
                    policy.namespace, policy.name, connection.name, client.name
                );
                let rate = Val::declared(i64::from(rate), place);
                let more = |held: &Val<i64>| (held.value, &held.source) < (rate.value, &rate.source);
                if fastest.as_ref().is_none_or(more) && meets_ipvs(look, policy, connection, client) {
                    fastest = Some(rate);
                }
            }
        }
    }
    fastest
}

/// Whether the connections of a client to one of the policy's Services meet IPVS on an old kernel.
fn meets_ipvs(
    look: &Look<'_>,
    policy: &Policy,
    connection: &Connection,
    client: &crate::policy::Client,
) -> bool {
    let Ok(services) = look.known_services() else {
        return false;
    };
    let governed = |(key, service): &(Key, &Service)| {
        look.names().text(key.namespace) == &*policy.namespace && look.governs(policy, *key, service)
    };
    services.iter().filter(governed).any(|(key, service)| {
        let ports = service.ports.iter();
        ports
            .filter(|port| declares(connection, port, look.names()))
            .any(|port| {
                let path = Path {
                    key,
                    service,
                    port,
                    policy,
                    connection,
                    client,
                };
                met(look, &path).is_ok_and(|all| all.iter().any(|one| is_old_ipvs(one.class, one.entry)))
            })
    })
}

/// Whether what enters this way meets IPVS on an old kernel.
fn is_old_ipvs(class: &Class, entry: Entry) -> bool {
    let by_ipvs = class
        .profile
        .table(entry, false)
        .as_ref()
        .is_ok_and(|table| table.as_ref().is_some_and(|table| &*table.keeper == "IPVS"));
    by_ipvs && matches!(old_ipvs(class), Ok(Some(_)))
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
    rate: Option<Val<i64>>,
}

impl Explain for ReusedPort {
    fn cause(&self) -> &'static str {
        if self.drops { "Delay" } else { "OldBackend" }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "on {} nodes IPVS of kernel {} {}",
            self.nodes,
            self.kernel,
            if self.drops {
                "lets a reused source port wait for 1 s"
            } else {
                "sends a reused source port to its old backend"
            }
        )?;
        match &self.rate {
            Some(rate) if rate.value > RATE => write!(
                f,
                "; a client opens {}/s, and above {RATE}/s its ports come round in time",
                rate.value
            ),
            _ => write!(f, "; it matters above {RATE} connections/s of one client"),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let nodes = "nodes of equal settings";
        let kernel = "Node status.nodeInfo.kernelVersion";
        let ports = "28232 source ports in 120 s (net/netfilter/ipvs/ip_vs_proto_tcp.c)";
        let mut evidence = vec![
            Evidence::text("proxyMode", &self.mode.clone().map(|mode| mode.name().into())),
            Evidence::name("kernel", &self.kernel, kernel),
            Evidence::count("nodes", self.nodes, nodes),
            Evidence::name("sample", &self.sample.join(", ").into(), nodes),
            Evidence::number("threshold", Unit::PerSecond, &Val::default_of(RATE, ports)),
        ];
        if let Some(rate) = &self.rate {
            evidence.push(Evidence::number("rate", Unit::PerSecond, rate));
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
