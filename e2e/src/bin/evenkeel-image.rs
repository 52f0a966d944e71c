//! The operator's image: the static program that is in it, and the file that it is,
//! made without a container engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use evenkeel_e2e::image::program::{Kind, PackageBuild};
use evenkeel_e2e::image::{Image, OPERATOR, sha256};

/// An image larger than this is refused, in bytes: who installs during an incident
/// waits for it. It is 23.0 MB.
const AT_MOST: u64 = 24_000_000;

#[derive(Parser)]
#[command(about = "Build the static program and pack it into an image file, without a container engine")]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build the program and write it and its image into a folder
    Build(ImageFile),
    /// The same, then build once more from a copy in another folder and compare
    Reproducible(ImageFile),
    /// Pack a static program that is there already
    Pack {
        /// The program, which becomes the entrypoint
        #[arg(long)]
        program: PathBuf,
        /// Repository and tag of the image
        #[arg(long)]
        name: String,
        /// The file to write
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Args)]
struct ImageFile {
    /// The folder to write to
    #[arg(long, default_value = "target/image")]
    out: PathBuf,
    /// Repository and tag of the image
    #[arg(long, default_value = OPERATOR)]
    name: String,
}

fn main() -> Result<()> {
    match Cli::parse().action {
        Action::Build(file) => build(&file).map(drop),
        Action::Reproducible(file) => reproducible(&file),
        Action::Pack { program, name, out } => pack(&program, &name, &out),
    }
}

/// Writes `evenkeel` and `evenkeel.tar`, and returns the hash of the program.
fn build(file: &ImageFile) -> Result<String> {
    let root = root()?;
    fs::create_dir_all(&file.out).with_context(|| format!("making {}", file.out.display()))?;
    let out = fs::canonicalize(&file.out).with_context(|| format!("looking for {}", file.out.display()))?;
    let built = operator(root, out.join("build")).build()?;
    let program = out.join("evenkeel");
    fs::copy(&built, &program).with_context(|| format!("writing {}", program.display()))?;
    let hash = sha256(&fs::read(&program).context("reading the program again")?);
    println!("program {} sha256 {hash}", program.display());
    pack(&program, &file.name, &out.join("evenkeel.tar"))?;
    Ok(hash)
}

fn reproducible(file: &ImageFile) -> Result<()> {
    let here = build(file)?;
    let elsewhere = tempfile::Builder::new()
        .prefix("evenkeel-elsewhere-")
        .tempdir()
        .context("making a folder for the second build")?;
    let root = elsewhere.path().join("of/another/depth");
    copy_sources(&root)?;
    println!("building once more in {}", root.display());
    let target_dir = root.join("target");
    let there = operator(root, target_dir).build()?;
    let there = sha256(&fs::read(&there).context("reading the second program")?);
    if here != there {
        bail!("not reproducible: sha256 {here} here, {there} in another folder");
    }
    println!("reproducible: both are sha256 {here}");
    Ok(())
}

fn operator(root: PathBuf, target_dir: PathBuf) -> PackageBuild {
    PackageBuild {
        root,
        package: "evenkeel",
        file: "evenkeel",
        target_dir,
        kind: Kind::Release,
    }
}

fn root() -> Result<PathBuf> {
    fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).context("looking for the workspace")
}

/// Copies what git knows or would add, as it is in the working folder.
fn copy_sources(to: &Path) -> Result<()> {
    let from = root()?;
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&from)
        .stdin(Stdio::null())
        .output()
        .context("starting git, which lists the sources")?;
    if !output.status.success() {
        bail!("git ls-files ended with {}", output.status);
    }
    for file in String::from_utf8(output.stdout)?.split_terminator('\0') {
        let (source, target) = (from.join(file), to.join(file));
        // Deleted, but not yet for git.
        if !source.is_file() {
            continue;
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::copy(&source, &target).with_context(|| format!("copying {file}"))?;
    }
    Ok(())
}

fn pack(program: &Path, name: &str, out: &Path) -> Result<()> {
    refuse_dynamic(program)?;
    let written = Image::of_program(name, program)?.write(out)?;
    println!("image   {name} {}", written.digest);
    println!("file    {} sha256 {}", out.display(), written.file);
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let megabytes = written.bytes as f64 / 1e6;
    println!("size    {megabytes:.1} MB ({} bytes)", written.bytes);
    if written.bytes > AT_MOST {
        bail!(
            "the image has {} bytes, at most {AT_MOST} are allowed",
            written.bytes
        );
    }
    Ok(())
}

/// A program that asks for a loader would not start in an image without one.
fn refuse_dynamic(program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    if asks_for_loader(&bytes).with_context(|| format!("{} is no 64-bit ELF program", program.display()))? {
        bail!(
            "{} is linked dynamically; build it with RUSTFLAGS=\"-C target-feature=+crt-static\" and --target",
            program.display()
        );
    }
    Ok(())
}

/// Whether an ELF file has a segment of type `PT_INTERP` (3), by the layout of
/// little-endian 64-bit ELF headers in the ABI's chapter on object files.
fn asks_for_loader(elf: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let half = |at: usize| {
        elf.get(at..at + 2)
            .map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let start = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (half(54)?, half(56)?);
    for number in 0..count {
        let at = start.checked_add(size.checked_mul(number)?)?;
        let kind = u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_test_binary_asks_for_a_loader_and_text_is_no_program() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(asks_for_loader(&own), Some(true));
        assert_eq!(asks_for_loader(&own[..60]), None);
        assert_eq!(asks_for_loader(b"#!/bin/sh\n"), None);
    }
}
