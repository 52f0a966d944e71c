//! In which file the objects stand that findings are about, for programs that show a finding beside the line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where an object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The file, as it was named or found.
    pub file: Arc<Path>,
    /// The line at which its document begins, from 1; `None` for an item of a list.
    pub line: Option<u64>,
}

/// Where objects stand: of equal ones, the last that was read.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<(&'static str, String, String), At>);

/// The kinds that findings name by namespace and name, and the policies that ask for them.
const KINDS: [&str; 3] = ["Node", "Service", "TrafficHealthPolicy"];

impl Places {
    /// Where the object of a kind, namespace (empty for none) and name stands.
    pub fn of(&self, kind: &str, namespace: &str, name: &str) -> Option<&At> {
        let kind = KINDS.into_iter().find(|one| *one == kind)?;
        self.0.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// Notes an object, where findings are about its kind. What came by standard input stands nowhere.
    pub(super) fn note(
        &mut self,
        kind: &str,
        (namespace, name): (&str, &str),
        file: &Path,
        line: impl FnOnce() -> Option<u64>,
    ) {
        let kind = KINDS.into_iter().find(|one| *one == kind);
        let (Some(kind), false, true) = (kind, name.is_empty(), file != Path::new("-")) else {
            return;
        };
        let key = (kind, namespace.to_owned(), name.to_owned());
        let file = PathBuf::from(file).into();
        self.0.insert(key, At { file, line: line() });
    }
}
