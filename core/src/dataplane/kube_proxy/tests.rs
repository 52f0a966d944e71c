use proptest::prelude::*;
use rstest::rstest;

use super::*;

const HEADER: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
const PLACE: &str = "ConfigMap kube-system/kube-proxy";

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(|word| (*word).to_owned()).collect()
}

fn document(body: &str) -> Known<Settings> {
    document_of(body, None)
}

fn document_of(body: &str, version: Option<Version>) -> Known<Settings> {
    let text = format!("{HEADER}{body}");
    settings(
        &ConfigSource::Document {
            text: &text,
            place: PLACE,
            argv: &[],
        },
        "linux",
        version,
    )
}

fn flags(argv: &[&str]) -> Known<Settings> {
    settings(
        &ConfigSource::Flags {
            argv: &words(argv),
            place: "DaemonSet kube-system/kube-proxy",
        },
        "linux",
        None,
    )
}

fn k3s(args: &[&str]) -> Known<Settings> {
    settings(
        &ConfigSource::K3s {
            args: &words(args),
            place: "Node a annotation k3s.io/node-args",
        },
        "linux",
        None,
    )
}

fn configz(body: &str) -> Known<Settings> {
    settings(
        &ConfigSource::Configz {
            body,
            place: "kube-proxy on node a /configz",
        },
        "linux",
        None,
    )
}

fn of(value: Known<Val<i64>>) -> Option<(i64, Origin)> {
    value.ok().map(|val| (val.value, val.origin))
}

#[test]
fn the_founding_case() {
    let got =
        document("mode: ipvs\nipvs:\n  tcpTimeout: 0s\nconntrack:\n  tcpEstablishedTimeout: null\n").unwrap();
    let tcp = got.ipvs_tcp_seconds.clone().unwrap().unwrap();
    assert_eq!((tcp.value, tcp.origin), (900, Origin::Default));
    assert_eq!(
        &*tcp.source,
        "ConfigMap kube-system/kube-proxy ipvs.tcpTimeout: 0s = kernel default (net/netfilter/ipvs/ip_vs_proto_tcp.c)"
    );
    assert_eq!(
        of(got.tcp_established_seconds.clone()),
        Some((86_400, Origin::Default))
    );
    assert_eq!(of(got.service_tcp_seconds()), Some((900, Origin::Default)));
    assert_eq!(&*got.scheduler.unwrap().unwrap().value, "rr");
    assert!(got.notes.is_empty());
}

#[rstest]
#[case("", ProxyMode::Iptables, Origin::Default)]
#[case("mode: \"\"", ProxyMode::Iptables, Origin::Default)]
#[case("mode: null", ProxyMode::Iptables, Origin::Default)]
#[case("mode: iptables", ProxyMode::Iptables, Origin::Declared)]
#[case("mode: nftables", ProxyMode::Nftables, Origin::Declared)]
#[case("Mode: ipvs", ProxyMode::Iptables, Origin::Default)]
#[case("mode: ipvs\nmode: nftables", ProxyMode::Nftables, Origin::Declared)]
#[case("mode: ipvs\n---\nmode: nftables", ProxyMode::Ipvs, Origin::Declared)]
fn modes(#[case] body: &str, #[case] mode: ProxyMode, #[case] origin: Origin) {
    let got = document(body).unwrap().mode.unwrap();
    assert_eq!((got.value, got.origin), (mode, origin));
}

/// Each of these ends kube-proxy at start (checked against the real types where decoding is the reason).
#[rstest]
#[case(
    "ipvs: {tcpTimeout: 0}",
    "ipvs.tcpTimeout",
    "a duration with a unit such as 15m0s"
)]
#[case("ipvs: {tcpTimeout: 900}", "ipvs.tcpTimeout", "900, expected a duration")]
#[case("ipvs: {tcpTimeout: null}", "ipvs.tcpTimeout", "not null")]
#[case(
    "ipvs: {tcpTimeout: \"\"}",
    "ipvs.tcpTimeout",
    "expected a number with a unit"
)]
#[case("ipvs: {tcpTimeout: \"900\"}", "ipvs.tcpTimeout", "900s")]
#[case("ipvs: {tcpTimeout: 15:00}", "ipvs.tcpTimeout", "unknown unit")]
#[case("ipvs: {tcpTimeout: 1d}", "ipvs.tcpTimeout", "unknown unit `d`")]
#[case("ipvs: []", "ipvs", "expected a mapping")]
#[case(
    "conntrack: {tcpEstablishedTimeout: 86400}",
    "conntrack.tcpEstablishedTimeout",
    "expected a duration"
)]
#[case("conntrack: {maxPerCore: 1.5}", "conntrack.maxPerCore", "whole number")]
#[case(
    "conntrack: {tcpEstablishedTimeout: -1s}",
    "conntrack.tcpEstablishedTimeout",
    "expected 0s or more"
)]
#[case(
    "mode: ipvs\nipvs: {udpTimeout: -1s}",
    "ipvs.udpTimeout",
    "expected 0s or more"
)]
#[case("mode: 5", "mode", "expected a text")]
#[case("mode: yes", "mode", "expected a text")]
#[case("bindAddressHardFail: \"true\"", "bindAddressHardFail", "true or false")]
#[case("featureGates: []", "featureGates", "mapping of names")]
#[case("featureGates: {A: 1}", "featureGates", "mapping of names")]
#[case("nodePortAddresses: [1]", "nodePortAddresses", "list of texts")]
#[case("ipvs:\n\ttcpTimeout: 0s", "YAML", "tab")]
#[case("ipvs: {", "YAML", "does not start")]
fn refused_documents(#[case] body: &str, #[case] key: &str, #[case] expected: &str) {
    let Err(Gap::Opaque(why)) = document(body) else {
        panic!("{body} was taken")
    };
    assert!(
        why.contains(key) && why.contains(expected) && why.contains(PLACE),
        "{why}"
    );
}

#[rstest]
#[case("mode: IPVS")]
#[case("mode: userspace")]
#[case("mode: kernelspace")]
#[case("mode: \" ipvs\"")]
fn modes_that_do_not_exist(#[case] body: &str) {
    let gap = document(body).unwrap().mode.unwrap_err().to_string();
    assert!(gap.contains("expected iptables, ipvs or nftables"), "{gap}");
}

#[rstest]
#[case("", "apiVersion and kind")]
#[case("null", "null")]
#[case("[]", "a list")]
#[case(
    "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha2\n",
    "only version"
)]
#[case(
    "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n",
    "expected"
)]
#[case("mode: ipvs\n", "apiVersion and kind")]
fn other_documents(#[case] text: &str, #[case] expected: &str) {
    let source = ConfigSource::Document {
        text,
        place: PLACE,
        argv: &[],
    };
    let gap = settings(&source, "linux", None).unwrap_err().to_string();
    assert!(
        gap.contains(expected) || text.is_empty() && gap.contains("null"),
        "{gap}"
    );
}

#[rstest]
#[case("ipvs: {TCPTimeout: 10m}", "did you mean ipvs.tcpTimeout?")]
#[case("ipvs: {foo: 1}", "ipvs.foo has no effect")]
#[case("conntrack: {max: 5}", "conntrack.max has no effect")]
#[case("udpIdleTimeout: 1s", "udpIdleTimeout has no effect")]
#[case("mode: ipvs\nmode: ipvs", "more than once")]
#[case("---\nx: 1", "several documents")]
fn dropped_with_a_note(#[case] body: &str, #[case] note: &str) {
    let got = document(body).unwrap();
    assert!(got.notes.iter().any(|n| n.contains(note)), "{:?}", got.notes);
}

#[rstest]
#[case("mode: ipvs\nipvs: {tcpTimeout: 30m}", Some((1800, Origin::Declared)), 0)]
#[case("mode: ipvs\nipvs: {tcpTimeout: 500ms}", Some((900, Origin::Default)), 1)]
#[case("mode: ipvs\nipvs: {tcpTimeout: 30000000s}", Some((900, Origin::Default)), 1)]
#[case("mode: ipvs\nipvs: {tcpTimeout: 10m, udpTimeout: 30000000s}", Some((900, Origin::Default)), 1)]
#[case("mode: ipvs\nipvs: {tcpTimeout: 2147483s}", Some((2_147_483, Origin::Declared)), 0)]
#[case("mode: ipvs\nipvs: {tcpTimeout: 3000000s}", None, 0)]
#[case("mode: ipvs\nipvs: {tcpTimeout: 1300000h}", None, 0)]
#[case("mode: ipvs\nipvs: {tcpTimeout: 30m}\nipvs: {scheduler: lc}", Some((900, Origin::Default)), 1)]
#[case("x: &a {tcpTimeout: 5m}\nmode: ipvs\nipvs:\n  <<: *a\n", Some((300, Origin::Declared)), 1)]
#[case("mode: ipvs\r\nipvs:\r\n  tcpTimeout: 5m\r\n", Some((300, Origin::Declared)), 0)]
fn ipvs_timeouts(#[case] body: &str, #[case] expected: Option<(i64, Origin)>, #[case] notes: usize) {
    let got = document(body).unwrap();
    assert_eq!(of(got.ipvs_tcp_seconds.unwrap()), expected);
    assert_eq!(got.notes.len(), notes, "{:?}", got.notes);
}

#[test]
fn negative_ipvs_timeouts_do_not_matter_in_other_modes() {
    let got = document("mode: nftables\nipvs: {tcpTimeout: -1s, scheduler: nonsense}").unwrap();
    assert_eq!((got.ipvs_tcp_seconds, got.scheduler), (None, None));
}

#[rstest]
#[case("conntrack: {tcpEstablishedTimeout: 0s}", Some((432_000, Origin::Default)))]
#[case("conntrack: {tcpEstablishedTimeout: 1h}", Some((3600, Origin::Declared)))]
#[case("conntrack: {tcpEstablishedTimeout: 900ms}", Some((0, Origin::Declared)))]
#[case("conntrack: {tcpEstablishedTimeout: 2500000h}", None)]
#[case("conntrack: null", Some((86_400, Origin::Default)))]
fn established(#[case] body: &str, #[case] expected: Option<(i64, Origin)>) {
    assert_eq!(of(document(body).unwrap().tcp_established_seconds), expected);
}

#[test]
fn the_smaller_of_both_tables_bounds_ipvs() {
    let got =
        document("mode: ipvs\nipvs: {tcpTimeout: 10h}\nconntrack: {tcpEstablishedTimeout: 1h}").unwrap();
    assert_eq!(of(got.service_tcp_seconds()), Some((3600, Origin::Declared)));
}

#[test]
fn fields_of_later_versions_are_dropped() {
    let body = "conntrack: {udpStreamTimeout: 300s}";
    let old = document_of(body, Some(Version::new(1, 28, 3))).unwrap();
    assert_eq!(of(old.udp_stream_seconds), Some((120, Origin::Default)));
    assert!(old.notes[0].contains("since 1.29"));
    let new = document_of(body, Some(Version::new(1, 29, 0))).unwrap();
    assert_eq!(of(new.udp_stream_seconds), Some((300, Origin::Declared)));
}

#[rstest]
#[case("mode: ipvs", 35, 1)]
#[case("mode: ipvs", 34, 0)]
#[case("mode: nftables", 30, 1)]
#[case("mode: nftables", 33, 0)]
fn notes_by_version(#[case] body: &str, #[case] minor: u32, #[case] notes: usize) {
    assert_eq!(
        document_of(body, Some(Version::new(1, minor, 0)))
            .unwrap()
            .notes
            .len(),
        notes
    );
}

#[test]
fn nftables_does_not_start_before_it_existed() {
    assert!(
        document_of("mode: nftables", Some(Version::new(1, 28, 0)))
            .unwrap()
            .mode
            .is_err()
    );
}

#[test]
fn windows_has_its_own_tables() {
    let text = format!("{HEADER}mode: \"\"\n");
    let source = ConfigSource::Document {
        text: &text,
        place: PLACE,
        argv: &[],
    };
    let got = settings(&source, "windows", None).unwrap();
    assert_eq!(got.mode.unwrap().value, ProxyMode::Kernelspace);
    assert!(matches!(
        got.tcp_established_seconds,
        Err(Gap::UnsupportedDataPlane(_))
    ));
}

#[test]
fn flags_beside_a_file_are_noted() {
    let argv = words(&[
        "/usr/local/bin/kube-proxy",
        "--config=/c",
        "--proxy-mode=ipvs",
        "--v=2",
        "--hostname-override",
        "a",
    ]);
    let source = ConfigSource::Document {
        text: HEADER,
        place: PLACE,
        argv: &argv,
    };
    let got = settings(&source, "linux", None).unwrap();
    assert_eq!(got.mode.unwrap().value, ProxyMode::Iptables);
    assert_eq!(got.notes.len(), 1);
    assert!(got.notes[0].contains("--proxy-mode"));
}

#[rstest]
#[case(&["kube-proxy", "--proxy-mode=ipvs", "--ipvs-tcp-timeout=10m"], 600)]
#[case(&["/usr/local/bin/kube-proxy", "--proxy-mode", "ipvs", "--ipvs-tcp-timeout", "10m"], 600)]
#[case(&["--proxy-mode=ipvs", "--ipvs_tcp_timeout=10m"], 600)]
#[case(&["/go-runner", "--log-file=/var/log/kube-proxy.log", "--also-stdout", "/usr/local/bin/kube-proxy", "--proxy-mode=ipvs", "--ipvs-tcp-timeout=10m"], 600)]
#[case(&["sh", "-c", "exec kube-proxy --kubeconfig=/var/lib/kube-proxy/kubeconfig --proxy-mode=ipvs --ipvs-tcp-timeout=10m 1>>/var/log/kube-proxy.log 2>&1"], 600)]
#[case(&["/bin/bash", "-ec", "set -o nounset\n# kube-proxy --proxy-mode=x\nif true; then\n  exec /usr/bin/kube-proxy \\\n --proxy-mode='ipvs' --ipvs-tcp-timeout \"10m\"\nfi\n"], 600)]
#[case(&["sh", "-c", "A=1 env B=2 nice -n 5 kube-proxy --proxy-mode=ipvs &"], -1)]
#[case(&["kube-proxy", "--proxy-mode=ipvs", "--ipvs-tcp-timeout=1m", "--ipvs-tcp-timeout=0s"], 900)]
#[case(&["kube-proxy", "--masquerade-all", "--proxy-mode=ipvs", "-v", "2"], 900)]
#[case(&["kube-proxy", "--hostname-override", "$(NODE_NAME)", "--proxy-mode=ipvs"], 900)]
#[case(&["--kubeconfig", "/var/lib/kube-proxy", "--proxy-mode=ipvs"], 900)]
fn flags_are_found(#[case] argv: &[&str], #[case] tcp: i64) {
    let got = flags(argv);
    if tcp < 0 {
        // `nice -n 5`: a wrapper whose options are not known is not read.
        assert!(got.is_err());
        return;
    }
    let got = got.unwrap();
    assert_eq!(got.mode.unwrap().value, ProxyMode::Ipvs);
    assert_eq!(got.ipvs_tcp_seconds.unwrap().unwrap().value, tcp);
}

#[rstest]
#[case(&[], "no kube-proxy")]
#[case(&["cilium-agent", "--config-dir=/x"], "no kube-proxy")]
#[case(&["kube-proxy", "--config=/var/lib/kube-proxy/config.conf"], "/var/lib/kube-proxy/config.conf")]
#[case(&["kube-proxy", "--config", "$(FILE)"], "only the node")]
#[case(&["kube-proxy", "--proxy-mode=$(MODE)"], "only the node")]
#[case(&["kube-proxy", "$(ARGS)"], "only the node")]
#[case(&["kube-proxy", "--proxy-mode"], "no value")]
#[case(&["kube-proxy", "--ipvs-tcp-timeout=900"], "has no unit")]
#[case(&["kube-proxy", "--proxy-mode=ipvs", "--ipvs-tcp-timeout=-1s"], "expected 0s or more")]
#[case(&["sh", "-c", "exec kube-proxy $ARGS"], "only the node")]
#[case(&["sh", "-c", "exec kube-proxy --proxy-mode=\"${MODE:-ipvs}\""], "only the node")]
#[case(&["sh", "-c", "exec kube-proxy --proxy-mode='ipvs"], "quote stays open")]
#[case(&["sh", "-c", "kube-proxy --version; kube-proxy --proxy-mode=ipvs"], "more than once")]
#[case(&["sh", "-c", "/start.sh"], "no kube-proxy")]
#[case(&["sh", "-c"], "no kube-proxy")]
fn what_cannot_be_read_is_not_default(#[case] argv: &[&str], #[case] expected: &str) {
    let gap = flags(argv).unwrap_err().to_string();
    assert!(gap.contains(expected), "{gap}");
}

#[rstest]
#[case(&["server"], ProxyMode::Iptables, 432_000, 60)]
#[case(&["server", "--kube-proxy-arg", "proxy-mode=ipvs"], ProxyMode::Ipvs, 432_000, 60)]
#[case(&["agent", "--kube-proxy-arg=--conntrack-tcp-timeout-established=1h"], ProxyMode::Iptables, 3600, 60)]
#[case(&["agent", "--kube-proxy-arg=conntrack-tcp-timeout-close-wait=1m", "--kube-proxy-arg", "conntrack-tcp-timeout-close-wait=2m"], ProxyMode::Iptables, 432_000, 120)]
#[case(&["agent", "--kube-proxy-arg=metrics-bind-address=0.0.0.0", "--disable-kube-proxy=false"], ProxyMode::Iptables, 432_000, 60)]
fn k3s_lets_the_kernel_decide(
    #[case] args: &[&str],
    #[case] mode: ProxyMode,
    #[case] tcp: i64,
    #[case] wait: i64,
) {
    let got = k3s(args).unwrap();
    assert_eq!(got.mode.unwrap().value, mode);
    assert_eq!(got.tcp_established_seconds.unwrap().value, tcp);
    assert_eq!(got.tcp_close_wait_seconds.unwrap().value, wait);
}

#[rstest]
#[case(&["server", "--disable-kube-proxy"])]
#[case(&["server", "--kube-proxy-arg", "config=/etc/kp.yaml"])]
#[case(&["server", "--kube-proxy-arg"])]
#[case(&["server", "--kube-proxy-arg=conntrack-tcp-timeout-established=60"])]
fn k3s_gaps(#[case] args: &[&str]) {
    assert!(matches!(k3s(args), Err(Gap::Opaque(_))));
}

#[rstest]
#[case(r#"["server","--a"]"#, true)]
#[case("[]", true)]
#[case("", false)]
#[case("{}", false)]
#[case("[1]", false)]
#[case("server", false)]
fn annotations(#[case] text: &str, #[case] reads: bool) {
    assert_eq!(node_args(text).is_ok(), reads);
}

#[rstest]
#[case(r#"{"kubeproxy.config.k8s.io":{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration","mode":"ipvs","ipvs":{"scheduler":"","tcpTimeout":"10m0s","tcpFinTimeout":"0s","udpTimeout":"0s"},"conntrack":{"tcpEstablishedTimeout":"24h0m0s","tcpCloseWaitTimeout":"1h0m0s","udpTimeout":"0s","udpStreamTimeout":"0s"},"future":1}}"#)]
#[case(r#"{"kubeproxy.config.k8s.io":{"Mode":"ipvs","IPVS":{"Scheduler":"","TCPTimeout":"10m0s","TCPFinTimeout":"0s","UDPTimeout":"0s"},"Linux":{"Conntrack":{"TCPEstablishedTimeout":"24h0m0s","TCPCloseWaitTimeout":"1h0m0s","UDPTimeout":"0s","UDPStreamTimeout":"0s"}}}}"#)]
#[case(r#"{"kubeproxy.config.k8s.io":{"Mode":"ipvs","IPVS":{"Scheduler":"","TCPTimeout":"10m0s","TCPFinTimeout":"0s","UDPTimeout":"0s"},"Conntrack":{"TCPEstablishedTimeout":"24h0m0s","TCPCloseWaitTimeout":"1h0m0s"}}}"#)]
fn both_shapes_of_configz(#[case] body: &str) {
    let got = configz(body).unwrap();
    assert!(got.is_measured());
    assert_eq!(of(got.ipvs_tcp_seconds.unwrap()), Some((600, Origin::Measured)));
    assert_eq!(of(got.ipvs_udp_seconds.unwrap()), Some((300, Origin::Default)));
    assert_eq!(of(got.tcp_established_seconds), Some((86_400, Origin::Measured)));
    assert_eq!(of(got.udp_stream_seconds), Some((120, Origin::Default)));
}

#[test]
fn a_nil_pointer_in_configz_is_the_kernels_value() {
    let got = configz(
        r#"{"kubeproxy.config.k8s.io":{"Mode":"iptables","Linux":{"Conntrack":{"TCPEstablishedTimeout":null}}}}"#,
    );
    let got = got.unwrap();
    assert_eq!(of(got.tcp_established_seconds), Some((432_000, Origin::Default)));
    assert!(got.tcp_close_wait_seconds.is_err(), "absent is not default here");
}

#[rstest]
#[case("")]
#[case("{}")]
#[case("404 page not found")]
#[case(r#"{"kubeletconfig":{}}"#)]
#[case(r#"{"kubeproxy.config.k8s.io":{}}"#)]
#[case(r#"{"kubeproxy.config.k8s.io":[]}"#)]
#[case(r#"{"kubeproxy.config.k8s.io":{"Mode":"ipvs","IPVS":{"TCPTimeout":900000000000}}}"#)]
fn configz_gaps(#[case] body: &str) {
    assert!(matches!(configz(body), Err(Gap::Opaque(_))));
}

proptest! {
    #[test]
    fn no_document_panics(body in "((mode|ipvs|conntrack|tcpTimeout|tcpEstablishedTimeout|kind): ?(ipvs|0s?|-1h|null|\\{|\\[|\\PC{0,4})?\n? {0,3}){0,8}") {
        let _ = document(&body);
    }

    #[test]
    fn no_command_panics(argv in proptest::collection::vec("(kube-proxy|sh|-c|--proxy-mode=?|--config|ipvs|[-$(){}'\"\\\\`;&|<>a ]{0,8}|exec kube-proxy \\PC{0,12})", 0..6)) {
        let _ = settings(&ConfigSource::Flags { argv: &argv, place: "p" }, "linux", None);
        let _ = settings(&ConfigSource::K3s { args: &argv, place: "p" }, "linux", None);
    }

    #[test]
    fn a_written_timeout_is_what_is_reported(seconds in 1_i64..2_147_483) {
        let got = document(&format!("mode: ipvs\nipvs: {{tcpTimeout: {seconds}s}}")).unwrap();
        prop_assert_eq!(got.ipvs_tcp_seconds.unwrap().unwrap().value, seconds);
    }
}

#[rstest]
#[case::plain(&["/bin/sh", "-c", "exec kube-proxy --proxy-mode=ipvs"], true)]
#[case::in_a_cluster(&["bash", "-ec", "exec kube-proxy --proxy-mode=ipvs"], true)]
#[case::behind_a_long_option(&["bash", "--norc", "-c", "exec kube-proxy --proxy-mode=ipvs"], true)]
#[case::no_script(&["bash", "--norc", "exec kube-proxy --proxy-mode=ipvs"], false)]
fn the_script_of_a_shell(#[case] argv: &[&str], #[case] expected: bool) {
    let mode = flags(argv).and_then(|got| got.mode).map(|mode| mode.value);
    assert_eq!(mode == Ok(ProxyMode::Ipvs), expected, "{mode:?}");
}

/// A file that names no scheduler takes the default; what runs and shows none is not known.
#[rstest]
#[case::file(document("mode: ipvs\n"), Some("rr"))]
#[case::empty(document("mode: ipvs\nipvs:\n  scheduler: ''\n"), Some("rr"))]
#[case::declared(document("mode: ipvs\nipvs:\n  scheduler: sh\n"), Some("sh"))]
#[case::running(configz(r#"{"kubeproxyconfig": {"mode": "ipvs"}}"#), None)]
fn the_scheduler(#[case] got: Known<Settings>, #[case] expected: Option<&str>) {
    let scheduler = got.ok().and_then(|got| got.scheduler);
    let value = scheduler.and_then(Result::ok).map(|val| val.value);
    assert_eq!(value.as_deref(), expected);
}
