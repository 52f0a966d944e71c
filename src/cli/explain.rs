//! `evenkeel explain`: the page of a check, a remedy, a guard or a reason, or one finding with everything it rests on.

use anyhow::bail;
use clap::Args;
use clap_complete::ArgValueCompleter;
use evenkeel_core::findings::{Finding, SubjectKind, SubjectView};
use evenkeel_core::sample::{Metrics, SampleSubject, SampleView};
use evenkeel_core::standing::Reason;
use evenkeel_core::{checks, guards, remedies};

use super::candidates;
use super::checks::page;
use super::input::{Input, Judged};
use super::prometheus::Measured;
use super::{End, answer};
use crate::render::findings::counted;
use crate::render::page::page as laid_out;
use crate::render::{self, Form, findings, program};
use crate::suggest::did_you_mean;

/// What to explain.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Id of a check (`evenkeel checks` lists them), the first digits of the id of a finding (`audit` shows them), or a reason
    /// of a condition, a remedy or the guard that holds it back (`status` shows them)
    #[arg(value_name = "CHECK|FINDING|REASON|REMEDY|GUARD", add = ArgValueCompleter::new(candidates::explainable))]
    id: String,
    /// Form of a finding; wide has the page of its check as well
    #[arg(long, short, value_enum, default_value_t = Form::Wide)]
    output: Form,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    measured: Measured,
}

/// What was measured of the metrics that a check rests on: of the finding's own Node or Service, or of the control plane.
fn samples(judged: &Judged, metrics: Metrics, finding: &Finding) -> Vec<SampleView> {
    let SubjectView {
        kind,
        namespace: home,
        name,
        ..
    } = &finding.subject;
    let index = judged.core.index();
    let of = |subject: SampleSubject<&str>| match (kind, subject) {
        (SubjectKind::Node, SampleSubject::Node(node)) => node == name,
        (
            SubjectKind::Service,
            SampleSubject::Backend {
                namespace, service, ..
            },
        ) => namespace == home && service == name,
        (SubjectKind::Cluster, subject) => {
            !matches!(subject, SampleSubject::Node(_) | SampleSubject::Backend { .. })
        }
        _ => false,
    };
    let now = judged.now.mono;
    index.samples().shown(now, &index.names, metrics, of)
}

/// Digits of the id of a finding.
const DIGITS: usize = 16;

/// Fewest digits that are taken for the beginning of an id.
const FEWEST: usize = 4;

/// A reason: where it stands, what it means, and what to do.
fn of_reason(reason: Reason) -> String {
    let places = reason.places().iter();
    let places: Vec<_> = places
        .map(|(kind, holds)| format!("{kind}={}", holds.name()))
        .collect();
    format!(
        "# {}\n\nA reason of the condition {}: {}.\n\n## What to do\n\n{}\n",
        reason.name(),
        places.join(", "),
        reason.means(),
        reason.next()
    )
}

/// Explains.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let id = &arguments.id;
    if let Some(check) = checks::find(id) {
        answer(&page(check))?;
        return Ok(End::Good);
    }
    if let Some(remedy) = remedies::ALL.iter().find(|one| one.id == id) {
        answer(&laid_out(&format!("# {}\n\n{}\n", remedy.id, remedy.doc.trim())))?;
        return Ok(End::Good);
    }
    if let Some(guard) = guards::find(id) {
        answer(&laid_out(&format!(
            "# {}\n\nA guard: it holds a remedy back where {}.\n\n## What to do\n\n{}\n",
            guard.id, guard.means, guard.next
        )))?;
        return Ok(End::Good);
    }
    if let Some(reason) = Reason::ALL.iter().find(|one| one.name() == id) {
        answer(&laid_out(&of_reason(*reason)))?;
        return Ok(End::Good);
    }
    let is_finding = (FEWEST..=DIGITS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_finding {
        let known = checks::ALL.iter().map(|check| check.id);
        let known = known.chain(remedies::ALL.iter().map(|remedy| remedy.id));
        let known = known.chain(guards::ALL.iter().map(|guard| guard.id));
        let known = known.chain(Reason::ALL.iter().map(|reason| reason.name()));
        bail!(
            "`{id}` is no check (`{} checks` lists them), reason, remedy or guard, nor the id of a finding{}",
            program(),
            did_you_mean(id, known)
        );
    }
    let judged = arguments.input.judge_measured(&arguments.measured)?;
    arguments.input.scope.exists(&judged.core)?;
    let list = judged.findings();
    let mut found = list.findings.iter().filter(|one| one.id.starts_with(id.as_str()));
    let finding = match (found.next(), found.next()) {
        (Some(finding), None) => finding,
        (Some(_), Some(_)) => bail!(
            "{} findings begin with {id}; give more of its digits",
            found.count() + 2
        ),
        (None, _) => {
            let unread = match list.unreadable.len() {
                0 => " or come from another place than this".to_owned(),
                count => format!(
                    ", come from another place than this, or rest on what could not be read ({})",
                    counted(count, "source", "sources")
                ),
            };
            bail!("there is no finding {id} now; it may be healed{unread}")
        }
    };
    answer(&match arguments.output {
        Form::Json => render::json(finding)?,
        Form::Yaml => render::yaml(finding)?,
        Form::Markdown => findings::card_markdown(finding),
        Form::Table | Form::Wide => {
            let check = checks::find(finding.check);
            let samples = check.map_or_else(Vec::new, |check| samples(&judged, check.samples, finding));
            let card = findings::card(finding) + &findings::samples(&samples);
            match (&arguments.output, check) {
                (Form::Wide, Some(check)) => format!("{card}\n{}", laid_out(check.doc.trim())),
                _ => card,
            }
        }
    })?;
    Ok(End::Good)
}
