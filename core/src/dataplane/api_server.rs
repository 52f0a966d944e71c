//! The arguments of kube-apiserver.

use std::sync::Arc;

use super::flags::flag;
use crate::know::Known;

/// Its program, and the name of its container.
pub const PROGRAM: &str = "kube-apiserver";
/// The flag that names its members of etcd (`k8s.io/apiserver/pkg/server/options/etcd.go`), by commas.
const ETCD_SERVERS: &str = "etcd-servers";

/// The flag by which it calls what is behind a Service, webhooks as well, at its endpoints and not at its cluster address
/// (`buildServiceResolver` in `k8s.io/kubernetes` `pkg/controlplane/apiserver/config.go`). Off unless given.
const AGGREGATOR_ROUTING: &str = "enable-aggregator-routing";

/// Whether it calls Services at their endpoints.
pub fn calls_endpoints(argv: &[impl AsRef<str>]) -> Known<bool> {
    let Some(value) = flag(PROGRAM, argv, AGGREGATOR_ROUTING)? else {
        // A flag without a value, at the end.
        return Ok(argv
            .last()
            .is_some_and(|word| word.as_ref().trim_end().ends_with("--enable-aggregator-routing")));
    };
    // As `strconv.ParseBool` reads it; what begins with a dash is the next flag.
    Ok(!matches!(
        value.as_str(),
        "0" | "f" | "F" | "false" | "False" | "FALSE"
    ))
}

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
    #[case::not_given(&["kube-apiserver", "--v=2"], false)]
    #[case::given(&["kube-apiserver", "--enable-aggregator-routing=true"], true)]
    #[case::bare(&["kube-apiserver", "--enable-aggregator-routing", "--v=2"], true)]
    #[case::bare_at_the_end(&["kube-apiserver", "--v=2", "--enable-aggregator-routing"], true)]
    #[case::off(&["kube-apiserver", "--enable-aggregator-routing=false"], false)]
    fn services_are_called_at_their_endpoints(#[case] argv: &[&str], #[case] expected: bool) {
        assert_eq!(calls_endpoints(argv), Ok(expected));
    }

    #[rstest]
    #[case::by_the_kubelet(&["kube-apiserver", "--etcd-servers=$(ETCD)"])]
    #[case::by_a_shell(&["sh", "-c", "exec kube-apiserver --etcd-servers=${ETCD}"])]
    fn what_is_filled_in_is_not_known(#[case] argv: &[&str]) {
        assert!(etcd_servers(argv).is_err());
    }
}
