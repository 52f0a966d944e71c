//! The arguments of kube-apiserver.

use std::sync::Arc;

use super::tree::shorten;
use crate::know::{Gap, Known};

/// Its program, and the name of its container.
pub const PROGRAM: &str = "kube-apiserver";
/// The flag that names its members of etcd (`k8s.io/apiserver/pkg/server/options/etcd.go`), by commas.
const ETCD_SERVERS: &str = "--etcd-servers";

/// The addresses of etcd on a command line, or in a script in it; `None` where there is no such flag.
pub fn etcd_servers(argv: &[impl AsRef<str>]) -> Known<Option<Vec<Arc<str>>>> {
    // No URL has a space in it, so that a script is read word by word as well.
    let words = argv
        .iter()
        .flat_map(|word| word.as_ref().split_ascii_whitespace());
    let words: Vec<&str> = words.collect();
    let found = words.iter().enumerate().rev().find_map(|(at, word)| {
        let rest = word.strip_prefix(ETCD_SERVERS)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => words.get(at + 1).copied(),
            None => None,
        }
    });
    let Some(value) = found else { return Ok(None) };
    let value = value.trim_matches(['"', '\'']);
    if value.contains('$') {
        return Err(Gap::Opaque(
            format!(
                "{PROGRAM}'s {ETCD_SERVERS} is `{}`, which only the node can resolve",
                shorten(value)
            )
            .into(),
        ));
    }
    let mut servers: Vec<Arc<str>> = value
        .split(',')
        .map(|one| one.trim().trim_end_matches('/'))
        .filter(|one| !one.is_empty())
        .map(Arc::from)
        .collect();
    servers.sort_unstable();
    servers.dedup();
    Ok(Some(servers))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::kubeadm(&["kube-apiserver", "--etcd-servers=https://127.0.0.1:2379"], Some("https://127.0.0.1:2379"))]
    #[case::two_words(&["kube-apiserver", "--etcd-servers", "https://a:2379,https://b:2379"], Some("https://a:2379 https://b:2379"))]
    #[case::a_script(&["/bin/sh", "-c", "exec kube-apiserver --v=2 --etcd-servers=https://a:2379 2>&1"], Some("https://a:2379"))]
    #[case::another_flag(&["kube-apiserver", "--etcd-servers-overrides=/events#https://a:2379"], None)]
    #[case::the_last_counts(&["--etcd-servers=https://a:2379", "--etcd-servers=https://b:2379/"], Some("https://b:2379"))]
    #[case::twice_the_same(&["--etcd-servers=https://a:2379,https://a:2379"], Some("https://a:2379"))]
    fn addresses(#[case] argv: &[&str], #[case] expected: Option<&str>) {
        let found = etcd_servers(argv).unwrap().map(|all| all.join(" "));
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn what_a_shell_fills_in_is_not_known() {
        assert!(etcd_servers(&["--etcd-servers=${ETCD}"]).is_err());
    }
}
