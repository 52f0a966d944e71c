//! Terway, Alibaba Cloud's CNI: which Cilium it embeds, and with which arguments.
//!
//! There is no `cilium-config` here. The `ConfigMap` `eni-config` names the data path, and in two of the three a
//! patched Cilium agent handles Services per packet, with built-in arguments that leave all timeouts at the defaults
//! of its base version (`cmd/terway-cli/policy.go`). The fix for reused source ports came as a backport, before the
//! base version had it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Cilium;
use super::cilium::{Build, Rebalance, effective_of};
use super::tree::{Tree, shorten};
use super::version::Version;
use crate::know::{Gap, Known, Origin, Val};

/// The key of `eni-config` that holds the CNI configuration, plain or as a list of plugins.
pub const CNI_KEY: &str = "10-terway.conf";
/// The plugin's type in a list: `cmd/terway-cli/policy.go`.
const PLUGIN: &str = "terway";
/// Whether hints of `EndpointSlices` count.
const TOPOLOGY: &str = "enable-service-topology";
/// A switch that takes effect only where the node has used it before (`mutateCiliumArgs`, `cmd/terway-cli/policy.go`).
const DISABLE_PER_PACKET: &str = "disable-per-package-lb";
/// The release whose policy image brought the backport (`policy/cilium/0009-tcp-rebalance.patch`).
const BACKPORT: Version = Version::new(1, 2, 4);
/// Cilium's version by the first Terway release that embeds it (`Dockerfile.policy`).
const BASES: [(Version, Version); 3] = [
    (Version::new(1, 0, 0), Version::new(1, 10, 1)),
    (Version::new(1, 4, 0), Version::new(1, 12, 1)),
    (Version::new(1, 5, 0), Version::new(1, 12, 7)),
];
/// The first release after the last one whose base was read.
const UNREAD: Version = Version::new(1, 10, 0);

/// Terway's data path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPath {
    /// Policy routing; Services are kube-proxy's.
    Veth,
    /// The older path with Cilium.
    Ipvlan,
    /// The newer path with Cilium.
    DatapathV2,
}

/// What Terway does on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terway {
    /// The data path.
    pub path: Val<DataPath>,
    /// The embedded Cilium; `None` where none runs.
    pub cilium: Option<Cilium>,
}

/// Reads the data of the `ConfigMap` `eni-config` for nodes of this image tag and kernel.
pub fn read(data: &BTreeMap<String, String>, place: &str, tag: Option<&str>, kernel: &str) -> Known<Terway> {
    let gap = |why: String| Gap::Opaque(format!("{place} {CNI_KEY}: {why}").into());
    let text = data
        .get(CNI_KEY)
        .ok_or_else(|| gap("the key does not exist".into()))?;
    let tree = Tree::from_json(text).map_err(|why| gap(format!("no readable JSON ({why})")))?;
    let plugin = plugin(&tree).ok_or_else(|| gap("no plugin of type terway".into()))?;
    let path = data_path(plugin, place)?;
    let ebpf = plugin
        .get("network_policy_provider")
        .and_then(Tree::text)
        .is_some_and(|p| p.eq_ignore_ascii_case("ebpf"));
    if path.value == DataPath::Veth {
        if ebpf {
            return Err(gap(
                "veth with network_policy_provider ebpf: whether Cilium runs depends on the node".into(),
            ));
        }
        return Ok(Terway { path, cilium: None });
    }
    let args = match plugin.get("cilium_args") {
        None | Some(Tree::Null) => Vec::new(),
        Some(Tree::Text(text)) => arguments(text),
        Some(other) => return Err(gap(format!("cilium_args is {}, expected a text", other.kind()))),
    };
    Ok(Terway {
        path,
        cilium: Some(embedded(&args, place, tag, kernel)),
    })
}

fn embedded(args: &[(String, String)], place: &str, tag: Option<&str>, kernel: &str) -> Cilium {
    let release = tag.and_then(Version::parse);
    let version = base(release, tag);
    let build = version.as_ref().map_err(Clone::clone).map(|version| {
        let backport = release.is_some_and(|release| release >= BACKPORT) && !version.value.at_least(1, 12);
        let build = Build::of(version.value);
        if backport {
            Build {
                rebalance: Rebalance::AfterServiceAny,
                ..build
            }
        } else {
            build
        }
    });
    let place: Arc<str> = format!("{place} cilium_args").into();
    let lookup = |key: &str| {
        // Of repeated flags the last one counts.
        let found = args.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| (value.clone(), place.clone()))
    };
    let mut cilium = effective_of(&version, &build, kernel, &lookup);
    if lookup(TOPOLOGY).is_none() {
        // Some releases pass it by themselves.
        cilium.follows_hints = Err(Gap::Opaque(format!("{place}: {TOPOLOGY} is not set").into()));
    }
    if args.iter().any(|(name, _)| name == DISABLE_PER_PACKET) {
        let gap = Gap::Opaque(
            format!("{place}: whether {DISABLE_PER_PACKET} takes effect depends on a file of the node")
                .into(),
        );
        cilium.socket_lb = Err(gap.clone());
        cilium.port_pin = Err(gap);
    }
    cilium
}

/// The object that configures Terway: the document, or that plugin of its list.
fn plugin(tree: &Tree) -> Option<&Tree> {
    match (tree, tree.get("plugins")) {
        (_, Some(Tree::List(plugins))) => plugins
            .iter()
            .find(|plugin| plugin.get("type").and_then(Tree::text) == Some(PLUGIN)),
        (Tree::Map(_), None) => Some(tree),
        _ => None,
    }
}

fn data_path(plugin: &Tree, place: &str) -> Known<Val<DataPath>> {
    const KEY: &str = "eniip_virtual_type";
    let source = |what: &str| format!("{place} {CNI_KEY} {KEY}: {what}");
    let text = match plugin.get(KEY) {
        None | Some(Tree::Null) => {
            return Ok(Val::default_of(DataPath::Veth, source("not set = veth (Terway)")));
        }
        Some(Tree::Text(text)) => text,
        Some(other) => return Err(Gap::Opaque(source(&format!("{other}, expected a text")).into())),
    };
    let path = match text.to_ascii_lowercase().as_str() {
        "veth" | "" => DataPath::Veth,
        "ipvlan" => DataPath::Ipvlan,
        "datapathv2" => DataPath::DatapathV2,
        _ => {
            return Err(Gap::Opaque(
                source(&format!(
                    "`{}`, expected veth, ipvlan or datapathv2",
                    shorten(text)
                ))
                .into(),
            ));
        }
    };
    Ok(Val::declared(path, source(text)))
}

fn base(release: Option<Version>, tag: Option<&str>) -> Known<Val<Version>> {
    let tag = tag.unwrap_or_default();
    let found = release.filter(|release| *release < UNREAD).and_then(|release| {
        BASES
            .iter()
            .rev()
            .find(|(first, _)| release.at_least(first.major, first.minor))
            .map(|(_, base)| *base)
    });
    // Releases between those that were read, and before the first of them, are likely the same.
    let read = release.is_some_and(|release| {
        (BACKPORT..Version::new(1, 5, 0)).contains(&release) || release >= Version::new(1, 5, 7)
    });
    let origin = if read { Origin::Default } else { Origin::Assumed };
    let source = |base| format!("Terway {} embeds Cilium {base}", shorten(tag)).into();
    found
        .map(|base| Val {
            value: base,
            origin,
            source: source(base),
        })
        .ok_or_else(|| {
            Gap::Opaque(
                format!(
                    "which Cilium Terway `{}` embeds is not known, expected a tag from v1.0 to v1.9",
                    shorten(tag)
                )
                .into(),
            )
        })
}

/// `cilium_args`, split where Terway splits it: at `--`, not at spaces (`extractArgs`, `cmd/terway-cli/policy.go`).
fn arguments(text: &str) -> Vec<(String, String)> {
    let items = text.split("--").map(str::trim).filter(|item| !item.is_empty());
    items
        .map(
            |item| match item.split_once(|c: char| c == '=' || c.is_whitespace()) {
                Some((name, value)) => (name.to_owned(), value.trim().to_owned()),
                None => (item.to_owned(), "true".to_owned()),
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::dataplane::{PortPin, SocketLb};

    fn terway(conf: &str, tag: &str, kernel: &str) -> Known<Terway> {
        let data = BTreeMap::from([(CNI_KEY.to_owned(), conf.to_owned())]);
        read(&data, "ConfigMap kube-system/eni-config", Some(tag), kernel)
    }

    const V2: &str = r#"{"type":"terway","eniip_virtual_type":"datapathv2"}"#;

    #[rstest]
    #[case("v1.2.3", "5.10.134", Some(PortPin::Entry(21_600)))]
    #[case("v1.2.4", "5.10.134", Some(PortPin::Grace(60)))]
    #[case("v1.2.4", "4.19.91-26.al7.x86_64", Some(PortPin::Entry(21_600)))]
    #[case("v1.3.0", "5.10.134", Some(PortPin::Grace(60)))]
    #[case("v1.4.0", "5.10.134", Some(PortPin::Grace(60)))]
    #[case("v1.9.17", "5.10.134", Some(PortPin::Grace(60)))]
    #[case("v1.12.0", "5.10.134", None)]
    #[case("policy-20220610-0439efc", "5.10.134", None)]
    #[case("", "5.10.134", None)]
    fn pins_by_tag_and_kernel(#[case] tag: &str, #[case] kernel: &str, #[case] pin: Option<PortPin>) {
        let cilium = terway(V2, tag, kernel).unwrap().cilium.unwrap();
        assert_eq!(cilium.port_pin.ok().map(|pin| pin.value), pin);
    }

    #[rstest]
    #[case("v1.2.3", Origin::Assumed)]
    #[case("v1.2.4", Origin::Default)]
    #[case("v1.5.2", Origin::Assumed)]
    #[case("v1.5.7", Origin::Default)]
    fn tags_that_were_not_read_are_assumed(#[case] tag: &str, #[case] origin: Origin) {
        let cilium = terway(V2, tag, "5.10.0").unwrap().cilium.unwrap();
        assert_eq!(cilium.service_tcp_seconds.unwrap().origin, origin);
        assert_eq!(cilium.port_pin.unwrap().origin, origin);
    }

    #[rstest]
    #[case(r#"{"type":"terway"}"#, DataPath::Veth)]
    #[case(r#"{"type":"terway","eniip_virtual_type":"veth"}"#, DataPath::Veth)]
    #[case(r#"{"type":"terway","eniip_virtual_type":"IPVlan"}"#, DataPath::Ipvlan)]
    #[case(
        r#"{"plugins":[{"type":"portmap"},{"type":"terway","eniip_virtual_type":"datapathv2"}]}"#,
        DataPath::DatapathV2
    )]
    fn data_paths(#[case] conf: &str, #[case] path: DataPath) {
        let got = terway(conf, "v1.5.7", "5.10.0").unwrap();
        assert_eq!(got.path.value, path);
        assert_eq!(got.cilium.is_some(), path != DataPath::Veth);
    }

    #[rstest]
    #[case("")]
    #[case("[]")]
    #[case(r#"{"plugins":[]}"#)]
    #[case(r#"{"plugins":{}}"#)]
    #[case(r#"{"eniip_virtual_type":7}"#)]
    #[case(r#"{"eniip_virtual_type":"bridge"}"#)]
    #[case(r#"{"eniip_virtual_type":"datapathv2","cilium_args":["a"]}"#)]
    #[case(r#"{"network_policy_provider":"ebpf"}"#)]
    fn gaps(#[case] conf: &str) {
        assert!(matches!(terway(conf, "v1.5.7", "5.10.0"), Err(Gap::Opaque(_))));
    }

    #[test]
    fn a_missing_key_is_a_gap() {
        assert!(read(&BTreeMap::new(), "eni-config", None, "").is_err());
    }

    #[test]
    fn arguments_are_split_at_dashes() {
        let conf = r#"{"eniip_virtual_type":"datapathv2","cilium_args":"--bpf-ct-timeout-service-tcp=900s --bpf-lb-algorithm maglev --bpf-ct-timeout-service-tcp=30m"}"#;
        let cilium = terway(conf, "v1.5.7", "5.10.0").unwrap().cilium.unwrap();
        assert_eq!(cilium.service_tcp_seconds.unwrap().value, 1800);
        assert_eq!(&*cilium.algorithm.unwrap().value, "maglev");
        assert_eq!(cilium.socket_lb.unwrap().value, SocketLb::Off);
    }

    #[test]
    fn a_switch_that_depends_on_the_node_is_unknown() {
        let conf = r#"{"eniip_virtual_type":"datapathv2","cilium_args":"--disable-per-package-lb=true"}"#;
        let cilium = terway(conf, "v1.5.7", "5.10.0").unwrap().cilium.unwrap();
        assert!(cilium.socket_lb.is_err() && cilium.port_pin.is_err());
    }

    proptest! {
        #[test]
        fn never_panics(args in "[-= a-z\"\\\\]{0,20}", tag in "\\PC{0,10}") {
            let conf = serde_json::json!({"eniip_virtual_type": "ipvlan", "cilium_args": args}).to_string();
            let _ = terway(&conf, &tag, "5.10");
        }
    }
}
