//! Which cluster a command speaks to, by the flags of kubectl.

use std::borrow::Cow;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap_complete::ArgValueCompleter;

use super::candidates;
use crate::live;

/// Which cluster.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
#[allow(clippy::struct_field_names, reason = "the flags are those of kubectl")]
pub(super) struct Cluster {
    /// Path of the kubeconfig
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(candidates::contexts))]
    context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(candidates::clusters))]
    cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(candidates::users))]
    user: Option<String>,
    /// Ask as this user, as `kubectl --as` does
    #[arg(long = "as", value_name = "USER")]
    impersonate: Option<String>,
    /// Ask as a member of this group; repeatable, only with --as
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    impersonate_groups: Vec<String>,
    /// Give up after so long, such as 5s or 2m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
}

impl Cluster {
    /// The options of who connects.
    pub(super) fn options(&self) -> live::Options {
        live::Options {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            impersonate: self.impersonate.clone(),
            impersonate_groups: self.impersonate_groups.clone(),
            timeout: self.timeout,
            ..live::Options::default()
        }
    }

    /// The flags that name the same cluster again, with their values.
    pub(super) fn again(&self) -> impl Iterator<Item = (&'static str, String)> {
        let path = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        [
            ("--kubeconfig", path),
            ("--context", self.context.clone()),
            ("--cluster", self.cluster.clone()),
            ("--user", self.user.clone()),
            ("--as", self.impersonate.clone()),
        ]
        .into_iter()
        .chain(
            self.impersonate_groups
                .iter()
                .map(|group| ("--as-group", Some(group.clone()))),
        )
        .filter_map(|(flag, value)| Some((flag, value?)))
    }

    /// The same as words of a command, each after a space; kubectl takes them, too.
    pub(super) fn words(&self) -> String {
        words(self.again())
    }

    /// Who a grant is for, as a word of a command: the user that is asked as, else a placeholder.
    pub(super) fn grantee(&self) -> String {
        let user = self.impersonate.as_deref();
        user.map_or_else(|| "NAME".into(), |user| quoted(user).into_owned())
    }

    /// Does something that waits for the cluster, for as long as was asked for; what it spawns runs on a second thread.
    pub(super) fn wait<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let bounded = async {
            match self.timeout {
                None => work.await,
                Some(timeout) => match tokio::time::timeout(timeout, work).await {
                    Ok(outcome) => outcome,
                    Err(_) => anyhow::bail!("not done within {} s (--timeout)", timeout.as_secs_f64()),
                },
            }
        };
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start")?
            .block_on(bounded)
    }
}

/// Flags and their values as words of a command, each after a space.
pub(super) fn words(flags: impl Iterator<Item = (&'static str, String)>) -> String {
    flags.fold(String::new(), |words, (flag, value)| {
        words + " " + flag + " " + &quoted(&value)
    })
}

/// A word as a shell reads it.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// A time as `kubectl --request-timeout` takes it: a number of seconds, or one with units.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 5s, 90s or 2m".to_owned();
    let time = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let time: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(time).map_err(|_| wrong())?
    };
    if time.is_zero() { Err(wrong()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("5", Some(5))]
    #[case("90s", Some(90))]
    #[case("2m", Some(120))]
    #[case("1h30m", Some(5400))]
    #[case("0", None)]
    #[case("-1s", None)]
    #[case("soon", None)]
    fn times(#[case] text: &str, #[case] seconds: Option<u64>) {
        assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs));
    }
}
