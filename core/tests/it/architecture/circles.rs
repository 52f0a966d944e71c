//! No two modules beside each other use each other, directly or around a corner, in any crate of the workspace.
//!
//! A module may use what its parent holds, and the parent its children: that is how Rust's modules are nested. What is
//! brought in through the parent counts as use of the module that it comes from.

use std::collections::{BTreeMap, BTreeSet};

use super::complain;
use super::source::{CRATES, File, files_of};

/// Where a module is in its crate.
type Module = Vec<String>;

/// The modules of one folder: who uses whom, with one example of each.
type Siblings = BTreeMap<String, BTreeMap<String, String>>;

/// The modules of a crate, and what each makes of names of its children.
struct Modules(BTreeMap<Module, BTreeMap<String, Vec<String>>>);

impl Modules {
    fn of(files: &[File]) -> Self {
        let known: BTreeSet<&Module> = files.iter().map(|file| &file.module).collect();
        let of = |file: &File| {
            let mut brought: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for path in &file.paths {
                let [first, .., last] = &path[..] else { continue };
                let child: Module = file.module.iter().chain([first]).cloned().collect();
                if known.contains(&child) {
                    let whole = file.module.iter().chain(path).cloned().collect();
                    brought.insert(last.clone(), whole);
                }
            }
            brought
        };
        Self(files.iter().map(|file| (file.module.clone(), of(file))).collect())
    }

    /// The module that a path of this crate leads to.
    fn find(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        // A name may be brought from module to module; four times are more than there are.
        for _ in 0..4 {
            let module = (0..=path.len())
                .rev()
                .map(|length| &path[..length])
                .find(|module| self.0.contains_key(*module));
            let Some(module) = module else { break };
            match path.get(module.len()).and_then(|name| self.0[module].get(name)) {
                Some(from) => path = from.clone(),
                None => return module.to_vec(),
            }
        }
        Module::new()
    }
}

/// Every folder of modules that use each other.
fn folders(files: &[File]) -> BTreeMap<Module, Siblings> {
    let modules = Modules::of(files);
    let mut folders: BTreeMap<Module, Siblings> = BTreeMap::new();
    for file in files {
        for path in file.paths.iter().filter(|path| path[0] == "crate") {
            let used = modules.find(&path[1..]);
            let shared = file
                .module
                .iter()
                .zip(&used)
                .take_while(|(own, other)| own == other)
                .count();
            if let (Some(own), Some(other)) = (file.module.get(shared), used.get(shared)) {
                folders
                    .entry(used[..shared].to_vec())
                    .or_default()
                    .entry(own.clone())
                    .or_default()
                    .entry(other.clone())
                    .or_insert_with(|| format!("{} uses {}", file.name, path.join("::")));
            }
        }
    }
    folders
}

/// The uses that are part of a circle.
fn circles(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for siblings in folders(files).values() {
        let reaches = |from: &String, to: &String| {
            let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
            while let Some(next) = todo.pop() {
                if next == to {
                    return true;
                }
                if seen.insert(next) {
                    todo.extend(siblings.get(next).into_iter().flat_map(BTreeMap::keys));
                }
            }
            false
        };
        for (own, others) in siblings {
            let back = others.iter().filter(|(other, _)| reaches(other, own));
            found.extend(back.map(|(_, example)| example.clone()));
        }
    }
    found
}

#[test]
fn no_modules_use_each_other() {
    for folder in CRATES {
        complain(
            &format!("modules of {folder} use each other in a circle"),
            &circles(files_of(folder)),
        );
    }
}

#[test]
fn circles_are_found() {
    let found = |sources: &[(&str, &str)]| {
        let files: Vec<File> = sources.iter().map(|(name, text)| File::of(name, text)).collect();
        circles(&files)
    };
    let direct = [
        ("a.rs", "use crate::b::Thing;"),
        ("b.rs", "fn f() { crate::a::g(); }"),
    ];
    assert_eq!(
        found(&direct),
        ["a.rs uses crate::b::Thing", "b.rs uses crate::a::g"]
    );
    let corner = [
        ("a/mod.rs", "use super::b::Thing;"),
        ("b.rs", "use crate::c::Thing;"),
        ("c/d.rs", "use crate::a;"),
        ("c/mod.rs", ""),
    ];
    assert_eq!(found(&corner).len(), 3);
    let through_the_parent = [
        ("a/mod.rs", "pub use b::Thing; pub use c::Other;"),
        ("a/b.rs", "use super::Other;"),
        ("a/c.rs", "use super::Thing;"),
    ];
    assert_eq!(found(&through_the_parent).len(), 2);
    let nested = [
        ("a/mod.rs", "mod b; use b::Thing; pub struct Own;"),
        ("a/b.rs", "use super::Own; use crate::c::Thing;"),
        ("c.rs", "#[cfg(test)] mod tests { use crate::a::Own; }"),
    ];
    assert_eq!(found(&nested), Vec::<String>::new());
}
