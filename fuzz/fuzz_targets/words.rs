//! Durations, versions, image tags, timestamps.

#![no_main]

use evenkeel_core::dataplane::duration::GoDuration;
use evenkeel_core::dataplane::version::{Version, image_tag};
use evenkeel_core::know::Wall;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(duration) = GoDuration::parse(text) {
        assert!(duration.is_zero() || !text.is_empty());
        let whole = GoDuration::from_seconds(duration.seconds());
        assert_eq!(whole.seconds(), duration.seconds());
    }
    let _ = (
        Version::parse(text),
        Version::of_image(text),
        image_tag(text),
        Wall::parse(text),
    );
});
