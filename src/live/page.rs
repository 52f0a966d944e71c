//! What a list brings, on its way to the core.

use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::kind::Kind;
use crate::api;

/// A piece of a list.
#[derive(Debug)]
pub(crate) enum Page {
    /// The list begins, perhaps once more: what came of it before does not count.
    Begin(&'static Kind),
    /// Some of its objects, or the only one that was asked for.
    Items {
        /// Of this kind.
        kind: &'static Kind,
        /// Whether the body is the object itself.
        single: bool,
        /// What the server said.
        body: String,
    },
}

#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

/// The objects in a body, as text.
pub(crate) fn items(body: &str, single: bool) -> serde_json::Result<Vec<&str>> {
    if single {
        return Ok(vec![body]);
    }
    let page = serde_json::from_str::<Items<'_>>(body)?;
    Ok(page
        .items
        .unwrap_or_default()
        .into_iter()
        .map(RawValue::get)
        .collect())
}

impl Page {
    /// Feeds the core and returns how many objects it held. What the core refuses it also lists as unreadable.
    pub(super) fn feed(&self, core: &mut Core) -> usize {
        match self {
            Self::Begin(kind) => {
                let _ = core.handle(Now::ONCE, Input::Begin(kind.source));
                0
            }
            Self::Items { kind, single, body } => match items(body, *single) {
                Ok(items) => {
                    for item in &items {
                        object(core, kind, item);
                    }
                    items.len()
                }
                Err(error) => {
                    let _ = core.handle(
                        Now::ONCE,
                        Input::Lost(kind.source, &format!("not a list: {error}")),
                    );
                    0
                }
            },
        }
    }
}

/// Feeds one item of a list.
fn object(core: &mut Core, kind: &Kind, item: &str) {
    match kind.source {
        Source::Policies | Source::ClusterPolicy => api::feed(core, Now::ONCE, kind.source, item),
        source if kind.is_named() => {
            let item = item.replacen('{', &format!("{{\"kind\":\"{}\",", kind.name), 1);
            let _ = core.handle(Now::ONCE, Input::Object(source, item.as_bytes()));
        }
        source => drop(core.handle(Now::ONCE, Input::Object(source, item.as_bytes()))),
    }
}
