//! The arguments of kube-apiserver.

use std::sync::Arc;

use super::flags::flag;
use crate::know::Known;

/// Its program, and the name of its container.
pub const PROGRAM: &str = "kube-apiserver";
/// The flag that names its members of etcd (`k8s.io/apiserver/pkg/server/options/etcd.go`), by commas.
const ETCD_SERVERS: &str = "etcd-servers";

/// The addresses of etcd on a command line, or in a script in it; `None` where there is no such flag.
pub fn etcd_servers(argv: &[impl AsRef<str>]) -> Known<Option<Vec<Arc<str>>>> {
    let Some(value) = flag(PROGRAM, argv, ETCD_SERVERS)? else {
        return Ok(None);
    };
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

    #[rstest]
    #[case::by_the_kubelet(&["kube-apiserver", "--etcd-servers=$(ETCD)"])]
    #[case::by_a_shell(&["sh", "-c", "exec kube-apiserver --etcd-servers=${ETCD}"])]
    fn what_is_filled_in_is_not_known(#[case] argv: &[&str]) {
        assert!(etcd_servers(argv).is_err());
    }
}
