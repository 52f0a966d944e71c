//! The arguments of kube-controller-manager: on its command line, behind a shell, or by the arguments of k3s.

use super::flags;
use crate::know::Known;

/// Its program.
const PROGRAM: &str = "kube-controller-manager";
/// The flag that says how long a node may be silent (`cmd/kube-controller-manager/app/options`).
pub const GRACE_FLAG: &str = "node-monitor-grace-period";
/// The arguments by which k3s and RKE2 hand flags on (`pkg/cli/cmds/server.go`); the second is the older name.
const HANDED_ON: [&str; 2] = ["kube-controller-manager-arg", "kube-controller-arg"];

/// Whether a word of a command line, or a script in it, names the program.
pub fn names_it(word: &str) -> bool {
    flags::names(word, PROGRAM)
}

/// The last value of a flag in the command and arguments of a container.
pub fn flag(argv: &[impl AsRef<str>], flag: &str) -> Known<Option<String>> {
    flags::flag(PROGRAM, argv, flag)
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
