//! What the loop shows of the core to whoever asks.

use std::collections::BTreeMap;

use evenkeel_core::Core;
use evenkeel_core::index::Fresh;
use evenkeel_core::know::{Now, Source};
use serde::Serialize;

use crate::api::ConditionStatus;
use crate::metrics::{POLICIES, Snapshot, SourceSnapshot};
use crate::query::IndexView;
use crate::status::Statuses;
use crate::watch::WatchStatus;

/// Objects that were not understood, as shown at most.
const OPAQUE: usize = 100;

/// Most bytes of the state beside the Lease.
const STATE: usize = 8 << 10;

/// Everything that a scrape looks at.
pub(super) struct Scene<'a> {
    pub(super) core: &'a Core,
    pub(super) desk: &'a Statuses,
    pub(super) watches: &'a [WatchStatus],
    pub(super) leader: bool,
    pub(super) ready: bool,
    pub(super) queue: usize,
}

impl Scene<'_> {
    /// What a scrape shows.
    pub(super) fn paint(&self, now: Now) -> Snapshot {
        let mut snapshot = Snapshot {
            leader: self.leader,
            ready: self.ready,
            queue: self.queue,
            sources: Source::ALL
                .into_iter()
                .filter_map(|source| self.source(source))
                .collect(),
            ..Snapshot::default()
        };
        for ((check, verdict, severity, excepted), count) in self.core.census(now) {
            if excepted {
                *snapshot.excepted.entry(check).or_default() += count;
            } else {
                let key = (check, verdict.name(), severity);
                *snapshot.findings.entry(key).or_default() += count;
            }
        }
        for (target, kind, status) in self.desk.conditions() {
            let status_name = match status {
                ConditionStatus::True => "True",
                ConditionStatus::False => "False",
                ConditionStatus::Unknown => "Unknown",
            };
            *snapshot
                .policies
                .entry((kind.to_owned(), status_name))
                .or_default() += 1;
            if kind == "Healthy" && status == ConditionStatus::False {
                snapshot
                    .unhealthy
                    .push((target.namespace.to_string(), target.name.to_string()));
            }
        }
        snapshot.unhealthy.sort();
        snapshot.unhealthy.truncate(POLICIES);
        snapshot
    }

    /// A source that is watched; the others would be series that never move.
    fn source(&self, source: Source) -> Option<SourceSnapshot> {
        let parts: Vec<&WatchStatus> = self.watches.iter().filter(|one| one.source == source).collect();
        if parts.is_empty() {
            return None;
        }
        let oldest = parts.iter().filter_map(|one| one.last_line_age_ms).max();
        let index = self.core.index();
        Some(SourceSnapshot {
            source,
            fresh: *index.fresh(source) == Fresh::Complete,
            age_seconds: oldest.map(|millis| std::time::Duration::from_millis(millis).as_secs_f64()),
            restarts: parts.iter().map(|one| one.restarts).sum(),
            lists: parts.iter().map(|one| one.lists).sum(),
            silences: parts.iter().map(|one| one.silences).sum(),
            lines: parts.iter().map(|one| one.lines).sum(),
            opaque: index.opaque_objects().filter(|one| one.0 == source).count() as u32,
        })
    }
}

/// Sources that are not complete and current, and why.
pub(super) fn not_fresh(core: &Core) -> BTreeMap<&'static str, String> {
    Source::ALL
        .into_iter()
        // Nobody serves these to an operator.
        .filter(|source| *source != Source::Configz)
        .filter_map(|source| {
            let why = match core.index().fresh(source) {
                Fresh::Complete => return None,
                Fresh::Missing => "not read yet".to_owned(),
                Fresh::Stale => "silent for too long".to_owned(),
                Fresh::Unreadable(why) | Fresh::Within(_, why) => why.to_string(),
            };
            Some((source.name(), why))
        })
        .collect()
}

/// What the holder tells of itself beside the Lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the holder.
    pub version: String,
    /// Whether its first read of the cluster is complete.
    pub ready: bool,
    /// Sources that are not complete and current, and why.
    pub not_fresh: BTreeMap<String, String>,
}

/// The state as JSON, bounded: reasons are cut before a source is left out.
pub(super) fn state(core: &Core, ready: bool) -> String {
    let not_fresh = not_fresh(core)
        .into_iter()
        .map(|(source, why)| (source.to_owned(), why.chars().take(200).collect()))
        .collect();
    let state = State {
        version: env!("CARGO_PKG_VERSION").into(),
        ready,
        not_fresh,
    };
    // Our own maps of text can be written as JSON.
    let text = serde_json::to_string(&state).unwrap_or_default();
    if text.len() <= STATE { text } else { String::new() }
}

impl IndexView {
    /// How much the core holds.
    pub(super) fn of(core: &Core) -> Self {
        let index = core.index();
        Self {
            rows: Source::ALL
                .into_iter()
                .map(|source| (source.name(), index.rows(source)))
                .filter(|one| one.1 > 0)
                .collect(),
            opaque: index
                .opaque_objects()
                .take(OPAQUE)
                .map(|(source, key, opaque)| {
                    (format!("{source} {}", index.show(key)), opaque.why.to_string())
                })
                .collect(),
            names: index.names.len(),
        }
    }
}
