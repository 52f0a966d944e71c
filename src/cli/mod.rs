//! The command line: one file for each subcommand.
//!
//! Answers go to standard output, everything about the run itself to standard error, so that `-o json` stays JSON
//! whatever happens. Exit codes: 0 is good, 1 is what the command was asked to fail on, 2 is that it could not look.

mod approve;
mod audit;
mod candidates;
mod checks;
mod cluster;
mod collect;
mod completions;
mod crd;
mod dataplane;
mod diff;
mod docs;
mod explain;
mod go;
mod help;
mod init;
mod input;
mod level;
mod man;
mod path;
mod prometheus;
mod run;
mod status;
mod stop;
mod undo;
mod uninstall;
mod version;
mod yaml;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::api::ApprovalDecision;
use crate::escape;
use crate::render::screen::{Color, Screen};
use crate::render::{filled, program};

/// See what nobody looks at in Kubernetes traffic, and never do harm.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, max_term_width = 100, propagate_version = true, after_help = help::ALL)]
struct Arguments {
    /// When to colour what is printed
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "Everywhere"
    )]
    color: Color,
    /// Log on standard error what is done; twice: in detail
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Everywhere")]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// The arguments of the process. As a plugin of kubectl it is called as one.
    fn parse_from_name() -> Self {
        let command = Self::command()
            .bin_name(program())
            .term_width(Screen::columns_of_help());
        let matches = command.try_get_matches().unwrap_or_else(|error| {
            let first = env::args().nth(1).unwrap_or_default();
            if error.kind() == ErrorKind::UnknownArgument && first.starts_with('-') {
                // What cannot be printed changes nothing.
                let _ = error.print();
                note("  tip: flags go behind the command, as in `evenkeel audit -n shop`");
                std::process::exit(error.exit_code());
            }
            error.exit()
        });
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Logs what a command does, where that was asked for; the operator has a log of its own.
    fn log(&self) {
        let level = match self.verbose {
            0 => return,
            1 => "evenkeel=debug,kube_client=debug",
            _ => "evenkeel=trace,kube_client=trace,tower=debug,hyper_util=debug",
        };
        if !matches!(self.command, Command::Run(_)) {
            let log = tracing_subscriber::fmt().with_env_filter(level);
            let log = log.with_writer(|| escape::Log { json: false });
            // A log that is there already stays.
            let _ = log.with_ansi(Screen::log_takes_colour()).try_init();
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a cluster, or files that describe one
    #[command(after_help = help::AUDIT)]
    Audit(Box<audit::Arguments>),
    /// Show what two audits differ in: what is new, gone, or judged otherwise
    #[command(after_help = help::DIFF)]
    Diff(diff::Arguments),
    /// Write first policies from what is seen: each field with what was seen and what was assumed
    #[command(after_help = help::INIT)]
    Init(Box<init::Arguments>),
    /// Draw one path hop by hop: idle timeouts, keepalives, and what would fix it
    #[command(after_help = help::PATH)]
    Path(path::Arguments),
    /// Show what the nodes effectively do with Service traffic, and where each setting comes from
    #[command(visible_alias = "dp")]
    #[command(after_help = help::DATAPLANE)]
    Dataplane(dataplane::Arguments),
    /// Explain a check, a reason or a remedy, or one finding in full
    #[command(after_help = help::EXPLAIN)]
    Explain(Box<explain::Arguments>),
    /// Show how policies stand, and whether the operator that says so is alive
    #[command(after_help = help::STATUS)]
    Status(status::Arguments),
    /// Say yes to one plan, in mode Suggest, after it was shown
    #[command(after_help = help::APPROVE)]
    Approve(approve::Arguments),
    /// Say no to one plan, after it was shown
    #[command(after_help = help::REJECT)]
    Reject(approve::Arguments),
    /// Say stop: no node is fenced until somebody says go
    #[command(after_help = help::STOP)]
    Stop(stop::Arguments),
    /// Take a stop back
    #[command(after_help = help::GO)]
    Go(go::Arguments),
    /// Take evenkeel's fence from nodes, also where no operator runs
    #[command(after_help = help::UNDO)]
    Undo(undo::Arguments),
    /// List the checks: what they read and how bad their findings are
    #[command(after_help = help::CHECKS)]
    Checks(checks::Arguments),
    /// Show the page of a check in a pager
    #[command(after_help = help::DOCS)]
    Docs(docs::Arguments),
    /// Write a folder with everything that `audit --from` needs from a cluster, and no secret
    ///
    /// It reads what an audit reads, with get and list alone, and writes one List for each kind. Of each object only
    /// the fields that checks use are written, by a list of what is allowed: no Secret, no environment variable, no
    /// managed fields (but the times in those of a ConfigMap), no annotation but those of load balancers and data
    /// planes, no certificate or URL of a webhook, of a ConfigMap only the keys that configure kube-proxy, Cilium, Antrea
    /// or Terway. Command lines are written for kube-proxy, and single flags for Cilium's build-config,
    /// kube-controller-manager, kube-apiserver, kube-router and kube-ovn-controller; no others are. Names, labels,
    /// addresses and policies are in it.
    ///
    /// What could not be read is written to unreadable.json, so that an audit of the folder says what an audit of the
    /// cluster said. The folder appears when it is complete; README.txt in it says how to add what kube-proxy answers
    /// on /configz, which the API does not serve. Exits with 2 when something could not be read, else with 0.
    #[command(after_help = help::COLLECT)]
    Collect(collect::Arguments),
    /// Run the operator: watch, judge on change, write statuses and alerts
    #[command(after_help = help::RUN)]
    Run(Box<run::Arguments>),
    /// Take everything of evenkeel out of a cluster
    #[command(after_help = help::UNINSTALL)]
    Uninstall(uninstall::Arguments),
    /// Print the definitions of evenkeel's kinds, for `kubectl apply`
    #[command(after_help = help::CRD)]
    Crd(crd::Arguments),
    /// Show the versions of this program, the operator, its kinds and the server
    #[command(after_help = help::VERSION)]
    Version(version::Arguments),
    /// Print completions for a shell, which know contexts, namespaces, Services, checks and findings
    #[command(after_help = help::COMPLETIONS)]
    Completions(completions::Arguments),
    /// Write manual pages to a folder
    #[command(after_help = help::MAN)]
    Man(man::Arguments),
}

/// Who writes, in the API server's notes on fields.
const FIELD_MANAGER: &str = "evenkeel-cli";

/// How a command ended, apart from errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Good.
    Good,
    /// What the command was asked to fail on is there.
    Failed,
    /// Something could not be read.
    Unread,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Good => Self::SUCCESS,
            End::Failed => Self::from(1),
            End::Unread => Self::from(2),
        }
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    CompleteEnv::with_factory(Arguments::command)
        .var(completions::VARIABLE)
        .complete();
    let arguments = Arguments::parse_from_name();
    Screen::choose(arguments.color);
    arguments.log();
    let outcome = match arguments.command {
        Command::Audit(arguments) => audit::run(*arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Collect(arguments) => collect::run(&arguments),
        Command::Dataplane(arguments) => dataplane::run(&arguments),
        Command::Path(arguments) => path::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Checks(arguments) => checks::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Approve(arguments) => approve::run(&arguments, ApprovalDecision::Approve),
        Command::Reject(arguments) => approve::run(&arguments, ApprovalDecision::Reject),
        Command::Stop(arguments) => stop::run(&arguments),
        Command::Go(arguments) => go::run(&arguments),
        Command::Undo(arguments) => undo::run(&arguments),
        Command::Uninstall(arguments) => uninstall::run(&arguments),
        Command::Crd(arguments) => crd::run(&arguments),
        Command::Docs(arguments) => docs::run(&arguments),
        Command::Version(arguments) => version::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run::<Arguments>(&arguments),
    };
    outcome.map_or_else(
        |error| {
            note(&told(&error));
            End::Unread.into()
        },
        ExitCode::from,
    )
}

/// Writes an answer: the way out to standard output. A reader that has gone away (`| head`) is no error.
fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out
        .write_all(escape::page(text).as_bytes())
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// An error and its causes, without the numbers that the operating system has for them.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let said = format!("error: {error:#}");
    let mut parts = said.split(" (os error ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => text += rest,
            _ => text = text + " (os error " + part,
        }
    }
    escape::line(&text).into_owned()
}

/// A message about the run itself, in one line, or in lines of the terminal's width: what servers say is part of it. None
/// where standard error is closed.
fn note(text: &str) {
    let shown = match Screen::columns_of_errors() {
        None => escape::line(text).into_owned(),
        Some(columns) => {
            let margin: String = text.chars().take_while(|c| *c == ' ').collect();
            filled(text, &margin, &(margin.clone() + "  "), columns)
        }
    };
    let _ = writeln!(io::stderr().lock(), "{shown}");
}

#[cfg(test)]
pub(crate) use {
    approve::tests::shown as approve_shown, status::tests::shown as status_shown,
    stop::tests::shown as stop_shown, undo::tests::shown as undo_shown,
    version::tests::shown as version_shown,
};

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::number(
        "No such file or directory (os error 2)",
        "error: a: No such file or directory"
    )]
    #[case::within("b (os error 2): c", "error: a: b: c")]
    #[case::no_number("b (os error x) c", "error: a: b (os error x) c")]
    #[case::cut("b (os error 2", "error: a: b (os error 2")]
    fn errors_are_told_without_numbers(#[case] cause: &str, #[case] expected: &str) {
        let error = anyhow::Error::msg(cause.to_owned()).context("a");
        assert_eq!(told(&error), expected);
    }
}
