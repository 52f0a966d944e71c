use rstest::rstest;

use super::*;
use crate::dataplane::cilium;
use crate::dataplane::entry::Entry;
use crate::dataplane::kube_proxy::{ConfigSource, settings};
use crate::know::Origin;

fn proxy(args: &[&str]) -> Settings {
    let argv: Vec<_> = std::iter::once("kube-proxy")
        .chain(args.iter().copied())
        .map(str::to_owned)
        .collect();
    settings(
        &ConfigSource::Flags {
            argv: &argv,
            place: "DaemonSet kube-proxy",
        },
        "linux",
        None,
    )
    .unwrap()
}

fn cilium_of(version: Version, keys: &[(&str, &str)]) -> Cilium {
    let lookup = |key: &str| {
        let found = keys.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| ((*value).to_owned(), Arc::from("ConfigMap cilium-config")))
    };
    cilium::effective(&Ok(Val::declared(version, "image")), "5.10.0", &lookup)
}

fn inputs<'a>(proxy: Option<&'a Settings>, cilium: Option<&'a Cilium>) -> NodeInputs<'a> {
    NodeInputs {
        os: "linux",
        kernel: "5.10.0",
        kubelet_version: "v1.34.1",
        kube_proxy: proxy.map(Ok),
        cilium: cilium.map(Ok),
        carrier: None,
        no_kube_proxy: false,
    }
}

#[test]
fn ipvs_bounds_at_the_kernels_value() {
    let proxy = proxy(&["--proxy-mode=ipvs"]);
    let got = profile(&inputs(Some(&proxy), None));
    let idle = got.service_idle_seconds.unwrap().unwrap();
    assert_eq!((idle.value, idle.origin), (900, Origin::Default));
    assert_eq!(got.udp_idle_seconds.unwrap().unwrap().value, 300);
    assert!(got.scheduler.is_some() && got.ipvs_tcp_seconds.is_some());
}

#[rstest]
#[case(&[("kube-proxy-replacement", "false")], Some(8000), ProxyMode::Ipvs)]
#[case(&[("kube-proxy-replacement", "true")], None, ProxyMode::Cilium)]
#[case(&[("kube-proxy-replacement", "true"), ("bpf-lb-sock-hostns-only", "true")], Some(8000), ProxyMode::Cilium)]
fn cilium_comes_first(#[case] keys: &[(&str, &str)], #[case] idle: Option<i64>, #[case] mode: ProxyMode) {
    let (proxy, cilium) = (
        proxy(&["--proxy-mode=ipvs"]),
        cilium_of(Version::new(1, 18, 2), keys),
    );
    let got = profile(&inputs(Some(&proxy), Some(&cilium)));
    assert_eq!(got.service_idle_seconds.unwrap().map(|idle| idle.value), idle);
    assert_eq!(got.mode.unwrap().value, mode);
    assert_eq!(got.ipvs_tcp_seconds.is_some(), mode == ProxyMode::Ipvs);
    assert_eq!(got.notes.len(), usize::from(mode == ProxyMode::Cilium));
    assert_eq!(got.tcp_established_seconds.unwrap().value, 86_400);
}

/// 120 s are sure from Linux 5.0 on alone, unless they are written.
#[rstest]
#[case::today("5.10.0", &[], Origin::Default)]
#[case::before("4.18.0-553.el8.x86_64", &[], Origin::Assumed)]
#[case::written("3.10.0", &["--conntrack-udp-timeout-stream=120s"], Origin::Declared)]
fn answered_udp_flows_of_older_kernels(
    #[case] kernel: &str,
    #[case] flags: &[&str],
    #[case] expected: Origin,
) {
    let proxy = proxy(flags);
    let got = profile(&NodeInputs {
        kernel,
        ..inputs(Some(&proxy), None)
    });
    let idle = got.udp_idle_seconds.unwrap().unwrap();
    assert_eq!((idle.value, idle.origin), (120, expected));
}

#[test]
fn connection_tracking_below_ipvs_may_remember_for_less() {
    let argv = ["kube-router".to_owned()];
    let router = crate::dataplane::kube_router::carrier(&argv, "DaemonSet kube-router");
    let (router, proxy) = (
        router.unwrap().unwrap(),
        proxy(&["--conntrack-tcp-timeout-established=5m"]),
    );
    let inputs = NodeInputs {
        carrier: Some(Ok(&router)),
        ..inputs(Some(&proxy), None)
    };
    assert_eq!(profile(&inputs).service_idle_seconds.unwrap().unwrap().value, 300);
}

#[test]
fn where_cilium_replaces_kube_proxy_it_does_not_matter_what_else_cannot_be_read() {
    let cilium = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "true")]);
    let inputs = NodeInputs {
        carrier: Some(Err(Gap::Opaque("unreadable".into()))),
        ..inputs(None, Some(&cilium))
    };
    assert_eq!(profile(&inputs).service_idle_seconds.unwrap(), None);
}

#[test]
fn without_kube_proxy_nobody_writes_the_timeouts() {
    let cilium = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "true")]);
    let got = profile(&inputs(None, Some(&cilium)));
    assert_eq!(got.tcp_established_seconds.unwrap().value, 432_000);
}

#[test]
fn gaps_stay_gaps() {
    let nothing = profile(&inputs(None, None));
    assert!(matches!(nothing.service_idle_seconds, Err(Gap::Opaque(_))) && nothing.mode.is_err());

    let (ipvs, gap) = (proxy(&["--proxy-mode=ipvs"]), Gap::Opaque("unreadable".into()));
    let cilium = NodeInputs {
        cilium: Some(Err(gap.clone())),
        ..inputs(Some(&ipvs), None)
    };
    assert_eq!(profile(&cilium).service_idle_seconds, Err(gap.clone()));
    let broken = NodeInputs {
        kube_proxy: Some(Err(gap.clone())),
        ..inputs(None, None)
    };
    assert_eq!(profile(&broken).mode, Err(gap));

    let alone = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "false")]);
    let got = profile(&inputs(None, Some(&alone)));
    assert!(got.mode.is_err() && got.tcp_established_seconds.is_err());
    assert_eq!(got.service_idle_seconds.unwrap().unwrap().value, 8000);
    let bad = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "perhaps")]);
    assert!(profile(&inputs(None, Some(&bad))).service_idle_seconds.is_err());
}

#[test]
fn what_is_not_supported_says_so() {
    let iptables = proxy(&[]);
    let ovn = crate::dataplane::ovn::ovn_kubernetes("DaemonSet ovn/ovnkube-node");
    let ovn = NodeInputs {
        carrier: Some(Ok(&ovn)),
        ..inputs(Some(&iptables), None)
    };
    let windows = NodeInputs {
        os: "windows",
        ..inputs(Some(&iptables), None)
    };
    for got in [profile(&ovn), profile(&windows)] {
        assert!(matches!(
            got.service_idle_seconds,
            Err(Gap::UnsupportedDataPlane(_))
        ));
    }
    assert_eq!(profile(&ovn).mode.unwrap().value, ProxyMode::Other);
}

/// What a connection meets by each way in: seconds and whose table, or that it meets none.
fn met(got: &Profile) -> [String; 4] {
    [Entry::Pod, Entry::Host, Entry::Outside, Entry::Direct].map(|entry| match got.table(entry, false) {
        Ok(None) => "none".into(),
        Ok(Some(table)) => format!("{} {}", table.keeper, table.idle.value),
        Err(_) => "unknown".into(),
    })
}

#[rstest]
#[case::beside(&[("kube-proxy-replacement", "false")], ["Cilium 8000", "IPVS 900", "IPVS 900", "none"])]
#[case::node_ports_too(
    &[("kube-proxy-replacement", "false"), ("enable-node-port", "true")],
    ["Cilium 8000", "IPVS 900", "Cilium 8000", "none"],
)]
#[case::sockets_beside(
    &[("kube-proxy-replacement", "false"), ("bpf-lb-sock", "true")],
    ["none", "none", "IPVS 900", "none"],
)]
#[case::in_place(&[("kube-proxy-replacement", "true")], ["none", "none", "Cilium 8000", "none"])]
#[case::in_place_for_the_host(
    &[("kube-proxy-replacement", "true"), ("bpf-lb-sock-hostns-only", "true")],
    ["Cilium 8000", "none", "Cilium 8000", "none"],
)]
fn cilium_by_the_way_in(#[case] keys: &[(&str, &str)], #[case] expected: [&str; 4]) {
    let (proxy, cilium) = (
        proxy(&["--proxy-mode=ipvs"]),
        cilium_of(Version::new(1, 18, 2), keys),
    );
    assert_eq!(met(&profile(&inputs(Some(&proxy), Some(&cilium)))), expected);
}

#[rstest]
#[case::alone(None, ["conntrack 86400", "conntrack 86400", "conntrack 86400", "none"])]
#[case::calico(Some("calico"), ["Calico eBPF 3600", "Calico eBPF 3600", "Calico eBPF 3600", "Calico eBPF 3600"])]
#[case::antrea(
    Some("antrea"),
    ["Antrea conntrack 86400", "conntrack 86400", "conntrack 86400", "none"],
)]
#[case::kube_router(
    Some("kube-router"),
    ["kube-router IPVS 900", "kube-router IPVS 900", "kube-router IPVS 900", "none"],
)]
#[case::kube_ovn(Some("kube-ovn"), ["unknown", "conntrack 86400", "conntrack 86400", "none"])]
#[case::ovn(Some("ovn"), ["unknown", "unknown", "unknown", "none"])]
fn carriers_beside_kube_proxy(#[case] product: Option<&str>, #[case] expected: [&str; 4]) {
    use crate::dataplane::{antrea, calico, kube_router, ovn};
    let proxy = proxy(&[]);
    let felix = calico::FelixConfig {
        enabled: Some(calico::FelixValue::Text("true")),
        ..calico::FelixConfig::default()
    };
    let carrier = match product {
        Some("calico") => calico::carrier(&[felix], &proxy.tcp_established_seconds).unwrap(),
        Some("antrea") => antrea::carrier(None, "").unwrap(),
        Some("kube-router") => kube_router::carrier(&[], "").unwrap(),
        Some("kube-ovn") => ovn::kube_ovn("", None).unwrap(),
        Some("ovn") => Some(ovn::ovn_kubernetes("")),
        _ => None,
    };
    let got = profile(&NodeInputs {
        carrier: carrier.as_ref().map(Ok),
        ..inputs(Some(&proxy), None)
    });
    assert_eq!(met(&got), expected);
}

#[test]
fn notes_by_kernel_and_kubelet() {
    let (nft, ipvs) = (proxy(&["--proxy-mode=nftables"]), proxy(&["--proxy-mode=ipvs"]));
    assert_eq!(profile(&inputs(Some(&nft), None)).notes.len(), 1);
    let new = NodeInputs {
        kubelet_version: "v1.35.0",
        ..inputs(Some(&ipvs), None)
    };
    assert_eq!(profile(&new).notes.len(), 1);
}

/// The conntrack timeouts where what would show a kube-proxy was not read.
#[rstest]
#[case::cilium_replaces_it("true", Some((432_000, Origin::Assumed)))]
#[case::cilium_leaves_services_to_it("false", None)]
#[case::not_known("perhaps", None)]
fn kube_proxy_that_was_not_read(#[case] replaces: &str, #[case] expected: Option<(i64, Origin)>) {
    let cilium = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", replaces)]);
    let got = profile(&NodeInputs {
        kube_proxy: Some(Err(Gap::Opaque("not read".into()))),
        ..inputs(None, Some(&cilium))
    });
    let established = got.tcp_established_seconds.ok();
    assert_eq!(established.map(|val| (val.value, val.origin)), expected);
}

/// Why the table of connections from outside is not known where nothing carries them.
#[rstest]
#[case::nothing(None, None, nothing_found())]
#[case::cilium(Some("false"), None, no_kube_proxy())]
#[case::antrea(None, Some("antrea"), no_kube_proxy())]
fn nothing_carries_it(#[case] replaces: Option<&str>, #[case] carrier: Option<&str>, #[case] expected: Gap) {
    let cilium =
        replaces.map(|replaces| cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", replaces)]));
    let carrier = carrier.and_then(|_| crate::dataplane::antrea::carrier(None, "").unwrap());
    let got = profile(&NodeInputs {
        carrier: carrier.as_ref().map(Ok),
        ..inputs(None, cilium.as_ref())
    });
    assert_eq!(got.tcp_tables.outside, Err(expected));
}

#[rstest]
#[case("5.12.19", 1)]
#[case("5.13.0", 0)]
#[case("6.1.0", 0)]
#[case("unknown", 0)]
fn nftables_expects_a_kernel(#[case] kernel: &str, #[case] notes: usize) {
    let proxy = proxy(&["--proxy-mode=nftables"]);
    let got = profile(&NodeInputs {
        kernel,
        ..inputs(Some(&proxy), None)
    });
    assert_eq!(got.notes.len(), notes, "{:?}", got.notes);
}
