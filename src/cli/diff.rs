//! `evenkeel diff`: what two audits differ in.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::checks::CheckId;
use super::level::Level;
use super::{End, answer};
use crate::render;
use crate::render::findings::{Changes, ComparedAudit};
use crate::render::screen::Screen;

/// Which audits, and how to print what they differ in.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The earlier audit: a file that `audit -o json` wrote, or `-` for standard input
    old: PathBuf,
    /// The later audit
    new: PathBuf,
    /// Only these checks: ids, separated by commas
    #[arg(long, value_name = "IDS", value_parser = CheckId, hide_possible_values = true, value_delimiter = ',')]
    check: Vec<String>,
    /// Exit with 1 when a finding at or above this level is new or worse than before; accepted ones never count
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Warning)]
    fail_on: Level,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = DiffForm::Table)]
    output: DiffForm,
}

/// Forms of this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiffForm {
    /// For people.
    Table,
    /// For programs; docs/schemas has its JSON schema.
    Json,
    /// For programs that people read.
    Yaml,
    /// For tickets.
    Markdown,
}

/// The largest audit that is read, in bytes: a thousand times that of a large cluster.
const MOST: u64 = 1 << 30;

/// Compares, prints, and sets the exit code.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    if arguments.old == Path::new("-") && arguments.new == Path::new("-") {
        bail!("standard input holds one audit; name a file for the other");
    }
    let (mut old, mut new) = (read(&arguments.old)?, read(&arguments.new)?);
    if !arguments.check.is_empty() {
        old.findings.retain(|one| arguments.check.contains(&one.check));
        new.findings.retain(|one| arguments.check.contains(&one.check));
    }
    let changes = Changes::of(&old, &new);
    answer(&match arguments.output {
        DiffForm::Table => changes.page("", Screen::current()),
        DiffForm::Json => render::json(&changes)?,
        DiffForm::Yaml => render::yaml(&changes)?,
        DiffForm::Markdown => changes.markdown(),
    })?;
    Ok(
        if changes.worse().any(|one| arguments.fail_on.covers(one.severity)) {
            End::Failed
        } else if changes.unread.is_empty() {
            End::Good
        } else {
            End::Unread
        },
    )
}

/// Reads an audit that was kept.
fn read(path: &Path) -> anyhow::Result<ComparedAudit> {
    let shown = if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    };
    let mut text = String::new();
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?)
    };
    let read = input.take(MOST).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {shown}"))?;
    let audit: ComparedAudit = serde_json::from_str(&text)
        .with_context(|| format!("{shown} is not what `evenkeel audit -o json` writes"))?;
    if audit.kind != "FindingList" || audit.api_version != "evenkeel.dev/v1alpha1" {
        bail!(
            "{shown} is a {} of {}; a FindingList of evenkeel.dev/v1alpha1 is compared, as `evenkeel audit -o json` writes it",
            audit.kind,
            audit.api_version
        );
    }
    Ok(audit)
}
