//! Writes a folder with what an audit of files needs, and no secret.
//!
//! What a live audit reads goes into one `List` for each kind, page by page, so that memory stays that of the audit. Of
//! each object only the fields that the core reads are written: a list of what is allowed, because a list of what is
//! forbidden is never complete. What was refused is recorded too, so that the folder is judged as the cluster was.
//!
//! Everything is written under another name first. A folder of the wanted name is therefore a whole one.

mod folder;
mod keep;
mod mask;
mod trim;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Context, Result};
use evenkeel_core::Core;
use evenkeel_core::index::{Freshness, Index, Part};
use evenkeel_core::know::Source;
use evenkeel_core::sources::fields::Fields;
use serde_json::{Map, Value, json};

pub(crate) use folder::Folder;
use folder::{Parts, SampleFiles};

use crate::api;
use crate::live::page::ListPiece;
use crate::resources::Resource;
use crate::samples::{OwnedPage, stored};

/// A collection that is being written.
#[derive(Debug)]
pub(crate) struct Collection {
    folder: Folder,
    lists: BTreeMap<&'static str, ListFile>,
    samples: SampleFiles,
}

/// One kind of it.
#[derive(Debug)]
struct ListFile {
    parts: Parts,
    /// The fields that are kept; `None` for policies.
    fields: Option<Fields>,
    /// What came already: two selectors may name the same Pod.
    seen: HashSet<String>,
}

/// What a finished collection holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Objects by kind, as in an address.
    pub(crate) objects: Vec<(&'static str, u64)>,
    /// Pages of samples.
    pub(crate) pages: u64,
}

/// What is written of an object.
fn kept(source: Source, fields: Option<&Fields>, object: Value) -> Value {
    let Some(fields) = fields else {
        return policy(object);
    };
    let mut object = keep::keep(fields, object);
    trim::trim(source, &mut object);
    object
}

/// A policy as it is written: its name and the whole of its spec.
fn policy(mut object: Value) -> Value {
    let mut take = |at: &str| object.pointer_mut(at).map(Value::take).unwrap_or_default();
    let mut metadata = Map::new();
    for name in ["name", "namespace"] {
        if let text @ Value::String(_) = take(&format!("/metadata/{name}")) {
            metadata.insert(name.to_owned(), text);
        }
    }
    json!({"metadata": metadata, "spec": take("/spec")})
}

impl Collection {
    /// Begins a collection in a folder.
    pub(crate) const fn new(folder: Folder) -> Self {
        Self {
            folder,
            lists: BTreeMap::new(),
            samples: SampleFiles::new(),
        }
    }

    /// Writes what was measured.
    pub(crate) fn samples(&mut self, page: &OwnedPage) -> Result<()> {
        let text = stored::written(page).context("a page of samples")?;
        self.samples.write(&self.folder, &text)
    }

    /// Writes a page.
    pub(crate) fn page(&mut self, page: &ListPiece) -> Result<()> {
        match page {
            ListPiece::Begin(resource) => {
                self.lists.remove(resource.plural());
                self.list(resource)?;
            }
            // A body that is no list is reported by the core, as for an audit.
            ListPiece::Items(items) => {
                for item in items.objects() {
                    self.item(items.resource, item)?;
                }
            }
        }
        Ok(())
    }

    fn item(&mut self, resource: &'static Resource, item: &str) -> Result<()> {
        let object =
            serde_json::from_str(item).with_context(|| format!("one of the {}", resource.plural()))?;
        let list = self.list(resource)?;
        let object = kept(resource.source, list.fields.as_ref(), object);
        // Lists that are read whole name an object once; parts of one may overlap.
        if resource.by_namespace() || resource.source == Source::ConfigMaps {
            let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
            let key = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
            if !list.seen.insert(key) {
                return Ok(());
            }
        }
        list.parts.write(&object)
    }

    fn list(&mut self, resource: &'static Resource) -> Result<&mut ListFile> {
        if !self.lists.contains_key(resource.plural()) {
            let parts = Parts::begin(&self.folder, resource)?;
            let fields = resource.source.fields().transpose();
            let list = ListFile {
                parts,
                fields: fields.with_context(|| format!("which fields of {} are read", resource.plural()))?,
                seen: HashSet::new(),
            };
            self.lists.insert(resource.plural(), list);
        }
        self.lists
            .get_mut(resource.plural())
            .context("a list that was begun is gone")
    }

    /// Writes the rest, gives the folder its name and says what is in it.
    pub(crate) fn finish(mut self, core: &Core) -> Result<Contents> {
        let mut objects = Vec::new();
        for resource in Resource::read_once() {
            // A kind that was read and has no object is an explicit empty list; one that was refused has no file.
            let index = core.index();
            let refused = matches!(index.worst_freshness(resource.source), Freshness::Unreadable(_))
                && read_in(index, resource.source).is_empty();
            if !refused {
                self.list(resource)?;
            }
            if let Some(list) = self.lists.remove(resource.plural()) {
                let count = list.parts.finish(refused)?;
                if count > 0 || !refused {
                    objects.push((resource.plural(), count));
                }
            }
        }
        self.samples.close(&self.folder)?;
        self.folder.write("unreadable.json", &unreadable(core))?;
        self.folder.write("README.txt", &readme())?;
        self.folder.finish()?;
        let pages = self.samples.pages;
        Ok(Contents { objects, pages })
    }
}

/// What was refused, in the form that the reader of files takes.
fn unreadable(core: &Core) -> String {
    let entries: Vec<Value> = Source::ALL
        .into_iter()
        .filter_map(|source| {
            let Freshness::Unreadable(why) = core.index().worst_freshness(source) else {
                return None;
            };
            let mut entry = json!({"source": source.name(), "reason": why});
            let read = read_in(core.index(), source);
            if !read.is_empty() {
                entry["readIn"] = json!(read);
            }
            Some(entry)
        })
        .collect();
    let version = format!("{}/{}", api::GROUP, api::VERSION);
    format!(
        "{:#}\n",
        json!({"apiVersion": version, "kind": "UnreadableList", "items": entries})
    )
}

/// The namespaces in which alone a source was read, sorted.
fn read_in(index: &Index, source: Source) -> BTreeSet<&str> {
    index
        .parts(source)
        .filter(|one| *one.1 == Freshness::Complete)
        .filter_map(|(part, _)| match part {
            Part::Namespace(name) => Some(index.names.text(name)),
            Part::Whole | Part::Object(..) => None,
        })
        .collect()
}

fn readme() -> String {
    include_str!("readme.txt").replace("{version}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
