//! How many backends a Service should have, and how they should spread.

use std::collections::BTreeMap;

use evenkeel_core::judge::{Look, ServiceCase};
use evenkeel_core::know::Known;
use evenkeel_core::names::Name;
use evenkeel_core::route::backends_by_port;
use evenkeel_core::sources::slice::Endpoint;

use super::page::CommentedYaml;

/// Largest share on one node or in one zone that is taken for healthy, in percent, where what is seen is below it: while two
/// Pods are replaced one by one, one may carry half for a moment.
const HALF: usize = 50;

/// Writes `balance` from the ready backends.
pub(super) fn balance(page: &mut CommentedYaml, look: &Look<'_>, case: &ServiceCase<'_>) {
    page.field(2, "balance:");
    page.say(
        4,
        "Assumed: the default. A backend may have so many percent more or less than its share.",
    );
    page.field(4, "tolerancePercent: 25");
    match ready(look, case) {
        Ok(ready) if ready.is_empty() => {
            page.say(4, "Seen: no ready backend. Say how many there should be.");
            page.off(4, "minimumReadyBackends: 1");
        }
        Ok(ready) => spread(page, look, &ready),
        Err(gap) => {
            page.say(
                4,
                &format!("Not seen: backends ({gap}). Say how many there should be."),
            );
            page.off(4, "minimumReadyBackends: 1");
        }
    }
}

/// The ready backends of the port that has the fewest.
fn ready(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Vec<Endpoint>> {
    let by_port = backends_by_port(look, case)?;
    let fewest = by_port.into_iter().min_by_key(|one| one.usable.len());
    Ok(fewest.map_or_else(Vec::new, |one| one.usable))
}

fn spread(page: &mut CommentedYaml, look: &Look<'_>, ready: &[Endpoint]) {
    let all = ready.len();
    if all == 1 {
        page.say(4, "Seen: 1 ready, so nothing serves while it is replaced.");
        page.field(4, "minimumReadyBackends: 1");
        return;
    }
    // A Deployment takes a quarter away at most where it says nothing, rounded down (`k8s.io/api/apps/v1`,
    // RollingUpdateDeployment.maxUnavailable); one may be lost at any time.
    let least = all - (all / 4).max(1);
    page.say(
        4,
        &format!("Seen: {all} ready. Assumed: a quarter may be away, as in a roll-out, and one at any time."),
    );
    page.field(4, &format!("minimumReadyBackends: {least}"));
    let nodes = counted(ready.iter().map(|one| one.node));
    share(page, "Node", all, nodes.as_ref());
    let zone = |one: &Endpoint| {
        if one.zone.is_empty() {
            look.zone_of(one.node)
        } else {
            one.zone
        }
    };
    let zones = counted(ready.iter().map(zone));
    share(page, "Zone", all, zones.as_ref());
}

/// How many backends are at each place; `None` where that of one is not known.
fn counted(places: impl Iterator<Item = Name>) -> Option<BTreeMap<Name, usize>> {
    let mut counted = BTreeMap::new();
    for place in places {
        if place.is_empty() {
            return None;
        }
        *counted.entry(place).or_default() += 1;
    }
    Some(counted)
}

/// Writes the largest share on one place.
fn share(page: &mut CommentedYaml, place: &str, all: usize, counted: Option<&BTreeMap<Name, usize>>) {
    let (at, places) = if place == "Node" {
        ("on", "nodes")
    } else {
        ("in", "zones")
    };
    let field = format!("maxPercentPer{place}");
    let Some(counted) = counted else {
        page.say(4, &format!("Not seen: their {places}."));
        page.off(4, &format!("{field}: {HALF}"));
        return;
    };
    let most = counted.values().max().copied().unwrap_or(all);
    if counted.len() < 2 {
        page.say(
            4,
            &format!("Seen: all {all} {at} one of the {places}. With this line that is a finding."),
        );
        page.off(4, &format!("{field}: {HALF}"));
    } else {
        let percent = (most * 100).div_ceil(all).max(HALF);
        page.say(
            4,
            &format!(
                "Seen: {at} {} {places}, at most {most} of {all} {at} one. Assumed: half may be.",
                counted.len()
            ),
        );
        page.field(4, &format!("{field}: {percent}"));
    }
}
