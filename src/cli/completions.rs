//! `evenkeel completions`: a script by which a shell asks this program what may come next.

use anyhow::Context;
use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

use super::{End, answer};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Shells that can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// The variable by which the script asks.
pub(super) const VARIABLE: &str = "EVENKEEL_COMPLETE";

/// Prints the script. It calls the program by the name that is in the `PATH`.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let shell = arguments.shell.to_possible_value();
    let shell = shell.as_ref().map_or("", |value| value.get_name());
    let shells = Shells::builtins();
    let completer = shells.completer(shell).context("no such shell")?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "evenkeel", "evenkeel", "evenkeel", &mut script)?;
    answer(&String::from_utf8_lossy(&script))?;
    Ok(End::Good)
}
