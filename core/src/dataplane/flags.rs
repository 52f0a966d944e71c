//! The flags of a Go program in the command and arguments of a container, by themselves or in a script for a shell.

use super::shell::{self, Word};
use super::tree::shorten;
use crate::know::{Gap, Known};

/// Whether a word of a command line, or a script in it, names this program.
pub(super) fn names(word: &str, program: &str) -> bool {
    word.split(|c: char| c.is_whitespace() || c == '/')
        .any(|part| part == program)
}

/// The last value of a program's flag, as Go's flag parser takes it, in the command and arguments of a container. A gap
/// where only the node can tell.
pub(super) fn flag(program: &str, argv: &[impl AsRef<str>], flag: &str) -> Known<Option<String>> {
    let words = argv.iter().map(AsRef::as_ref);
    let Some(script) = words.clone().find(|word| is_script(word, program)) else {
        let plain = words.map(|word| Word {
            text: word.to_owned(),
            expanded: word.replace("$$", "").contains("$("),
        });
        return last(program, &plain.collect::<Vec<_>>(), flag);
    };
    let commands = shell::commands(script).ok_or_else(|| {
        Gap::Opaque(format!("the shell command that starts {program}: a quote stays open").into())
    })?;
    // A script that makes a directory of the program's name does so first, and nothing follows the name there.
    let behind = commands.iter().rev().find_map(|words| {
        let at = words.iter().position(|word| names(&word.text, program))?;
        words.get(at + 1..).filter(|rest| !rest.is_empty())
    });
    last(program, behind.unwrap_or_default(), flag)
}

/// A word with the program and its arguments in it is a line for a shell.
fn is_script(word: &str, program: &str) -> bool {
    names(word, program) && word.split_ascii_whitespace().nth(1).is_some()
}

fn last(program: &str, words: &[Word], flag: &str) -> Known<Option<String>> {
    let found = words.iter().enumerate().rev().find_map(|(at, word)| {
        let rest = word.text.trim_start_matches('-').strip_prefix(flag)?;
        if word.text.starts_with('-') && rest.is_empty() {
            words.get(at + 1).map(|next| (next.text.as_str(), next.expanded))
        } else {
            rest.strip_prefix('=').map(|value| (value, word.expanded))
        }
    });
    match found {
        Some((value, false)) => Ok(Some(value.to_owned())),
        Some((value, true)) => Err(unresolved(program, value)),
        // A word that a shell fills in may be any flag.
        None => words
            .iter()
            .find(|word| word.expanded && !word.text.starts_with('-'))
            .map_or(Ok(None), |word| Err(unresolved(program, &word.text))),
    }
}

fn unresolved(program: &str, text: &str) -> Gap {
    Gap::Opaque(
        format!(
            "{program}'s arguments hold `{}`, which only the node can resolve",
            shorten(text)
        )
        .into(),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(&["kube-controller-manager", "--node-monitor-grace-period=20s"], Ok(Some("20s")))]
    #[case::apart(&["/kcm/kube-controller-manager", "--node-monitor-grace-period", "20s", "--v=2"], Ok(Some("20s")))]
    #[case::one_dash(&["-node-monitor-grace-period=20s"], Ok(Some("20s")))]
    #[case::the_last_wins(&["--node-monitor-grace-period=20s", "--node-monitor-grace-period=30s"], Ok(Some("30s")))]
    #[case::none(&["kube-controller-manager", "--v=2"], Ok(None))]
    #[case::another(&["--node-monitor-grace-period-x=1s", "--node-monitor-period=2s"], Ok(None))]
    #[case::a_shell(&["/bin/sh", "-c", "mkfifo /p; (tee -a /l < /p & ) ; exec /usr/local/bin/kube-controller-manager --v=2 --node-monitor-grace-period=16s > /p 2>&1"], Ok(Some("16s")))]
    #[case::a_shell_without(&["sh", "-c", "exec kube-controller-manager --v=2 1>>/log 2>&1"], Ok(None))]
    #[case::quoted(&["sh", "-c", "exec kube-controller-manager '--node-monitor-grace-period=16s'"], Ok(Some("16s")))]
    #[case::of_another_program(&["sh", "-c", "echo --node-monitor-grace-period=1s; kube-controller-manager --v=2"], Ok(None))]
    #[case::a_directory_of_its_name(&["sh", "-c", "mkdir -p /var/log/kube-controller-manager && exec kube-controller-manager --node-monitor-grace-period=16s"], Ok(Some("16s")))]
    #[case::filled_in(&["sh", "-c", "kube-controller-manager --node-monitor-grace-period=${GRACE}"], Err(()))]
    #[case::anything_may_come(&["sh", "-c", "kube-controller-manager ${FLAGS}"], Err(()))]
    #[case::of_no_matter(&["sh", "-c", "kube-controller-manager --bind-address=${IP}"], Ok(None))]
    #[case::by_the_kubelet(&["kube-controller-manager", "--node-monitor-grace-period=$(GRACE)"], Err(()))]
    #[case::an_open_quote(&["sh", "-c", "kube-controller-manager 'x"], Err(()))]
    fn a_flag(#[case] argv: &[&str], #[case] expected: Result<Option<&str>, ()>) {
        let got = flag("kube-controller-manager", argv, "node-monitor-grace-period");
        assert_eq!(got.as_ref().map(Option::as_deref).map_err(|_| ()), expected);
    }
}
