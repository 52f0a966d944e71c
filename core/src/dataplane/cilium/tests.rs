use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn cilium(version: &str, kernel: &str, keys: &[(&str, &str)]) -> Cilium {
    let version = Version::parse(version)
        .map(|version| Val::declared(version, "image"))
        .ok_or_else(|| Gap::Opaque("no version".into()));
    let lookup = |key: &str| {
        let found = keys.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| ((*value).to_owned(), Arc::from("ConfigMap cilium-config")))
    };
    effective(&version, kernel, &lookup)
}

fn of<T>(value: Known<Val<T>>) -> Option<(T, Origin)> {
    value.ok().map(|val| (val.value, val.origin))
}

#[rstest]
#[case("1.10.1", 21_600, None, PortPin::Entry(21_600))]
#[case("1.11.16", 21_600, None, PortPin::Entry(21_600))]
#[case("1.12.0", 21_600, Some(60), PortPin::Grace(60))]
#[case("1.14.19", 21_600, Some(60), PortPin::Grace(60))]
#[case("1.15.0", 8000, Some(60), PortPin::Grace(60))]
#[case("1.15.8", 8000, Some(60), PortPin::Grace(60))]
#[case("1.16.0", 8000, Some(60), PortPin::None)]
#[case("1.16.0-rc.1", 8000, Some(60), PortPin::None)]
#[case("1.20.2", 8000, Some(60), PortPin::None)]
fn defaults_by_version(
    #[case] version: &str,
    #[case] life: i64,
    #[case] grace: Option<i64>,
    #[case] pin: PortPin,
) {
    let got = cilium(version, "5.10.0", &[]);
    assert_eq!(of(got.service_tcp_seconds), Some((life, Origin::Default)));
    assert_eq!(
        got.service_tcp_grace_seconds.map(|grace| grace.unwrap().value),
        grace
    );
    assert_eq!(of(got.port_pin), Some((pin, Origin::Default)));
    assert_eq!(of(got.service_any_seconds), Some((60, Origin::Default)));
    assert_eq!(of(got.gc_interval_seconds), Some((0, Origin::Default)));
    assert_eq!(&*got.algorithm.unwrap().value, "random");
    assert_eq!(of(got.socket_lb), Some((SocketLb::Off, Origin::Default)));
    assert_eq!(of(got.replaces_kube_proxy), Some((false, Origin::Default)));
}

#[rstest]
#[case("1.12.7", "4.19.91-26.al7.x86_64", Some(PortPin::Entry(21_600)))]
#[case("1.15.7", "5.1.21", Some(PortPin::Entry(8000)))]
#[case("1.15.8", "4.19.91", Some(PortPin::Entry(10)))]
#[case("1.12.7", "5.2.0", Some(PortPin::Grace(60)))]
#[case("1.12.7", "", None)]
#[case("1.11.0", "", Some(PortPin::Entry(21_600)))]
#[case("1.16.0", "", Some(PortPin::None))]
#[case("", "5.10.0", None)]
fn the_kernel_decides_between(#[case] version: &str, #[case] kernel: &str, #[case] pin: Option<PortPin>) {
    assert_eq!(
        cilium(version, kernel, &[]).port_pin.ok().map(|pin| pin.value),
        pin
    );
}

#[rstest]
#[case("1.18.2", &[("kube-proxy-replacement", "true"), ("bpf-lb-sock", "false")], Some(SocketLb::On))]
#[case("1.12.0", &[("kube-proxy-replacement", "strict"), ("bpf-lb-sock", "false")], Some(SocketLb::On))]
#[case("1.18.2", &[("kube-proxy-replacement", "true"), ("bpf-lb-sock-hostns-only", "true")], Some(SocketLb::HostOnly))]
#[case("1.18.2", &[("kube-proxy-replacement", "false"), ("bpf-lb-sock", "true")], Some(SocketLb::On))]
#[case("1.18.2", &[("kube-proxy-replacement", "false")], Some(SocketLb::Off))]
#[case("1.18.2", &[("bpf-lb-sock-hostns-only", "true")], Some(SocketLb::Off))]
#[case("1.13.0", &[("kube-proxy-replacement", "disabled"), ("bpf-lb-sock", "true")], Some(SocketLb::Off))]
#[case("1.13.0", &[("kube-proxy-replacement", "partial"), ("bpf-lb-sock", "true")], Some(SocketLb::On))]
#[case("1.11.0", &[("enable-host-reachable-services", "true")], Some(SocketLb::On))]
#[case("1.13.0", &[("kube-proxy-replacement", "probe")], None)]
#[case("1.13.0", &[("kube-proxy-replacement", "true")], None)]
#[case("1.16.0", &[("kube-proxy-replacement", "strict")], None)]
#[case("1.15.0", &[("kube-proxy-replacement", "strict")], Some(SocketLb::On))]
#[case("", &[("kube-proxy-replacement", "strict")], Some(SocketLb::On))]
#[case("1.18.2", &[("kube-proxy-replacement", "")], None)]
#[case("1.18.2", &[("bpf-lb-sock", "yes")], None)]
fn socket_lb(#[case] version: &str, #[case] keys: &[(&str, &str)], #[case] expected: Option<SocketLb>) {
    let got = cilium(version, "5.10.0", keys);
    assert_eq!(got.socket_lb.as_ref().ok().map(|val| val.value), expected);
    if expected == Some(SocketLb::On) {
        assert_eq!(got.port_pin.unwrap().value, PortPin::None);
    }
}

#[rstest]
#[case("900s", Ok(900))]
#[case("2h13m20s", Ok(8000))]
#[case("900", Err("no unit"))]
#[case("-1s", Err("0s or more"))]
#[case("", Err("empty"))]
#[case("2000000h", Err("at most"))]
#[case("forever", Err("no duration"))]
fn timeouts(#[case] text: &str, #[case] expected: Result<i64, &str>) {
    let key = "bpf-ct-timeout-service-tcp";
    match (
        cilium("1.18.2", "6.1", &[(key, text)]).service_tcp_seconds,
        expected,
    ) {
        (Ok(val), Ok(seconds)) => assert_eq!((val.value, val.origin), (seconds, Origin::Declared)),
        (Err(gap), Err(why)) => assert!(
            gap.to_string().contains(why) && gap.to_string().contains(key),
            "{gap}"
        ),
        (got, _) => panic!("{got:?}"),
    }
}

#[test]
fn unknown_and_future_versions_are_assumed() {
    for version in ["", "1.42.0", "1.8.0"] {
        assert_eq!(
            cilium(version, "6.1", &[]).service_any_seconds.unwrap().origin,
            Origin::Assumed
        );
    }
}

#[test]
fn an_unknown_algorithm_is_no_default() {
    assert!(
        cilium("1.18.2", "6.1", &[("bpf-lb-algorithm", "Maglev")])
            .algorithm
            .is_err()
    );
    let old = cilium("1.10.0", "6.1", &[("node-port-algorithm", "maglev")]);
    assert_eq!(&*old.algorithm.unwrap().value, "maglev");
}

fn keys(pairs: &[(&str, &str)]) -> Keys {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Merges one key `k` from all places, under the given sources and lists.
fn winner(sources: &str, allow: &str, deny: &str) -> Known<Option<(String, Arc<str>)>> {
    let (map, a, b) = (keys(&[("k", "map")]), keys(&[("k", "a")]), keys(&[("k", "b")]));
    let (labels, annotations) = (
        keys(&[("config.cilium.io/k", "label")]),
        keys(&[("other/k", "x")]),
    );
    let inputs = MergeInputs {
        sources,
        config_maps: &[("cilium-config", &map)],
        node_configs: &[("b", &b), ("a", &a)],
        labels: &labels,
        annotations: &annotations,
        allow,
        deny,
    };
    merge(&inputs).map(|merged| merged.get("k"))
}

#[rstest]
#[case(DEFAULT_SOURCES, "", "", "b", "CiliumNodeConfig b")]
#[case("config-map:cilium-config", "", "", "map", "ConfigMap cilium-config")]
#[case(
    "config-map:kube-system/cilium-config,cilium-node-config,node",
    "",
    "",
    "label",
    "Node label config.cilium.io/k"
)]
#[case(
    "cilium-node-config,config-map:cilium-config",
    "",
    "",
    "map",
    "ConfigMap cilium-config"
)]
#[case(DEFAULT_SOURCES, "x,y", "", "map", "ConfigMap cilium-config")]
#[case(DEFAULT_SOURCES, "x,k", "k", "b", "CiliumNodeConfig b")]
#[case(DEFAULT_SOURCES, "", "k", "map", "ConfigMap cilium-config")]
fn the_last_source_wins(
    #[case] sources: &str,
    #[case] allow: &str,
    #[case] deny: &str,
    #[case] value: &str,
    #[case] place: &str,
) {
    let (got, from) = winner(sources, allow, deny).unwrap().unwrap();
    assert_eq!((got.as_str(), &*from), (value, place));
}

#[rstest]
#[case("config-map:other")]
#[case("file:/x")]
fn sources_that_were_not_given(#[case] sources: &str) {
    assert!(matches!(winner(sources, "", ""), Err(Gap::Opaque(_))));
}

#[test]
fn no_source_gives_nothing() {
    assert_eq!(winner("", "", "").unwrap(), None);
}

proptest! {
    #[test]
    fn never_panics(version in "[0-9.a-z-]{0,8}", kernel in "\\PC{0,8}", values in proptest::collection::vec("\\PC{0,8}", 8)) {
        let names = ["kube-proxy-replacement", "bpf-lb-sock", "bpf-lb-sock-hostns-only", "bpf-lb-algorithm",
            "bpf-ct-timeout-service-tcp", "bpf-ct-timeout-service-any", "conntrack-gc-interval", "x"];
        let keys: BTreeMap<_, _> = names.iter().copied().zip(values.iter().map(String::as_str)).collect();
        let pairs: Vec<_> = keys.into_iter().collect();
        let _ = cilium(&version, &kernel, &pairs);
    }
}

#[rstest]
fn no_key_is_looked_up_that_is_not_listed(
    #[values("1.11.0", "1.13.0", "1.15.0", "1.18.0", "none")] version: &str,
    #[values("false", "true", "partial", "disabled")] replacement: &str,
    #[values("false", "true")] sock: &str,
) {
    let version = Version::parse(version)
        .map(|version| Val::declared(version, "image"))
        .ok_or_else(|| Gap::Opaque("no version".into()));
    let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let lookup = |key: &str| {
        asked.borrow_mut().insert(key.to_owned());
        let value = match key {
            "kube-proxy-replacement" => replacement,
            "bpf-lb-sock" | "enable-host-reachable-services" => sock,
            _ => return None,
        };
        Some((value.to_owned(), Arc::from("ConfigMap cilium-config")))
    };
    effective(&version, "5.10.0", &lookup);
    let asked = asked.into_inner();
    assert!(asked.len() > 5, "{asked:?}");
    for key in asked {
        assert!(KEYS.contains(&key.as_str()), "{key}");
    }
}
