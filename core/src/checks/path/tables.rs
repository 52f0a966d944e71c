//! The tables that the nodes put on a path.

use super::budget::TableHop;
use crate::fleet::node_tables;
use crate::judge::{Look, Path};

/// Those of the nodes that the connection may enter.
pub(super) fn of_the_nodes(look: &Look<'_>, path: &Path<'_>) -> Vec<TableHop> {
    let tables = node_tables(look, path).into_iter().map(|table| TableHop {
        hop: table.hop,
        idle: table.idle,
        end: None,
    });
    tables.collect()
}
