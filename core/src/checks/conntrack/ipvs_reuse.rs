//! `ipvs-reuse-mode-mismatch`: IPVS on this kernel lets a reused source port go to a living backend at once.

use std::fmt;
use std::sync::Arc;

use crate::dataplane::ProxyMode;
use crate::dataplane::version::Version;
use crate::facts::Class;
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::policy::Door;

/// Above this, one client comes round all 28232 source ports within the 120 s that IPVS remembers a closed connection
/// (Linux `net/netfilter/ipvs/ip_vs_proto_tcp.c`).
const RATE: i64 = 28_232 / 120;

/// The check.
pub static CHECK: Check = Check {
    id: "ipvs-reuse-mode-mismatch",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::NONE,
    uses: Reads::of(&[Source::Policies]),
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

- a policy declares a client from the cluster with more than 235 new connections in a second (28232 source ports
  within the 120 s that a closed connection is remembered): Violated;
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
    let case = case(class, kernel, &mode, nodes, rate);
    Ok(if fast && sure {
        Verdict::Violated(case)
    } else {
        Verdict::AtRisk(case)
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

/// The highest rate that a policy declares for a client from the cluster. Where policies were not read no rate is
/// known, which never makes the verdict better than when none is declared.
fn fastest(look: &Look<'_>) -> Option<Val<i64>> {
    let policies = look.policies().ok()?;
    let rates = policies.iter().flat_map(|(_, policy)| {
        policy.connections.iter().flat_map(move |connection| {
            let inside = connection
                .clients
                .iter()
                .filter(|client| client.from == Door::Cluster);
            inside.filter_map(move |client| {
                let place = format!(
                    "policy {}/{} {}.clients[{}].newConnectionsPerSecond",
                    policy.namespace, policy.name, connection.name, client.name
                );
                Some(Val::declared(
                    i64::from(client.new_connections_per_second?),
                    place,
                ))
            })
        })
    });
    rates.max_by(|a, b| (a.value, &a.source).cmp(&(b.value, &b.source)))
}

fn case(class: &Class, kernel: Version, mode: &Val<ProxyMode>, nodes: u32, rate: Option<Val<i64>>) -> Case {
    let cause = if kernel.at_least(4, 1) {
        "OldBackend"
    } else {
        "Delay"
    };
    let sample: Arc<str> = class.sample.join(", ").into();
    let mut evidence = vec![
        Evidence::text("proxyMode", &mode.clone().map(|mode| mode.name().into())),
        Evidence::text(
            "kernel",
            &Val::declared(class.profile.kernel.clone(), "Node status.nodeInfo.kernelVersion"),
        ),
        Evidence::count("nodes", nodes, "nodes of equal settings"),
        Evidence::text("sample", &Val::declared(sample, "nodes of equal settings")),
        Evidence::number(
            "threshold",
            Unit::PerSecond,
            &Val::default_of(
                RATE,
                "28232 source ports in 120 s (net/netfilter/ipvs/ip_vs_proto_tcp.c)",
            ),
        ),
    ];
    if let Some(rate) = rate {
        evidence.push(Evidence::number("rate", Unit::PerSecond, &rate));
    }
    untyped(cause, evidence)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{} nodes run IPVS on a kernel before 5.9, such as {}, where a reused source port {}",
        case.show("nodes"),
        case.cite("kernel"),
        if case.cause == "Delay" {
            "waits a second for its connection"
        } else {
            "goes to its old backend, even one that is shutting down"
        },
    )?;
    match case.number("rate") {
        Some(rate) if rate > RATE => write!(
            f,
            "; a client opens {}, and above {} ports come round in time",
            case.cite("rate"),
            case.show("threshold")
        ),
        _ => write!(f, "; it matters above {} from one client", case.cite("threshold")),
    }
}

fn advise(_: &UntypedCase) -> Vec<String> {
    vec![
        "let clients pool their connections, so that source ports do not come round".into(),
        "let terminating Pods serve for at least 120 s, as long as a closed connection is remembered".into(),
        "move these nodes to Linux 5.9 or later, or to another proxy mode".into(),
    ]
}
