//! `/configz`: what the running process holds after defaulting.
//!
//! From 1.36 on the body holds the public document; up to 1.35 it holds the internal Go type, with other names and
//! another nesting. Every setting is there, so one that is not found is not understood: never a default.

use super::{Absent, NAMES, Raw, document};
use crate::dataplane::tree::Tree;
use crate::know::{Gap, Known, Origin};

/// The one key of the body: `cmd/kube-proxy/app/server.go`.
const KEY: &str = "kubeproxy.config.k8s.io";

pub(super) fn read(body: &str, place: &str) -> Known<Raw> {
    let unreadable = |why: String| Gap::Opaque(format!("{place}: {why}").into());
    let tree = Tree::from_json(body).map_err(|why| unreadable(format!("no readable JSON ({why})")))?;
    let config = tree
        .get(KEY)
        .ok_or_else(|| unreadable(format!("no key {KEY}, so this is no kube-proxy")))?;
    let raw = Raw::new(Absent::Unreadable, Origin::Measured);
    if config.get("apiVersion").is_some() || config.get("kind").is_some() {
        let mut raw = document::read_tree(config, place, None, raw)?;
        for names in NAMES
            .iter()
            .filter(|names| matches!(config.at(names.field), Some(Tree::Null)))
        {
            raw.set(names.key, names.field, "0s", place)?;
        }
        return Ok(raw);
    }
    if config.get("Mode").is_none() {
        return Err(unreadable(
            "neither of the two known shapes of kube-proxy's configuration".to_owned(),
        ));
    }
    internal(config, place, raw)
}

fn internal(config: &Tree, place: &str, mut raw: Raw) -> Known<Raw> {
    for names in &NAMES {
        let Some((path, value)) = names
            .internal
            .iter()
            .find_map(|path| config.at(path).map(|value| (*path, value)))
        else {
            continue;
        };
        match value {
            Tree::Text(text) => raw.set(names.key, path, text, place)?,
            // A nil pointer: kube-proxy leaves the kernel's value.
            Tree::Null => raw.set(names.key, path, "0s", place)?,
            other => {
                return Err(Gap::Opaque(
                    format!("{place} {path}: {other}, expected a text").into(),
                ));
            }
        }
    }
    Ok(raw)
}
