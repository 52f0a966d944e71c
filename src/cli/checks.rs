//! `evenkeel checks`

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use evenkeel_core::checks::ALL;
use evenkeel_core::judge::{Check, Memory, Severities};
use serde::Serialize;

use super::{End, answer};
use crate::render::{self, Form};

/// In which form.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Reads the id of a check that exists.
pub(super) fn check_ids() -> PossibleValuesParser {
    let ids = ALL
        .iter()
        .map(|check| PossibleValue::new(check.id).help(summary(check)));
    PossibleValuesParser::new(ids)
}

/// What a check is about, in one sentence.
pub(super) fn summary(check: &Check) -> &'static str {
    check.summary().trim_start_matches(['#', ' '])
}

/// The page of a check.
pub(super) fn page(check: &Check) -> String {
    format!("# {}\n\n{}\n", check.id, check.doc.trim())
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
    /// One cell for each column of the short list.
    fn short(&self) -> Vec<String> {
        let needs = [
            (self.needs_policy, "policy"),
            (self.needs_agent, "agent"),
            (self.needs_operator, "operator"),
        ];
        let needs: Vec<_> = needs.iter().filter(|need| need.0).map(|need| need.1).collect();
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

/// Prints the list.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let views: Vec<_> = ALL.iter().map(view).collect();
    answer(&match arguments.output {
        Form::Json => render::json(&views)?,
        Form::Yaml => render::yaml(&views)?,
        Form::Markdown => render::markdown_table(&HEADS, views.iter().map(CheckView::row)),
        Form::Table => render::table(
            &["CHECK", "SEVERITY", "NEEDS", "SUMMARY"],
            views.iter().map(CheckView::short),
        ),
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
