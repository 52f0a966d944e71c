//! What could not be read, as shown.

use serde::Serialize;

use crate::index::{Freshness, Index};
use crate::know::Source;

/// A whole source, or one object of it, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unreadable {
    /// The source, or the object within it.
    pub source: String,
    /// Why.
    pub reason: String,
}

/// Most objects that were not understood that are listed: a list of a million of them is of no use.
const LISTED: usize = 1000;

/// What could not be read, sorted.
pub(crate) fn unreadable(index: &Index) -> Vec<Unreadable> {
    let mut all: Vec<Unreadable> = Source::ALL
        .into_iter()
        .filter_map(|source| {
            let reason = match index.worst_freshness(source) {
                Freshness::Unreadable(why) => why.to_string(),
                Freshness::Stale => "stale".into(),
                Freshness::Missing | Freshness::Complete => return None,
            };
            Some(Unreadable {
                source: source.name().into(),
                reason,
            })
        })
        .collect();
    all.extend(index.opaque.iter().take(LISTED).map(|(at, opaque)| {
        let place = opaque.place.as_ref().map(ToString::to_string);
        Unreadable {
            source: place.unwrap_or_else(|| format!("{} {}", at.0, index.show(at.1))),
            reason: opaque.why.to_string(),
        }
    }));
    all.sort();
    let more = index.opaque.len().saturating_sub(LISTED) + index.crowds.len();
    if more > 0 {
        all.push(Unreadable {
            source: format!("{more} more objects"),
            reason: "not understood or not kept, beyond those that are listed".to_owned(),
        });
    }
    all
}
