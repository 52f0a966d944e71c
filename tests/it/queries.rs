//! The queries that are documented are the ones that are asked.

use std::path::Path;

use evenkeel::prometheus::page;

/// Set to `1` to write the page instead of comparing it.
const BLESS: &str = "EVENKEEL_BLESS";

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/queries.md");
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        std::fs::write(&path, page()).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == page(),
        "docs/queries.md differs from the code: run with {BLESS}=1"
    );
}
