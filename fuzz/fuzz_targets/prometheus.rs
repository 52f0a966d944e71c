//! What a Prometheus answers to a query, and what a page of a login answers in its place.

#![no_main]

// The modules' own sources, so that the program and its dependencies need not be built with the sanitizers.
#[path = "../../src/prometheus/answer.rs"]
#[allow(dead_code, reason = "of the module a part is used")]
mod answer;
#[allow(dead_code, unused_imports, reason = "of the module a part is used")]
#[path = "../../src/exposition/mod.rs"]
mod exposition;

use libfuzzer_sys::fuzz_target;

const MOST: usize = 16;

fuzz_target!(|body: &[u8]| {
    let mut series = 0;
    let read = answer::read(body, MOST, &mut |one| {
        series += 1;
        assert!(one.labels.iter().count() == one.labels.len());
    });
    assert!(series <= MOST);
    if let Err(error) = read {
        // People read it: it repeats little of what the other side has sent.
        assert!(error.to_string().len() < 2_048);
    }
});
