//! The command line: one file for each subcommand.
//!
//! Answers go to standard output, everything about the run itself to standard error, so that `-o json` stays JSON
//! whatever happens. Exit codes: 0 is good, 1 is what the command was asked to fail on, 2 is that it could not look.

mod audit;
mod checks;
mod cluster;
mod collect;
mod completions;
mod crd;
mod dataplane;
mod explain;
mod input;
mod path;
mod run;
mod status;
mod suggest;
mod uninstall;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::escape;
use crate::render::screen::{Color, Screen};

/// See what nobody looks at in Kubernetes traffic, and never do harm.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, max_term_width = 100, propagate_version = true)]
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
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a cluster, or files that describe one
    Audit(audit::Arguments),
    /// Write a folder with everything that `audit --from` needs from a cluster, and no secret
    ///
    /// It reads what an audit reads, with get and list alone, and writes one List for each kind. Of each object only
    /// the fields that checks use are written, by a list of what is allowed: no Secret, no environment variable, no
    /// managed fields (but the times in those of a ConfigMap), no annotation but those of load balancers and data
    /// planes, no certificate or URL of a webhook, of a ConfigMap only the keys that configure kube-proxy, Cilium or
    /// Terway. Command lines are written for kube-proxy, and single flags for Cilium's build-config and
    /// kube-controller-manager; nobody else's are. Names, labels, addresses and policies are in it.
    ///
    /// What could not be read is written to unreadable.json, so that an audit of the folder says what an audit of the
    /// cluster said. The folder appears when it is complete; README.txt in it says how to add what kube-proxy answers
    /// on /configz, which the API does not serve. Exits with 2 when something could not be read, else with 0.
    Collect(collect::Arguments),
    /// Show what the nodes effectively do with Service traffic, and where each setting comes from
    #[command(visible_alias = "dp")]
    Dataplane(dataplane::Arguments),
    /// Draw one path hop by hop: idle timeouts, keepalives, and what would fix it
    Path(path::Arguments),
    /// Explain a check, or one finding in full
    Explain(explain::Arguments),
    /// List the checks: what they read and how bad their findings are
    Checks(checks::Arguments),
    /// Run the operator: watch, judge on change, write statuses and alerts
    Run(Box<run::Arguments>),
    /// Show how policies stand, and whether the operator that says so is alive
    Status(status::Arguments),
    /// Take everything of evenkeel out of a cluster
    Uninstall(uninstall::Arguments),
    /// Print the definitions of evenkeel's kinds, for `kubectl apply`
    Crd(crd::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
}

/// How a command ended, apart from errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Good.
    Good,
    /// What the command was asked to fail on is there.
    Failed,
    /// Something named could not be read.
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
    let arguments = Arguments::parse();
    Screen::choose(arguments.color);
    let outcome = match arguments.command {
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Collect(arguments) => collect::run(&arguments),
        Command::Dataplane(arguments) => dataplane::run(&arguments),
        Command::Path(arguments) => path::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Checks(arguments) => checks::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Uninstall(arguments) => uninstall::run(&arguments),
        Command::Crd(arguments) => crd::run(&arguments),
        Command::Completions(arguments) => completions::run::<Arguments>(&arguments),
    };
    outcome.map_or_else(
        |error| {
            note(&format!("error: {error:#}"));
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

/// Messages about the run itself; none where standard error is closed.
fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape::page(text));
}
