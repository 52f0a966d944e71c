//! `cp-reconnect-storm`: the machines of the API servers take all connections that are opened to them.

use std::fmt;
use std::sync::Arc;

use super::servers::{node_of, servers};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit};
use crate::sample::{Metric, Metrics};

/// For so long cookies must be sent, in seconds: a port scan is over by then.
const LASTS: f64 = 60.0;

/// The check.
pub static CHECK: Check = Check {
    id: "cp-reconnect-storm",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::EndpointSlices, Source::Nodes]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::SynCookies, Metric::ListenOverflows]),
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
- No such Node is to be seen, as on managed control planes: not applicable. One of them not measured: Unknown.

It is measured by node_exporter (collector `netstat`: `node_netstat_TcpExt_SyncookiesSent` and
`node_netstat_TcpExt_ListenOverflows`).

## What to do

1. Let nothing of the control plane restart until it is over; one at a time afterwards.
2. Raise `net.core.somaxconn` and `net.ipv4.tcp_max_syn_backlog` there: both work for sockets that are opened afterwards.

## What not to do

Do not restart clients to make them reconnect: they all come at once again.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let mut gap: Option<Gap> = None;
    let mut any = false;
    for server in servers(look)? {
        let Some(node) = node_of(look, server)? else {
            continue;
        };
        any = true;
        for metric in [Metric::SynCookies, Metric::ListenOverflows] {
            match look.on_node(metric, node) {
                Ok(reading) if reading.above_for(0.0) >= LASTS => {
                    return Ok(Verdict::violated(Reconnections {
                        node: look.names().shared(node),
                        is_cookies: metric == Metric::SynCookies,
                        source: reading.source(),
                    }));
                }
                Ok(_) => {}
                Err(why) => drop(gap.get_or_insert(why)),
            }
        }
    }
    if !any {
        return Ok(Verdict::NotApplicable("no Node has the address of an API server"));
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

/// A machine of the control plane that turns connections away.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reconnections {
    node: Arc<str>,
    /// Whether it sends SYN cookies; else its queues overflow.
    is_cookies: bool,
    source: Arc<str>,
}

impl Explain for Reconnections {
    fn cause(&self) -> &'static str {
        if self.is_cookies {
            "SynCookies"
        } else {
            "ListenOverflows"
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_cookies {
            "sends SYN cookies"
        } else {
            "drops connections from full queues"
        };
        write!(
            f,
            "node {} of the control plane {what} for {LASTS} s: too many clients connect at once",
            self.node
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        vec![
            Evidence::name("node", &self.node, "Node status.addresses"),
            Evidence::watched("lasting", Unit::Seconds, 60, self.source.clone()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
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
    let of = |is_cookies| {
        Verdict::violated(Reconnections {
            node: "master-1".into(),
            is_cookies,
            source: "Prometheus, synCookies".into(),
        })
    };
    vec![of(true), of(false)]
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

    #[test]
    fn a_burst_is_no_storm() {
        let mut world = start();
        let quiet = (Metric::ListenOverflows, "", [0.0; 3]);
        play(&mut world, 2, &[(Metric::SynCookies, "", [9.0; 3]), quiet]);
        assert_eq!(world.verdict(ID), "Met");
    }
}
