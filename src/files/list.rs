//! A list of objects: what it says of itself, and of the items that say nothing themselves.

use evenkeel_core::know::Source;
use serde::Deserialize;

use super::head::Head;

/// A list of objects.
pub(super) struct ObjectList<'a> {
    /// The JSON of its items.
    pub(super) items: &'a str,
    /// The field that they stand in.
    pub(super) key: &'static str,
    /// What it says of items that say nothing themselves; empty where it does not.
    pub(super) version: String,
    pub(super) item: String,
    /// Whether it is one page of a longer list.
    pub(super) goes_on: bool,
}

impl<'a> ObjectList<'a> {
    /// A mapping of kind `List` or `...List` with items, or one without a kind that has items: older versions of
    /// `kubectl cluster-info dump` left the kind out.
    pub(super) fn of(head: &Head<'a>, usual: Option<(&str, &str)>) -> Option<Self> {
        let items = head.items()?;
        let (version, kind) = head.version_and_kind(usual)?;
        let metadata: ListMetadata = head
            .metadata
            .and_then(|json| serde_json::from_str(json.get()).ok())
            .unwrap_or_default();
        let (version, item) = if kind.is_empty() && items.starts_with('[') {
            let (version, item) = metadata.items_kind().unwrap_or_default();
            (version.to_owned(), item.to_owned())
        } else {
            let item = kind.strip_suffix("List")?.to_owned();
            (version, item)
        };
        Some(Self {
            items,
            key: head.key(),
            version,
            item,
            goes_on: metadata.rest.is_some_and(|token| !token.is_empty()),
        })
    }
}

/// What of the metadata of a list is looked at.
#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue")]
    rest: Option<String>,
    #[serde(rename = "selfLink")]
    link: Option<String>,
}

impl ListMetadata {
    /// The version and kind of the items of a list that names none, from the address that it was read from, where it says.
    fn items_kind(&self) -> Option<(&'static str, &'static str)> {
        let plural = self.link.as_ref()?.rsplit('/').next()?;
        let kinds = Source::ALL.into_iter().flat_map(Source::kinds);
        let kind = kinds
            .into_iter()
            .find(|kind| kind.plural == plural && kind.group.is_empty())?;
        Some((kind.versions.first()?, kind.name))
    }
}
