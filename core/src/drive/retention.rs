//! Which records are old enough to be deleted.

use super::record::{Ending, Phase, RemediationRecord};
use crate::know::Wall;

/// A record that is over is kept for so long, in seconds.
const KEPT: i64 = 7 * 86_400;
/// Most records: with more of them the oldest go earlier.
const MOST: usize = 500;
/// What guards look back on stays for a day, however many there are, and an hour for clocks that differ; in seconds.
const LOOKED_BACK_ON: i64 = 25 * 3_600;

/// The record that is to be deleted next: of those that are over, the oldest that was kept for long enough, or that is one
/// too many.
pub fn old(records: &[RemediationRecord], now: Wall) -> Option<&RemediationRecord> {
    let over = records.iter().filter_map(|one| {
        let ended = one.ended.filter(|_| one.is_finished())?;
        Some((now.0.saturating_sub(ended.0), one))
    });
    let too_many = records.len() > MOST;
    // By it the next one is numbered: a name is not used again while anything of it may be on its way.
    let is_newest = |one: &RemediationRecord| {
        let mut same = records
            .iter()
            .filter(|other| other.node_uid == one.node_uid && other.cause == one.cause);
        same.all(|other| other.number() <= one.number())
    };
    let may_go = over.filter(|(age, one)| {
        let lapsed = one.phase == Phase::Finished(Ending::Lapsed);
        let says_something =
            is_newest(one) || one.was_in_effect || one.is_rejected() || lapsed && one.may_have_acted();
        *age > KEPT || too_many && !(says_something && *age < LOOKED_BACK_ON)
    });
    may_go
        .max_by_key(|(age, one)| (*age, &*one.name))
        .map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(10_000_000);

    fn record(name: usize, phase: Phase, age: i64) -> RemediationRecord {
        RemediationRecord {
            name: format!("cordonnode-0-{name}"),
            phase,
            ended: matches!(phase, Phase::Finished(_)).then_some(Wall(NOW.0 - age)),
            was_in_effect: phase == Phase::Finished(Ending::Undone),
            ..RemediationRecord::blank()
        }
    }

    const REFUSED: Phase = Phase::Finished(Ending::Refused);
    const UNDONE: Phase = Phase::Finished(Ending::Undone);

    #[test]
    fn after_seven_days_the_oldest_goes_first_and_what_is_open_stays() {
        let mut all = vec![
            record(1, UNDONE, KEPT),
            record(2, UNDONE, KEPT + 1),
            record(3, REFUSED, KEPT + 2),
            record(4, Phase::InEffect, 0),
            record(5, Phase::Intended, 0),
        ];
        let mut gone = Vec::new();
        while let Some(name) = old(&all, NOW).map(|one| one.name.clone()) {
            all.retain(|one| one.name != name);
            gone.push(name);
        }
        assert_eq!(gone, ["cordonnode-0-3", "cordonnode-0-2"]);
    }

    #[test]
    fn of_too_many_the_oldest_go_but_not_what_guards_look_back_on() {
        let mut all: Vec<_> = (1_000..)
            .zip(0..MOST)
            .map(|(finished, at)| record(at, UNDONE, finished))
            .collect();
        assert_eq!(old(&all, NOW), None);
        all.push(record(MOST, REFUSED, 5));
        assert_eq!(old(&all, NOW), None, "the newest is what the next is numbered by");
        all.push(record(MOST + 1, REFUSED, 4));
        assert_eq!(old(&all, NOW).unwrap().number(), Some(MOST as u32));
        all[7] = record(7, UNDONE, LOOKED_BACK_ON);
        assert_eq!(old(&all, NOW).unwrap().number(), Some(7));
    }
}
