//! `cp-reconnect-storm`: the machines of the API servers take all connections that are opened to them.

use std::fmt;
use std::sync::Arc;

use super::servers::{node_of, servers};
use crate::dataplane::version::Version;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sample::{Metric, Metrics, whole};

/// For so long cookies must be sent, in seconds: a port scan is over by then.
const LASTS: f64 = 60.0;
/// Connections that wait to be accepted at most: `net.core.somaxconn` since Linux 5.4, and before
/// (`include/linux/socket.h`, `SOMAXCONN`). Go's listener takes as many (`net/sock_linux.go`).
const QUEUE: u32 = 4096;
const QUEUE_BEFORE: u32 = 128;

/// The check.
pub static CHECK: Check = Check {
    id: "cp-reconnect-storm",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::EndpointSlices, Source::Nodes]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[
        Metric::SynCookies,
        Metric::ListenOverflows,
        Metric::EstablishedConnections,
    ]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
The machines of the API servers take all connections that are opened to them.

When an API server or etcd restarts in a large cluster, all its clients connect at once. A queue of connections that overflows
makes the kernel answer with SYN cookies, which lose TCP options: connections come up half open, or so slow that one channel of
many hangs for minutes.

## Formula

Of each machine that has the address of an API server:

- SYN cookies are sent, or queues of listening sockets overflow, between all samples of 60 s: Violated.
- A forecast: `connections` that are open on one of the machines (`Tcp CurrEstab`, of all its processes), shared by the others,
  are more than the queue of a listening socket there: AtRisk, `RestartWouldOverflow`. When that machine goes, its clients
  connect to the others at once. The queue is `net.core.somaxconn`, taken as its default: 4096 since Linux 5.4, 128 before.
- No such Node is to be seen, as on managed control planes: not applicable. One of them not measured: Unknown.

It is measured by node_exporter (collector `netstat`: `node_netstat_TcpExt_SyncookiesSent`,
`node_netstat_TcpExt_ListenOverflows` and `node_netstat_Tcp_CurrEstab`).

## What to do

1. Let nothing of the control plane restart until it is over; one at a time afterwards.
2. Raise `net.core.somaxconn` and `net.ipv4.tcp_max_syn_backlog` there: both work for sockets that are opened afterwards.

## What not to do

Do not restart clients to make them reconnect: they all come at once again.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let mut gap: Option<Gap> = None;
    let mut machines = Vec::new();
    for server in servers(look)? {
        machines.extend(node_of(look, server)?);
    }
    for node in machines.iter().copied() {
        for metric in [Metric::SynCookies, Metric::ListenOverflows] {
            match look.on_node(metric, node) {
                Ok(reading) if reading.above_for(0.0) >= LASTS => {
                    return Ok(Verdict::violated(Reconnections {
                        node: look.names().shared(node),
                        sign: if metric == Metric::SynCookies {
                            StormSign::Cookies
                        } else {
                            StormSign::Overflows
                        },
                        source: reading.source(),
                    }));
                }
                Ok(_) => {}
                Err(why) => drop(gap.get_or_insert(why)),
            }
        }
    }
    if machines.is_empty() {
        return Ok(Verdict::NotApplicable("no Node has the address of an API server"));
    }
    if let Some(forecast) = forecast(look, &machines)? {
        return Ok(Verdict::at_risk(forecast));
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

/// What the loss of one machine would bring to the others, where that is more than they take at once. Not measured, there is
/// none.
fn forecast(look: &Look<'_>, machines: &[Name]) -> Known<Option<Reconnections>> {
    let others = u32::try_from(machines.len().saturating_sub(1)).unwrap_or(u32::MAX);
    if others == 0 {
        return Ok(None);
    }
    for node in machines {
        let Ok(open) = look.on_node(Metric::EstablishedConnections, *node) else {
            continue;
        };
        let each = whole(open.value) / others;
        for other in machines.iter().filter(|one| *one != node) {
            let queue = queue(look, *other)?;
            if each > queue {
                return Ok(Some(Reconnections {
                    node: look.names().shared(*node),
                    sign: StormSign::Forecast {
                        // Each sample would bring another number.
                        connections: each / 1000 * 1000,
                        queue,
                    },
                    source: open.source(),
                }));
            }
        }
    }
    Ok(None)
}

/// How many connections wait at most on a machine.
fn queue(look: &Look<'_>, node: Name) -> Known<u32> {
    let row = look.node(node)?;
    let kernel = row.and_then(|row| Version::parse(look.names().text(row.kernel)));
    Ok(match kernel {
        Some(version) if version < Version::new(5, 4, 0) => QUEUE_BEFORE,
        _ => QUEUE,
    })
}

/// By what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StormSign {
    Cookies,
    Overflows,
    /// So many connections would come to each of the others, whose queues take so many.
    Forecast {
        connections: u32,
        queue: u32,
    },
}

/// A machine of the control plane that turns connections away, or whose loss would make others do so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reconnections {
    node: Arc<str>,
    sign: StormSign,
    source: Arc<str>,
}

impl Explain for Reconnections {
    fn cause(&self) -> &'static str {
        match self.sign {
            StormSign::Cookies => "SynCookies",
            StormSign::Overflows => "ListenOverflows",
            StormSign::Forecast { .. } => "RestartWouldOverflow",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.sign {
            StormSign::Cookies => "sends SYN cookies",
            StormSign::Overflows => "drops connections from full queues",
            StormSign::Forecast { connections, queue } => {
                return write!(
                    f,
                    "a restart of node {} would bring {connections} connections or more to each other API server, whose queue takes {queue}",
                    self.node
                );
            }
        };
        write!(
            f,
            "node {} of the control plane {what} for {LASTS} s: too many clients connect at once",
            self.node
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let node = Evidence::name("node", &self.node, "Node status.addresses");
        match self.sign {
            StormSign::Forecast { connections, queue } => vec![
                node,
                Evidence::watched("connections", Unit::Count, connections, self.source.clone()),
                Evidence::number(
                    "queue",
                    Unit::Count,
                    &Val::assumed(i64::from(queue), "default of net.core.somaxconn"),
                ),
            ],
            StormSign::Cookies | StormSign::Overflows => {
                vec![
                    node,
                    Evidence::watched("lasting", Unit::Seconds, 60, self.source.clone()),
                ]
            }
        }
    }

    fn advice(&self) -> Vec<Advice> {
        if matches!(self.sign, StormSign::Forecast { .. }) {
            return vec![
                "before a planned restart, take its API server out of the load balancer, and let its clients leave slowly"
                    .into(),
                "raise net.core.somaxconn on the machines of the API servers; sockets opened afterwards use it".into(),
            ];
        }
        vec![
            "let nothing of the control plane restart until it is over".into(),
            format!(
                "raise net.core.somaxconn and net.ipv4.tcp_max_syn_backlog on {}; sockets opened afterwards use them",
                self.node
            )
            .into(),
            "do not restart clients to make them reconnect: they all come at once again".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |sign| Reconnections {
        node: "master-1".into(),
        sign,
        source: "Prometheus, synCookies".into(),
    };
    vec![
        Verdict::violated(of(StormSign::Cookies)),
        Verdict::violated(of(StormSign::Overflows)),
        Verdict::at_risk(of(StormSign::Forecast {
            connections: 6000,
            queue: QUEUE,
        })),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::control_plane::servers::world::{play, says, start};

    const ID: &str = "cp-reconnect-storm";

    #[rstest]
    #[case::quiet([0.0; 3], [0.0; 3], "Met")]
    #[case::cookies([0.0, 13.0, 0.0], [0.0; 3], "Violated warning SynCookies")]
    #[case::overflows([0.0; 3], [2.0, 0.0, 0.0], "Violated warning ListenOverflows")]
    #[case::one_not_measured([0.0, f64::NAN, 0.0], [0.0; 3], "Unknown unknown")]
    fn storms(#[case] cookies: [f64; 3], #[case] overflows: [f64; 3], #[case] expected: &str) {
        let played = [
            (Metric::SynCookies, "", cookies),
            (Metric::ListenOverflows, "", overflows),
        ];
        assert_eq!(says(ID, &played), expected);
    }

    #[rstest]
    #[case::room([8000.0; 3], "Met")]
    #[case::one_has_too_many([9000.0, 200.0, 200.0], "AtRisk info RestartWouldOverflow")]
    #[case::not_measured([f64::NAN; 3], "Met")]
    fn a_restart_is_forecast(#[case] open: [f64; 3], #[case] expected: &str) {
        let played = [
            (Metric::SynCookies, "", [0.0; 3]),
            (Metric::ListenOverflows, "", [0.0; 3]),
            (Metric::EstablishedConnections, "", open),
        ];
        assert_eq!(says(ID, &played), expected);
    }

    #[test]
    fn a_burst_is_no_storm() {
        let mut world = start();
        let quiet = (Metric::ListenOverflows, "", [0.0; 3]);
        play(&mut world, 2, &[(Metric::SynCookies, "", [9.0; 3]), quiet]);
        assert_eq!(world.verdict(ID), "Met");
    }
}
