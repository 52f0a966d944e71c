//! Nodes whose samples come and go: judged when that changes something.

use crate::handle::Input;
use crate::sample::{Metric, Observer, PageScope, SampleSubject};
use crate::source::Source;
use crate::world::{World, node};

const ID: &str = "ct-table-pressure";

/// Lets time pass, and says how many units were judged meanwhile.
fn judged_within(world: &mut World, seconds: u64) -> usize {
    let end = world.now.mono.0 + seconds * 1_000;
    let mut units = 0;
    while world.now.mono.0 < end {
        units += world.core.round(world.now).units;
        let next = world.core.deadline(world.now).map_or(end, |at| at.0.min(end));
        let passed = next - world.now.mono.0;
        world.now.mono.0 = next;
        world.now.wall.0 += i64::try_from(passed / 1_000).unwrap_or_default();
    }
    units
}

fn measure(world: &mut World, entries: f64) {
    let on = |name| {
        let subject = SampleSubject::Node(name);
        [
            (Metric::ConntrackEntries, subject, entries),
            (Metric::ConntrackLimit, subject, 1_000.0),
        ]
    };
    let values = [on("n1"), on("n2")].concat();
    world.measure(Observer::Prometheus, PageScope::Nodes, &values);
}

#[test]
fn nodes_that_are_well_are_not_judged_for_samples_and_are_when_they_stop() {
    let mut world = World::watched(&[(Source::Nodes, node("n1", "z")), (Source::Nodes, node("n2", "z"))]);
    world.input(Input::Observers(&[Observer::Prometheus]));
    let mut judged = Vec::new();
    for entries in [100.0, 120.0, 110.0].repeat(20) {
        measure(&mut world, entries);
        judged.push(judged_within(&mut world, 30));
    }
    assert_eq!(world.verdict(ID), "Met");
    // Meanwhile something else is waited for as well: history covers two windows of other checks, each once.
    let again = judged.iter().skip(1).filter(|units| **units > 0);
    assert_eq!(again.count(), 2, "{judged:?}");
    for at in 0..20_u32 {
        measure(&mut world, f64::from(100 + at));
        assert_eq!(judged_within(&mut world, 30), 0, "sample {at}");
    }
    // What changes something is judged, and Nodes that have no samples any more are.
    measure(&mut world, 950.0);
    assert!(judged_within(&mut world, 30) >= 2);
    assert_eq!(world.found(ID), ["Violated critical Full"; 2]);
    for _ in 0..30 {
        measure(&mut world, 100.0);
        judged_within(&mut world, 30);
    }
    assert_eq!(world.verdict(ID), "Met");
    judged_within(&mut world, 44);
    assert_eq!(world.verdict(ID), "Met");
    judged_within(&mut world, 2);
    assert_eq!(world.verdict(ID), "Unknown unknown");
}
