//! `evenkeel audit`: what is wrong, how badly, and what to do next.

mod config;
mod ignore;
mod watch;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use evenkeel_core::checks;
use evenkeel_core::findings::{Finding, FindingList, NotJudged, Note};

use self::config::Config;
use self::ignore::Ignored;
use super::checks::CheckId;
use super::cluster::{duration, quoted};
use super::input::{Input, Judged};
use super::level::Level;
use super::prometheus::Measured;
use super::{End, answer, note};
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
    #[arg(long, value_name = "IDS", value_parser = CheckId, hide_possible_values = true, value_delimiter = ',')]
    check: Vec<String>,
    /// Show findings of this level and above [default: unknown]
    #[arg(long, value_enum, value_name = "LEVEL")]
    severity: Option<Level>,
    /// Exit with 1 when a finding is at or above this level; accepted ones never count [default: critical]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fail_on: Option<Level>,
    /// Accept what the exceptions in this file name, until they end; repeatable (docs/command-line.md)
    #[arg(long, value_name = "FILE")]
    ignore: Vec<PathBuf>,
    /// Give each finding a row of its own, instead of one for each cause; --all=false where a file says so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    all: Option<bool>,
    /// List also what is met; --met=false where a file says so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    met: Option<bool>,
    /// Form of the answer [default: table]
    #[arg(long, short, value_enum)]
    output: Option<AuditForm>,
    /// Look again and again, and show what has changed; after 30 s, or after a time such as 10s
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "30s", value_parser = duration)]
    watch: Option<Duration>,
    /// Settings for these flags [default: evenkeel.yaml, else evenkeel/config.yaml in ~/.config]; flags win
    #[arg(long, value_name = "FILE", env = "EVENKEEL_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    measured: Measured,
}

/// What is asked: the flags, and where there are none the settings of a file.
#[derive(Debug)]
struct AuditRequest {
    check: Vec<String>,
    severity: Level,
    fail_on: Level,
    ignored: Ignored,
    all: bool,
    met: bool,
    output: AuditForm,
    input: Input,
    measured: Measured,
    /// The note on the file that the settings are from.
    note: Option<String>,
    /// The file that names the namespaces, where no flag does.
    narrowed_by: Option<PathBuf>,
}

/// What one look came to.
#[derive(Debug)]
struct Look {
    /// The findings that are asked for, whatever their severity.
    list: FindingList,
    end: End,
}

/// Judges, prints, and sets the exit code.
///
/// Namespaces and checks narrow what is asked, and so the exit code; the severity only narrows what is shown.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<End> {
    let every = arguments.watch;
    let audit = AuditRequest::of(arguments)?;
    if every.is_some() && !matches!(audit.output, AuditForm::Table | AuditForm::Wide) {
        bail!("--watch shows a page and then what changes: it goes with -o table and -o wide alone");
    }
    if every.is_some() && audit.input.is_read_once() {
        bail!("--watch reads again and again, and standard input can be read only once; name a file");
    }
    let first = audit.look(true)?;
    match every {
        None => Ok(first.end),
        Some(every) => watch::watch(every, first, &audit.again(), || audit.look(false)),
    }
}

/// A setting, as errors name it.
fn setting(file: &Path, name: &str) -> String {
    format!("{}: audit.{name}", file.display())
}

impl AuditRequest {
    fn of(arguments: Arguments) -> anyhow::Result<Self> {
        let config = Config::read(arguments.config.as_deref())?;
        let note = config.note();
        let set = config.settings;
        let or = |flag: Vec<String>, set| if flag.is_empty() { set } else { flag };
        let ignored = match &config.file {
            Some(file) if arguments.ignore.is_empty() => {
                Ignored::read(&set.ignore).with_context(|| setting(file, "ignore"))?
            }
            _ => Ignored::read(&arguments.ignore)?,
        };
        let mut input = arguments.input;
        let narrowed = input.scope.or_namespaces(set.namespace);
        Ok(Self {
            check: or(arguments.check, set.check),
            severity: arguments.severity.or(set.severity).unwrap_or(Level::Unknown),
            fail_on: arguments.fail_on.or(set.fail_on).unwrap_or(Level::Critical),
            ignored,
            all: arguments.all.unwrap_or(set.all),
            met: arguments.met.unwrap_or(set.met),
            output: arguments.output.or(set.output).unwrap_or(AuditForm::Table),
            input,
            measured: arguments.measured,
            note,
            narrowed_by: config.file.filter(|_| narrowed),
        })
    }

    /// Reads and judges once, and prints the whole of it where that is asked for.
    fn look(&self, print: bool) -> anyhow::Result<Look> {
        let mut judged = self.input.judge_measured(&self.measured)?;
        let exists = self.input.scope.exists(&judged.core);
        match &self.narrowed_by {
            Some(file) => exists.with_context(|| setting(file, "namespace"))?,
            None => exists?,
        }
        let mut list = judged.findings();
        let all = list.findings.len();
        let accepted = self.ignored.accept(&mut list, judged.now.wall.0);
        let set = self.note.iter().cloned().map(Note::Sentence);
        let notes: Vec<_> = set.chain(accepted).collect();
        if self.has_notes() {
            // They come first, as a page shows few notes, and these change the exit code.
            judged.report.notes.splice(0..0, notes);
        } else {
            for text in &notes {
                note(&format!("note: {text}"));
            }
        }
        if matches!(self.output, AuditForm::Json | AuditForm::Yaml) {
            list.notes.clone_from(&judged.report.notes);
        }
        list.findings.retain(|one| self.asks(one));
        list.not_judged = list.not_judged.and_then(|one| self.asked_of(one));
        let end = self.end(&list);
        if print {
            let mut shown = list.clone();
            shown.findings.retain(|one| self.severity.covers(one.severity));
            answer(&self.shown(&judged, &shown, all)?)?;
        }
        Ok(Look { list, end })
    }

    /// The answer, of findings of which there are so many in all.
    fn shown(&self, judged: &Judged, list: &FindingList, all: usize) -> anyhow::Result<String> {
        let met = match self.output {
            // Their readers count by themselves.
            AuditForm::Json | AuditForm::Yaml | AuditForm::Sarif | AuditForm::Github => BTreeMap::new(),
            AuditForm::Table | AuditForm::Wide | AuditForm::Markdown | AuditForm::Junit => {
                judged.core.met(judged.now, &|check, subject| {
                    self.asks_check(check) && self.asks_namespace(&subject.namespace)
                })
            }
        };
        let aside = findings::Aside {
            hidden: all - list.findings.len(),
            notes: &judged.report.notes,
            ignored: &judged.report.ignored,
            again: self.again(),
            busiest: judged
                .core
                .busiest_namespace(&|namespace| self.asks_namespace(namespace))
                .filter(|_| self.input.scope.namespace.is_empty())
                .map(|namespace| quoted(namespace).into_owned()),
            grantee: self.input.scope.cluster.grantee(),
            judged: judged.core.judged(&|namespace| self.asks_namespace(namespace)),
            checks: checks::ALL.iter().filter(|one| self.asks_check(one.id)).count(),
            met: &met,
            all: self.all,
            list_met: self.met,
        };
        let context = Context {
            places: &judged.report.places,
            root: env::current_dir().unwrap_or_default(),
            from: self.input.from(),
            again: &aside.again,
            met: &met,
            fails: &|one| self.is_bad(one),
        };
        Ok(match self.output {
            AuditForm::Json => render::json(&list)?,
            AuditForm::Yaml => render::yaml(&list)?,
            AuditForm::Table => findings::table(list, &aside, Screen::current()),
            AuditForm::Wide => findings::wide(list, &aside),
            AuditForm::Markdown => findings::markdown(list, &aside),
            AuditForm::Sarif => sarif(list, &context)?,
            AuditForm::Junit => junit(list, &context),
            AuditForm::Github => github(list, &context),
        })
    }

    /// The arguments that read the same again, to be pasted into a shell.
    fn again(&self) -> String {
        self.input.again() + &self.measured.again()
    }

    /// Whether the answer has notes; those of other forms go to standard error.
    fn has_notes(&self) -> bool {
        !matches!(
            self.output,
            AuditForm::Sarif | AuditForm::Junit | AuditForm::Github
        )
    }

    /// The part of it that is asked for.
    fn asked_of(&self, not_judged: NotJudged) -> Option<NotJudged> {
        not_judged.asked_of(
            |id| self.asks_check(id),
            |namespace| self.asks_namespace(namespace),
        )
    }

    fn asks_check(&self, id: &str) -> bool {
        self.check.is_empty() || self.check.iter().any(|one| one == id)
    }

    fn asks_namespace(&self, namespace: &str) -> bool {
        self.input.scope.asks(namespace)
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
