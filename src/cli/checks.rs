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
struct View {
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

fn view(check: &Check) -> View {
    View {
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

/// Prints the list.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let views: Vec<_> = ALL.iter().map(view).collect();
    let short = || {
        views.iter().map(|one| {
            let needs = [
                (one.needs_policy, "policy"),
                (one.needs_agent, "agent"),
                (one.needs_operator, "operator"),
            ];
            let needs: Vec<_> = needs.iter().filter(|need| need.0).map(|need| need.1).collect();
            vec![
                one.id.to_owned(),
                one.severities.violated.name().to_owned(),
                if needs.is_empty() {
                    "-".to_owned()
                } else {
                    needs.join(", ")
                },
                one.summary.to_owned(),
            ]
        })
    };
    let rows = || {
        views.iter().map(|one| {
            vec![
                one.id.to_owned(),
                format!(
                    "{}/{}",
                    one.severities.violated.name(),
                    one.severities.at_risk.name()
                ),
                if one.needs_policy { "yes" } else { "no" }.to_owned(),
                if one.needs_agent { "yes" } else { "no" }.to_owned(),
                if one.needs_operator { "yes" } else { "no" }.to_owned(),
                one.summary.to_owned(),
            ]
        })
    };
    let heads = [
        "CHECK",
        "VIOLATED/AT RISK",
        "POLICY",
        "AGENT",
        "OPERATOR",
        "SUMMARY",
    ];
    answer(&match arguments.output {
        Form::Json => render::json(&views)?,
        Form::Yaml => render::yaml(&views)?,
        Form::Markdown => render::markdown_table(&heads, rows()),
        Form::Table => render::table(&["CHECK", "SEVERITY", "NEEDS", "SUMMARY"], short()),
        Form::Wide => {
            let heads = [
                "CHECK",
                "VIOLATED/AT RISK",
                "POLICY",
                "AGENT",
                "OPERATOR",
                "SUMMARY",
                "NEEDS",
                "USES",
            ];
            let rows = rows().zip(&views).map(|(mut row, one)| {
                row.push(one.needs.join(", "));
                row.push(one.uses.join(", "));
                row
            });
            render::table(&heads, rows)
        }
    })?;
    Ok(End::Good)
}
