use proptest::prelude::*;
use rstest::rstest;

use super::*;

const AWS_ID: &str = "aws:///eu-west-1a/i-0abc";
const ALIBABA_ID: &str = "cn-hangzhou.i-bp1abc";
const IDLE: &str = "service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout";
const LISTENER: &str = "service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-443";
const TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
const ESTABLISHED: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-established-timeout";
const ALI_IDLE: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-idle-timeout";
const ALI_PORTS: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-protocol-port";
const CERT: &str = "service.beta.kubernetes.io/aws-load-balancer-ssl-cert";
const SSL_PORTS: &str = "service.beta.kubernetes.io/aws-load-balancer-ssl-ports";
const TENCENT_ID: &str = "qcloud:///800002/ins-1";
const TENCENT_PORTS: &str = "service.cloud.tencent.com/specify-protocol";
const NLB: &str = "service.k8s.aws/nlb";
const CLB_HOST: &str = "internal-a1-12.eu-west-1.elb.amazonaws.com";
const NLB_HOST: &str = "k8s-a-b.elb.eu-west-1.amazonaws.com";

fn ask(class: &str, notes: &[(&str, &str)], id: &str, host: &str, udp: bool) -> Known<Val<i64>> {
    let annotation = |key: &str| {
        notes
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| (*value).to_owned())
    };
    let (ids, hosts) = ([id], [host]);
    let keys: Vec<&str> = notes.iter().map(|(name, _)| *name).collect();
    let service = LbService {
        subject: "Service shop/web",
        class: Some(class).filter(|class| !class.is_empty()),
        keys: &keys,
        annotation: &annotation,
        provider_ids: if id.is_empty() { &[] } else { &ids },
        hostnames: if host.is_empty() { &[] } else { &hosts },
        auto_mode: false,
    };
    let port = LbPort {
        number: 443,
        name: "https",
        udp,
    };
    idle(&service, port)
}

#[rstest]
#[case(NLB, &[], "", "", 350, Origin::Default)]
#[case(NLB, &[(LISTENER, "tcp.idle_timeout.seconds=400")], "", "", 400, Origin::Declared)]
#[case(NLB, &[(LISTENER, "a=b, tcp.idle_timeout.seconds = 6000")], "", "", 6000, Origin::Declared)]
#[case(NLB, &[(LISTENER, "a=b")], "", "", 350, Origin::Default)]
#[case(NLB, &[(LISTENER, "tcp.idle_timeout.seconds=400"), ("service.beta.kubernetes.io/aws-load-balancer-ssl-cert", "arn")], "", "", 350, Origin::Default)]
#[case(NLB, &[(LISTENER, "tcp.idle_timeout.seconds=400"), (CERT, "arn"), (SSL_PORTS, "https")], "", "", 350, Origin::Default)]
#[case(NLB, &[(LISTENER, "tcp.idle_timeout.seconds=400"), (CERT, "arn"), (SSL_PORTS, "8443, mail")], "", "", 400, Origin::Declared)]
#[case("", &[("service.beta.kubernetes.io/aws-load-balancer-proxy-protocol", "*")], "", "", 60, Origin::Assumed)]
#[case("", &[("service.beta.kubernetes.io/azure-dns-label-name", "x")], "", "", 240, Origin::Default)]
#[case("", &[("service.beta.kubernetes.io/alicloud-loadbalancer-id", "x")], "", "", 900, Origin::Assumed)]
#[case("", &[], "", NLB_HOST, 350, Origin::Default)]
#[case("", &[], AWS_ID, CLB_HOST, 60, Origin::Default)]
#[case("", &[(IDLE, "3600")], AWS_ID, CLB_HOST, 3600, Origin::Declared)]
#[case("", &[], AWS_ID, "", 60, Origin::Assumed)]
#[case("", &[(TYPE, "external")], AWS_ID, "", 350, Origin::Default)]
#[case("", &[(TYPE, "nlb"), (LISTENER, "tcp.idle_timeout.seconds=400")], AWS_ID, "", 350, Origin::Default)]
#[case("", &[], "azure:///subscriptions/x", "", 240, Origin::Default)]
#[case("", &[(AZURE_IDLE, "30")], "azure:///subscriptions/x", "", 1800, Origin::Declared)]
#[case("", &[("networking.gke.io/load-balancer-type", "Internal")], "gce://p/z/n", "", 600, Origin::Default)]
#[case("", &[], ALIBABA_ID, "", 900, Origin::Assumed)]
#[case("", &[(ESTABLISHED, "500")], ALIBABA_ID, "", 500, Origin::Declared)]
#[case("", &[(ALI_PORTS, "https:443,http:80")], ALIBABA_ID, "", 15, Origin::Assumed)]
#[case("alibabacloud.com/nlb", &[(ALI_IDLE, "800")], ALIBABA_ID, "", 800, Origin::Declared)]
#[case("", &[(TYPE, "nlb")], "", "", 350, Origin::Default)]
#[case("", &[(TYPE, "external"), (LISTENER, "tcp.idle_timeout.seconds=1800")], "", "", 1800, Origin::Declared)]
#[case("", &[("service.beta.kubernetes.io/aws-load-balancer-internal", "true")], "", "", 60, Origin::Assumed)]
#[case("", &[(AZURE_IDLE, "15")], "", "", 900, Origin::Declared)]
#[case("", &[("service.beta.kubernetes.io/azure-load-balancer-internal", "true")], "", "", 240, Origin::Default)]
#[case("", &[("cloud.google.com/load-balancer-type", "Internal")], "", "", 600, Origin::Default)]
#[case("", &[(ESTABLISHED, "60")], "", "", 60, Origin::Declared)]
#[case("", &[("kubernetes.io/elb.class", "union")], "", "", 300, Origin::Default)]
#[case("", &[(HUAWEI_IDLE, "10")], "", "", 10, Origin::Declared)]
#[case("", &[], TENCENT_ID, "", 900, Origin::Default)]
#[case("", &[("service.kubernetes.io/tke-existed-lbid", "lb-1")], TENCENT_ID, "", 900, Origin::Assumed)]
#[case("", &[("service.cloud.tencent.com/tke-service-config", "web")], "", "", 900, Origin::Assumed)]
#[case("", &[("service.kubernetes.io/qcloud-loadbalancer-internal-subnetid", "subnet-1")], "", "", 900, Origin::Default)]
#[case("", &[(TENCENT_PORTS, r#"{"80": {"protocol": ["HTTP"]}, "443": {"protocol": ["TCP"]}}"#)], "", "", 900, Origin::Default)]
#[case("", &[(HUAWEI_IDLE, "0"), ("kubernetes.io/elb.protocol-port", "https:443")], "", "", 0, Origin::Declared)]
fn tcp(
    #[case] class: &str,
    #[case] notes: &[(&str, &str)],
    #[case] id: &str,
    #[case] host: &str,
    #[case] seconds: i64,
    #[case] origin: Origin,
) {
    let got = ask(class, notes, id, host, false).unwrap();
    assert_eq!((got.value, got.origin), (seconds, origin), "{}", got.source);
}

const DATA: &str = "loadbalancer.openstack.org/timeout-client-data";
const MEMBER: &str = "loadbalancer.openstack.org/timeout-member-data";
const OCI_IDLE: &str = "service.beta.kubernetes.io/oci-load-balancer-connection-idle-timeout";
const OCI_PROTOCOL: &str = "service.beta.kubernetes.io/oci-load-balancer-backend-protocol";
const DO_PROTOCOL: &str = "service.beta.kubernetes.io/do-loadbalancer-protocol";
const DO_HTTP_PORTS: &str = "service.beta.kubernetes.io/do-loadbalancer-http-ports";
const DO_TLS_PORTS: &str = "service.beta.kubernetes.io/do-loadbalancer-tls-ports";
const DO_PASSES_TLS: &str = "service.beta.kubernetes.io/do-loadbalancer-tls-passthrough";
const DO_IDLE: &str = "service.beta.kubernetes.io/do-loadbalancer-http-idle-timeout-seconds";
const REQUEST: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-request-timeout";
const STACK: &str = "openstack:///5b1f";

/// Idle on both sides, and the time for an answer, of listeners that end connections.
#[rstest]
#[case::clb(&[], AWS_ID, Forwards::Bytes, (60, 60, None))]
#[case::clb_http(&[("service.beta.kubernetes.io/aws-load-balancer-backend-protocol", "http")], AWS_ID, Forwards::Requests, (60, 60, None))]
#[case::nlb(&[(TYPE, "nlb")], AWS_ID, Forwards::Packets, (350, 350, None))]
#[case::azure(&[], "azure://x", Forwards::Packets, (240, 240, None))]
#[case::alibaba_tcp(&[], ALIBABA_ID, Forwards::Packets, (900, 900, None))]
#[case::alibaba_http(&[(ALI_PORTS, "http:443")], ALIBABA_ID, Forwards::Requests, (15, 15, Some(60)))]
#[case::alibaba_http_declared(&[(ALI_PORTS, "http:443"), (REQUEST, "120")], ALIBABA_ID, Forwards::Requests, (15, 15, Some(120)))]
#[case::octavia(&[(DATA, "600000"), (MEMBER, "90500")], STACK, Forwards::Bytes, (600, 90, None))]
#[case::octavia_default(&[(DATA, "0")], STACK, Forwards::Bytes, (50, 50, None))]
#[case::octavia_by_annotation(&[("loadbalancer.openstack.org/keep-floatingip", "true")], "", Forwards::Bytes, (50, 50, None))]
#[case::oci(&[], "ocid1.instance.oc1.x", Forwards::Bytes, (300, 300, None))]
#[case::oci_http(&[(OCI_PROTOCOL, "HTTP")], "ocid1.instance.oc1.x", Forwards::Requests, (60, 300, None))]
#[case::oci_declared(&[(OCI_IDLE, "1200")], "oci://x", Forwards::Bytes, (1200, 1200, None))]
#[case::digitalocean(&[(DO_PROTOCOL, "http"), (DO_IDLE, "90")], "digitalocean://1", Forwards::Requests, (90, 90, None))]
#[case::digitalocean_by_port(&[(DO_HTTP_PORTS, "80, 443")], "digitalocean://1", Forwards::Requests, (60, 60, None))]
#[case::digitalocean_tls(&[(DO_TLS_PORTS, "443")], "digitalocean://1", Forwards::Requests, (60, 60, None))]
#[case::huawei_http(&[(HUAWEI_IDLE, "30"), ("kubernetes.io/elb.protocol-port", "http:443")], "", Forwards::Requests, (30, 30, None))]
#[case::huawei_tcp(&[(HUAWEI_IDLE, "30")], "", Forwards::Packets, (30, 30, None))]
#[case::oci_network(&[("oci.oraclecloud.com/load-balancer-type", "nlb")], "ocid1.instance.oc1.x", Forwards::Packets, (360, 360, None))]
#[case::k3s_hides_no_cloud(&[(AZURE_IDLE, "30")], "k3s://n1", Forwards::Packets, (1800, 1800, None))]
fn what_a_listener_forwards(
    #[case] notes: &[(&str, &str)],
    #[case] id: &str,
    #[case] forwards: Forwards,
    #[case] times: (i64, i64, Option<i64>),
) {
    let annotation = |key: &str| {
        let found = notes.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| (*value).to_owned())
    };
    let keys: Vec<&str> = notes.iter().map(|(name, _)| *name).collect();
    let ids = [id];
    let service = LbService {
        subject: "Service shop/web",
        class: None,
        keys: &keys,
        annotation: &annotation,
        provider_ids: if id.is_empty() { &[] } else { &ids },
        hostnames: &[],
        auto_mode: false,
    };
    let port = LbPort {
        number: 443,
        name: "https",
        udp: false,
    };
    let found = listener(&service, port).unwrap();
    let request = found.request.map(|request| request.value);
    assert_eq!(
        (
            found.forwards,
            (found.idle.value, found.upstream_idle.value, request)
        ),
        (forwards, times)
    );
}

#[rstest]
#[case::digitalocean_tcp("digitalocean://1", &[])]
#[case::digitalocean_other_port("digitalocean://1", &[(DO_HTTP_PORTS, "80")])]
#[case::digitalocean_passes_tls("digitalocean://1", &[(DO_TLS_PORTS, "443"), (DO_PASSES_TLS, "true")])]
#[case::digitalocean_passes_all_tls("digitalocean://1", &[(DO_PROTOCOL, "https"), (DO_PASSES_TLS, "true")])]
#[case::tencent_https(TENCENT_ID, &[(TENCENT_PORTS, r#"{"443": {"protocol": ["HTTPS"], "tls": "x"}}"#)])]
#[case::tencent_no_json(TENCENT_ID, &[(TENCENT_PORTS, "443:HTTPS")])]
#[case::gcp_external("gce://p/z/n", &[])]
#[case::unknown_distribution("k3s://n1", &[])]
fn a_listener_that_nobody_documents(#[case] id: &str, #[case] notes: &[(&str, &str)]) {
    assert!(ask("", notes, id, "", false).is_err());
}

#[rstest]
#[case(NLB, "", "", Some((120, Origin::Assumed)))]
#[case("", AWS_ID, CLB_HOST, None)]
#[case("", "azure://x", "", Some((240, Origin::Assumed)))]
#[case("", ALIBABA_ID, "", None)]
#[case("alibabacloud.com/nlb", "", "", Some((20, Origin::Default)))]
#[case("", TENCENT_ID, "", Some((300, Origin::Default)))]
fn udp(#[case] class: &str, #[case] id: &str, #[case] host: &str, #[case] expected: Option<(i64, Origin)>) {
    assert_eq!(
        ask(class, &[], id, host, true)
            .ok()
            .map(|val| (val.value, val.origin)),
        expected
    );
}

#[rstest]
#[case(NLB, LISTENER, "tcp.idle_timeout.seconds=59", "", "from 60 to 6000")]
#[case(NLB, LISTENER, "tcp.idle_timeout.seconds=", "", "`")]
#[case("", IDLE, "4001", AWS_ID, "from 1 to 4000")]
#[case("", IDLE, "1h", AWS_ID, "whole number of seconds")]
#[case("", IDLE, "-1", AWS_ID, "from 1 to 4000")]
#[case("", IDLE, "", AWS_ID, "whole number")]
#[case("", IDLE, "99999999999999999999", AWS_ID, "whole number")]
#[case("", AZURE_IDLE, "240", "azure://x", "minutes from 4 to 100")]
#[case("", AZURE_IDLE, "4.5", "azure://x", "whole number of minutes")]
#[case("", ESTABLISHED, "901", ALIBABA_ID, "from 10 to 900")]
#[case("", HUAWEI_IDLE, "9", "", "from 10 to 4000")]
#[case("", TYPE, "alb", AWS_ID, "expected nlb")]
fn bad_annotations(
    #[case] class: &str,
    #[case] key: &str,
    #[case] value: &str,
    #[case] id: &str,
    #[case] expected: &str,
) {
    let gap = ask(class, &[(key, value)], id, "", false)
        .unwrap_err()
        .to_string();
    assert!(
        gap.contains(expected) && gap.contains(key) && gap.contains("Service shop/web"),
        "{gap}"
    );
}

#[test]
fn the_classic_annotation_on_an_nlb_is_noted() {
    let got = ask(NLB, &[(IDLE, "3600")], AWS_ID, "", false).unwrap();
    assert_eq!(got.value, 350);
    assert!(got.source.contains("has no effect on an NLB"), "{}", got.source);
}

#[rstest]
#[case("metallb.io/x", "", "")]
#[case("", "", "")]
#[case("", "kind://docker/a/b", "")]
#[case("", "gce://p/z/n", "")]
#[case("", "10.0.i-x", "")]
#[case("", "", "lb.example.com")]
fn unknown_providers(#[case] class: &str, #[case] id: &str, #[case] host: &str) {
    assert!(matches!(ask(class, &[], id, host, false), Err(Gap::Opaque(_))));
}

#[test]
fn auto_mode_makes_a_network_load_balancer() {
    let service = LbService {
        subject: "Service a/b",
        class: None,
        keys: &[],
        annotation: &|_| None,
        provider_ids: &[AWS_ID],
        hostnames: &[],
        auto_mode: true,
    };
    let port = LbPort {
        number: 1,
        name: "",
        udp: false,
    };
    assert_eq!(idle(&service, port).unwrap().value, 350);
}

#[test]
fn several_clouds_are_no_cloud() {
    let service = LbService {
        subject: "Service a/b",
        class: None,
        keys: &[],
        annotation: &|_| None,
        provider_ids: &[AWS_ID, "azure://x"],
        hostnames: &[],
        auto_mode: false,
    };
    let port = LbPort {
        number: 1,
        name: "",
        udp: false,
    };
    assert!(idle(&service, port).is_err());
}

proptest! {
    #[test]
    fn never_panics(class in "\\PC{0,5}", value in "\\PC{0,12}", id in "\\PC{0,12}", host in "\\PC{0,12}", udp: bool) {
        let _ = ask(&class, &[(IDLE, &value), (LISTENER, &value), (AZURE_IDLE, &value)], &id, &host, udp);
        let _ = ask("", &[(IDLE, &value), (ALI_PORTS, &value)], AWS_ID, &host, udp);
    }
}
