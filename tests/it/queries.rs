//! The queries that are documented are the ones that are asked.

use evenkeel::prometheus::page;

use crate::docs::assert_current;

#[test]
fn the_page_is_current() {
    assert_current("docs/queries.md", &page());
}
