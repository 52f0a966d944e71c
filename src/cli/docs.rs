//! `evenkeel docs`: the page of a check in a pager.

use std::env;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use clap::Args;
use evenkeel_core::checks;

use super::checks::{CheckId, page, summary};
use super::{End, answer};
use crate::escape;
use crate::render;

/// Of which check.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Id of the check; without it, the list of them
    #[arg(value_name = "CHECK", value_parser = CheckId, hide_possible_values = true)]
    check: Option<String>,
    /// Print it without a pager
    #[arg(long)]
    no_pager: bool,
}

/// The pager where `PAGER` names none: it ends by itself where a page fits, and keeps colours.
const PAGER: &str = "less -FRX";

/// Shows it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let text = match arguments.check.as_deref().and_then(checks::find) {
        Some(check) => page(check),
        None => render::table(
            &["CHECK", "SUMMARY"],
            checks::ALL
                .iter()
                .map(|check| vec![check.id.to_owned(), summary(check).to_owned()]),
        ),
    };
    if arguments.no_pager || !std::io::stdout().is_terminal() || !paged(&text) {
        answer(&text)?;
    }
    Ok(End::Good)
}

/// Shows a text in the pager of the user. Whether there was one.
fn paged(text: &str) -> bool {
    let pager = env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| PAGER.to_owned());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else {
        return false;
    };
    let Ok(mut child) = Command::new(program).args(words).stdin(Stdio::piped()).spawn() else {
        return false;
    };
    if let Some(mut input) = child.stdin.take() {
        // A reader that has seen enough is no error.
        let _ = input.write_all(escape::page(text).as_bytes());
    }
    child.wait().is_ok()
}
