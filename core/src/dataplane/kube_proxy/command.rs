//! Finding kube-proxy's flags in a container's command line.
//!
//! Distributions wrap the process: kubeadm names it directly, kOps puts a log writer in front, GKE and `OpenShift`
//! hide it in a shell string. The flags are those behind the word that *is* kube-proxy, and where that word or a
//! flag's value is left to the shell, the answer is that it cannot be read, never that it is not set.

use std::sync::Arc;

use super::{FieldNames, NAMES};
use crate::dataplane::shell::{self, Word};
use crate::dataplane::tree::shorten;
use crate::know::{Gap, Known};

/// Flags that stand alone, so that the next word is not their value (`cmd/kube-proxy/app/options.go`).
const BOOLEAN: [&str; 22] = [
    "add-dir-header",
    "also-stdout",
    "alsologtostderr",
    "bind-address-hard-fail",
    "cleanup",
    "enable-dsr",
    "forward-healthcheck-vip",
    "help",
    "init-only",
    "ipvs-strict-arp",
    "iptables-localhost-nodeports",
    "log-json-split-stream",
    "log-text-split-stream",
    "logtostderr",
    "masquerade-all",
    "one-output",
    "profiling",
    "redirect-stderr",
    "skip-headers",
    "skip-log-headers",
    "conntrack-tcp-be-liberal",
    "windows-service",
];
/// Words that may stand before a command and run it.
const RUNNERS: [&str; 13] = [
    "exec", "env", "nice", "sudo", "time", "nohup", "then", "do", "else", "!", "{", "command", "chronic",
];

/// kube-proxy's flags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    flags: Vec<(String, Option<Word>)>,
}

impl CommandLine {
    /// The file named by `--config`, if any; a gap where the name is left to a shell or a variable.
    pub fn config(&self) -> Known<Option<Arc<str>>> {
        Ok(self
            .value("config")?
            .filter(|path| !path.is_empty())
            .map(Arc::from))
    }

    /// `--hostname-override`, which counts even beside `--config`.
    pub fn hostname_override(&self) -> Known<Option<Arc<str>>> {
        Ok(self.value("hostname-override")?.map(Arc::from))
    }

    /// Notes on flags that `--config` makes void: with a file, kube-proxy reads nothing else of this kind
    /// (`Options.Complete` in `cmd/kube-proxy/app/options.go`).
    pub fn without_effect(&self) -> Vec<Arc<str>> {
        if !self.flags.iter().any(|(name, _)| name == "config") {
            return Vec::new();
        }
        let void = NAMES
            .iter()
            .filter(|names| self.flags.iter().any(|(name, _)| name == names.flag));
        void.map(|names| format!("--{} has no effect beside --config", names.flag).into())
            .collect()
    }

    /// The last value of a flag.
    fn value(&self, flag: &str) -> Known<Option<&str>> {
        match self.flags.iter().rev().find(|(name, _)| name == flag) {
            None => Ok(None),
            Some((_, None)) => Err(Gap::Opaque(
                format!("kube-proxy's flag --{flag} has no value").into(),
            )),
            Some((_, Some(word))) if word.expanded => Err(Gap::Opaque(
                format!(
                    "kube-proxy's flag --{flag} is `{}`, which only the node can resolve",
                    shorten(&word.text)
                )
                .into(),
            )),
            Some((_, Some(word))) => Ok(Some(&word.text)),
        }
    }

    /// The settings that this program evaluates.
    pub(super) fn settings(&self) -> impl Iterator<Item = Known<(&'static FieldNames, &str)>> {
        NAMES.iter().filter_map(|names| {
            self.value(names.flag)
                .map(|value| value.map(|v| (names, v)))
                .transpose()
        })
    }
}

/// kube-proxy's flags in the command and arguments of a container, in this order in one list.
pub fn command_line(argv: &[String]) -> Known<CommandLine> {
    if let Some(after) = after_kube_proxy(argv) {
        return flags(after.iter().map(|text| variable(text)));
    }
    if let Some(script) = script(argv) {
        return in_script(script);
    }
    // Arguments alone: the image's own entry point is kube-proxy.
    if argv.first().is_some_and(|first| first.starts_with('-')) {
        return flags(argv.iter().map(|text| variable(text)));
    }
    Err(Gap::Opaque("no kube-proxy was found in the command line".into()))
}

/// A word outside a shell: only `$(NAME)` is replaced, by the kubelet.
fn variable(text: &str) -> Word {
    Word {
        text: text.to_owned(),
        expanded: text.replace("$$", "").contains("$("),
    }
}

fn is_kube_proxy(word: &str) -> bool {
    let base = word.rsplit(['/', '\\']).next().unwrap_or_default();
    base == "kube-proxy" || base.eq_ignore_ascii_case("kube-proxy.exe")
}

/// The arguments behind the word that is kube-proxy and not the value of a flag in front of it.
fn after_kube_proxy(argv: &[String]) -> Option<&[String]> {
    let mut before: &str = "";
    for (index, word) in argv.iter().enumerate() {
        let value =
            before.starts_with('-') && before != "--" && !before.contains('=') && !stands_alone(before);
        if is_kube_proxy(word) && !value {
            return argv.get(index + 1..);
        }
        before = word;
    }
    None
}

fn stands_alone(flag: &str) -> bool {
    let name = flag.trim_start_matches('-').replace('_', "-");
    BOOLEAN.contains(&name.as_str())
}

/// The string behind a shell's `-c`, also in clusters such as `-ec`.
fn script(argv: &[String]) -> Option<&str> {
    let at = argv
        .iter()
        .position(|word| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'))?;
    argv.get(at + 1).map(String::as_str)
}

fn in_script(script: &str) -> Known<CommandLine> {
    let unreadable =
        |why: &str| Gap::Opaque(format!("the shell command that starts kube-proxy: {why}").into());
    let commands = shell::commands(script).ok_or_else(|| unreadable("a quote stays open"))?;
    let mut found = commands.iter().filter_map(|words| run_by(words));
    match (found.next(), found.next()) {
        (Some(words), None) => flags(words.iter().cloned()),
        (None, _) => Err(unreadable("no kube-proxy was found in it")),
        (Some(_), Some(_)) => Err(unreadable("kube-proxy appears more than once")),
    }
}

/// The words behind kube-proxy, if this command runs it.
fn run_by(words: &[Word]) -> Option<&[Word]> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if is_kube_proxy(&word.text) && !word.expanded {
            return words.get(at + 1..);
        }
        let assignment = word.text.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        let runner = word
            .text
            .rsplit('/')
            .next()
            .is_some_and(|base| RUNNERS.contains(&base) || base == "go-runner");
        if !assignment && !runner && !word.text.starts_with('-') {
            return None;
        }
        at += 1;
    }
    None
}

fn flags(words: impl Iterator<Item = Word>) -> Known<CommandLine> {
    let mut line = CommandLine::default();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        if word.text == "--" {
            break;
        }
        let Some(flag) = word.text.strip_prefix("--") else {
            // `-v 2` and the like, and stray words. A word that a shell or the kubelet fills in may be any flag.
            if word.expanded && !word.text.starts_with('-') {
                return Err(Gap::Opaque(
                    format!(
                        "kube-proxy's arguments hold `{}`, which only the node can resolve",
                        shorten(&word.text)
                    )
                    .into(),
                ));
            }
            if word.text.len() == 2 && word.text.starts_with('-') {
                words.next_if(|next| !next.text.starts_with('-'));
            }
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (
                name,
                Some(Word {
                    text: value.to_owned(),
                    expanded: word.expanded,
                }),
            ),
            None if stands_alone(flag) => (
                flag,
                Some(Word {
                    text: "true".to_owned(),
                    expanded: false,
                }),
            ),
            // pflag takes the next word whatever it looks like.
            None => (flag, words.next()),
        };
        // kube-proxy takes `_` for `-` in flag names.
        line.flags.push((name.replace('_', "-"), value));
    }
    Ok(line)
}
