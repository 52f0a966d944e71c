//! The arguments of kube-controller-manager: on its command line, behind a shell, or by the arguments of k3s.

use super::shell::{self, Word};
use super::tree::shorten;
use crate::know::{Gap, Known};

/// Its program.
const PROGRAM: &str = "kube-controller-manager";
/// The flag that says how long a node may be silent (`cmd/kube-controller-manager/app/options`).
pub const GRACE_FLAG: &str = "node-monitor-grace-period";
/// The arguments by which k3s and RKE2 hand flags on (`pkg/cli/cmds/server.go`); the second is the older name.
const HANDED_ON: [&str; 2] = ["kube-controller-manager-arg", "kube-controller-arg"];

/// Whether a word of a command line, or a script in it, names the program.
pub fn names_it(word: &str) -> bool {
    word.split(|c: char| c.is_whitespace() || c == '/')
        .any(|part| part == PROGRAM)
}

/// The last value of a flag, as Go's flag parser takes it, in the command and arguments of a container. A gap where
/// only the node can tell.
pub fn flag(argv: &[impl AsRef<str>], flag: &str) -> Known<Option<String>> {
    let words = argv.iter().map(AsRef::as_ref);
    let Some(script) = words.clone().find(|word| is_script(word)) else {
        let plain = words.map(|word| Word {
            text: word.to_owned(),
            expanded: word.replace("$$", "").contains("$("),
        });
        return last(&plain.collect::<Vec<_>>(), flag);
    };
    let commands = shell::commands(script).ok_or_else(|| {
        Gap::Opaque(format!("the shell command that starts {PROGRAM}: a quote stays open").into())
    })?;
    let behind = commands.iter().find_map(|words| {
        let at = words.iter().position(|word| names_it(&word.text))?;
        words.get(at + 1..)
    });
    last(behind.unwrap_or_default(), flag)
}

/// A word with the program and its arguments in it is a line for a shell.
fn is_script(word: &str) -> bool {
    names_it(word) && word.split_ascii_whitespace().nth(1).is_some()
}

fn last(words: &[Word], flag: &str) -> Known<Option<String>> {
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
        Some((value, true)) => Err(unresolved(value)),
        // A word that a shell fills in may be any flag.
        None => words
            .iter()
            .find(|word| word.expanded && !word.text.starts_with('-'))
            .map_or(Ok(None), |word| Err(unresolved(&word.text))),
    }
}

fn unresolved(text: &str) -> Gap {
    Gap::Opaque(
        format!(
            "{PROGRAM}'s arguments hold `{}`, which only the node can resolve",
            shorten(text)
        )
        .into(),
    )
}

/// Whether an argument of k3s hands a flag of this program on, so that the next one may be its value.
pub fn is_handed_on(argument: &str) -> bool {
    HANDED_ON.contains(&argument)
}

/// The last value of a flag that k3s or RKE2 hand on, of the list in the node annotation `node-args`.
pub fn handed_on(args: &[String], flag: &str) -> Option<String> {
    let mut found = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = arg.trim_start_matches('-');
        let entry = match name.split_once('=') {
            Some((name, entry)) if is_handed_on(name) => Some(entry),
            None if is_handed_on(name) => args.next().map(String::as_str),
            _ => None,
        };
        let entry = entry.map(|entry| entry.trim_start_matches('-'));
        if let Some((_, value)) = entry
            .and_then(|entry| entry.split_once('='))
            .filter(|(name, _)| *name == flag)
        {
            found = Some(value.to_owned());
        }
    }
    found
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
    #[case::filled_in(&["sh", "-c", "kube-controller-manager --node-monitor-grace-period=${GRACE}"], Err(()))]
    #[case::anything_may_come(&["sh", "-c", "kube-controller-manager ${FLAGS}"], Err(()))]
    #[case::of_no_matter(&["sh", "-c", "kube-controller-manager --bind-address=${IP}"], Ok(None))]
    #[case::by_the_kubelet(&["kube-controller-manager", "--node-monitor-grace-period=$(GRACE)"], Err(()))]
    #[case::an_open_quote(&["sh", "-c", "kube-controller-manager 'x"], Err(()))]
    fn a_flag(#[case] argv: &[&str], #[case] expected: Result<Option<&str>, ()>) {
        let got = flag(argv, GRACE_FLAG);
        assert_eq!(got.as_ref().map(Option::as_deref).map_err(|_| ()), expected);
    }

    #[rstest]
    #[case(&["server", "--kube-controller-manager-arg", "node-monitor-grace-period=30s"], Some("30s"))]
    #[case(&["server", "--kube-controller-manager-arg=node-monitor-grace-period=30s"], Some("30s"))]
    #[case(&["server", "--kube-controller-arg", "--node-monitor-grace-period=5m"], Some("5m"))]
    #[case(&["server", "--kube-controller-manager-arg", "node-monitor-period=5s"], None)]
    #[case(&["server", "--kubelet-arg", "node-monitor-grace-period=30s"], None)]
    #[case(&["server", "--kube-controller-manager-arg"], None)]
    #[case(&["server", "--kube-controller-manager-arg", "node-monitor-grace-period=30s", "--kube-controller-manager-arg=node-monitor-grace-period=60s"], Some("60s"))]
    fn by_k3s(#[case] args: &[&str], #[case] expected: Option<&str>) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(handed_on(&args, GRACE_FLAG).as_deref(), expected);
    }
}
