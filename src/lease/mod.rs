//! Who may write: one replica at a time, for a term, until an instant.
//!
//! Every replica watches and judges; only the holder of the Lease writes. Three facts make that safe without trusting the
//! clock of any other machine. The **term** is the resourceVersion of the write that acquired the Lease: it only grows,
//! whichever replica writes it. The **expiry** counts from *before* a renewal was sent, so it can only be too early, and a
//! [`Permit`] is given only when a whole exchange fits before it; time spent in suspension counts ([`crate::clock::Clock`]), so a replica that was
//! stopped or suspended for a minute goes on with an expired claim and writes nothing. A virtual machine that is paused sees
//! no clock move: therefore every request has a **precondition** too (`send::Precondition`), and one that leaves late changes
//! nothing that another client has written since.
//!
//! A holder that cannot renew becomes a standby again; what it has learned stays. On shutdown the Lease is given back after
//! the last request has ended, so that another replica need not wait for it to expire.

mod candidate;
#[cfg(test)]
mod requests;
mod task;

use std::time::Duration;

use evenkeel_core::know::Mono;

use crate::rights::{Right, RightScope};

pub use candidate::{Candidate, Observed, Step};
pub use task::{Options, STATE, hold};

/// How long a claim lasts without renewal. 15 s, as Kubernetes' own components take
/// (`k8s.io/component-base/config/v1alpha1/defaults.go`, `LeaseDuration`).
pub const DURATION: Duration = Duration::from_secs(15);

/// How often the holder renews: two renewals may be lost before the claim is.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);

/// How long one writing request may take, from its permit to its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The namespace that the operator is installed in by our manifests.
pub const NAMESPACE: &str = "evenkeel-system";

/// What leader election needs.
pub const RIGHTS: &[Right] = &[Right {
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: &["create", "get", "update", "watch"],
    scope: RightScope::Namespace(NAMESPACE),
    why: "one replica writes at a time",
}];

/// The right to write, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// resourceVersion of the write that acquired the Lease.
    pub term: u64,
    /// When it ends unless it is renewed.
    pub until: Mono,
}

impl Claim {
    /// Whether it has not ended.
    pub fn is_live(&self, now: Mono) -> bool {
        now < self.until
    }

    /// Leave to send one request now: only while its exchange cannot outlive the claim.
    pub fn permit(&self, now: Mono) -> Option<Permit> {
        let by = later(now, REQUEST_TIMEOUT);
        (by < self.until).then_some(Permit { term: self.term, by })
    }
}

/// Leave to send one request, in one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    term: u64,
    by: Mono,
}

impl Permit {
    /// The term that it was given in.
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// When the whole exchange must have ended, the body of the answer included.
    pub const fn by(&self) -> Mono {
        self.by
    }
}

/// A moment so much later.
fn later(at: Mono, by: Duration) -> Mono {
    at.plus(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_never_outlives_the_claim_and_carries_its_term() {
        let now = Mono(1_000_000);
        let claim = Claim {
            term: 7,
            until: later(now, DURATION),
        };
        let permit = claim.permit(now).expect("a permit");
        assert_eq!((permit.term(), permit.by()), (7, later(now, REQUEST_TIMEOUT)));
        let last = Mono(claim.until.0 - 5001);
        assert!(claim.permit(last).is_some());
        assert!(claim.permit(last.plus(1)).is_none() && claim.is_live(last.plus(1)));
        assert!(claim.permit(later(claim.until, DURATION)).is_none() && !claim.is_live(claim.until));
    }
}
