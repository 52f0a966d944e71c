//! What people read of an uneven share that a setting asks for.

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};
use crate::know::{Unit, Val};

/// The settings that tie traffic to a place or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Law {
    ExternalLocal,
    /// The same where all traffic of an address enters at one node.
    OneNode,
    InternalLocal,
    SameNode,
    ZoneHints,
    ClientAffinity {
        seconds: u32,
    },
}

/// An uneven share that is to be expected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Skew {
    /// `namespace/name` of the Service.
    pub(super) service: String,
    pub(super) law: Law,
    /// The setting as it is written.
    pub(super) setting: Arc<str>,
    /// The largest share, in percent of the mean.
    pub(super) percent: u64,
    pub(super) backends: u64,
    /// Where it is, how many places have a backend, and how many backends are there.
    pub(super) place: Option<(Arc<str>, u64, u32)>,
}

impl Skew {
    /// What the number rests on.
    const fn assumption(&self) -> &'static str {
        match self.law {
            Law::ExternalLocal => "assuming that every node with a backend gets the same traffic",
            Law::OneNode => "assuming that one node gets all traffic of an address, as on layer 2",
            Law::InternalLocal | Law::SameNode | Law::ZoneHints => {
                "assuming that every node sends the same traffic"
            }
            Law::ClientAffinity { .. } => "assuming that all clients come from one address",
        }
    }
}

impl Explain for Skew {
    fn cause(&self) -> &'static str {
        match self.law {
            Law::ExternalLocal | Law::OneNode => "ExternalLocal",
            Law::InternalLocal => "InternalLocal",
            Law::SameNode => "SameNode",
            Law::ZoneHints => "ZoneHints",
            Law::ClientAffinity { .. } => "ClientAffinity",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, percent, all) = (&self.setting, self.percent, self.backends);
        match &self.place {
            Some((place, _, _)) => write!(
                f,
                "by {setting} a backend at {place} may get {percent} % of the mean share of {all} backends: as asked for, \
                 no fault"
            ),
            None => write!(
                f,
                "by {setting} one of {all} backends may get {percent} % of the mean share: as asked for, no fault"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let slices: Arc<str> = format!("EndpointSlices of {}", self.service).into();
        let service = format!("Service {}", self.service);
        let share = Val::assumed(i64::try_from(self.percent).unwrap_or(i64::MAX), self.assumption());
        let mut evidence = vec![
            Evidence::number("expectedShareOfMean", Unit::Percent, &share),
            Evidence::name("setting", &self.setting, service.as_str()),
            Evidence::count("backends", self.backends, slices.clone()),
        ];
        if let Some((place, places, there)) = &self.place {
            evidence.push(Evidence::count("places", *places, slices.clone()));
            evidence.push(Evidence::name("place", place, slices.clone()));
            evidence.push(Evidence::count("backendsThere", *there, slices));
        }
        if let Law::ClientAffinity { seconds } = self.law {
            evidence.push(Evidence::seconds(
                "affinity",
                &Val::declared(i64::from(seconds), service),
            ));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let then = match self.law {
            Law::ClientAffinity { .. } => {
                "see whether many clients share an address behind NAT or an ingress, and whether affinity is needed at all"
            }
            Law::ZoneHints => {
                "or spread the Pods over zones: topologySpreadConstraints with topologyKey topology.kubernetes.io/zone"
            }
            Law::OneNode => "or announce the addresses by BGP, which sends to every node with a backend",
            Law::ExternalLocal | Law::InternalLocal | Law::SameNode => {
                "or spread the Pods over nodes: topologySpreadConstraints with topologyKey kubernetes.io/hostname"
            }
        };
        vec![
            "nothing, if the setting is worth it: read the backends' load against these shares".into(),
            then.into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |law, setting: &str, place: Option<&str>| Skew {
        service: "shop/checkout".into(),
        law,
        setting: setting.into(),
        percent: 200,
        backends: 4,
        place: place.map(|place| (place.into(), 2, 1)),
    };
    let external = "externalTrafficPolicy: Local";
    [
        of(Law::ExternalLocal, external, Some("worker-4")),
        of(Law::OneNode, external, Some("worker-4")),
        of(
            Law::InternalLocal,
            "internalTrafficPolicy: Local",
            Some("worker-4"),
        ),
        of(
            Law::SameNode,
            "trafficDistribution: PreferSameNode",
            Some("worker-4"),
        ),
        of(
            Law::ZoneHints,
            "trafficDistribution: PreferSameZone",
            Some("eu-central-1a"),
        ),
        of(
            Law::ClientAffinity { seconds: 10_800 },
            "sessionAffinity: ClientIP",
            None,
        ),
    ]
    .map(Verdict::at_risk)
    .into()
}
