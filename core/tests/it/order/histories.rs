//! Random histories.

use evenkeel_core::know::Source;
use proptest::prelude::*;
use proptest::sample::select;

use super::world::{Health, PLAIN, Step};

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        4 => Just(Source::Services),
        4 => Just(Source::EndpointSlices),
        4 => Just(Source::Policies),
        8 => select(&PLAIN[..]),
    ]
}

/// A source that may fall silent, be lost, or be read again.
fn listed() -> impl Strategy<Value = Source> {
    prop_oneof![1 => Just(Source::Policies), 10 => select(&PLAIN[..])]
}

fn step() -> impl Strategy<Value = Step> {
    let health = prop_oneof![2 => Just(Health::Complete), 1 => Just(Health::Silent), 1 => Just(Health::Lost), 1 => Just(Health::Within), 1 => Just(Health::Torn)];
    prop_oneof![
        12 => (source(), 0..2_u8, 0..4_u8, 0..15_u8).prop_map(|(s, at, name, v)| Step::Put(s, at, name, v)),
        3 => (source(), 0..2_u8, 0..4_u8).prop_map(|(s, at, name)| Step::Delete(s, at, name)),
        3 => (source(), any::<u16>(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(s, mask, round, ends)| Step::Relist(s, mask, round, ends)),
        3 => (listed(), health).prop_map(|(s, health)| Step::Health(s, health)),
        2 => prop::option::of(0..3_u8).prop_map(Step::Cluster),
        1 => (0..3_u8, prop::option::of(0..3_u8)).prop_map(|(node, v)| Step::Configz(node, v)),
        1 => (0..200_000_u32).prop_map(|seconds| Step::Pass(Some(seconds))),
        1 => Just(Step::Pass(None)),
        6 => Just(Step::Round),
        6 => (1..40_u8).prop_map(Step::Part),
    ]
}

/// A history that starts with some sources complete, so that findings are more than gaps.
pub(crate) fn history() -> impl Strategy<Value = Vec<Step>> {
    let start = prop::collection::vec(prop::bool::weighted(0.9), Source::ALL.len());
    (start, prop::collection::vec(step(), 1..60)).prop_map(|(start, steps)| {
        let complete = Source::ALL.into_iter().zip(start).filter(|one| one.1);
        let complete = complete.map(|(source, _)| Step::Relist(source, 0, false, true));
        complete.chain(steps).collect()
    })
}

pub(crate) fn cases(usual: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(
            std::env::var("PROPTEST_CASES").map_or(usual, |text| text.parse().unwrap_or(usual)),
        )
    }
}
