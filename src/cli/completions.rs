//! `evenkeel completions`

use clap::{Args, CommandFactory};

use super::{End, answer};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints completions for a command.
pub(super) fn run<C: CommandFactory>(arguments: &Arguments) -> anyhow::Result<End> {
    let mut script = Vec::new();
    let mut command = C::command();
    clap_complete::generate(arguments.shell, &mut command, "evenkeel", &mut script);
    answer(&String::from_utf8_lossy(&script))?;
    Ok(End::Good)
}
