//! What was measured when the files were made, on its way into a core.

use std::collections::BTreeSet;

use evenkeel_core::know::Now;
use evenkeel_core::sample::Observer;
use evenkeel_core::{Core, Input};

use super::Report;
use crate::samples::{OwnedPage, asked_after};

/// Gives it to the core, in the order and at the distances of time in which it was asked: only when everything else was read
/// is it known what the objects are that it is about.
pub(super) fn give(core: &mut Core, pages: &mut [OwnedPage], report: &mut Report) {
    pages.sort_by_key(|page| page.asked);
    let (Some(first), Some(last)) = (pages.first(), pages.last()) else {
        return;
    };
    let (first, last) = (first.asked, last.asked);
    let observers: BTreeSet<Observer> = pages.iter().map(|page| page.observer).collect();
    let observers: Vec<_> = observers.into_iter().collect();
    core.handle(Now::ONCE, Input::Observers(&observers));
    for page in &*pages {
        let now = asked_after(first, page.asked);
        page.lend(|page| core.handle(now, Input::Samples(page)));
    }
    report.measured = asked_after(first, last).mono;
    let at = jiff::Timestamp::from_millisecond(last);
    let at = at.map_or_else(|_| last.to_string(), |at| at.strftime("%FT%TZ").to_string());
    report.note(format!(
        "what was measured is judged as of {at}, when it was collected"
    ));
}
