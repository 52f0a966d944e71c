//! What an Alertmanager is to be told next: what fires, and what has ended and is not yet told often enough.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::body::{Alert, Labels};
use super::{FAREWELLS, LASTS, MOST};

/// An alert that has ended.
#[derive(Debug)]
struct Ended {
    alert: Alert,
    /// How often it is still to be told.
    left: u8,
}

/// What fires and what has ended, by labels: an Alertmanager knows an alert by nothing else, so that a finding whose
/// severity turns is one alert that ends and another that begins.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    firing: BTreeMap<Labels, Alert>,
    ended: BTreeMap<Labels, Ended>,
}

impl Ledger {
    /// Takes in what is violated now, the worst first. What fired before and does not any more has ended, with two
    /// exceptions: a finding that is merely `unknown` now goes on, because not to see is no all-clear; and one that
    /// worse ones have pushed beyond the bound is left to end by itself.
    pub(super) fn turn(&mut self, violated: Vec<Alert>, unknown: &BTreeSet<String>, now: Timestamp) {
        let mut firing = BTreeMap::new();
        let mut beyond = BTreeSet::new();
        for alert in violated {
            self.ended.remove(alert.labels());
            if firing.len() < MOST {
                firing.insert(alert.labels().clone(), alert);
            } else {
                beyond.insert(alert.labels().clone());
            }
        }
        for (labels, mut alert) in std::mem::take(&mut self.firing) {
            // What nobody has repeated in time, as somebody else held the Lease, has ended by itself.
            if firing.contains_key(&labels) || beyond.contains(&labels) || alert.ends_at <= now {
                continue;
            }
            if unknown.contains(alert.finding()) {
                alert.hold(now);
                firing.insert(labels, alert);
            } else {
                alert.end(now);
                let left = FAREWELLS;
                self.ended.insert(labels, Ended { alert, left });
            }
        }
        self.firing = firing;
        // By then it has ended for everybody, told or not: an endpoint that never answers keeps nothing alive here.
        self.ended.retain(|_, one| one.alert.ends_at + LASTS > now);
    }

    /// Every alert of the next push.
    pub(super) fn letter(&self) -> Vec<&Alert> {
        let ended = self.ended.values().map(|one| &one.alert);
        self.firing.values().chain(ended).collect()
    }

    /// Everybody has taken the letter.
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
            since: Some(1_700_000_000),
        }
    }

    /// Id of the finding, severity, and seconds from the beginning until it ends, for each alert of the letter.
    fn told(ledger: &Ledger) -> Vec<(String, String, i64)> {
        let mut told: Vec<_> = ledger
            .letter()
            .iter()
            .map(|one| {
                let severity = one.labels()["severity"].clone();
                let ends = one.ends_at.as_second() - at(0).as_second();
                (one.finding().to_owned(), severity, ends)
            })
            .collect();
        told.sort();
        told
    }

    fn turn(ledger: &mut Ledger, second: i64, violated: &[Finding], unknown: &[&str]) {
        let alerts = violated.iter().map(|one| Alert::of(one, at(second))).collect();
        let unknown = unknown.iter().map(|one| (*one).to_owned()).collect();
        ledger.turn(alerts, &unknown, at(second));
    }

    fn expect(ledger: &Ledger, expected: &[(&str, &str, i64)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, severity, ends)| ((*id).to_owned(), (*severity).to_owned(), *ends))
            .collect();
        assert_eq!(told(ledger), expected);
    }

    #[test]
    fn a_repeat_moves_the_end_and_an_end_is_told_three_times() {
        let mut ledger = Ledger::default();
        let critical = finding("a", Severity::Critical);
        turn(&mut ledger, 0, std::slice::from_ref(&critical), &[]);
        expect(&ledger, &[("a", "critical", 240)]);
        turn(&mut ledger, 60, &[critical], &[]);
        expect(&ledger, &[("a", "critical", 300)]);
        for second in [70, 130, 190] {
            turn(&mut ledger, second, &[], &[]);
            expect(&ledger, &[("a", "critical", 70)]);
            ledger.delivered();
        }
        expect(&ledger, &[]);
    }

    #[test]
    fn what_begins_again_is_not_called_ended() {
        let mut ledger = Ledger::default();
        let critical = finding("a", Severity::Critical);
        turn(&mut ledger, 0, std::slice::from_ref(&critical), &[]);
        turn(&mut ledger, 10, &[], &[]);
        turn(&mut ledger, 20, &[critical], &[]);
        expect(&ledger, &[("a", "critical", 260)]);
    }

    #[test]
    fn another_severity_is_another_alert() {
        let mut ledger = Ledger::default();
        turn(&mut ledger, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut ledger, 10, &[finding("a", Severity::Warning)], &[]);
        expect(&ledger, &[("a", "critical", 10), ("a", "warning", 250)]);
    }

    #[test]
    fn what_cannot_be_seen_goes_on() {
        let mut ledger = Ledger::default();
        turn(&mut ledger, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut ledger, 60, &[], &["a"]);
        expect(&ledger, &[("a", "critical", 300)]);
        turn(&mut ledger, 120, &[], &["a"]);
        expect(&ledger, &[("a", "critical", 360)]);
        turn(&mut ledger, 130, &[], &[]);
        expect(&ledger, &[("a", "critical", 130)]);
    }

    /// The Lease was lost and came back: the same as after a pause between two turns.
    #[test]
    fn what_ended_while_nobody_asked_us_is_told_unless_it_has_ended_by_itself() {
        let mut ledger = Ledger::default();
        turn(&mut ledger, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut ledger, 200, &[], &[]);
        expect(&ledger, &[("a", "critical", 200)]);
        let mut ledger = Ledger::default();
        turn(&mut ledger, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut ledger, 240, &[], &["a"]);
        expect(&ledger, &[]);
    }

    #[test]
    fn unknown_alone_fires_nothing() {
        let mut ledger = Ledger::default();
        turn(&mut ledger, 0, &[], &["a"]);
        expect(&ledger, &[]);
    }

    #[test]
    fn an_endpoint_that_never_answers_keeps_no_ended_alert_alive() {
        let mut ledger = Ledger::default();
        turn(&mut ledger, 0, &[finding("a", Severity::Critical)], &[]);
        turn(&mut ledger, 10, &[], &[]);
        turn(&mut ledger, 249, &[], &[]);
        expect(&ledger, &[("a", "critical", 10)]);
        turn(&mut ledger, 250, &[], &[]);
        expect(&ledger, &[]);
    }

    #[test]
    fn the_worst_are_told_and_what_they_displace_is_not_called_ended() {
        let mut ledger = Ledger::default();
        turn(&mut ledger, 0, &[finding("old", Severity::Warning)], &[]);
        let mut many: Vec<_> = (0..MOST)
            .map(|at| finding(&format!("new{at:03}"), Severity::Critical))
            .collect();
        many.push(finding("old", Severity::Warning));
        turn(&mut ledger, 10, &many, &[]);
        assert_eq!(told(&ledger).len(), MOST);
        assert!(told(&ledger).iter().all(|one| one.0 != "old"));
    }
}
