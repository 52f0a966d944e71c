//! `cp-etcd-pinned`: the API servers use all members of etcd.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::servers::{on_each, servers};
use crate::dataplane::api_server::{PROGRAM, etcd_servers};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Severity, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit};
use crate::sample::{Metric, Metrics, whole};

/// Over so many seconds shares are compared.
const WINDOW: f64 = 300.0;
/// So many of them must lie between the first and the last sample.
const SEEN: f64 = 180.0;
/// With fewer reads in a second, all together, a few decide.
const FEWEST: f64 = 5.0;
/// A member with more than so many times an equal share has too much...
const HOT: f64 = 2.0;
/// ...where each other one has less than this part of it.
const COLD: f64 = 0.5;

/// The check.
pub static CHECK: Check = Check {
    id: "cp-etcd-pinned",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::EndpointSlices]),
    uses: Reads::of(&[Source::Pods]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::EtcdRanges]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
The API servers use all members of etcd.

An API server that knows one member of etcd is lost with it, and members that none reads from are no help: one machine carries
all reads, and etcd as a whole is no faster than it.

## Formula

`--etcd-servers` of each Pod of a kube-apiserver names its members; `share` is a member's part of all Range calls over 300 s,
`m` the number of members. Writes go to the leader by design and are not counted.

- Each API server names one member, another one or the one on its own machine: AtRisk, info, `PinnedByConfiguration`. kubeadm
  does so.
- `share > 2 / m` for one, and `share < 0.5 / m` for each of the others, of three members or more: Violated, `Pinned`.
- One API server, one address of etcd for all of them, or fewer than 5 Range calls in a second: not applicable.
- No Pod of a kube-apiserver to be seen (as on managed control planes), members that are not on the machines of API servers, or
  one that is not measured: Unknown.

It is measured by `grpc_server_started_total` of etcd (`grpc_method=\"Range\"`), which Prometheus has to scrape of each
member (`--listen-metrics-urls`).

## What to do

1. PinnedByConfiguration: nothing, if an API server may go with its member. Else name all members in `--etcd-servers`.
2. Pinned: see the health of the members that get nothing, and the version of the API servers: clients before Kubernetes 1.17
   stay with the first member that answers.

## What not to do

Do not restart the member that gets the reads: they all go to the next one, and an election comes on top.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let servers = servers(look)?;
    if servers.len() < 2 {
        return Ok(Verdict::NotApplicable("there is only one API server"));
    }
    let named = named(look)?;
    let members = members(&named);
    if named.iter().all(|one| one.len() == 1) {
        return Ok(
            if members.len() == 1 && members.iter().all(|one| !is_loopback(one)) {
                Verdict::NotApplicable("all API servers have one address of etcd")
            } else {
                Verdict::at_risk(EtcdPinned::ByConfiguration {
                    apiservers: named.len(),
                })
            },
        );
    }
    measured(look, &servers, &members)
}

/// The members that each API server names.
fn named(look: &Look<'_>) -> Known<Vec<Vec<Arc<str>>>> {
    let names = look.names();
    let mut all = Vec::new();
    for (_, pod) in look.components()?.filter(|one| !one.1.ended) {
        let mut containers = pod.template.containers.iter();
        let Some(container) = containers.find(|one| names.text(one.name) == PROGRAM) else {
            continue;
        };
        if let Some(servers) = etcd_servers(&container.command(names))? {
            all.push(servers);
        }
    }
    if all.is_empty() {
        let why = "no Pod of a kube-apiserver with --etcd-servers is to be seen";
        return Err(Gap::Opaque(why.into()));
    }
    all.sort_unstable();
    Ok(all)
}

/// All members that any of them names.
fn members(named: &[Vec<Arc<str>>]) -> Vec<Arc<str>> {
    let mut members: Vec<Arc<str>> = named.iter().flatten().cloned().collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// The host of a URL such as `https://192.0.2.1:2379`.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |parts| parts.1);
    let host = rest.rsplit_once(':').map_or(rest, |parts| parts.0);
    host.trim_matches(['[', ']'])
}

fn is_loopback(url: &str) -> bool {
    let address: Result<IpAddr, _> = host(url).parse();
    host(url) == "localhost" || address.is_ok_and(|at| at.is_loopback())
}

/// Judges by what each member is asked.
fn measured(look: &Look<'_>, servers: &[IpAddr], members: &[Arc<str>]) -> Known<Verdict> {
    let beside = |url: &Arc<str>| {
        let address: Result<IpAddr, _> = host(url).parse();
        is_loopback(url) || address.is_ok_and(|at| servers.contains(&at))
    };
    if let Some(far) = members.iter().find(|url| !beside(url)) {
        let why =
            format!("members of etcd such as {far} are not on the machines of API servers, and not measured");
        return Err(Gap::Opaque(why.into()));
    }
    let ranges = on_each(look, Metric::EtcdRanges, servers)?;
    if ranges.iter().any(|one| one.1.span() < SEEN) {
        return Err(Gap::TooFewSamples(Metric::EtcdRanges.name().into()));
    }
    let rates: Vec<(IpAddr, f64)> = ranges.iter().map(|(at, one)| (*at, one.mean(WINDOW))).collect();
    let total: f64 = rates.iter().map(|one| one.1).sum();
    if total < FEWEST {
        return Ok(Verdict::NotApplicable("too few reads of etcd to compare"));
    }
    let m = f64::from(u32::try_from(rates.len()).unwrap_or(u32::MAX));
    let Some(hot) = rates.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Ok(Verdict::Met);
    };
    let cold = rates.iter().filter(|one| one.0 != hot.0);
    let pinned = hot.1 / total * m > HOT && cold.clone().all(|one| one.1 / total * m < COLD);
    if !pinned {
        return Ok(Verdict::Met);
    }
    Ok(Verdict::violated(EtcdPinned::Measured {
        member: hot.0.to_string().into(),
        percent: whole(hot.1 / total * 100.0) / 5 * 5,
        members: rates.len(),
        source: ranges.first().map_or_else(|| "".into(), |one| one.1.source()),
    }))
}

/// API servers that do not use all members.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum EtcdPinned {
    /// Each of them names one.
    ByConfiguration { apiservers: usize },
    /// One gets the reads.
    Measured {
        member: Arc<str>,
        /// Its share, rounded down to a multiple of five: each sample would bring another number.
        percent: u32,
        members: usize,
        source: Arc<str>,
    },
}

impl Explain for EtcdPinned {
    fn cause(&self) -> &'static str {
        match self {
            Self::ByConfiguration { .. } => "PinnedByConfiguration",
            Self::Measured { .. } => "Pinned",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByConfiguration { apiservers } => write!(
                f,
                "each of {apiservers} API servers names one member of etcd in --etcd-servers, and is lost with it"
            ),
            Self::Measured {
                member,
                percent,
                members,
                ..
            } => write!(
                f,
                "the member of etcd at {member}, one of {members}, gets at least {percent} % of all reads"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        match self {
            Self::ByConfiguration { apiservers } => {
                vec![Evidence::count(
                    "apiServers",
                    *apiservers,
                    "Pods of kube-apiserver, --etcd-servers",
                )]
            }
            Self::Measured {
                percent,
                members,
                source,
                ..
            } => vec![
                Evidence::watched("share", Unit::Percent, *percent, source.clone()),
                Evidence::count("members", *members, "Pods of kube-apiserver, --etcd-servers"),
                Evidence::watched("window", Unit::Seconds, 300, source.clone()),
            ],
        }
    }

    fn advice(&self) -> Vec<Advice> {
        match self {
            Self::ByConfiguration { .. } => vec![
                "nothing, if an API server may go with its member of etcd; else name all members in --etcd-servers".into(),
            ],
            Self::Measured { member, .. } => vec![
                "see whether the other members are healthy: etcdctl endpoint status --cluster".into(),
                "see the version of the API servers: before 1.17 they stay with the first member that answers".into(),
                format!("do not restart the member at {member}: all reads go to the next one").into(),
            ],
        }
    }

    fn at_most(&self) -> Severity {
        match self {
            Self::ByConfiguration { .. } => Severity::Info,
            Self::Measured { .. } => Severity::Warning,
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
fn examples() -> Vec<Verdict> {
    vec![
        Verdict::at_risk(EtcdPinned::ByConfiguration { apiservers: 3 }),
        Verdict::violated(EtcdPinned::Measured {
            member: "192.0.2.1".into(),
            percent: 95,
            members: 3,
            source: "Prometheus, etcdRanges".into(),
        }),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::checks::control_plane::servers::world::{play, start};

    const ID: &str = "cp-etcd-pinned";
    const ALL: &str = "https://192.0.2.1:2379,https://192.0.2.2:2379,https://192.0.2.3:2379";

    fn api_server(at: usize, etcd: &str) -> Value {
        json!({
            "metadata": {"name": format!("kube-apiserver-m{at}"), "namespace": "kube-system",
                "labels": {"component": "kube-apiserver"}},
            "spec": {"nodeName": format!("m{at}"), "containers": [{"name": "kube-apiserver",
                "command": ["kube-apiserver", format!("--etcd-servers={etcd}")]}]},
            "status": {"phase": "Running"},
        })
    }

    fn says(etcd: [&str; 3], ranges: Option<[f64; 3]>) -> String {
        let mut world = start();
        for (at, etcd) in etcd.into_iter().enumerate() {
            world.put(Source::Pods, &api_server(at, etcd));
        }
        let played = ranges.map(|rates| (Metric::EtcdRanges, "", rates));
        play(&mut world, 12, played.as_slice());
        world.verdict(ID)
    }

    const OWN: &str = "https://127.0.0.1:2379";

    #[rstest]
    #[case::kubeadm([OWN; 3], None, "AtRisk info PinnedByConfiguration")]
    #[case::one_of_each(["https://192.0.2.1:2379", "https://192.0.2.2:2379", "https://192.0.2.3:2379"], None,
        "AtRisk info PinnedByConfiguration")]
    #[case::one_for_all(["https://etcd.example.com:2379"; 3], None, "NotApplicable")]
    #[case::shared([ALL; 3], Some([20.0, 25.0, 15.0]), "Met")]
    #[case::the_leader_has_more([ALL; 3], Some([40.0, 10.0, 12.0]), "Met")]
    #[case::pinned([ALL; 3], Some([60.0, 1.0, 0.0]), "Violated warning Pinned")]
    #[case::one_of_the_others_has_some([ALL; 3], Some([60.0, 12.0, 0.0]), "Met")]
    #[case::quiet([ALL; 3], Some([1.0, 0.0, 0.0]), "NotApplicable")]
    #[case::one_not_measured([ALL; 3], Some([60.0, 1.0, f64::NAN]), "Unknown unknown")]
    #[case::not_measured([ALL; 3], None, "Unknown unknown")]
    #[case::elsewhere(["https://192.0.2.1:2379,https://198.51.100.7:2379"; 3], Some([60.0, 1.0, 0.0]), "Unknown unknown")]
    fn members_are_used(#[case] etcd: [&str; 3], #[case] ranges: Option<[f64; 3]>, #[case] expected: &str) {
        assert_eq!(says(etcd, ranges), expected);
    }

    #[test]
    fn flags_that_are_not_to_be_seen_are_unknown() {
        let mut world = start();
        play(&mut world, 12, &[(Metric::EtcdRanges, "", [60.0, 1.0, 0.0])]);
        assert_eq!(
            world.message(ID),
            "cannot be judged: no Pod of a kube-apiserver with --etcd-servers is to be seen"
        );
    }
}
