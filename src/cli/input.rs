//! Where a command's facts come from: files, or a cluster.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Args;
use clap_complete::ArgValueCompleter;
use evenkeel_core::Core;
use evenkeel_core::findings::FindingList;
use evenkeel_core::know::{Now, Wall};

use super::candidates;
use super::cluster::{Cluster, quoted, words};
use super::prometheus::Measured;
use crate::files::{self, Report};
use crate::init;
use crate::live::page::ListPiece;
use crate::live::{self, Beside};
use crate::suggest::did_you_mean;

/// Files, or a cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(super) struct Input {
    /// Read files and folders (.yaml, .yml, .json; `-` is standard input) instead of a cluster
    #[arg(long, short = 'f', value_name = "PATH", conflicts_with_all = ["kubeconfig", "context", "cluster", "user"])]
    from: Vec<PathBuf>,
    /// Judge drafts of policies as if they were installed
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// The largest file to read, in bytes; K, M and G are understood
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size)]
    max_file_size: u64,
    #[command(flatten)]
    pub(super) scope: ClusterScope,
}

/// Which part of which cluster.
#[derive(Debug, Args)]
pub(super) struct ClusterScope {
    /// Only what concerns this namespace; repeatable, or several with commas. Where you may not list the whole cluster, what
    /// lives in this namespace is read by itself
    #[arg(long, short, value_name = "NAME", value_delimiter = ',', add = ArgValueCompleter::new(candidates::namespaces))]
    pub(super) namespace: Vec<String>,
    /// All namespaces, which is the default
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    pub(super) cluster: Cluster,
}

/// A person has ended the reading.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// Everything that was read, judged once.
pub(super) struct Judged {
    /// The core after its round.
    pub(super) core: Core,
    /// The moment of the round.
    pub(super) now: Now,
    /// What the files brought.
    pub(super) report: Report,
}

impl Judged {
    /// Findings, with what could not be read.
    pub(super) fn findings(&self) -> FindingList {
        let mut list = self.core.findings(self.now);
        self.report.tell(&mut list);
        list
    }
}

/// Drafts of policies, which are known before the cluster is asked what its Pods are.
pub(super) struct Drafts<'a> {
    paths: &'a [PathBuf],
    options: &'a files::Options,
    report: &'a mut Report,
    /// Namespaces of which the Pods behind Services are read as well.
    backends_of: &'a [String],
}

impl<'a> Drafts<'a> {
    /// Drafts in these files.
    pub(super) fn new(paths: &'a [PathBuf], options: &'a files::Options, report: &'a mut Report) -> Self {
        Self {
            paths,
            options,
            report,
            backends_of: &[],
        }
    }

    /// Gives them to a core.
    pub(super) fn give(&mut self, core: &mut Core) {
        if !self.paths.is_empty() {
            files::drafts(core, self.paths, self.options, self.report);
        }
    }
}

impl Beside for Drafts<'_> {
    fn known(&mut self, core: &mut Core) {
        self.give(core);
        for namespace in self.backends_of {
            init::wanted(core, namespace);
        }
    }

    fn page(&mut self, _: &ListPiece) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Input {
    /// Reads and judges.
    pub(super) fn judge(&self) -> anyhow::Result<Judged> {
        self.judge_measured(&Measured::default())
    }

    /// The same, with what a Prometheus has measured.
    pub(super) fn judge_measured(&self, measured: &Measured) -> anyhow::Result<Judged> {
        self.judge_with_backends(&[], measured)
    }

    /// The same, with the Pods behind every Service of these namespaces: an audit reads them only where a policy rests on
    /// them.
    pub(super) fn judge_with_backends(
        &self,
        namespaces: &[String],
        measured: &Measured,
    ) -> anyhow::Result<Judged> {
        let options = files::Options {
            max_file_size: self.max_file_size,
            namespace: self.scope.home().into(),
        };
        let mut report = Report::default();
        let mut core = Core::default();
        if self.from.is_empty() {
            let mut beside = Drafts::new(&self.policy, &options, &mut report);
            beside.backends_of = namespaces;
            core = self.scope.read(&mut beside)?;
            for namespace in namespaces {
                init::unwanted(&mut core, namespace);
            }
            report.measured = measured.feed(&mut core, &self.scope.cluster, &mut report)?;
        } else {
            ensure!(
                !measured.is_asked(),
                "--from reads files, which hold what was measured where `evenkeel collect` has written it; a Prometheus \
                 measures a cluster: leave --prometheus and --prometheus-url away"
            );
            // One file that is not there leaves the rest to be judged; without any other there is nothing to judge.
            let is_there = |path: &PathBuf| path == Path::new("-") || path.symlink_metadata().is_ok();
            if let (Some(path), false) = (self.from.first(), self.from.iter().any(is_there)) {
                bail!(
                    "{} does not exist; --from takes files and folders, and - for standard input",
                    path.display()
                );
            }
            files::read(&mut core, &self.from, &options, &mut report);
            Drafts::new(&self.policy, &options, &mut report).give(&mut core);
        }
        let now = Now {
            mono: report.measured,
            wall: Wall(jiff::Timestamp::now().as_second()),
        };
        core.round(now);
        report
            .notes
            .extend(core.unmatched(&|namespace| self.scope.asks(namespace)));
        Ok(Judged { core, now, report })
    }

    /// The files and folders that are read; none where a cluster is.
    pub(super) fn from(&self) -> &[PathBuf] {
        &self.from
    }

    /// Whether standard input is read, which can be done only once.
    pub(super) fn is_read_once(&self) -> bool {
        let mut paths = self.from.iter().chain(&self.policy);
        paths.any(|path| path == Path::new("-"))
    }

    /// The arguments that read the same again, to be pasted into a shell.
    pub(super) fn again(&self) -> String {
        let path = |flag| move |path: &PathBuf| format!(" {flag} {}", quoted(&path.display().to_string()));
        let from = self.from.iter().map(path("--from"));
        let policy = self.policy.iter().map(path("--policy"));
        from.chain(policy).collect::<String>() + &self.scope.again()
    }
}

impl ClusterScope {
    /// Whether a namespace is asked for: all are where none is named.
    pub(super) fn asks(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || self.namespace.iter().any(|one| one == namespace)
    }

    /// The namespace of what names none.
    pub(super) fn home(&self) -> &str {
        self.namespace.first().map_or("default", String::as_str)
    }

    /// Narrows it to these namespaces where no flag says which; whether it did.
    pub(super) fn or_namespaces(&mut self, namespaces: Vec<String>) -> bool {
        let narrows = self.namespace.is_empty() && !self.all_namespaces && !namespaces.is_empty();
        if narrows {
            self.namespace = namespaces;
        }
        narrows
    }

    /// An error where a namespace is named that does not exist: nothing being found there would look like health.
    pub(super) fn exists(&self, core: &Core) -> anyhow::Result<()> {
        let Some(known) = core.namespaces() else {
            return Ok(());
        };
        for name in &self.namespace {
            if !known.contains(name.as_str()) {
                let hint = did_you_mean(name, known.iter().copied());
                bail!("there is no namespace {name}{hint}");
            }
        }
        Ok(())
    }

    /// Reads the cluster.
    pub(super) fn read(&self, beside: &mut dyn Beside) -> anyhow::Result<Core> {
        let options = live::Options {
            namespaces: self.namespace.clone(),
            progress: std::io::stderr().is_terminal(),
            ..self.cluster.options()
        };
        let reading = live::read_beside(&options, beside);
        self.cluster.wait(async {
            tokio::select! {
                core = reading => core,
                // An end by error, so that what was begun is tidied up on the way out.
                _ = tokio::signal::ctrl_c() => bail!(Interrupted),
            }
        })
    }

    /// The arguments that name the same place again.
    fn again(&self) -> String {
        let namespaces = self.namespace.iter().map(|name| ("-n", name.clone()));
        words(namespaces.chain(self.cluster.again()))
    }
}

/// A number of bytes, with a suffix of 1024 or its powers.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "K" | "Ki" => 1 << 10,
        "M" | "Mi" => 1 << 20,
        "G" | "Gi" => 1 << 30,
        _ => return Err("expected a number of bytes such as 1000000 or 64M".into()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "expected a number of bytes such as 64M")?;
    number.checked_mul(unit).ok_or_else(|| "too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("64M", Some(64 << 20))]
    #[case("7", Some(7))]
    #[case("1Gi", Some(1 << 30))]
    #[case("", None)]
    #[case("M", None)]
    #[case("-1", None)]
    #[case("99999999999999999999", None)]
    #[case("18446744073709551615K", None)]
    fn sizes(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(size(text).ok(), expected);
    }
}
