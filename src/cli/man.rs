//! `evenkeel man`: manual pages, one for each command.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{End, answer};

/// Where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder to write them to, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes them.
pub(super) fn run<C: CommandFactory>(arguments: &Arguments) -> anyhow::Result<End> {
    let folder = &arguments.folder;
    let wrong = || format!("cannot write to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(wrong)?;
    clap_mangen::generate_to(C::command(), folder).with_context(wrong)?;
    answer(&format!("manual pages are in {}\n", folder.display()))?;
    Ok(End::Good)
}
