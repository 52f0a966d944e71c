//! A real Prometheus, by every way that leads to it.

use std::net::{Ipv4Addr, SocketAddr};

use evenkeel_e2e::monitoring::{FakePrometheus, Prometheus, Reply, Scraping, free_port};
use evenkeel_e2e::under_test::{evenkeel, evenkeel_json};
use serde_json::{Value, json};

use super::bed::{Bed, ENTRIES, LIMIT, NODES, PRESSURE, WITHIN, is_critical, message};
use crate::certificate::certificate;

/// The password `secret` as bcrypt stores it.
const SECRET: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// Pages of `node_exporter`, one for each node by its path.
async fn exporter() -> FakePrometheus {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    FakePrometheus::start(at, |asked| {
        let place = NODES.iter().position(|one| asked.path == format!("/{}", one.0));
        let entries = ENTRIES[place.unwrap()];
        Reply::body(format!(
            "# TYPE node_nf_conntrack_entries gauge\nnode_nf_conntrack_entries {entries}\n\
             # TYPE node_nf_conntrack_entries_limit gauge\nnode_nf_conntrack_entries_limit {LIMIT}\n"
        ))
    })
    .await
    .unwrap()
}

/// One job for each node, with the label that the Prometheus operator writes.
fn jobs(exporter: &FakePrometheus) -> Value {
    let job = |(name, _): (&str, &str)| {
        json!({
            "job_name": name,
            "metrics_path": format!("/{name}"),
            "static_configs": [{"targets": [exporter.address().to_string()], "labels": {"node": name}}],
        })
    };
    json!(NODES.map(job))
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_password_and_prefix_and_with_each_of_them_wrong() {
    let bed = Bed::start().await;
    let exporter = exporter().await;
    let at = bed.place();
    bed.service("prometheus", &[at]).await;
    let (authority, (certificate_pem, key)) = certificate("prometheus.monitoring.svc");
    let (stranger, _) = certificate("prometheus.monitoring.svc");
    let scraping = Scraping {
        web: Some(json!({
            "tls_server_config": {
                "cert_file": bed.file("web.crt", &certificate_pem),
                "key_file": bed.file("web.key", &key),
            },
            "basic_auth_users": {"evenkeel": SECRET},
        })),
        prefix: "/prom".to_owned(),
        ..Scraping::of(at, 5, jobs(&exporter))
    };
    let mut prometheus = Prometheus::scraping(&bed.programs, "prometheus", bed.folder.path(), &scraping)
        .await
        .unwrap();
    let ca = |pem: &str, name: &str| format!("--prometheus-ca-file={}", bed.file(name, pem));
    let password = |text: &str, name: &str| format!("--prometheus-basic-auth-file={}", bed.file(name, text));
    let prefix = "--prometheus-path-prefix=/prom".to_owned();
    let right = [
        ca(&authority, "ca.crt"),
        password("evenkeel:secret\n", "right"),
        prefix.clone(),
    ];
    let asking = bed.operator("right", "prometheus", &right).await;
    asking.until_critical().await;

    let stranger = [
        ca(&stranger, "other.crt"),
        password("evenkeel:secret", "right"),
        prefix.clone(),
    ];
    let wrong = [
        (
            "stranger",
            stranger,
            "cannot be reached: invalid peer certificate",
        ),
        (
            "password",
            [
                ca(&authority, "ca.crt"),
                password("evenkeel:wrong", "wrong"),
                prefix.clone(),
            ],
            "refuses to answer",
        ),
        (
            "path",
            [
                ca(&authority, "ca.crt"),
                password("evenkeel:secret", "right"),
                "--prometheus-path-prefix=/".to_owned(),
            ],
            "cannot be reached: refused with 404",
        ),
    ];
    for (name, arguments, reason) in wrong {
        let asking = bed.operator(name, "prometheus", &arguments).await;
        let took = asking.until_unknown(PRESSURE, reason).await;
        eprintln!("{name}: Unknown after {took:.1?}");
        asking.operator.end().unwrap();
    }

    prometheus.kill();
    let took = asking.until_unknown(PRESSURE, "cannot be reached").await;
    eprintln!("killed: Unknown after {took:.1?}");
    prometheus.restart().await.unwrap();
    let took = asking.until_critical().await;
    eprintln!("restarted: judged after {took:.1?}");
    asking.operator.end().unwrap();
}

/// Makes what the API server's proxy of the Service goes by: Endpoints whose addresses are those of Pods
/// (`ResourceLocation` of k8s.io/kubernetes, `pkg/registry/core/service/storage/storage.go`).
async fn behind_the_proxy(bed: &Bed, at: SocketAddr) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "prometheus-0", "namespace": "monitoring"},
        "spec": {"nodeName": "n1", "containers": [{"name": "prometheus", "image": "prometheus:2"}]},
        "status": {"phase": "Running", "podIP": at.ip().to_string(), "podIPs": [{"ip": at.ip().to_string()}]},
    });
    let target = json!({"kind": "Pod", "namespace": "monitoring", "name": "prometheus-0"});
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "prometheus", "namespace": "monitoring"},
        "subsets": [{"addresses": [{"ip": at.ip().to_string(), "targetRef": target}],
            "ports": [{"name": "web", "port": at.port(), "protocol": "TCP"}]}],
    });
    for object in [pod, endpoints] {
        bed.plane.apply_yaml(&object.to_string()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_reach_it_by_the_proxy_with_their_own_rights_and_take_it_along() {
    let bed = Bed::start().await;
    let exporter = exporter().await;
    let at = bed.place();
    bed.service("prometheus", &[at]).await;
    behind_the_proxy(&bed, at).await;
    let scraping = Scraping::of(at, 1, jobs(&exporter));
    let _prometheus = Prometheus::scraping(&bed.programs, "prometheus", bed.folder.path(), &scraping)
        .await
        .unwrap();
    let rights = |proxy: bool| {
        let read = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]});
        let get = json!({"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]});
        if proxy { vec![read, get] } else { vec![read] }
    };
    let namespace = bed.plane.namespace().await.unwrap();
    let may = bed.plane.account(&namespace, "may", &rights(true)).await.unwrap();
    let may_not = bed
        .plane
        .account(&namespace, "may-not", &rights(false))
        .await
        .unwrap();
    let audit = |kubeconfig: &std::path::Path| {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let prometheus = "--prometheus=monitoring/prometheus:web";
        let check = format!("--check={PRESSURE}");
        let (answer, _) = evenkeel_json(&["audit", &kubeconfig, prometheus, &check, "-o=json"]).unwrap();
        answer["findings"].as_array().unwrap().clone()
    };
    // It scrapes every second, and has not begun at once.
    let start = std::time::Instant::now();
    let found = loop {
        let found = audit(may.path());
        // Of a node that was not scraped yet it is Unknown.
        if matches!(&found[..], [one] if is_critical(one)) {
            break found;
        }
        assert!(start.elapsed() < WITHIN, "{found:#?}");
    };
    let refused = audit(may_not.path());
    assert!(!refused.is_empty(), "a question that is refused leaves a gap");
    assert!(
        refused
            .iter()
            .all(|one| one["verdict"] == "Unknown" && message(one).contains("refuses to answer")),
        "{refused:#?}"
    );

    let folder = bed.folder.path().join("taken");
    let kubeconfig = format!("--kubeconfig={}", may.path().display());
    let output = format!("--output={}", folder.display());
    let prometheus = "--prometheus=monitoring/prometheus:web";
    let said = evenkeel(&["collect", &kubeconfig, prometheus, &output]).unwrap();
    assert!(said.out.contains("answers of a Prometheus"), "{said:?}");
    let from = format!("--from={}", folder.display());
    let check = format!("--check={PRESSURE}");
    let (answer, code) = evenkeel_json(&["audit", &from, &check, "-o=json"]).unwrap();
    assert_eq!(code, 1, "{answer:#}");
    assert_eq!(answer["findings"][0]["id"], found[0]["id"]);
    assert_eq!(answer["findings"][0]["message"], found[0]["message"]);
}
