//! Antrea: its proxy translates Services in Open vSwitch, whose connection tracking is the kernel's, in zones of its
//! own and with the node's timeouts.

use super::ProxyMode;
use super::entry::{ByEntry, Carrier, Handling};
use super::tree::{Tree, shorten};
use crate::know::{Gap, Known, Val};

/// The key of ConfigMap `antrea-config` that the agent reads (`build/yamls/antrea.yml`).
pub const KEY: &str = "antrea-agent.conf";

/// The name of this proxy, where it serves only the Services that ask for it (`docs/antrea-proxy.md`).
const PROXY_NAME: &str = "antreaProxy.serviceProxyName";

/// What the agent carries by its configuration, which is `None` where it is all defaults; `Ok(None)` where its
/// proxy is off, or serves only those Services whose label `service.kubernetes.io/service-proxy-name` names it
/// (`serviceProxyName`): all others are kube-proxy's.
///
/// `antreaProxy.enable` is true and `proxyAll` false unless set (`pkg/config/agent/config.go`, `docs/antrea-proxy.md`):
/// Pods' connections are Antrea's, and those of the node and from outside kube-proxy's unless `proxyAll` takes them.
pub fn carrier(config: Option<&str>, place: &str) -> Known<Option<Carrier>> {
    let unreadable = |why: String| Gap::Opaque(format!("{place} {KEY}: {why}").into());
    let tree = match config {
        None => Tree::Null,
        Some(text) => {
            Tree::from_yaml(text)
                .map_err(|why| unreadable(format!("no readable YAML ({why})")))?
                .0
        }
    };
    let flag = |path: &str, usual: bool| match tree.at(path) {
        None | Some(Tree::Null) => Ok(usual),
        Some(Tree::Bool(value)) => Ok(*value),
        Some(other) => Err(unreadable(format!(
            "{path}: {}, expected true or false",
            shorten(&other.to_string())
        ))),
    };
    // Up to 1.10 a feature gate switched it (`docs/feature-gates.md`).
    let on = flag("antreaProxy.enable", true)? && flag("featureGates.AntreaProxy", true)?;
    if !on {
        return Ok(None);
    }
    match tree.at(PROXY_NAME) {
        None | Some(Tree::Null) => {}
        Some(Tree::Text(name)) if name.is_empty() => {}
        Some(Tree::Text(_)) => return Ok(None),
        Some(other) => {
            let other = shorten(&other.to_string());
            return Err(unreadable(format!("{PROXY_NAME}: {other}, expected a name")));
        }
    }
    let all = flag("antreaProxy.proxyAll", false)?;
    let rest = if all {
        Handling::Conntrack
    } else {
        Handling::KubeProxy
    };
    let ways = ByEntry {
        pod: Handling::Conntrack,
        host: rest.clone(),
        outside: rest,
        direct: Handling::Free,
    };
    Ok(Some(Carrier {
        name: "Antrea".into(),
        mode: Ok(Val::declared(
            ProxyMode::Other,
            format!("AntreaProxy ({place}), proxyAll: {all}"),
        )),
        tcp: ways.clone(),
        udp: ways,
    }))
}

/// The part of a configuration that [`carrier`] reads, as a configuration; one that cannot be read stays such.
pub fn reduced(config: &str) -> String {
    let Ok((tree, _)) = Tree::from_yaml(config) else {
        return "[".to_owned();
    };
    let blocks = [
        ("antreaProxy", &["enable", "proxyAll", "serviceProxyName"][..]),
        ("featureGates", &["AntreaProxy"][..]),
    ];
    let kept = blocks.iter().filter_map(|(block, names)| {
        let lines = names.iter().filter_map(|name| {
            Some(match tree.at(&format!("{block}.{name}"))? {
                Tree::Bool(value) => format!("  {name}: {value}\n"),
                Tree::Null => format!("  {name}:\n"),
                // Whether it is empty is all that counts.
                Tree::Text(text) if *name == "serviceProxyName" => {
                    format!("  {name}: '{}'\n", if text.is_empty() { "" } else { "antrea" })
                }
                // Of the wrong type, and so refused, whatever it says.
                _ => format!("  {name}: []\n"),
            })
        });
        let lines: String = lines.collect();
        (!lines.is_empty()).then(|| format!("{block}:\n{lines}"))
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::defaults(None, Some((Handling::Conntrack, Handling::KubeProxy)))]
    #[case::empty(Some(""), Some((Handling::Conntrack, Handling::KubeProxy)))]
    #[case::all(Some("antreaProxy:\n  proxyAll: true\n"), Some((Handling::Conntrack, Handling::Conntrack)))]
    #[case::off(Some("antreaProxy:\n  enable: false\n"), None)]
    #[case::only_who_asks(Some("antreaProxy:\n  serviceProxyName: antrea\n"), None)]
    #[case::no_name(Some("antreaProxy:\n  serviceProxyName: ''\n"), Some((Handling::Conntrack, Handling::KubeProxy)))]
    #[case::off_by_gate(Some("featureGates:\n  AntreaProxy: false\n"), None)]
    #[case::commented(Some("antreaProxy:\n#  enable: false\n"), Some((Handling::Conntrack, Handling::KubeProxy)))]
    fn by_configuration(#[case] config: Option<&str>, #[case] expected: Option<(Handling, Handling)>) {
        let found = carrier(config, "ConfigMap kube-system/antrea-config").unwrap();
        assert_eq!(found.map(|one| (one.tcp.pod, one.tcp.outside)), expected);
    }

    #[rstest]
    #[case("")]
    #[case("antreaProxy:\n  proxyAll: true\nother: secret\n")]
    #[case("antreaProxy: {enable: false}")]
    #[case("featureGates: {AntreaProxy: false, Egress: true}")]
    #[case("antreaProxy: {enable: null, proxyAll: true}")]
    #[case("antreaProxy: {enable: perhaps}")]
    #[case("antreaProxy: [")]
    #[case("antreaProxy: {serviceProxyName: a-secret}")]
    #[case("antreaProxy: {serviceProxyName: ''}")]
    #[case("antreaProxy: {serviceProxyName: [x]}")]
    fn what_is_kept_says_the_same(#[case] config: &str) {
        let (whole, kept) = (carrier(Some(config), "x"), carrier(Some(&reduced(config)), "x"));
        assert_eq!(whole.ok(), kept.ok());
        assert!(!reduced(config).contains("secret"));
    }

    #[rstest]
    #[case("antreaProxy: {enable: perhaps}")]
    #[case("antreaProxy: [")]
    fn nonsense_is_no_default(#[case] config: &str) {
        assert!(carrier(Some(config), "ConfigMap kube-system/antrea-config").is_err());
    }
}
