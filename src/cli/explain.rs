//! `evenkeel explain`: the page of a check, or one finding with everything it rests on.

use anyhow::bail;
use clap::Args;
use evenkeel_core::checks;

use super::input::Input;
use super::{End, answer};
use crate::render::{self, Form, findings};

/// What to explain.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Id of a check (`evenkeel checks` lists them) or of a finding (`audit -o wide` shows them)
    #[arg(value_name = "CHECK|FINDING")]
    id: String,
    #[command(flatten)]
    input: Input,
    /// Form of a finding
    #[arg(long, short, value_enum, default_value_t = Form::Wide)]
    output: Form,
}

/// Explains.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let id = &arguments.id;
    if let Some(check) = checks::find(id) {
        answer(&format!("# {}\n\n{}\n", check.id, check.doc.trim()))?;
        return Ok(End::Good);
    }
    let is_finding = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_finding {
        let known: Vec<_> = checks::ALL.iter().map(|check| check.id).collect();
        bail!(
            "`{id}` is neither a check nor the id of a finding; the checks are: {}",
            known.join(", ")
        );
    }
    let list = arguments.input.judge()?.findings();
    let Some(finding) = list.findings.iter().find(|one| one.id == *id) else {
        bail!("there is no finding {id} now; it may be healed, or come from another place than this");
    };
    answer(&match arguments.output {
        Form::Json => render::json(finding)?,
        Form::Yaml => render::yaml(finding)?,
        Form::Markdown => findings::card_markdown(finding),
        Form::Table | Form::Wide => {
            let page = checks::find(finding.check).map_or("", |check| check.doc.trim());
            format!("{}\n{page}\n", findings::card(finding))
        }
    })?;
    Ok(End::Good)
}
