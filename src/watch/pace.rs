//! How long things may take, and how fast they may follow each other.

use std::time::Duration;

/// Server time limit of watches that evidence rests on: a bookmark comes two seconds before its end
/// (`k8s.io/apiserver`, `storage/cacher/cache_watcher.go`), so that even a cluster at rest proves itself every 10 s.
pub(super) const SHORT: Duration = Duration::from_secs(10);
/// Server time limit of watches that critical findings rest on without being evidence themselves: their bookmark comes two
/// seconds before the end, sooner than the server's own of one a minute.
pub(super) const MINUTE: Duration = Duration::from_secs(50);
/// How much longer than its limit such a watch may be silent, for a slow answer.
pub(super) const SLACK: Duration = Duration::from_secs(10);
/// Server time limit of other watches, and of first lists as streams: just below the 5 minutes that etcd keeps history
/// (`kube-apiserver --etcd-compaction-interval`).
pub(super) const LONG: Duration = Duration::from_secs(290);
/// Server time limit of the first watch after a break: its bookmark comes within two seconds.
pub(super) const PROBE: Duration = Duration::from_secs(3);
/// How long headers may take, connecting included.
pub(super) const HEADERS: Duration = Duration::from_secs(5);
/// How long a first list may be silent between lines, and a page may take.
pub(super) const LISTING: Duration = Duration::from_secs(30);
/// How long a source stays believed without proof where silence has to be noticed within seconds, or where there is no
/// connection: [`SHORT`] and three seconds for a slow answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(13);
/// How long a kind that is read anew stays believed while its list comes: no longer than a watch may be silent on which a
/// critical finding rests. One namespace can make that list long.
pub(super) const INHERITED: Duration = Duration::from_secs(60);
/// The same for a long watch whose server sends bookmarks: about one a minute (`k8s.io/apiserver`,
/// `storage/cacher/cacher.go`), of which one may be missed.
pub(super) const BOOKMARKS: Duration = Duration::from_secs(150);
/// The same for a long watch without bookmarks: only its end proves anything.
pub(super) const NO_BOOKMARKS: Duration = Duration::from_secs(300);
/// How soon a kind that is not served, or a right that is missing, is asked for again.
pub(super) const SLOWLY: Duration = Duration::from_secs(5);
/// How rarely a kind that is not served is asked for at last, where nothing rests on it within seconds: each time is
/// twice the last, so that a cluster without Cilium is asked for its kinds a dozen times an hour.
pub(super) const ABSENT_MAX: Duration = Duration::from_secs(300);
/// How rarely a whole source is asked for at last that a right is missing for: each time is twice the last. For what is of
/// one namespace or name it is [`ABSENT_MAX`].
pub(super) const REFUSED_MAX: Duration = Duration::from_secs(30);
/// How soon a first refusal is tried again before it is reported.
pub(super) const SECOND_LOOK: Duration = Duration::from_secs(2);
/// On average lists follow each other no faster than this, whatever the server says: two in twice this time.
pub(super) const LISTS_APART: Duration = Duration::from_secs(10);
/// The same where lines could not be understood, which a list may not mend.
pub(super) const GARBLED_APART: Duration = Duration::from_secs(60);
/// A watch that ends sooner was not served properly.
pub(super) const TOO_SHORT: Duration = Duration::from_secs(1);
/// First and longest delay after a failure, before jitter.
pub(super) const DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// The longest that a server's Retry-After is taken for its word.
const LONGEST_AFTER: Duration = Duration::from_secs(600);

/// Delays after failures, each twice the last.
#[derive(Debug)]
pub(super) struct Pace {
    next: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { next: DELAYS.0 }
    }
}

impl Pace {
    /// How long to wait after a failure; `after` is what the server asked for.
    pub(super) fn wait(&mut self, after: Option<Duration>) -> Duration {
        if let Some(after) = after {
            // Never sooner than asked, and not all at the same moment.
            let after = after.min(LONGEST_AFTER);
            return after + jitter(after / 10);
        }
        let delay = self.next;
        self.next = (delay * 2).min(DELAYS.1);
        // Between half and all of it, so that pumps that failed together do not come back together.
        delay / 2 + jitter(delay / 2)
    }

    /// It works again.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Something between nothing and this.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_start_over() {
        let mut pace = Pace::default();
        let mut full = DELAYS.0;
        for _ in 0..8 {
            let wait = pace.wait(None);
            assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
            full = (full * 2).min(DELAYS.1);
        }
        assert_eq!(full, DELAYS.1);
        pace.reset();
        assert!(pace.wait(None) <= DELAYS.0);
    }

    #[test]
    fn a_server_is_never_asked_sooner_than_it_said() {
        let mut pace = Pace::default();
        for seconds in [1, 60] {
            let asked = Duration::from_secs(seconds);
            let wait = pace.wait(Some(asked));
            assert!(asked <= wait && wait <= asked * 2);
        }
        assert!(pace.wait(Some(Duration::from_secs(86_400))) <= LONGEST_AFTER * 2);
    }
}
