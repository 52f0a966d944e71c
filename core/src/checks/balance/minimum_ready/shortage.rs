//! What people read of too few backends.

use std::fmt;
use std::sync::Arc;

use crate::checks::balance::{Domain, of_ports};
#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};
use crate::know::{Unit, Val};

/// Fewer backends than the policy asks for, now or after a loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BackendShortage {
    /// `namespace/name` of the Service.
    pub(super) service: String,
    /// `namespace/name` of the policy.
    pub(super) policy: String,
    /// Ports with the fewest backends; empty where all ports have the same.
    pub(super) ports: Vec<u16>,
    pub(super) ready: u32,
    pub(super) minimum: u32,
    pub(super) why: ShortfallCause,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ShortfallCause {
    /// There are too few.
    TooFew,
    /// There are too few, and so many are starting that would be enough, each for at most so many seconds yet.
    Starting { count: u32, grace_seconds: u32 },
    /// There are too few, and with so many that are starting, and the successors of so many that went in a rollout, there
    /// will be enough.
    Replacing { starting: u32, went: u32 },
    /// There would be too few without a place that holds so many.
    Loss { of: Domain, name: Arc<str>, there: u32 },
}

impl Explain for BackendShortage {
    fn cause(&self) -> &'static str {
        match self.why {
            ShortfallCause::TooFew => "TooFewReady",
            ShortfallCause::Starting { .. } => "Starting",
            ShortfallCause::Replacing { .. } => "Replacing",
            ShortfallCause::Loss { of: Domain::Node, .. } => "NodeLossGoesBelow",
            ShortfallCause::Loss { of: Domain::Zone, .. } => "ZoneLossGoesBelow",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ready, minimum, ports) = (self.ready, self.minimum, of_ports(&self.ports));
        match &self.why {
            ShortfallCause::TooFew => write!(
                f,
                "ready backends{ports}: {ready}; the policy asks for at least {minimum}"
            ),
            ShortfallCause::Starting { count, grace_seconds } => write!(
                f,
                "ready backends{ports}: {ready} of at least {minimum}; {count} more have been starting for less than \
                 {grace_seconds} s"
            ),
            ShortfallCause::Replacing { starting, went } => write!(
                f,
                "ready backends{ports}: {ready} of at least {minimum}; in a rollout {went} went a moment ago, and \
                 {starting} are starting"
            ),
            ShortfallCause::Loss { of, name, there } => write!(
                f,
                "without {} {name} only {} of {ready} ready backends{ports} would be left; the policy asks for at \
                 least {minimum}",
                of.word(),
                ready.saturating_sub(*there),
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let slices: Arc<str> = format!("EndpointSlices of {}", self.service).into();
        let field = |name| format!("policy {} balance.{name}", self.policy);
        let mut evidence: Vec<Evidence> = self
            .ports
            .iter()
            .map(|port| Evidence::count("port", *port, format!("Service {}", self.service)))
            .collect();
        evidence.push(Evidence::count("readyBackends", self.ready, slices.clone()));
        evidence.push(Evidence::count(
            "minimumReadyBackends",
            self.minimum,
            field("minimumReadyBackends"),
        ));
        match &self.why {
            ShortfallCause::TooFew => {}
            ShortfallCause::Starting { count, grace_seconds } => {
                evidence.push(Evidence::watched(
                    "starting",
                    Unit::Count,
                    *count,
                    "EndpointSlices, as watched",
                ));
                evidence.push(Evidence::seconds(
                    "newcomerGraceSeconds",
                    &Val::declared(i64::from(*grace_seconds), field("newcomerGraceSeconds")),
                ));
            }
            ShortfallCause::Replacing { starting, went } => {
                for (what, count) in [("starting", starting), ("went", went)] {
                    let place = "EndpointSlices, as watched";
                    evidence.push(Evidence::watched(what, Unit::Count, *count, place));
                }
            }
            ShortfallCause::Loss { name, there, .. } => {
                evidence.push(Evidence::name("place", name, slices.clone()));
                evidence.push(Evidence::count("backendsThere", *there, slices.clone()));
                evidence.push(Evidence::count("left", self.ready.saturating_sub(*there), slices));
            }
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        match self.why {
            ShortfallCause::TooFew => vec![
                "see which Pods of the Service are not ready, and why, before anything is recycled".into(),
                format!("then raise the replicas to {} or more", self.minimum).into(),
            ],
            ShortfallCause::Starting { grace_seconds, .. } => vec![
                format!("wait for the new Pods; after {grace_seconds} s this is critical").into(),
                "let rollouts keep the minimum: maxUnavailable 0 and maxSurge 1".into(),
            ],
            ShortfallCause::Replacing { .. } => vec![
                "wait for the rollout's next Pods; without them this is critical within 30 s".into(),
                "let rollouts keep the minimum: maxUnavailable 0 and maxSurge 1".into(),
            ],
            ShortfallCause::Loss { of, .. } => vec![
                format!(
                    "spread the Pods over {}s: topologySpreadConstraints with topologyKey {}",
                    of.word(),
                    of.topology_key()
                )
                .into(),
                "or raise the replicas".into(),
            ],
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |ports: &[u16], ready, minimum, why| BackendShortage {
        service: "shop/checkout".into(),
        policy: "shop/checkout".into(),
        ports: ports.to_vec(),
        ready,
        minimum,
        why,
    };
    let loss = |of, name: &str| ShortfallCause::Loss {
        of,
        name: name.into(),
        there: 2,
    };
    let starting = ShortfallCause::Starting {
        count: 1,
        grace_seconds: 600,
    };
    vec![
        Verdict::violated(of(&[], 0, 3, ShortfallCause::TooFew)),
        Verdict::violated(of(&[9090, 80], 1, 3, ShortfallCause::TooFew)),
        Verdict::at_risk(of(&[8443], 2, 3, starting)),
        Verdict::at_risk(of(&[], 2, 3, ShortfallCause::Replacing { starting: 0, went: 1 })),
        Verdict::at_risk(of(&[], 3, 2, loss(Domain::Node, "worker-4"))),
        Verdict::at_risk(of(&[], 3, 2, loss(Domain::Zone, "eu-central-1a"))),
    ]
}
