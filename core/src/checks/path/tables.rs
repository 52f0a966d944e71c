//! The tables on a path: what each remembers, and those that the nodes put there.

use std::sync::Arc;

use crate::judge::{End, Look, Path};
use crate::know::{Gap, Val};
use crate::route::{Meets, node_tables};

/// One stateful L4 hop of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHop {
    /// What people call it.
    pub hop: Arc<str>,
    /// After how long it forgets an idle connection.
    pub idle: Result<Val<i64>, Gap>,
    /// The hop of the policy that it is.
    pub end: Option<End>,
    /// Whether the connection is known to meet it: its client may run on other nodes.
    pub meets: Meets,
}

impl TableHop {
    /// As a sentence names it: a hop of a policy by its name, as people have given it one.
    pub fn in_a_sentence(&self) -> Arc<str> {
        in_a_sentence(&self.hop, self.end.as_ref())
    }
}

/// The name of a hop of a policy, or what a device is called, with its article.
pub(super) fn in_a_sentence(hop: &Arc<str>, end: Option<&End>) -> Arc<str> {
    match end {
        Some(_) => hop.clone(),
        None => format!("the {hop}").into(),
    }
}

/// Those of the nodes that the connection may enter.
pub(super) fn of_the_nodes(look: &Look<'_>, path: &Path<'_>) -> Vec<TableHop> {
    let tables = node_tables(look, path).into_iter().map(|table| TableHop {
        hop: table.hop,
        idle: table.idle,
        end: None,
        meets: table.meets,
    });
    tables.collect()
}
