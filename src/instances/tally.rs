//! Which API server each connection to the load balancer has reached, and the pages that are made of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_core::sample::{Metric, Metrics, Observer, PageScope, SampleSubject, Why};

use super::certificate::Certificate;
use crate::samples::{OwnedPage, OwnedSample};

/// What one connection to the load balancer brought.
pub(super) type Outcome = Result<Certificate, (Why, String)>;

/// The counts since it began.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The certificate of each API server, by its own address; none where it showed none.
    own: BTreeMap<IpAddr, Option<Certificate>>,
    reached: BTreeMap<IpAddr, u32>,
    last: Option<IpAddr>,
    /// How often it was another one than before.
    changes: u32,
    /// Why the last connection says nothing.
    gap: Option<(Why, String)>,
    /// Whether any connection since the last page has reached one.
    counted: bool,
}

impl Tally {
    /// The API servers as they are now, each with the certificate that it shows by its own address.
    pub(super) fn know(&mut self, own: BTreeMap<IpAddr, Option<Certificate>>) {
        self.reached.retain(|at, _| own.contains_key(at));
        for at in own.keys() {
            self.reached.entry(*at).or_default();
        }
        self.own = own;
    }

    /// Whether a certificate is that of an API server.
    pub(super) fn knows(&self, certificate: &Certificate) -> bool {
        self.own.values().flatten().any(|own| own == certificate)
    }

    /// Why certificates do not tell API servers apart; `None` where they do.
    fn shared(&self) -> Option<(Why, String)> {
        let mut seen: BTreeMap<&Certificate, IpAddr> = BTreeMap::new();
        for (at, certificate) in &self.own {
            let Some(certificate) = certificate else { continue };
            if let Some(other) = seen.insert(certificate, *at) {
                return Some((Why::SameCertificate, format!("{other}, {at}")));
            }
        }
        None
    }

    /// Takes what a connection brought.
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.gap = match (self.shared(), outcome) {
            (Some(shared), _) => Some(shared),
            (None, Err(why)) => Some(why),
            (None, Ok(certificate)) => self.reach(&certificate),
        };
    }

    /// Counts the API server that a certificate is of; or says why it is of none.
    fn reach(&mut self, certificate: &Certificate) -> Option<(Why, String)> {
        let own = self.own.iter();
        let found = own
            .filter(|(_, own)| own.as_ref() == Some(certificate))
            .map(|one| *one.0)
            .next();
        let Some(at) = found else {
            let silent = self.own.iter().find(|one| one.1.is_none());
            let detail = silent.map_or_else(String::new, |(at, _)| {
                format!("API server {at} shows none itself")
            });
            return Some((Why::OtherCertificate, detail));
        };
        *self.reached.entry(at).or_default() += 1;
        self.changes += u32::from(self.last.is_some_and(|last| last != at));
        self.last = Some(at);
        self.counted = true;
        None
    }

    /// What there is to say at this time, in milliseconds: one page of each API server's count, and one of the changes. Where
    /// no connection has reached any since the last pages, why.
    pub(super) fn pages(&mut self, now: i64) -> [OwnedPage; 2] {
        let counted = std::mem::take(&mut self.counted);
        let gap = self.gap.clone().filter(|_| !counted);
        let sample = |metric, subject, value: u32| OwnedSample {
            metric,
            subject,
            value: f64::from(value),
            at: now,
        };
        let of_each = self.reached.iter();
        let of_each = of_each
            .map(|(at, count)| sample(Metric::BalancerHandshakes, SampleSubject::Instance(*at), *count));
        let changes = [sample(
            Metric::BalancerChanges,
            SampleSubject::Cluster,
            self.changes,
        )];
        let page = |metric, scope, samples: Vec<OwnedSample>| OwnedPage {
            observer: Observer::LoadBalancer,
            metrics: Metrics::of(&[metric]),
            scope,
            asked: now,
            samples: if gap.is_some() { Vec::new() } else { samples },
            gap: gap.clone(),
        };
        [
            page(
                Metric::BalancerHandshakes,
                PageScope::Instances,
                of_each.collect(),
            ),
            page(Metric::BalancerChanges, PageScope::Cluster, changes.to_vec()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn certificate(of: &str) -> Certificate {
        of.as_bytes().to_vec()
    }

    fn tally(of: &[(IpAddr, &str)]) -> Tally {
        let mut tally = Tally::default();
        tally.know(
            of.iter()
                .map(|(at, text)| (*at, Some(certificate(text))))
                .collect(),
        );
        tally
    }

    fn values(page: &OwnedPage) -> Vec<f64> {
        page.samples.iter().map(|one| one.value).collect()
    }

    #[test]
    fn each_connection_counts_for_the_one_that_it_reached() {
        let mut tally = tally(&[(ONE, "a"), (TWO, "b")]);
        for text in ["a", "b", "b", "a"] {
            tally.add(Ok(certificate(text)));
        }
        let [handshakes, changes] = tally.pages(7);
        assert_eq!(
            (values(&handshakes), values(&changes)),
            (vec![2.0, 2.0], vec![2.0])
        );
        assert_eq!(handshakes.gap, None);
    }

    #[test]
    fn one_that_gets_nothing_is_zero_and_not_absent() {
        let mut tally = tally(&[(ONE, "a"), (TWO, "b")]);
        tally.add(Ok(certificate("a")));
        assert_eq!(values(&tally.pages(7)[0]), [1.0, 0.0]);
    }

    #[test]
    fn a_single_failure_hides_nothing_and_a_lasting_one_is_a_gap() {
        let mut tally = tally(&[(ONE, "a"), (TWO, "b")]);
        tally.add(Ok(certificate("a")));
        tally.add(Err((Why::TimedOut, String::new())));
        assert_eq!(tally.pages(7)[0].gap, None);
        tally.add(Err((Why::TimedOut, String::new())));
        let page = &tally.pages(8)[0];
        assert_eq!(page.gap.as_ref().map(|gap| gap.0), Some(Why::TimedOut));
        assert!(page.samples.is_empty());
    }

    #[test]
    fn certificates_that_are_shared_or_of_no_one_say_nothing() {
        let mut shared = tally(&[(ONE, "a"), (TWO, "a")]);
        shared.add(Ok(certificate("a")));
        let gap = shared.pages(7)[0].gap.clone();
        assert_eq!(
            gap,
            Some((Why::SameCertificate, "192.0.2.1, 192.0.2.2".to_owned()))
        );
        let mut other = tally(&[(ONE, "a"), (TWO, "b")]);
        assert!(!other.knows(&certificate("x")));
        other.add(Ok(certificate("x")));
        let gap = other.pages(7)[0].gap.clone();
        assert_eq!(gap.map(|gap| gap.0), Some(Why::OtherCertificate));
    }

    #[test]
    fn one_that_is_gone_is_forgotten() {
        let mut tally = tally(&[(ONE, "a"), (TWO, "b")]);
        tally.add(Ok(certificate("b")));
        tally.know(BTreeMap::from([(ONE, Some(certificate("a")))]));
        tally.add(Ok(certificate("a")));
        let page = &tally.pages(7)[0];
        assert_eq!((page.samples.len(), values(page)), (1, vec![1.0]));
    }
}
