//! The decision of one replica about the Lease, as a state machine without IO.
//!
//! Another's claim is judged as client-go judges it (`k8s.io/client-go/tools/leaderelection`): by how long *we* have
//! seen the Lease unchanged, never by comparing its times with our clock.

use std::time::Duration;

use evenkeel_core::know::Mono;

use super::{Claim, DURATION, RENEW_EVERY, later};

/// What a Lease held when it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `spec.holderIdentity`; empty when it was given back.
    pub holder: String,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
    /// `spec.leaseTransitions`.
    pub transitions: i32,
    /// `spec.acquireTime`, microseconds since the epoch: kept on renewals.
    pub acquired: Option<i64>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the Lease: nothing is known of it, or what was known is in doubt.
    Read,
    /// Make the Lease: there is none.
    Create,
    /// Take it over from its last holder, if it is still of this version.
    Take(Observed),
    /// Renew our own, if it is still of this version.
    Renew(Observed),
    /// Nothing before this moment, unless the Lease changes.
    Wait(Mono),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LastSeen {
    Nothing,
    Absent,
    Lease { seen: Observed, since: Mono },
}

/// One replica that would hold the Lease.
#[derive(Debug, Clone)]
pub struct Candidate {
    me: String,
    known: LastSeen,
    term: Option<u64>,
    until: Option<Mono>,
    renew_at: Mono,
}

impl Candidate {
    /// A candidate of this identity, which no other process may ever have used.
    pub fn new(me: String, now: Mono) -> Self {
        Self {
            me,
            known: LastSeen::Nothing,
            term: None,
            until: None,
            renew_at: now,
        }
    }

    /// The identity.
    pub fn identity(&self) -> &str {
        &self.me
    }

    /// The Lease, as last seen.
    pub fn seen(&self) -> Option<&Observed> {
        match &self.known {
            LastSeen::Lease { seen, .. } => Some(seen),
            LastSeen::Nothing | LastSeen::Absent => None,
        }
    }

    /// The resourceVersion last seen; empty when there is none.
    pub fn version(&self) -> &str {
        self.seen().map_or("", |seen| &seen.version)
    }

    /// The claim, while there is one.
    pub fn claim(&self, now: Mono) -> Option<Claim> {
        let (term, until) = (self.term?, self.until?);
        (now < until).then_some(Claim { term, until })
    }

    /// The Lease as it was just read or watched; `None` when it does not exist.
    pub fn see(&mut self, now: Mono, lease: Option<Observed>) {
        let Some(seen) = lease else {
            self.known = LastSeen::Absent;
            self.drop_claim();
            return;
        };
        if seen.holder != self.me {
            self.drop_claim();
        }
        match &self.known {
            // Unchanged: its age goes on.
            LastSeen::Lease { seen: before, .. } if before.version == seen.version => {}
            _ => self.known = LastSeen::Lease { seen, since: now },
        }
    }

    /// A write of ours was answered: the Lease is ours as of `sent`, when the request had not left yet.
    pub fn wrote(&mut self, sent: Mono, now: Mono, seen: Observed) {
        let version = seen.version.parse().unwrap_or(0);
        self.term = self.term.or(Some(version));
        self.until = Some(later(sent, DURATION));
        self.renew_at = later(sent, RENEW_EVERY);
        self.known = LastSeen::Lease { seen, since: now };
    }

    /// A write of ours was refused because the Lease is not what we thought, or its answer was lost.
    pub fn doubt(&mut self) {
        self.known = LastSeen::Nothing;
    }

    fn drop_claim(&mut self) {
        self.term = None;
        self.until = None;
    }

    /// What to do now.
    pub fn step(&mut self, now: Mono) -> Step {
        if self.until.is_some_and(|until| until <= now) {
            // Expired: a later claim of ours is a new term, even if it was not taken by another.
            self.drop_claim();
        }
        match &self.known {
            LastSeen::Nothing => Step::Read,
            LastSeen::Absent => Step::Create,
            LastSeen::Lease { seen, .. } if seen.holder == self.me && self.term.is_some() => {
                if self.renew_at <= now {
                    Step::Renew(seen.clone())
                } else {
                    Step::Wait(self.renew_at)
                }
            }
            LastSeen::Lease { seen, since } => {
                let free = seen.holder.is_empty() || seen.holder == self.me;
                let expires = later(*since, seen.duration);
                if free || expires <= now {
                    Step::Take(seen.clone())
                } else {
                    Step::Wait(expires)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono(1_000_000);

    /// So many seconds after the beginning.
    fn at(seconds: u64) -> Mono {
        NOW.plus(seconds * 1000)
    }

    fn lease(version: u64, holder: &str) -> Observed {
        Observed {
            version: version.to_string(),
            holder: holder.into(),
            duration: DURATION,
            ..Observed::default()
        }
    }

    fn start() -> (Candidate, Mono) {
        (Candidate::new("me".into(), NOW), NOW)
    }

    #[test]
    fn reads_before_it_writes_and_makes_what_is_absent() {
        let (mut candidate, now) = start();
        assert_eq!(candidate.step(now), Step::Read);
        candidate.see(now, None);
        assert_eq!(candidate.step(now), Step::Create);
        candidate.wrote(now, at(1), lease(5, "me"));
        let claim = candidate.claim(at(1)).expect("a claim");
        assert_eq!((claim.term, claim.until), (5, later(now, DURATION)));
        assert_eq!(candidate.step(at(1)), Step::Wait(later(now, RENEW_EVERY)));
    }

    #[test]
    fn a_renewal_keeps_the_term_and_moves_the_end() {
        let (mut candidate, now) = start();
        candidate.wrote(now, now, lease(5, "me"));
        let then = later(now, RENEW_EVERY);
        assert_eq!(candidate.step(then), Step::Renew(lease(5, "me")));
        candidate.wrote(then, then, lease(9, "me"));
        let claim = candidate.claim(then).expect("a claim");
        assert_eq!((claim.term, claim.until), (5, later(then, DURATION)));
    }

    #[test]
    fn anothers_claim_is_waited_for_from_when_it_was_seen_to_change() {
        let (mut candidate, now) = start();
        candidate.see(now, Some(lease(5, "other")));
        assert_eq!(candidate.step(now), Step::Wait(later(now, DURATION)));
        // Seen again unchanged: its age goes on.
        candidate.see(at(9), Some(lease(5, "other")));
        assert_eq!(candidate.step(at(9)), Step::Wait(later(now, DURATION)));
        // Renewed: it starts anew.
        candidate.see(at(10), Some(lease(6, "other")));
        assert_eq!(
            candidate.step(later(now, DURATION)),
            Step::Wait(later(at(10), DURATION))
        );
        let end = later(at(10), DURATION);
        assert_eq!(candidate.step(end), Step::Take(lease(6, "other")));
    }

    #[test]
    fn what_is_given_back_is_taken_at_once() {
        let (mut candidate, now) = start();
        candidate.see(now, Some(lease(5, "")));
        assert_eq!(candidate.step(now), Step::Take(lease(5, "")));
    }

    #[test]
    fn an_expired_claim_starts_a_new_term_even_when_no_other_took_it() {
        let (mut candidate, now) = start();
        candidate.wrote(now, now, lease(5, "me"));
        let late = at(60);
        assert_eq!(candidate.claim(late), None);
        assert_eq!(candidate.step(late), Step::Take(lease(5, "me")));
        candidate.wrote(late, late, lease(8, "me"));
        assert_eq!(candidate.claim(late).map(|claim| claim.term), Some(8));
    }

    #[test]
    fn a_lost_race_is_read_again_and_drops_the_claim() {
        let (mut candidate, now) = start();
        candidate.wrote(now, now, lease(5, "me"));
        candidate.doubt();
        assert_eq!(candidate.step(now), Step::Read);
        // The claim lives on until the Lease is seen to be another's.
        assert!(candidate.claim(now).is_some());
        candidate.see(now, Some(lease(6, "other")));
        assert_eq!(candidate.claim(now), None);
        assert_eq!(candidate.seen().map(|seen| &*seen.holder), Some("other"));
    }

    #[test]
    fn a_deleted_lease_ends_the_claim() {
        let (mut candidate, now) = start();
        candidate.wrote(now, now, lease(5, "me"));
        candidate.see(now, None);
        assert_eq!(candidate.claim(now), None);
        assert_eq!(candidate.step(now), Step::Create);
    }
}
