//! `cp-instance-skew`: the API servers share the requests.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::servers::{node_of, on_each, runs_for, servers};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit};
use crate::sample::{Metric, Metrics, Reading, whole};

/// Over so many seconds shares are compared.
const WINDOW: f64 = 300.0;
/// So many of them must lie between the first and the last sample: with one every 60 s that is the fifth, as the first has
/// no growth yet.
const SEEN: f64 = 180.0;
/// A share of so many times an equal one is a skew.
const HOT: f64 = 1.8;
/// A share of so little of an equal one is, too.
const STARVED: f64 = 0.2;
/// With fewer requests in a second, all together, chance alone makes skews.
const FEWEST: f64 = 5.0;
/// For how long an API server that has started has few of the long-lived connections, in seconds.
const RESTARTED: f64 = 1800.0;
/// A restart explains a skew only where the hot one was up for so much longer, in seconds: servers that came up together
/// had the same chances.
const EARLIER: f64 = 60.0;
/// One that has just started is not expected to have any, in seconds.
const STARTING: f64 = 600.0;

/// The check.
pub static CHECK: Check = Check {
    id: "cp-instance-skew",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::Requests, Metric::StartTime, Metric::AcceptedConnections]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
The API servers share the requests.

A load balancer whose health view is wrong sends every new connection to one of several API servers. Everything works, on one
machine, until it is full; and a restart of that one, because it is hot, takes the whole control plane away.

## Formula

`share` is an API server's part of all requests over 300 s, watches aside; `n` is their number.

- `share * n >= 1.8` for one of them: Violated. Cause `LastRestarted` where the one with the least has started within 1800 s,
  and 60 s or more after that one: long-lived connections do not move by themselves. Cause `Clients` where new connections (`Tcp PassiveOpens` of the machines)
  are shared evenly: one client sends most requests. Else cause `Balancer`; where new connections are not measured, or there
  are none, it may be one client as well, and the message names both.
- `share * n <= 0.2` for one that has served for 600 s or longer: AtRisk.
- Fewer than 5 requests in a second in all, or one API server: not applicable. One of them not measured, or less than 240 s of
  all but one: Unknown. One whose counters began anew counts by what was seen of it since.

It is measured by `apiserver_request_total` and `process_start_time_seconds` of each API server, from Prometheus or from its
own `/metrics`, and by node_exporter (`node_netstat_Tcp_PassiveOpens`).

## What to do

1. Balancer: ask it which targets it holds for healthy, and mend its health check. Where all are, see 3.
2. LastRestarted: nothing is wrong. `--goaway-chance=0.001` on the API servers spreads connections over time.
3. Clients: find who sends most, by `apiserver_flowcontrol_dispatched_requests_total` or the audit log.

## What not to do

Do not restart the hot one: it carries the others' load, and nothing says that a balancer would send it elsewhere.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let servers = servers(look)?;
    if servers.len() < 2 {
        return Ok(Verdict::NotApplicable("there is only one API server"));
    }
    let requests = requests(look, &servers)?;
    let rates: Vec<(IpAddr, f64)> = requests.iter().map(|(at, one)| (*at, one.mean(WINDOW))).collect();
    let total: f64 = rates.iter().map(|one| one.1).sum();
    if total < FEWEST {
        return Ok(Verdict::NotApplicable("too few requests to compare"));
    }
    let n = f64::from(u32::try_from(servers.len()).unwrap_or(u32::MAX));
    let (Some(hot), Some(cold)) = (
        rates.iter().max_by(|a, b| a.1.total_cmp(&b.1)),
        rates.iter().min_by(|a, b| a.1.total_cmp(&b.1)),
    ) else {
        return Ok(Verdict::Met);
    };
    let case = |at: IpAddr, share: f64, cause| InstanceSkew {
        server: at.to_string().into(),
        percent: whole(share * 100.0) / 5 * 5,
        servers: servers.len(),
        cause,
        source: requests.first().map_or_else(|| "".into(), |one| one.1.source()),
    };
    if hot.1 / total * n >= HOT {
        let cause = cause(look, &servers, hot.0, cold.0, n)?;
        return Ok(Verdict::violated(case(hot.0, hot.1 / total, cause)));
    }
    if cold.1 / total * n <= STARVED && runs_for(look, cold.0)? >= STARTING {
        return Ok(Verdict::at_risk(case(
            cold.0,
            cold.1 / total,
            UnevenCause::Starved,
        )));
    }
    Ok(Verdict::Met)
}

/// The requests of each, seen for long enough. One may have begun anew a moment ago: what was seen of it since is enough beside
/// the others.
fn requests<'a>(look: &Look<'a>, servers: &[IpAddr]) -> Known<Vec<(IpAddr, Reading<'a>)>> {
    let all = on_each(look, Metric::Requests, servers)?;
    let long = all.iter().filter(|(_, one)| one.span() >= SEEN).count();
    if long + 1 < all.len() || long == 0 {
        return Err(Gap::TooFewSamples(Metric::Requests.name().into()));
    }
    Ok(all)
}

/// Why one of them has so much.
fn cause(look: &Look<'_>, servers: &[IpAddr], hot: IpAddr, cold: IpAddr, n: f64) -> Known<UnevenCause> {
    let (cold_runs, hot_runs) = (runs_for(look, cold)?, runs_for(look, hot)?);
    if cold_runs < RESTARTED && hot_runs - cold_runs >= EARLIER {
        return Ok(UnevenCause::LastRestarted);
    }
    let (mut all, mut own) = (0.0, 0.0);
    for server in servers {
        let Some(node) = node_of(look, *server)? else {
            return Ok(UnevenCause::BalancerOrClients);
        };
        // Without node_exporter it is not known.
        let Ok(accepted) = look.on_node(Metric::AcceptedConnections, node) else {
            return Ok(UnevenCause::BalancerOrClients);
        };
        let rate = accepted.mean(WINDOW);
        all += rate;
        own += if *server == hot { rate } else { 0.0 };
    }
    if all <= 0.0 {
        return Ok(UnevenCause::BalancerOrClients);
    }
    let even = own / all * n < 1.0 + (HOT - 1.0) / 2.0;
    Ok(if even {
        UnevenCause::Clients
    } else {
        UnevenCause::Balancer
    })
}

/// Why the requests are not shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum UnevenCause {
    Balancer,
    /// New connections do not tell: the balancer as a rule, or one client.
    BalancerOrClients,
    LastRestarted,
    Clients,
    Starved,
}

/// An API server with too much, or next to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct InstanceSkew {
    server: Arc<str>,
    /// Its share, rounded down to a multiple of five: each sample would bring another number.
    percent: u32,
    servers: usize,
    cause: UnevenCause,
    source: Arc<str>,
}

impl Explain for InstanceSkew {
    fn cause(&self) -> &'static str {
        match self.cause {
            UnevenCause::Balancer | UnevenCause::BalancerOrClients => "Balancer",
            UnevenCause::LastRestarted => "LastRestarted",
            UnevenCause::Clients => "Clients",
            UnevenCause::Starved => "Starved",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            percent,
            servers,
            ..
        } = self;
        match self.cause {
            UnevenCause::Starved => write!(
                f,
                "API server {server}, of {servers}, gets less than {} % of all requests",
                percent + 5
            ),
            UnevenCause::Balancer => write!(
                f,
                "API server {server}, of {servers}, gets at least {percent} % of all requests: the load balancer prefers it"
            ),
            UnevenCause::BalancerOrClients => write!(
                f,
                "API server {server}, of {servers}, gets at least {percent} % of all requests: the load balancer prefers it, \
                 or one client is busy"
            ),
            UnevenCause::LastRestarted => write!(
                f,
                "API server {server}, of {servers}, gets at least {percent} % of all requests: another has restarted lately"
            ),
            UnevenCause::Clients => write!(
                f,
                "API server {server}, of {servers}, gets at least {percent} % of all requests on an even share of connections"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        vec![
            Evidence::watched("share", Unit::Percent, self.percent, self.source.clone()),
            Evidence::count("apiServers", self.servers, "EndpointSlices of default/kubernetes"),
            Evidence::watched("window", Unit::Seconds, 300, self.source.clone()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let first = match self.cause {
            UnevenCause::Balancer | UnevenCause::Starved => {
                "ask the load balancer which API servers it holds for healthy, and mend its health check"
            }
            UnevenCause::BalancerOrClients => {
                "ask the load balancer which API servers it holds for healthy; if all, find the client that sends most"
            }
            UnevenCause::LastRestarted => {
                "wait, or set --goaway-chance=0.001 on the API servers: connections then spread over time"
            }
            UnevenCause::Clients => {
                "find the client that sends most requests, in the audit log, and slow it down"
            }
        };
        vec![
            first.into(),
            format!(
                "do not restart API server {}: nothing says that others would take its load",
                self.server
            )
            .into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |percent, cause| InstanceSkew {
        server: "192.0.2.1".into(),
        percent,
        servers: 3,
        cause,
        source: "Prometheus, requests".into(),
    };
    let hot = [
        UnevenCause::Balancer,
        UnevenCause::BalancerOrClients,
        UnevenCause::LastRestarted,
        UnevenCause::Clients,
    ];
    let mut all: Vec<Verdict> = hot.map(|cause| Verdict::violated(of(80, cause))).to_vec();
    all.push(Verdict::at_risk(of(0, UnevenCause::Starved)));
    all
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::control_plane::servers::world::{play, says, start};
    use crate::sample::{Observer, PageScope, SampleSubject};
    use crate::world::World;

    const ID: &str = "cp-instance-skew";
    const LONG_AGO: f64 = 1_799_000_000.0;

    #[rstest]
    #[case::even([20.0, 22.0, 18.0], LONG_AGO, None, "Met")]
    #[case::uneven_as_is_usual([30.0, 15.0, 12.0], LONG_AGO, None, "Met")]
    #[case::all_on_one([60.0, 3.0, 3.0], LONG_AGO, None, "Violated warning Balancer")]
    #[case::new_connections_too([60.0, 3.0, 3.0], LONG_AGO, Some([9.0, 0.5, 0.5]), "Violated warning Balancer")]
    #[case::on_even_connections([60.0, 8.0, 8.0], LONG_AGO, Some([3.0, 3.0, 3.0]), "Violated warning Clients")]
    #[case::restarted([60.0, 20.0, 3.0], 1_799_999_000.0, None, "Violated warning LastRestarted")]
    #[case::one_gets_nothing([30.0, 28.0, 1.0], LONG_AGO, None, "AtRisk warning Starved")]
    #[case::one_has_just_started([30.0, 28.0, 1.0], 1_799_999_900.0, None, "Met")]
    #[case::a_quiet_cluster([1.0, 0.0, 0.0], LONG_AGO, None, "NotApplicable")]
    #[case::one_is_not_measured([20.0, 20.0, f64::NAN], LONG_AGO, None, "Unknown unknown")]
    fn shares(
        #[case] rates: [f64; 3],
        #[case] third_started: f64,
        #[case] accepted: Option<[f64; 3]>,
        #[case] expected: &str,
    ) {
        let mut played = vec![
            (Metric::Requests, "", rates),
            (Metric::StartTime, "", [LONG_AGO, LONG_AGO, third_started]),
        ];
        played.extend(accepted.map(|rates| (Metric::AcceptedConnections, "", rates)));
        assert_eq!(says(ID, &played), expected);
    }

    /// As in a cluster that has just been made: nothing is old, and no restart explains anything.
    #[test]
    fn servers_that_started_together_blame_no_restart() {
        let started = (
            Metric::StartTime,
            "",
            [1_799_999_000.0, 1_799_998_990.0, 1_799_999_010.0],
        );
        let played = [(Metric::Requests, "", [60.0, 3.0, 3.0]), started];
        assert_eq!(says(ID, &played), "Violated warning Balancer");
    }

    /// Requests in a second on each, played for a while; then the counter of the second begins anew, for some samples.
    fn restarted(rates: [f64; 3], since: u32) -> String {
        let started = (Metric::StartTime, "", [LONG_AGO; 3]);
        let mut world = start();
        play(&mut world, 12, &[(Metric::Requests, "", rates), started]);
        for step in 0..since {
            world.wait(30);
            let on = |at: u8, value: f64| {
                let at = SampleSubject::Instance([192, 0, 2, at].into());
                (Metric::Requests, at, value)
            };
            let grown = |rate: f64| rate * 30.0 * f64::from(12 + step);
            let values = [
                on(1, grown(rates[0])),
                on(2, rates[1] * 30.0 * f64::from(step)),
                on(3, grown(rates[2])),
            ];
            world.measure(Observer::Prometheus, PageScope::Instances, &values);
            let started = [1, 2, 3].map(|at: u8| {
                (
                    Metric::StartTime,
                    SampleSubject::Instance([192, 0, 2, at].into()),
                    LONG_AGO,
                )
            });
            world.measure(Observer::Prometheus, PageScope::Instances, &started);
        }
        world.verdict(ID)
    }

    #[rstest]
    #[case::even([20.0, 22.0, 18.0], 1, "Unknown")]
    #[case::and_then_it_goes_on([20.0, 22.0, 18.0], 2, "Met")]
    #[case::the_hot_one_stays_named([60.0, 3.0, 3.0], 2, "Violated warning Balancer")]
    fn a_counter_that_begins_anew_hides_nothing_for_long(
        #[case] rates: [f64; 3],
        #[case] since: u32,
        #[case] expected: &str,
    ) {
        assert_eq!(restarted(rates, since), expected);
    }

    #[test]
    fn until_enough_is_seen_it_is_unknown() {
        let mut world = start();
        let started = (Metric::StartTime, "", [LONG_AGO; 3]);
        play(
            &mut world,
            5,
            &[(Metric::Requests, "", [60.0, 2.0, 2.0]), started],
        );
        assert_eq!(world.verdict(ID), "Unknown");
    }

    #[test]
    fn the_hot_one_is_named_within_five_minutes_and_never_to_be_restarted() {
        let mut world: World = start();
        let started = (Metric::StartTime, "", [LONG_AGO; 3]);
        play(
            &mut world,
            11,
            &[(Metric::Requests, "", [2.0, 60.0, 2.0]), started],
        );
        assert!(
            world.message(ID).contains("API server 192.0.2.2, of 3"),
            "{}",
            world.message(ID)
        );
        // New connections are not measured.
        assert!(
            world.message(ID).ends_with(", or one client is busy"),
            "{}",
            world.message(ID)
        );
        let advice = &world.findings(ID)[0].advice;
        assert!(
            advice.iter().any(|one| one.starts_with("do not restart")),
            "{advice:?}"
        );
    }
}
