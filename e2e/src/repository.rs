//! The repository that this crate stands in, and the examples in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a file in `examples/`.
pub fn example(file: &str) -> Result<String> {
    let path = root().join("examples").join(file);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// The same, with everything of the shop in another namespace.
pub fn example_in(file: &str, namespace: &str) -> Result<String> {
    let text = example(file)?;
    let moved = text
        .replace("namespace: shop", &format!("namespace: {namespace}"))
        .replace("{name: shop}", &format!("{{name: {namespace}}}"));
    ensure!(text != moved, "{file} does not name the shop");
    Ok(moved)
}
