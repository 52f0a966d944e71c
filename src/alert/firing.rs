//! What is pushed next: what fires, and what has ended and was not yet pushed often enough.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use evenkeel_core::findings::number_of;
use jiff::Timestamp;

use super::body::{Alert, AlertLabels};
use super::{FAREWELLS, HOLDS, LASTS, MOST};
use crate::fair::share;

/// An alert that has ended.
#[derive(Debug)]
struct Ended {
    alert: Alert,
    /// How often it is still to be pushed.
    left: u8,
}

/// What fires and what has ended, by labels: an Alertmanager knows an alert by nothing else, so that a finding whose
/// severity changes is one alert that ends and another that begins.
#[derive(Debug, Default)]
pub(super) struct Firing {
    active: BTreeMap<AlertLabels, Alert>,
    ended: BTreeMap<AlertLabels, Ended>,
    left: usize,
}

impl Firing {
    /// Takes in what is violated now, the worst first; findings that are `beyond` the share of their namespace are violated
    /// too, and not among them. What fired before and does not any more has ended, with two exceptions: a finding that is
    /// merely `unknown` now goes on, because not to see is no all-clear; and one that is beyond its namespace's share of the
    /// bound is left to end by itself.
    ///
    /// A finding fires when it has held for [`HOLDS`]; one that fires already and turns into something else does not wait
    /// again. Returns when the next one of those that wait has held for long enough.
    pub(super) fn update(
        &mut self,
        mut violated: Vec<Alert>,
        beyond: &HashSet<u64>,
        unknown: &HashSet<u64>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let is_among = |ids: &HashSet<u64>, alert: &Alert| {
            number_of(alert.finding()).is_some_and(|number| ids.contains(&number))
        };
        let next = self.wait(&mut violated, now);
        for alert in &violated {
            self.ended.remove(alert.labels());
        }
        self.ended.retain(|_, ended| !is_among(beyond, &ended.alert));
        let (violated, cut) = share(violated, MOST, |alert| alert.namespace().to_owned());
        self.left = cut.len() + beyond.len();
        let labelled = |alert: Alert| (alert.labels().clone(), alert);
        let mut firing: BTreeMap<_, _> = violated.into_iter().map(labelled).collect();
        let cut: BTreeMap<_, _> = cut.into_iter().map(labelled).collect();
        for (labels, mut alert) in std::mem::take(&mut self.active) {
            // What was not repeated in time, as another replica held the Lease, has ended by itself.
            let is_cut = cut.contains_key(&labels) || is_among(beyond, &alert);
            if firing.contains_key(&labels) || is_cut || alert.ends_at <= now {
                continue;
            }
            if is_among(unknown, &alert) {
                alert.hold(now);
                firing.insert(labels, alert);
            } else {
                alert.end(now);
                let left = FAREWELLS;
                self.ended.insert(labels, Ended { alert, left });
            }
        }
        self.active = firing;
        // By then it has ended for everybody, pushed or not: an endpoint that never answers keeps nothing alive here.
        self.ended.retain(|_, one| one.alert.ends_at + LASTS > now);
        next
    }

    /// Leaves out those that have not held for long enough; returns when the next of them has.
    fn wait(&self, violated: &mut Vec<Alert>, now: Timestamp) -> Option<Timestamp> {
        let active: BTreeSet<&str> = self.active.values().map(Alert::finding).collect();
        let mut next: Option<Timestamp> = None;
        violated.retain(|alert| {
            let held = alert.starts_at + HOLDS;
            let fires = held <= now || active.contains(alert.finding());
            if !fires {
                next = next.into_iter().chain([held]).min();
            }
            fires
        });
        next
    }

    /// Every alert of the next push.
    pub(super) fn alerts(&self) -> Vec<&Alert> {
        let ended = self.ended.values().map(|one| &one.alert);
        self.active.values().chain(ended).collect()
    }

    /// How many that are violated are in no push.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Every endpoint has taken the push.
    pub(super) fn delivered(&mut self) {
        self.ended.retain(|_, one| {
            one.left -= 1;
            one.left > 0
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use evenkeel_core::findings::{Finding, FindingVerdict, SubjectKind, SubjectView};
    use evenkeel_core::judge::Severity;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn finding(id: &str, severity: Severity) -> Finding {
        Finding {
            id: id.into(),
            check: "path-idle-budget",
            verdict: FindingVerdict::Violated,
            severity,
            subject: SubjectView {
                kind: SubjectKind::Service,
                namespace: "shop".into(),
                name: "reports".into(),
                port: Some(80),
                connection: String::new(),
                client: String::new(),
            },
            policy: None,
            exception: None,
            cause: "",
            message: "1800 s".into(),
            evidence: Vec::new(),
            advice: Vec::new(),
            since: Some(1_700_000_000 - 3600),
            blind: None,
        }
    }

    /// Id of the finding, severity, and seconds from the beginning until it ends, for each alert of the next push.
    fn pushed(firing: &Firing) -> Vec<(String, String, i64)> {
        let mut pushed: Vec<_> = firing
            .alerts()
            .iter()
            .map(|one| {
                let severity = one.labels()["severity"].clone();
                let ends = one.ends_at.as_second() - at(0).as_second();
                (one.finding().to_owned(), severity, ends)
            })
            .collect();
        pushed.sort();
        pushed
    }

    fn turn(firing: &mut Firing, second: i64, violated: &[Finding], unknown: &[&str]) -> Option<Timestamp> {
        let alerts = violated.iter().map(|one| Alert::of(one, at(second))).collect();
        let unknown = unknown.iter().map(|one| number_of(one).unwrap()).collect();
        firing.update(alerts, &HashSet::new(), &unknown, at(second))
    }

    fn expect(firing: &Firing, expected: &[(&str, &str, i64)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, severity, ends)| ((*id).to_owned(), (*severity).to_owned(), *ends))
            .collect();
        assert_eq!(pushed(firing), expected);
    }

    #[test]
    fn a_repeat_moves_the_end_and_an_end_is_sent_three_times() {
        let mut firing = Firing::default();
        let critical = finding("a", Severity::Critical);
        turn(&mut firing, 0, std::slice::from_ref(&critical), &[]);
        expect(&firing, &[("a", "critical", 240)]);
        turn(&mut firing, 60, &[critical], &[]);
        expect(&firing, &[("a", "critical", 300)]);
        for second in [70, 130, 190] {
            turn(&mut firing, second, &[], &[]);
            expect(&firing, &[("a", "critical", 70)]);
            firing.delivered();
        }
        expect(&firing, &[]);
    }

    /// One that is violated still, and is not pushed as its namespace has too many, ends by itself.
    #[test]
    fn what_is_beyond_its_share_is_neither_pushed_nor_called_ended() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("a", Severity::Critical)], &[]);
        let beyond = HashSet::from([0xa, 0xb]);
        firing.update(Vec::new(), &beyond, &HashSet::new(), at(10));
        expect(&firing, &[]);
        assert_eq!(firing.left(), 2);
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut firing, 10, &[], &[]);
        expect(&firing, &[("a", "critical", 10)]);
        firing.update(Vec::new(), &beyond, &HashSet::new(), at(20));
        expect(&firing, &[]);
    }

    #[test]
    fn what_begins_again_is_not_called_ended() {
        let mut firing = Firing::default();
        let critical = finding("a", Severity::Critical);
        turn(&mut firing, 0, std::slice::from_ref(&critical), &[]);
        turn(&mut firing, 10, &[], &[]);
        turn(&mut firing, 20, &[critical], &[]);
        expect(&firing, &[("a", "critical", 260)]);
    }

    /// A finding that has begun at second 0.
    fn begun(cause: &'static str, severity: Severity) -> Finding {
        Finding {
            since: Some(1_700_000_000),
            cause,
            ..finding("a", severity)
        }
    }

    #[test]
    fn what_has_just_begun_waits_and_is_looked_at_again_in_time() {
        let mut firing = Firing::default();
        let new = begun("Few", Severity::Critical);
        for second in [0, 30, 59] {
            assert_eq!(
                turn(&mut firing, second, std::slice::from_ref(&new), &[]),
                Some(at(60))
            );
            expect(&firing, &[]);
        }
        assert_eq!(turn(&mut firing, 60, &[new], &[]), None);
        expect(&firing, &[("a", "critical", 300)]);
    }

    #[test]
    fn what_ends_while_it_waits_is_never_pushed() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[begun("Few", Severity::Critical)], &[]);
        assert_eq!(turn(&mut firing, 30, &[], &[]), None);
        expect(&firing, &[]);
    }

    #[test]
    fn what_fires_and_gets_worse_does_not_wait_again() {
        let mut firing = Firing::default();
        turn(&mut firing, 60, &[begun("Few", Severity::Warning)], &[]);
        let worse = Finding {
            since: Some(1_700_000_100),
            ..begun("None", Severity::Critical)
        };
        assert_eq!(turn(&mut firing, 100, &[worse], &[]), None);
        expect(&firing, &[("a", "critical", 340), ("a", "warning", 100)]);
    }

    #[test]
    fn another_severity_is_another_alert() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut firing, 10, &[finding("a", Severity::Warning)], &[]);
        expect(&firing, &[("a", "critical", 10), ("a", "warning", 250)]);
    }

    #[test]
    fn what_cannot_be_seen_goes_on() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut firing, 60, &[], &["a"]);
        expect(&firing, &[("a", "critical", 300)]);
        turn(&mut firing, 120, &[], &["a"]);
        expect(&firing, &[("a", "critical", 360)]);
        turn(&mut firing, 130, &[], &[]);
        expect(&firing, &[("a", "critical", 130)]);
    }

    /// The Lease was lost and came back: the same as after a pause between two changes.
    #[test]
    fn what_ended_between_two_pushes_is_sent_unless_it_has_ended_by_itself() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut firing, 200, &[], &[]);
        expect(&firing, &[("a", "critical", 200)]);
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut firing, 240, &[], &["a"]);
        expect(&firing, &[]);
    }

    #[test]
    fn unknown_alone_fires_nothing() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[], &["a"]);
        expect(&firing, &[]);
    }

    #[test]
    fn an_endpoint_that_never_answers_keeps_no_ended_alert_alive() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut firing, 10, &[], &[]);
        turn(&mut firing, 249, &[], &[]);
        expect(&firing, &[("a", "critical", 10)]);
        turn(&mut firing, 250, &[], &[]);
        expect(&firing, &[]);
    }

    #[test]
    fn the_worst_are_pushed_and_what_they_displace_is_not_called_ended() {
        let mut firing = Firing::default();
        turn(&mut firing, 0, &[finding("old", Severity::Warning)], &[]);
        let mut many: Vec<_> = (0..MOST)
            .map(|at| finding(&format!("new{at:03}"), Severity::Critical))
            .collect();
        many.push(finding("old", Severity::Warning));
        turn(&mut firing, 10, &many, &[]);
        assert_eq!(pushed(&firing).len(), MOST);
        assert!(pushed(&firing).iter().all(|one| one.0 != "old"));
        assert_eq!(firing.left(), 1);
    }

    #[test]
    fn the_many_of_one_namespace_do_not_displace_another() {
        let mut many: Vec<_> = (0..MOST + 104)
            .map(|at| finding(&format!("new{at:03}"), Severity::Critical))
            .collect();
        for one in &mut many {
            one.subject.namespace = "a-team".into();
        }
        many.push(finding("shop", Severity::Warning));
        let mut firing = Firing::default();
        turn(&mut firing, 0, &many, &[]);
        assert!(pushed(&firing).iter().any(|one| one.0 == "shop"));
        assert_eq!((pushed(&firing).len(), firing.left()), (MOST, 105));
    }
}
