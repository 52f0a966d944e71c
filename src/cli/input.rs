//! Where a command's facts come from: files, or a cluster.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use evenkeel_core::Core;
use evenkeel_core::findings::FindingList;
use evenkeel_core::know::{Mono, Now, Wall};

use crate::files::{self, Report};
use crate::live;

/// Files, or a cluster.
#[derive(Debug, Args)]
pub(super) struct Input {
    /// Read files and folders (.yaml, .yml, .json; `-` is standard input) instead of a cluster
    #[arg(long, short = 'f', value_name = "PATH")]
    from: Vec<PathBuf>,
    /// Judge drafts of policies as if they were installed
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// The largest file to read, in bytes; K, M and G are understood
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size)]
    max_file_size: u64,
    /// Only what concerns this namespace; repeatable
    #[arg(long, short, value_name = "NAME")]
    pub(super) namespace: Vec<String>,
    /// All namespaces, which is the default
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: Cluster,
}

/// Which cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
#[allow(clippy::struct_field_names, reason = "the flags are those of kubectl")]
struct Cluster {
    /// Path of the kubeconfig
    #[arg(long, value_name = "PATH", conflicts_with = "from")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    user: Option<String>,
}

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

impl Input {
    /// Reads and judges.
    pub(super) fn judge(&self) -> anyhow::Result<Judged> {
        let options = files::Options {
            max_file_size: self.max_file_size,
            namespace: self.namespace.first().map_or("default", String::as_str).into(),
        };
        let mut report = Report::default();
        let mut core = if self.from.is_empty() {
            self.live()?
        } else {
            let mut core = Core::default();
            files::read(&mut core, &self.from, &options, &mut report);
            core
        };
        if !self.policy.is_empty() {
            files::drafts(&mut core, &self.policy, &options, &mut report);
        }
        let now = Now {
            mono: Mono(0),
            wall: Wall(jiff::Timestamp::now().as_second()),
        };
        core.round(now);
        Ok(Judged { core, now, report })
    }

    /// The arguments that read the same again, to be pasted into a shell.
    pub(super) fn again(&self) -> String {
        let cluster = &self.cluster;
        let named = [
            ("--context", &cluster.context),
            ("--cluster", &cluster.cluster),
            ("--user", &cluster.user),
        ];
        let named = named
            .iter()
            .filter_map(|(flag, name)| Some((*flag, Cow::Borrowed(name.as_deref()?))));
        let path = |flag| move |path: &'_ PathBuf| (flag, Cow::Owned(path.display().to_string()));
        self.from
            .iter()
            .map(path("--from"))
            .chain(self.policy.iter().map(path("--policy")))
            .chain(cluster.kubeconfig.iter().map(path("--kubeconfig")))
            .chain(named)
            .fold(String::new(), |text, (flag, value)| {
                format!("{text} {flag} {}", quoted(&value))
            })
    }

    fn live(&self) -> anyhow::Result<Core> {
        let options = live::Options {
            kubeconfig: self.cluster.kubeconfig.clone(),
            context: self.cluster.context.clone(),
            cluster: self.cluster.cluster.clone(),
            user: self.cluster.user.clone(),
            progress: std::io::stderr().is_terminal(),
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?
            .block_on(live::read(&options))
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
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
