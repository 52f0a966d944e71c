//! Who may write: one replica at a time, for a term, until an instant.
//!
//! Every replica watches and judges; only the holder of the Lease writes. Two facts make that safe without trusting
//! any clock but our own monotonic one. The **term** is the resourceVersion of the write that acquired the Lease: it
//! only grows, whoever writes it. The **expiry** counts from *before* a renewal was sent, so it can only be too early,
//! and a [`Permit`] is given only when a whole request fits before it: a replica that was stopped for a minute wakes
//! up with an expired claim and writes nothing.
//!
//! A holder that cannot renew becomes a standby again; what it has learned stays. On shutdown the Lease is given back,
//! so that another replica need not wait for it to expire.

mod candidate;
#[cfg(test)]
mod requests;
mod task;

use std::time::Duration;

use tokio::time::Instant;

use crate::rights::{Place, Right};

pub use candidate::{Candidate, Seen, Step};
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

/// What taking turns needs.
pub const RIGHTS: &[Right] = &[Right {
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: &["create", "get", "update", "watch"],
    place: Place::Namespace(NAMESPACE),
    why: "one replica writes at a time",
}];

/// The right to write, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// resourceVersion of the write that acquired the Lease.
    pub term: u64,
    /// When it ends unless it is renewed, on our own monotonic clock.
    pub until: Instant,
}

impl Claim {
    /// Leave to send one request now: only while the request cannot outlive the claim.
    pub fn permit(&self, now: Instant) -> Option<Permit> {
        let by = now + REQUEST_TIMEOUT;
        (by < self.until).then_some(Permit { by })
    }
}

/// Leave to send one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    by: Instant,
}

impl Permit {
    /// When the request must have been answered; it is dropped then.
    pub const fn deadline(&self) -> Instant {
        self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_permit_never_outlives_the_claim() {
        let now = Instant::now();
        let claim = Claim {
            term: 7,
            until: now + DURATION,
        };
        assert_eq!(
            claim.permit(now).map(|permit| permit.deadline()),
            Some(now + REQUEST_TIMEOUT)
        );
        let last = claim.until - REQUEST_TIMEOUT - Duration::from_millis(1);
        assert!(claim.permit(last).is_some());
        assert!(claim.permit(claim.until - REQUEST_TIMEOUT).is_none());
        assert!(claim.permit(claim.until + Duration::from_secs(60)).is_none());
    }
}
