//! What a list brings, on its way to the core.

use std::ops::Range;

use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api;
use crate::resources::Resource;

/// A piece of a list.
#[derive(Debug)]
pub(crate) enum ListPiece {
    /// The list begins, perhaps once more: what came of it before does not count.
    Begin(&'static Resource),
    /// Some of its objects, or the only one that was asked for.
    Items(Items),
}

/// Objects of one kind, in the body that brought them. The body is looked through once, where it is read.
#[derive(Debug)]
pub(crate) struct Items {
    /// Of this kind.
    pub(crate) resource: &'static Resource,
    body: String,
    /// Where in the body each of them stands, or why it is no list.
    places: serde_json::Result<Vec<Range<usize>>>,
}

#[derive(Deserialize)]
struct ListWire<'a> {
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    metadata: PageMeta,
}

#[derive(Deserialize, Default)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl Items {
    /// A body that is the object itself.
    pub(super) fn single(resource: &'static Resource, body: String) -> Self {
        let whole = 0..body.len();
        Self {
            resource,
            body,
            places: Ok(vec![whole]),
        }
    }

    /// A page of a list, and the token of the next one; empty at the end.
    pub(crate) fn list(resource: &'static Resource, body: String) -> (Self, String) {
        let place = |item: &&RawValue| {
            let start = item.get().as_ptr().addr() - body.as_ptr().addr();
            start..start + item.get().len()
        };
        let (places, next) = match serde_json::from_str::<ListWire<'_>>(&body) {
            Ok(wire) => (
                Ok(wire.items.iter().flatten().map(place).collect()),
                wire.metadata.next.unwrap_or_default(),
            ),
            Err(error) => (Err(error), String::new()),
        };
        (
            Self {
                resource,
                body,
                places,
            },
            next,
        )
    }

    /// The objects, as text; none of a body that is no list.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &str> {
        let places = self.places.iter().flatten();
        places.filter_map(|place| self.body.get(place.clone()))
    }
}

impl ListPiece {
    /// Feeds the core and returns how many objects it held. What the core refuses it also lists as unreadable.
    pub(super) fn feed(&self, core: &mut Core) -> usize {
        let items = match self {
            Self::Begin(resource) => {
                core.handle(Now::ONCE, Input::Begin(resource.source));
                return 0;
            }
            Self::Items(items) => items,
        };
        if let Err(error) = &items.places {
            let why = format!("not a list: {error}");
            core.handle(
                Now::ONCE,
                Input::Freshness(items.resource.source, Part::Whole, Freshness::unreadable(&why)),
            );
        }
        let mut count = 0;
        for item in items.objects() {
            object(core, items.resource, item);
            count += 1;
        }
        count
    }
}

/// Feeds one item of a list.
fn object(core: &mut Core, resource: &Resource, item: &str) {
    match resource.source {
        Source::Policies | Source::ClusterPolicy => api::feed(core, Now::ONCE, resource.source, item),
        source if resource.shares_source() => {
            let item = item.replacen('{', &format!("{{\"kind\":\"{}\",", resource.kind.name), 1);
            core.handle(Now::ONCE, Input::object(source, item.as_bytes()));
        }
        source => core.handle(Now::ONCE, Input::object(source, item.as_bytes())),
    }
}
