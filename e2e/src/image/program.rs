//! Static programs whose bytes do not depend on where they are built.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`, by cargo's book.
const FLAG_END: &str = "\x1f";

/// A program to build from a workspace.
#[derive(Clone, Debug)]
pub struct PackageBuild {
    /// The root of the workspace.
    pub root: PathBuf,
    /// The package, by its name.
    pub package: &'static str,
    /// The program's file name.
    pub file: &'static str,
    /// Cargo's folder for this build, apart from that of other flags.
    pub target_dir: PathBuf,
    /// Which way to build it.
    pub kind: Kind,
}

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be released: no path of this machine may be in it.
    Release,
    /// For tests, which do not look inside.
    Test,
}

impl PackageBuild {
    /// Builds it, if need be, and returns where it is. Progress goes to standard error.
    pub fn build(&self) -> Result<PathBuf> {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut command = Command::new(tool("CARGO", "cargo"));
        command
            .args(["build", "--locked", "--release", "--package", self.package])
            .args(["--bin", self.file])
            // Named even where it is the machine's own: without it proc macros and build
            // scripts would be linked statically, too, which does not work.
            .args(["--target", &target])
            .arg("--target-dir")
            .arg(&self.target_dir)
            .current_dir(&self.root)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags()?.join(FLAG_END))
            .env("CARGO_INCREMENTAL", "0")
            .env("SOURCE_DATE_EPOCH", "0")
            .stdin(Stdio::null());
        if self.kind == Kind::Test {
            command.arg("--quiet");
        }
        let status = command.status().context("starting cargo")?;
        if !status.success() {
            bail!("cargo build of {} ended with {status}", self.package);
        }
        let program = self.target_dir.join(target).join("release").join(self.file);
        // As the kernel will name it.
        fs::canonicalize(&program).with_context(|| format!("looking for {}", program.display()))
    }

    fn flags(&self) -> Result<Vec<String>> {
        let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
        if self.kind == Kind::Release {
            let folders = [
                (cargo_home()?, "/cargo"),
                (sysroot()?, "/rust"),
                (self.root.clone(), "/evenkeel"),
                (self.target_dir.clone(), "/evenkeel/target"),
            ];
            for (folder, name) in folders {
                let folder = folder.display();
                flags.push(format!("--remap-path-prefix={folder}={name}"));
            }
        }
        Ok(flags)
    }
}

fn tool(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| OsString::from(name))
}

/// Where the sources of dependencies are.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// Where the sources of the standard library would be.
fn sysroot() -> Result<PathBuf> {
    let output = Command::new(tool("RUSTC", "rustc"))
        .args(["--print", "sysroot"])
        .stdin(Stdio::null())
        .output()
        .context("starting rustc")?;
    if !output.status.success() {
        bail!("rustc --print sysroot ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}
