//! `evenkeel audit`: what is wrong, how badly, and what to do next.

use std::collections::BTreeMap;
use std::env;

use clap::{Args, ValueEnum};
use evenkeel_core::findings::{Finding, FindingList, NotJudged};
use evenkeel_core::judge::Severity;

use super::checks::check_ids;
use super::input::Input;
use super::{End, answer};
use crate::render::report::Context;
use crate::render::report::github::github;
use crate::render::report::junit::junit;
use crate::render::report::sarif::sarif;
use crate::render::screen::Screen;
use crate::render::{self, AuditForm, findings};

/// What to judge, and how to print it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only these checks: ids, separated by commas
    #[arg(long, value_name = "IDS", value_parser = check_ids(), hide_possible_values = true, value_delimiter = ',')]
    check: Vec<String>,
    /// Show findings of this level and above
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Unknown)]
    severity: Level,
    /// Exit with 1 when a finding is at or above this level; accepted ones never count
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Critical)]
    fail_on: Level,
    /// Give each finding a row of its own, instead of one for each cause
    #[arg(long)]
    all: bool,
    /// List also what is met
    #[arg(long)]
    met: bool,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = AuditForm::Table)]
    output: AuditForm,
    #[command(flatten)]
    input: Input,
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

/// Judges, prints, and sets the exit code.
///
/// Namespaces and checks narrow what is asked, and so the exit code; the severity only narrows what is shown.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let judged = arguments.input.judge()?;
    arguments.input.scope.exists(&judged.core)?;
    let mut list = judged.findings();
    let all = list.findings.len();
    list.findings.retain(|one| arguments.asks(one));
    list.not_judged = list.not_judged.and_then(|one| arguments.asked_of(one));
    let end = arguments.end(&list);
    list.findings
        .retain(|one| arguments.severity.covers(one.severity));
    let met = match arguments.output {
        // Their readers count by themselves.
        AuditForm::Json | AuditForm::Yaml | AuditForm::Sarif | AuditForm::Github => BTreeMap::new(),
        AuditForm::Table | AuditForm::Wide | AuditForm::Markdown | AuditForm::Junit => {
            judged.core.met(judged.now, &|check, subject| {
                arguments.asks_check(check) && arguments.asks_namespace(&subject.namespace)
            })
        }
    };
    let aside = findings::Aside {
        hidden: all - list.findings.len(),
        notes: &judged.report.notes,
        ignored: &judged.report.ignored,
        again: arguments.input.again(),
        judged: judged
            .core
            .judged(&|namespace| arguments.asks_namespace(namespace)),
        met: &met,
        all: arguments.all,
        list_met: arguments.met,
    };
    let context = Context {
        places: &judged.report.places,
        root: env::current_dir().unwrap_or_default(),
        from: arguments.input.from(),
        again: &aside.again,
        met: &met,
        fails: &|one| arguments.is_bad(one),
    };
    answer(&match arguments.output {
        AuditForm::Json => render::json(&list)?,
        AuditForm::Yaml => render::yaml(&list)?,
        AuditForm::Table => findings::table(&list, &aside, Screen::current()),
        AuditForm::Wide => findings::wide(&list, &aside),
        AuditForm::Markdown => findings::markdown(&list, &aside),
        AuditForm::Sarif => sarif(&list, &context)?,
        AuditForm::Junit => junit(&list, &context),
        AuditForm::Github => github(&list, &context),
    })?;
    Ok(end)
}

impl Arguments {
    /// The part of it that is about the checks which are asked for.
    fn asked_of(&self, mut not_judged: NotJudged) -> Option<NotJudged> {
        not_judged.checks.retain(|id| self.asks_check(id));
        not_judged
            .policies
            .retain(|one| self.asks_namespace(one.policy.split_once('/').map_or("", |policy| policy.0)));
        let some = !not_judged.checks.is_empty() || !not_judged.policies.is_empty();
        some.then_some(not_judged)
    }

    fn asks_check(&self, id: &str) -> bool {
        self.check.is_empty() || self.check.iter().any(|one| one == id)
    }

    fn asks_namespace(&self, namespace: &str) -> bool {
        let asked = &self.input.scope.namespace;
        asked.is_empty() || asked.iter().any(|one| one == namespace)
    }

    fn asks(&self, finding: &Finding) -> bool {
        let policy = finding.policy.as_ref().and_then(|policy| policy.split_once('/'));
        self.asks_check(finding.check)
            && (self.asks_namespace(&finding.subject.namespace)
                || policy.is_some_and(|(home, _)| self.asks_namespace(home)))
    }

    /// Whether the command fails for this finding.
    fn is_bad(&self, finding: &Finding) -> bool {
        finding.exception.is_none() && self.fail_on.covers(finding.severity)
    }

    fn end(&self, list: &FindingList) -> End {
        if list.findings.iter().any(|one| self.is_bad(one)) {
            End::Failed
        } else if list.unreadable.is_empty() {
            End::Good
        } else {
            End::Unread
        }
    }
}
