//! What people read of cluster DNS that is short of Pods.

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain, Severity};
use crate::know::{Unit, Val};

/// From what share on missing Pods are a warning: one over this.
const MANY: u64 = 10;

/// How cluster DNS is short of what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DnsShortage {
    /// Where the ready ones were counted.
    pub(super) counted: Arc<str>,
    /// What they were counted of, for advice: the Service or the Deployments.
    pub(super) of: String,
    pub(super) ready: u64,
    pub(super) wanted: u64,
    pub(super) why: DnsCause,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum DnsCause {
    NoneReady,
    /// So many Pods are ready, and the Service has no endpoint.
    NoEndpoints {
        pods: usize,
    },
    FewLeft,
    OneReplica,
    NotAllReady,
    OneNode {
        node: Arc<str>,
        there: u64,
    },
    SingleNode,
    /// The largest Pod holds so much of its limit in MiB.
    LittleMemory {
        percent: u32,
        limit: u32,
    },
}

impl Explain for DnsShortage {
    fn cause(&self) -> &'static str {
        match self.why {
            DnsCause::NoneReady => "NoneReady",
            DnsCause::NoEndpoints { .. } => "NoEndpoints",
            DnsCause::FewLeft => "FewLeft",
            DnsCause::OneReplica => "OneReplica",
            DnsCause::NotAllReady => "NotAllReady",
            DnsCause::OneNode { .. } => "OneNode",
            DnsCause::SingleNode => "SingleNode",
            DnsCause::LittleMemory { .. } => "LittleMemory",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ready, wanted) = (self.ready, self.wanted);
        match &self.why {
            DnsCause::NoneReady => write!(
                f,
                "no lookup is answered: of {wanted} Pods of cluster DNS none is ready"
            ),
            DnsCause::NoEndpoints { pods } => write!(
                f,
                "no lookup is answered: {pods} Pods of cluster DNS are ready, but its Service has no ready endpoint"
            ),
            DnsCause::FewLeft => write!(
                f,
                "only {ready} of {wanted} Pods of cluster DNS are ready: each carries {} times its load",
                wanted / ready.max(1)
            ),
            DnsCause::OneReplica => {
                f.write_str("cluster DNS runs with 1 replica: whenever that Pod goes, lookups fail")
            }
            DnsCause::NotAllReady => write!(
                f,
                "{ready} of {wanted} Pods of cluster DNS are ready; they carry the load of the others"
            ),
            DnsCause::OneNode { node, there } => write!(
                f,
                "{there} of {ready} ready Pods of cluster DNS are on node {node}: its loss takes DNS along"
            ),
            DnsCause::LittleMemory { percent, limit } => write!(
                f,
                "a Pod of cluster DNS holds at least {percent} % of its {limit} MiB: with one Pod less and twice the load it is killed"
            ),
            DnsCause::SingleNode => {
                f.write_str("the cluster has one node: its loss takes cluster DNS and everything else along")
            }
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = vec![
            Evidence::count("ready", self.ready, self.counted.clone()),
            Evidence::count(
                "wanted",
                self.wanted,
                format!("endpoints and replicas of {}", self.of),
            ),
        ];
        match &self.why {
            DnsCause::NoEndpoints { pods } => {
                evidence.push(Evidence::count("readyPods", *pods, "Pods of cluster DNS"));
            }
            DnsCause::OneNode { node, there } => {
                evidence.push(Evidence::name("node", node, self.counted.clone()));
                evidence.push(Evidence::count("readyThere", *there, self.counted.clone()));
            }
            DnsCause::SingleNode => evidence.push(Evidence::count("nodes", 1, "Nodes")),
            DnsCause::LittleMemory { percent, limit } => {
                evidence.push(Evidence::watched(
                    "memory",
                    Unit::Percent,
                    *percent,
                    "Prometheus, dnsMemory",
                ));
                let limit = Val::declared(i64::from(*limit) << 20, "resources.limits.memory of CoreDNS");
                evidence.push(Evidence::number("limit", Unit::Bytes, &limit));
            }
            DnsCause::NoneReady | DnsCause::FewLeft | DnsCause::OneReplica | DnsCause::NotAllReady => {}
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        match self.why {
            DnsCause::NoneReady | DnsCause::NotAllReady | DnsCause::FewLeft => {
                let of = &self.of;
                let why = format!("see why Pods of {of} are not ready: events, memory limit, readiness probe");
                let mut advice = vec![why.into()];
                if self.why != DnsCause::NoneReady {
                    advice.push("leave the ready ones alone: their caches keep clients alive".into());
                }
                advice
            }
            DnsCause::NoEndpoints { .. } => vec![
                format!("compare the selector of {} with the labels of its Pods", self.of).into(),
                "leave the Pods alone: they are well".into(),
            ],
            DnsCause::LittleMemory { .. } => vec![
                "raise the memory limit of CoreDNS, or add a replica, at a quiet hour".into(),
                "do not restart its Pods under load: their caches keep clients alive".into(),
            ],
            DnsCause::OneReplica => vec!["scale cluster DNS to two replicas or more, on different nodes".into()],
            DnsCause::OneNode { .. } => vec![
                "let one Pod of cluster DNS move: a rollout restart with anti-affinity by node, at a quiet hour".into(),
            ],
            DnsCause::SingleNode => vec!["nothing, if one node is what is meant; else add a second one".into()],
        }
    }

    fn at_most(&self) -> Severity {
        match self.why {
            DnsCause::OneNode { .. } | DnsCause::SingleNode => Severity::Info,
            DnsCause::NotAllReady if (self.wanted - self.ready).saturating_mul(MANY) < self.wanted => {
                Severity::Info
            }
            _ => Severity::Critical,
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |ready, wanted, why| DnsShortage {
        counted: "EndpointSlices of kube-system/kube-dns".into(),
        of: "Service kube-system/kube-dns".into(),
        ready,
        wanted,
        why,
    };
    let one_node = DnsCause::OneNode {
        node: "worker-4".into(),
        there: 2,
    };
    vec![
        Verdict::violated(of(0, 2, DnsCause::NoneReady)),
        Verdict::violated(of(0, 2, DnsCause::NoEndpoints { pods: 2 })),
        Verdict::violated(of(1, 10, DnsCause::FewLeft)),
        Verdict::at_risk(of(1, 1, DnsCause::OneReplica)),
        Verdict::at_risk(of(1, 2, DnsCause::NotAllReady)),
        Verdict::at_risk(of(119, 120, DnsCause::NotAllReady)),
        Verdict::at_risk(of(2, 2, one_node)),
        Verdict::at_risk(of(1, 1, DnsCause::SingleNode)),
        Verdict::at_risk(of(
            2,
            2,
            DnsCause::LittleMemory {
                percent: 40,
                limit: 170,
            },
        )),
    ]
}
