//! Watches that fall silent or are refused.

use evenkeel_core::findings::FindingVerdict;
use evenkeel_core::index::Freshness;
use evenkeel_core::judge::Severity;
use evenkeel_core::know::Source;
use rstest::rstest;

use super::{Story, nodes, objects};
use crate::watch::What;

const HOUR: u64 = 3600;
const ID: &str = "cp-stale-watch";

impl Story {
    /// The watches of a source say so.
    fn turns(&mut self, source: Source, freshness: &Freshness) {
        self.world.say(source, || What::Freshness(freshness.clone()));
        self.world.settle();
        self.look();
    }
}

fn refused() -> Freshness {
    Freshness::unreadable("missing right: watch namespaces (namespaces is forbidden)")
}

#[test]
fn a_right_that_is_taken_away_is_a_warning_that_names_it() {
    let mut story = Story::watched(HOUR, objects(&nodes("n", 6))).never("a critical", |one| {
        one.check == ID && (one.severity == Severity::Critical || one.verdict == FindingVerdict::Violated)
    });
    let unknown = |story: &Story| -> Vec<&'static str> {
        let found = story.found();
        let unknown = found.iter().filter(|one| one.verdict == FindingVerdict::Unknown);
        unknown.map(|one| one.check).collect()
    };
    let before = unknown(&story);
    story.until(15);
    story.turns(Source::Namespaces, &refused());
    for second in [20, 200, 890] {
        story.until(second);
        let found = story.of(ID);
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!(one.severity, Severity::Warning);
        assert!(
            one.message.contains("namespaces") && one.message.contains("403"),
            "{}",
            one.message
        );
        assert!(!one.advice[0].contains("idle") && !one.advice[0].contains("load balancer"));
    }
    assert_eq!(unknown(&story), before, "nothing here rests on namespaces");
    story.until(960);
    story.world.relist(Source::Namespaces);
    story.world.settle();
    story.until(1020);
    assert_eq!((story.says(ID), unknown(&story)), (String::new(), before));
}

#[rstest]
#[case(Source::Nodes)]
#[case(Source::EndpointSlices)]
fn a_watch_that_is_swallowed_is_critical(#[case] source: Source) {
    let mut story = Story::watched(HOUR, objects(&nodes("n", 6)));
    story.until(13);
    story.turns(source, &Freshness::Stale);
    assert_eq!(story.says(ID), "AtRisk warning Silent");
    story.until(200);
    assert_eq!(story.says(ID), "Violated critical Deaf");
    story.world.relist(source);
    story.world.settle();
    story.until(210);
    assert_eq!(story.says(ID), "");
}

/// Some seconds of silence after an hour of history: what changed before them still explains what fails after them.
#[rstest]
#[case::short(13)]
#[case::long(40)]
fn silence_does_not_forget_what_was_seen_before(#[case] silent: i64) {
    let mut first = nodes("u", 5);
    let mut story = Story::watched(HOUR, objects(nodes("n", 12).iter().chain(&first)));
    for node in &mut first {
        node.kernel = "6.8.0-B";
        story.node(node);
    }
    story.until(1800);
    story.turns(Source::Nodes, &Freshness::Stale);
    story.until(1800 + silent);
    story.turns(Source::Nodes, &Freshness::Complete);
    story.until(1900);
    for node in &mut first {
        story.ready(node, "Unknown");
    }
    story.until(1910);
    assert_eq!(story.says("fleet-change-sync"), "Violated critical Changed");
}
