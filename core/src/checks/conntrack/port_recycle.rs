//! `ct-port-recycle-pin`: no client reuses its source ports faster than the connection table forgets them.

use std::fmt;
use std::sync::Arc;

use crate::dataplane::PortPin;
use crate::facts::Class;
use crate::judge::{
    Case, Check, Datum, Evidence, Judge, Look, Memory, Path, Severities, Severity, UntypedCase, Verdict,
};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::policy::Door;
use crate::sources::service::Transport;

/// Source ports that a client has to one destination: `net.ipv4.ip_local_port_range`, 32768 to 60999
/// (Linux `net/ipv4/af_inet.c`).
const PORTS: i64 = 28_232;
/// From this lifetime on, even ten connections in a second come back to a remembered port.
const LONG_SECONDS: i64 = PORTS / 10;

/// The check.
pub static CHECK: Check = Check {
    id: "ct-port-recycle-pin",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: Reads::NONE,
    profiles: true,
    history: Memory::Unused,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
};

const DOC: &str = "\
No client reuses its source ports faster than the connection table forgets them.

Cilium's per-packet Service table remembers which backend a source port went to. Before Cilium 1.16 (and in Terway,
which builds on it) a closed connection leaves its entry behind; a client that opens many connections comes round to
the same port before the entry is gone, is sent to the old backend, and renews the entry. New backends then stay idle
however long they have been ready.

## Formula

`P` is the number of source ports that a client has, 28232 by the kernel's default. `L` is how long a closed
connection pins its port: the grace (`bpf-ct-timeout-service-tcp-grace`, Cilium 1.12 to 1.15) or, before that, the
lifetime of the entry. The threshold is `P / L` new connections in a second from one client address:

| L | threshold |
|---|---|
| 21600 s | 1.30/s |
| 8000 s | 3.52/s |
| 60 s | 470.53/s |

- Declared `newConnectionsPerSecond > P / L` on any class of nodes: Violated (AtRisk when `L` is only assumed).
- No declared rate: AtRisk, naming the threshold.
- Cilium 1.16 and later, socket load balancing, another data plane or UDP: not applicable.

## What to do

1. Keep connections open and reuse them: pooling lowers the rate at no cost.
2. Use socket load balancing, which chooses the backend at `connect()`, or Cilium 1.16 or later.
3. On Cilium 1.12 to 1.15 lower the grace on one node first, and never to 0.
4. Where one client is stuck already, recycle that client: a new address has no entries.

## What not to do

Do not recycle backends: they are innocent and their successors starve too. Do not flush the connection table: it cuts
every Service connection of the node.
";

fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    if !path.service.has_data_plane() {
        return Ok(Verdict::NotApplicable(
            "a headless or ExternalName Service has no table of its own",
        ));
    }
    if path.port.transport != Transport::Tcp {
        return Ok(Verdict::NotApplicable(
            "only TCP connections are closed and opened again",
        ));
    }
    if path.client.from != Door::Cluster {
        return Ok(Verdict::NotApplicable(
            "the client does not come from a Pod of the cluster",
        ));
    }
    let fleet = look.fleet();
    let mut gap = fleet.gap.clone();
    let mut longest: Option<(i64, &Class, Val<PortPin>)> = None;
    for class in &fleet.classes {
        match pin(class) {
            Ok(None) => {}
            Ok(Some((seconds, val))) => {
                if longest.as_ref().is_none_or(|held| seconds > held.0) {
                    longest = Some((seconds, class, val));
                }
            }
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    let Some((seconds, class, val)) = longest else {
        return gap.map_or(
            Ok(Verdict::NotApplicable(
                "no node pins a reused source port to its backend",
            )),
            Err,
        );
    };
    let rate = path.client.new_connections_per_second;
    let case = |cause| case(cause, path, seconds, class, &val);
    Ok(match rate {
        Some(rate) if i64::from(rate).saturating_mul(seconds) > PORTS => {
            if val.origin == Origin::Assumed {
                Verdict::AtRisk(case("RateAboveThreshold"))
            } else {
                Verdict::Violated(case("RateAboveThreshold"))
            }
        }
        Some(_) => gap.map_or(Verdict::Met, Verdict::Unknown),
        None => Verdict::AtRisk(case("RateNotDeclared")),
    })
}

/// How long a class of nodes pins a closed port, in seconds; `None` where it does not.
fn pin(class: &Class) -> Known<Option<(i64, Val<PortPin>)>> {
    let Some(cilium) = &class.profile.cilium else {
        return Ok(None);
    };
    let val = cilium.as_ref().map_err(Gap::clone)?.port_pin.clone()?;
    Ok(match val.value {
        PortPin::Grace(seconds) | PortPin::Entry(seconds) if seconds > 0 => Some((seconds, val)),
        _ => None,
    })
}

fn case(cause: &'static str, path: &Path<'_>, seconds: i64, class: &Class, val: &Val<PortPin>) -> Case {
    let kind = match val.value {
        PortPin::Grace(_) => "grace after the close",
        PortPin::Entry(_) | PortPin::None => "lifetime of the entry",
    };
    let hundredths = PORTS * 100 / seconds;
    let threshold = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let mut evidence = vec![
        Evidence::number("lifetime", Unit::Seconds, &val.clone().map(|_| seconds)),
        Evidence::text("lifetimeKind", &val.clone().map(|_| Arc::from(kind))),
        Evidence::number(
            "sourcePorts",
            Unit::Count,
            &Val::default_of(
                PORTS,
                "kernel default net.ipv4.ip_local_port_range (net/ipv4/af_inet.c)",
            ),
        ),
        Evidence {
            what: "threshold",
            value: Datum::Text(threshold.into()),
            unit: Unit::PerSecond,
            origin: val.origin,
            source: "sourcePorts / lifetime".into(),
        },
        Evidence::count("nodes", class.nodes, "nodes of equal settings"),
    ];
    if let Some(rate) = path.client.new_connections_per_second {
        let place = format!(
            "policy {}/{} {}.clients[{}].newConnectionsPerSecond",
            path.policy.namespace, path.policy.name, path.connection.name, path.client.name
        );
        let rate = Val::declared(i64::from(rate), place);
        evidence.push(Evidence::number("rate", Unit::PerSecond, &rate));
    }
    untyped(cause, evidence)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    let short = evidence.iter().any(|one| {
        one.what == "lifetime" && matches!(one.value, Datum::Number(lifetime) if lifetime <= LONG_SECONDS)
    });
    let at_most = if short && cause == "RateNotDeclared" {
        Severity::Info
    } else {
        Severity::Critical
    };
    UntypedCase::at_most(at_most, cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if case.cause == "RateAboveThreshold" {
        write!(
            f,
            "one client opens {} new connections, more than",
            case.cite("rate")
        )?;
    } else {
        write!(
            f,
            "how many connections one client opens is not declared; it is pinned above"
        )?;
    }
    write!(
        f,
        " {}: {} source ports come round within the {} of {}, and a port that comes round keeps its old backend",
        case.cite("threshold"),
        case.show("sourcePorts"),
        case.show("lifetimeKind"),
        case.cite("lifetime"),
    )
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let mut advice = Vec::new();
    if case.cause == "RateNotDeclared" {
        advice.push(format!(
            "measure how many connections one client address opens in a second, and declare it as \
             `newConnectionsPerSecond` (below {} clears this)",
            case.show("threshold"),
        ));
    }
    advice.push("keep connections open and reuse them".into());
    advice.push("or use socket load balancing or Cilium 1.16 or later, where nothing is pinned".into());
    if case.show("lifetimeKind") == "grace after the close" {
        advice
            .push("last, lower bpf-ct-timeout-service-tcp-grace on one node and watch it; never to 0".into());
    }
    advice
}
