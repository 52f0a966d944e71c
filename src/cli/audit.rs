//! `evenkeel audit`: what is wrong, how badly, and what to do next.

use clap::{Args, ValueEnum};
use evenkeel_core::checks;
use evenkeel_core::findings::{Finding, FindingList, NotJudged};
use evenkeel_core::judge::Severity;

use super::input::Input;
use super::{End, answer};
use crate::render::{self, Form, findings};

/// What to judge, and how to print it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    input: Input,
    /// Only this check; repeatable
    #[arg(long, value_name = "ID", value_parser = check_id)]
    check: Vec<String>,
    /// Show findings of this level and above
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Unknown)]
    severity: Level,
    /// Exit with 1 when a finding is at or above this level; accepted ones never count
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Critical)]
    fail_on: Level,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// A level of severity. What is unknown is below all others, so that only asking for it counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Unknown,
    Info,
    Warning,
    Critical,
}

impl Level {
    /// Whether this severity is at or above the level.
    fn covers(self, severity: Severity) -> bool {
        severity
            >= match self {
                Self::Unknown => Severity::Unknown,
                Self::Info => Severity::Info,
                Self::Warning => Severity::Warning,
                Self::Critical => Severity::Critical,
            }
    }
}

/// A check that exists, or the ones that do.
fn check_id(text: &str) -> Result<String, String> {
    if checks::find(text).is_some() {
        return Ok(text.to_owned());
    }
    let known: Vec<_> = checks::ALL.iter().map(|check| check.id).collect();
    Err(format!("there is no such check; there are: {}", known.join(", ")))
}

/// Judges, prints, and sets the exit code.
///
/// Namespaces and checks narrow what is asked, and so the exit code; the severity only narrows what is shown.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let judged = arguments.input.judge()?;
    let mut list = judged.findings();
    let all = list.findings.len();
    list.findings.retain(|one| arguments.asks(one));
    list.not_judged = list.not_judged.and_then(|one| arguments.asked_of(one));
    let end = arguments.end(&list);
    list.findings
        .retain(|one| arguments.severity.covers(one.severity));
    let aside = findings::Aside {
        hidden: all - list.findings.len(),
        notes: &judged.report.notes,
        ignored: &judged.report.ignored,
        again: arguments.input.again(),
    };
    answer(&match arguments.output {
        Form::Json => render::json(&list)?,
        Form::Yaml => render::yaml(&list)?,
        Form::Table => findings::table(&list, &aside),
        Form::Wide => findings::wide(&list, &aside),
        Form::Markdown => findings::markdown(&list, &aside),
    })?;
    Ok(end)
}

impl Arguments {
    /// The part of it that is about the checks which are asked for.
    fn asked_of(&self, mut not_judged: NotJudged) -> Option<NotJudged> {
        let asked = |id: &str| self.check.is_empty() || self.check.iter().any(|one| one == id);
        not_judged.checks.retain(|id| asked(id));
        (!not_judged.checks.is_empty()).then_some(not_judged)
    }

    fn asks(&self, finding: &Finding) -> bool {
        let here = |namespace: &String| {
            finding.subject.namespace == *namespace
                || finding
                    .policy
                    .as_ref()
                    .and_then(|policy| policy.split_once('/'))
                    .is_some_and(|(home, _)| home == namespace)
        };
        (self.check.is_empty() || self.check.iter().any(|id| id == finding.check))
            && (self.input.scope.namespace.is_empty() || self.input.scope.namespace.iter().any(here))
    }

    fn end(&self, list: &FindingList) -> End {
        let bad = |one: &Finding| one.exception.is_none() && self.fail_on.covers(one.severity);
        if list.findings.iter().any(bad) {
            End::Failed
        } else if list.unreadable.is_empty() {
            End::Good
        } else {
            End::Unread
        }
    }
}
