//! `evenkeel checks`

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use evenkeel_core::checks::{ALL, find};
use evenkeel_core::judge::{Check, Memory, Severities};
use serde::Serialize;

use super::{End, answer};
use crate::escape::line;
use crate::render::screen::Screen;
use crate::render::{self, Form, filled, program};
use crate::suggest::did_you_mean;

/// In which form.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Reads the id of a check that exists. The error names the one that may be meant, and not all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckId;

impl TypedValueParser for CheckId {
    type Value = String;

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        let id = value.to_string_lossy();
        match is_check(&id) {
            Ok(()) => Ok(id.into_owned()),
            Err(why) => Err(clap::Error::raw(
                ErrorKind::InvalidValue,
                line(&why).into_owned() + "\n",
            )),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let ids = ALL
            .iter()
            .map(|check| PossibleValue::new(check.id).help(summary(check)));
        Some(Box::new(ids))
    }
}

/// An error, with the check that may be meant, where no check has this id.
pub(super) fn is_check(id: &str) -> Result<(), String> {
    if find(id).is_some() {
        return Ok(());
    }
    let hint = did_you_mean(id, ALL.iter().map(|check| check.id));
    Err(format!(
        "there is no check {id} (`{} checks` lists them){hint}",
        program()
    ))
}

/// What a check is about, in one sentence.
pub(super) fn summary(check: &Check) -> &'static str {
    check.summary().trim_start_matches(['#', ' '])
}

/// The page of a check.
pub(super) fn page(check: &Check) -> String {
    render::page::page(&format!("# {}\n\n{}\n", check.id, check.doc.trim()))
}

/// One check, as shown.
#[allow(clippy::struct_excessive_bools, reason = "each is a key of the answer")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckView {
    id: &'static str,
    summary: &'static str,
    needs: Vec<&'static str>,
    uses: Vec<&'static str>,
    reads_data_plane: bool,
    severities: Severities,
    needs_agent: bool,
    needs_operator: bool,
    needs_policy: bool,
}

fn view(check: &Check) -> CheckView {
    CheckView {
        id: check.id,
        summary: summary(check),
        needs: check
            .needs
            .iter()
            .map(evenkeel_core::know::Source::name)
            .collect(),
        uses: check
            .uses
            .minus(check.needs)
            .iter()
            .map(evenkeel_core::know::Source::name)
            .collect(),
        reads_data_plane: check.profiles,
        severities: check.severity,
        needs_agent: check.needs_agent(),
        needs_operator: check.history == Memory::Needed,
        needs_policy: !check.baseline,
    }
}

/// Columns of the list, but for what a wide one has as well.
const HEADS: [&str; 6] = [
    "CHECK",
    "VIOLATED/AT RISK",
    "POLICY",
    "AGENT",
    "OPERATOR",
    "SUMMARY",
];

impl CheckView {
    /// What has to be there before it is judged.
    fn needed(&self) -> Vec<&'static str> {
        let needs = [
            (self.needs_policy, "policy"),
            (self.needs_agent, "agent"),
            (self.needs_operator, "operator"),
        ];
        needs.iter().filter(|need| need.0).map(|need| need.1).collect()
    }

    /// One cell for each column of the short list.
    fn short(&self) -> Vec<String> {
        let needs = self.needed();
        vec![
            self.id.to_owned(),
            self.severities.violated.name().to_owned(),
            if needs.is_empty() {
                "-".to_owned()
            } else {
                needs.join(", ")
            },
            self.summary.to_owned(),
        ]
    }

    /// One cell for each of [`HEADS`].
    fn row(&self) -> Vec<String> {
        let word = |needed| if needed { "yes" } else { "no" }.to_owned();
        let Severities { violated, at_risk } = self.severities;
        vec![
            self.id.to_owned(),
            format!("{}/{}", violated.name(), at_risk.name()),
            word(self.needs_policy),
            word(self.needs_agent),
            word(self.needs_operator),
            self.summary.to_owned(),
        ]
    }

    /// The same, and what it reads.
    fn wide(&self) -> Vec<String> {
        let mut row = self.row();
        row.extend([self.needs.join(", "), self.uses.join(", ")]);
        row
    }
}

/// Fewest columns at which the summary of a check has room beside its id.
const ROOM: usize = 120;

/// The short list. Where there is little room, each summary has lines of its own.
fn list(views: &[CheckView], columns: usize) -> String {
    if columns >= ROOM {
        let heads = ["CHECK", "SEVERITY", "NEEDS", "SUMMARY"];
        return render::table(&heads, views.iter().map(CheckView::short));
    }
    let entries = views.iter().map(|view| {
        let severity = view.severities.violated.name();
        let needs = match view.needed() {
            needs if needs.is_empty() => String::new(),
            needs => format!(", needs {}", needs.join(", ")),
        };
        let summary = filled(view.summary, "    ", "    ", columns);
        format!("{} ({severity}{needs})\n{summary}\n", view.id)
    });
    entries.collect()
}

/// Prints the list.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let views: Vec<_> = ALL.iter().map(view).collect();
    answer(&match arguments.output {
        Form::Json => render::json(&views)?,
        Form::Yaml => render::yaml(&views)?,
        Form::Markdown => render::markdown_table(&HEADS, views.iter().map(CheckView::row)),
        Form::Table => list(&views, Screen::current().page()),
        Form::Wide => {
            let [check, severities, policy, agent, operator, summary] = HEADS;
            let heads = [
                check, severities, policy, agent, operator, summary, "NEEDS", "USES",
            ];
            render::table(&heads, views.iter().map(CheckView::wide))
        }
    })?;
    Ok(End::Good)
}
