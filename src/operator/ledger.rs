//! The ledger as it is watched: the records of what evenkeel has done.

use std::collections::BTreeMap;

use evenkeel_core::drive::{Phase, RemediationRecord};
use evenkeel_core::know::Mono;
use serde_json::Value;

/// Most records that are kept; with more of them nothing is fenced any more.
const MOST: usize = 2_000;

/// So long after a record was seen to be in effect its Node must be seen to be fenced, in milliseconds: watches of Nodes are
/// proven to be current every 30 s, or stale.
const SETTLED: u64 = 60_000;

/// The records by name, as they were last watched.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: BTreeMap<String, Entry>,
    /// Whether it has changed since this was last asked.
    changed: bool,
    overfull: bool,
}

#[derive(Debug)]
struct Entry {
    record: RemediationRecord,
    /// When it was first seen to be in effect.
    in_effect: Option<Mono>,
}

impl Ledger {
    /// Takes in an object. One that no version of evenkeel wrote is none of its records.
    pub(super) fn put(&mut self, now: Mono, json: &[u8]) {
        let object = serde_json::from_slice::<Value>(json).unwrap_or_default();
        let Some(record) = RemediationRecord::parse(&object) else {
            tracing::warn!(name = %object["metadata"]["name"], "a Remediation cannot be understood");
            return;
        };
        self.keep(now, record);
    }

    /// Takes in records as they were just listed. A watch may be behind them, and brings what has changed since.
    pub(super) fn list(&mut self, now: Mono, records: &[RemediationRecord]) {
        for record in records {
            self.keep(now, record.clone());
        }
    }

    fn keep(&mut self, now: Mono, record: RemediationRecord) {
        let before = self.records.get(&record.name);
        if before.is_none() && self.records.len() >= MOST {
            self.overfull = true;
            return;
        }
        if before.is_some_and(|before| is_older(&record, &before.record)) {
            return;
        }
        let before = before.and_then(|one| one.in_effect);
        let in_effect = (record.phase == Phase::InEffect).then(|| before.unwrap_or(now));
        self.changed = true;
        let name = record.name.clone();
        self.records.insert(name, Entry { record, in_effect });
    }

    /// A record was deleted.
    pub(super) fn remove(&mut self, name: &str) {
        self.changed |= self.records.remove(name).is_some();
    }

    /// Whether it has changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether records were left out and there is room for them now: the ledger is to be listed anew.
    pub(super) fn take_room(&mut self) -> bool {
        let room = self.overfull && self.records.len() <= MOST / 2;
        self.overfull &= !room;
        room
    }

    /// Whether records were left out.
    pub(super) const fn is_overfull(&self) -> bool {
        self.overfull
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// All of them.
    pub(super) fn records(&self) -> Vec<RemediationRecord> {
        self.records.values().map(|one| one.record.clone()).collect()
    }

    /// How many records are open, by how far they have come.
    pub(super) fn open(&self) -> BTreeMap<&'static str, u32> {
        let mut open = BTreeMap::from([("Waiting", 0), ("Intended", 0), ("InEffect", 0)]);
        for Entry { record, .. } in self.records.values() {
            let phase = match record.phase {
                Phase::Waiting => "Waiting",
                Phase::Intended => "Intended",
                Phase::InEffect => "InEffect",
                Phase::Finished(_) => continue,
            };
            *open.entry(phase).or_default() += 1;
        }
        open
    }

    /// Whether the effect of a record must have been seen by now.
    pub(super) fn is_settled(&self, now: Mono, name: &str) -> bool {
        let since = self.records.get(name).and_then(|one| one.in_effect);
        since.is_some_and(|since| now.since(since) >= SETTLED)
    }
}

/// Whether the first is an older version of the same object than the second.
fn is_older(one: &RemediationRecord, other: &RemediationRecord) -> bool {
    let version = |record: &RemediationRecord| record.version.parse::<u64>().ok();
    one.uid == other.uid && matches!((version(one), version(other)), (Some(one), Some(other)) if one < other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, started: bool) -> Vec<u8> {
        version(name, started, "7")
    }

    fn version(name: &str, started: bool, version: &str) -> Vec<u8> {
        let conditions = if started {
            json!([{"type": "Started", "status": "True", "reason": "Fenced"}])
        } else {
            json!([])
        };
        json!({"metadata": {"name": name, "uid": name, "resourceVersion": version}, "status": {"conditions": conditions},
            "spec": {"target": {"name": "n1", "uid": "u"}, "policyRef": {"uid": "p", "generation": 1},
                "cause": "RefilledFlapper", "change": {"effect": "PreferNoSchedule"}, "term": "5",
                "planHash": "0123456789abcdef"}})
        .to_string()
        .into_bytes()
    }

    #[test]
    fn what_is_in_effect_settles_a_minute_after_it_was_first_seen_so() {
        let mut ledger = Ledger::default();
        ledger.put(Mono(1_000), &object("a", false));
        assert!(ledger.take_changed() && !ledger.take_changed());
        assert!(!ledger.is_settled(Mono(100_000), "a"));
        ledger.put(Mono(2_000), &object("a", true));
        ledger.put(Mono(9_000), &object("a", true));
        assert!(!ledger.is_settled(Mono(61_999), "a"));
        assert!(ledger.is_settled(Mono(62_000), "a"));
        ledger.remove("a");
        assert!(ledger.take_changed() && ledger.records().is_empty());
        assert!(!ledger.is_settled(Mono(62_000), "a"));
    }

    #[test]
    fn what_is_no_record_changes_nothing_and_more_than_fit_is_said() {
        let mut ledger = Ledger::default();
        ledger.put(Mono(0), b"{}");
        ledger.put(Mono(0), b"[");
        assert!(!ledger.take_changed());
        for at in 0..=MOST {
            assert!(!ledger.is_overfull());
            ledger.put(Mono(0), &object(&at.to_string(), false));
        }
        assert!(ledger.is_overfull());
        assert_eq!(ledger.records().len(), MOST);
        assert!(!ledger.take_room());
        for at in 0..MOST / 2 {
            ledger.remove(&at.to_string());
        }
        assert!(ledger.take_room(), "it is listed anew");
        assert!(!ledger.is_overfull() && !ledger.take_room());
    }

    #[test]
    fn what_is_open_is_counted() {
        let mut ledger = Ledger::default();
        let counts = |ledger: &Ledger| ledger.open().into_values().collect::<Vec<_>>();
        assert_eq!(counts(&ledger), [0, 0, 0]);
        ledger.put(Mono(0), &object("a", false));
        ledger.put(Mono(0), &object("b", true));
        ledger.put(Mono(0), &object("c", true));
        // In effect, intended, waiting.
        assert_eq!(counts(&ledger), [2, 1, 0]);
    }

    #[test]
    fn a_watch_that_is_behind_makes_nothing_older() {
        let mut ledger = Ledger::default();
        ledger.put(Mono(0), &version("a", false, "7"));
        let object = serde_json::from_slice(&version("a", true, "10")).unwrap();
        let listed = RemediationRecord::parse(&object).unwrap();
        ledger.list(Mono(0), std::slice::from_ref(&listed));
        ledger.put(Mono(0), &version("a", false, "9"));
        assert_eq!(ledger.records(), [listed]);
        ledger.put(Mono(0), &version("a", false, "11"));
        assert_eq!(ledger.records()[0].phase, Phase::Intended);
        ledger.remove("a");
        assert!(ledger.records().is_empty());
    }
}
