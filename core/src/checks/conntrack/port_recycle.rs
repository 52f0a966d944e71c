//! `ct-port-recycle-pin`: no client reuses its source ports faster than the connection table forgets them.

use std::fmt;
use std::sync::Arc;

use super::source_ports::{USUAL, source_ports};
use crate::dataplane::PortPin;
use crate::dataplane::entry::Entry;
use crate::judge::{
    Advice, Change, Check, Datum, End, Evidence, Explain, Judge, Look, Memory, Path, Setting, Severities,
    Severity, Verdict,
};
use crate::know::{Gap, Known, Origin, Reads, Source, Unit, Val};
use crate::route::{EntryClass, met};
use crate::sample::Metrics;
use crate::sources::service::Transport;

/// From this lifetime on, even ten connections in a second come back to a remembered port.
const LONG_SECONDS: i64 = USUAL / 10;

/// The check.
pub static CHECK: Check = Check {
    id: "ct-port-recycle-pin",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Services, Source::Policies]),
    uses: Reads::of(&[
        Source::EndpointSlices,
        Source::Pods,
        Source::Nodes,
        Source::Deployments,
        Source::DaemonSets,
    ]),
    profiles: true,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: false,
    judge: Judge::Path(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No client reuses its source ports faster than the connection table forgets them.

Cilium's per-packet Service table remembers which backend a source port went to. Before Cilium 1.16 (and in Terway,
which builds on it) a closed connection leaves its entry behind; a client that opens many connections comes round to
the same port before the entry is gone, is sent to the old backend, and renews the entry. New backends then stay idle
however long they have been ready.

## Formula

`P` is the number of source ports that a client takes first: every second one of its range, 14116 by the kernel's
default, or of the smallest `net.ipv4.ip_local_port_range` that one of its Pods sets. `L` is how long a closed
connection pins its port: the grace (`bpf-ct-timeout-service-tcp-grace`, Cilium 1.12 to 1.15) or, before that, the
lifetime of the entry. The threshold is `P / L` new connections in a second from one client address:

| L | threshold |
|---|---|
| 21600 s | 0.65/s |
| 8000 s | 1.76/s |
| 60 s | 235.26/s |

- Declared `newConnectionsPerSecond > P / L` where the client's connections meet such a table: Violated (AtRisk when `L`
  is only assumed). Clients from outside always meet it where Cilium carries node ports.
- No declared rate: AtRisk, naming the threshold.
- Cilium 1.16 and later, socket load balancing, another data plane or UDP: not applicable.

## What to do

1. Keep connections open and reuse them: pooling lowers the rate at no cost.
2. Use socket load balancing, which chooses the backend at `connect()`, or Cilium 1.16 or later.
3. On Cilium 1.12 to 1.15 lower the grace on one node first, and never to 0.
4. Where one client is stuck already, recycle that client: a new address has no entries.

## What not to do

Do not recycle backends: they are not the cause, and their successors starve too. Do not flush the connection table: it cuts
every Service connection of the node.
";

/// Ports that come round while the table still pins them to their old backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PinnedPorts {
    /// How long a closed connection pins its port, in seconds.
    lifetime: Val<i64>,
    /// Whether that is the grace after the close, which can be set; else the lifetime of the entry.
    grace: bool,
    /// Source ports that a client takes first.
    ports: Val<i64>,
    nodes: u32,
    rate: Option<Val<i64>>,
}

fn judge(look: &Look<'_>, path: &Path<'_>) -> Known<Verdict> {
    if path.port.transport != Transport::Tcp {
        return Ok(Verdict::NotApplicable(
            "only TCP connections are closed and opened again",
        ));
    }
    let mut gap = None;
    let mut longest: Option<(i64, EntryClass<'_>, Val<PortPin>)> = None;
    for one in met(look, path)? {
        match pin(&one) {
            Ok(None) => {}
            Ok(Some((seconds, val))) => {
                if longest.as_ref().is_none_or(|held| seconds > held.0) {
                    longest = Some((seconds, one, val));
                }
            }
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    let Some((seconds, one, val)) = longest else {
        return gap.map_or(
            Ok(Verdict::NotApplicable(
                "no node on the way pins a reused source port to its backend",
            )),
            Err,
        );
    };
    let rate = path.client.new_connections_per_second.map(|rate| {
        let place = format!(
            "policy {}/{} {}.clients[{}].newConnectionsPerSecond",
            path.policy.namespace, path.policy.name, path.connection.name, path.client.name
        );
        Val::declared(i64::from(rate), place)
    });
    let case = PinnedPorts {
        grace: matches!(val.value, PortPin::Grace(_)),
        lifetime: val.map(|_| seconds),
        ports: source_ports(look, path),
        nodes: one.class.nodes,
        rate,
    };
    Ok(match &case.rate {
        Some(rate) if rate.value.saturating_mul(seconds) > case.ports.value => {
            if case.lifetime.origin == Origin::Assumed {
                Verdict::at_risk(case)
            } else {
                Verdict::violated(case)
            }
        }
        Some(_) => gap.map_or(Verdict::Met, Verdict::Unknown),
        None => Verdict::at_risk(case),
    })
}

/// How long a class of nodes pins a closed port of what enters this way, in seconds; `None` where it does not.
fn pin(met: &EntryClass<'_>) -> Known<Option<(i64, Val<PortPin>)>> {
    let profile = &met.class.profile;
    let Some(cilium) = &profile.cilium else {
        return Ok(None);
    };
    // What another table carries meets none of Cilium's.
    let table = profile.table(met.entry, false).as_ref().map_err(Gap::clone)?;
    if table.as_ref().is_none_or(|table| !is_of_cilium(&table.keeper)) {
        return Ok(None);
    }
    let cilium = cilium.as_ref().map_err(Gap::clone)?;
    let val = match met.entry {
        Entry::Pod | Entry::Host => cilium.port_pin.clone()?,
        Entry::Outside => cilium.outside_port_pin.clone()?,
        Entry::Direct => return Ok(None),
    };
    Ok(match val.value {
        PortPin::Grace(seconds) | PortPin::Entry(seconds) if seconds > 0 => Some((seconds, val)),
        _ => None,
    })
}

fn is_of_cilium(keeper: &str) -> bool {
    matches!(keeper, "Cilium" | "Terway")
}

impl PinnedPorts {
    /// The threshold, in hundredths of a connection in a second.
    const fn hundredths(&self) -> i64 {
        self.ports.value * 100 / self.lifetime.value
    }

    fn threshold(&self) -> String {
        let hundredths = self.hundredths();
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

impl Explain for PinnedPorts {
    fn cause(&self) -> &'static str {
        match self.rate {
            Some(_) => "RateAboveThreshold",
            None => "RateNotDeclared",
        }
    }

    fn at_most(&self) -> Severity {
        if self.rate.is_none() && self.lifetime.value <= LONG_SECONDS {
            Severity::Info
        } else {
            Severity::Warning
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threshold, lifetime) = (self.threshold(), self.lifetime.value);
        match &self.rate {
            Some(rate) => write!(
                f,
                "a client opens connections at {}/s; above {threshold}/s its source ports come round within the {lifetime} s \
                 that pin them to old backends",
                rate.value
            ),
            None => write!(
                f,
                "above {threshold} connections/s a client's source ports come round within the {lifetime} s that pin them \
                 to old backends; its rate is not declared"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let kind = if self.grace {
            "grace after the close"
        } else {
            "lifetime of the entry"
        };
        let mut evidence = vec![
            Evidence::seconds("lifetime", &self.lifetime),
            Evidence::text("lifetimeKind", &self.lifetime.clone().map(|_| Arc::from(kind))),
            Evidence::number("sourcePorts", Unit::Count, &self.ports),
            Evidence {
                what: "threshold",
                value: Datum::Text(self.threshold().into()),
                unit: Unit::PerSecond,
                origin: self.lifetime.origin,
                source: "sourcePorts / lifetime".into(),
            },
            Evidence::count("nodes", self.nodes, "nodes of equal settings"),
        ];
        if let Some(rate) = &self.rate {
            evidence.push(Evidence::number("rate", Unit::PerSecond, rate));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        if self.rate.is_none() {
            let whole = u32::try_from(self.hundredths() / 100).ok();
            advice.push(Advice::with(
                format!(
                    "measure how many connections one client address opens in a second, and declare it as \
                     `newConnectionsPerSecond` (below {} clears this)",
                    self.threshold()
                ),
                whole.filter(|rate| *rate > 0).map(|rate| Change {
                    at: End::Client,
                    set: Setting::NewConnections(rate),
                }),
            ));
        }
        advice.push("keep connections open and reuse them".into());
        advice.push(
            "or use Cilium 1.16 or later, or for Pods socket load balancing, where nothing is pinned".into(),
        );
        if self.grace {
            let text = "last, lower bpf-ct-timeout-service-tcp-grace on one node and watch it; never to 0";
            advice.push(text.into());
        }
        advice
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |seconds, grace, rate: Option<i64>| PinnedPorts {
        lifetime: Val::default_of(seconds, "Cilium 1.13.4 default"),
        grace,
        ports: Val::default_of(14_116, "kernel default net.ipv4.ip_local_port_range, one parity"),
        nodes: 3,
        rate: rate.map(|rate| Val::declared(rate, "policy shop/p clients[front].newConnectionsPerSecond")),
    };
    vec![
        Verdict::violated(of(60, true, Some(900))),
        Verdict::violated(of(21_600, false, Some(2))),
        Verdict::at_risk(of(60, true, None)),
        Verdict::at_risk(of(21_600, false, None)),
    ]
}
