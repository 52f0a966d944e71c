//! The founding incident, from configuration alone: IPVS forgets after 900 s what a client leaves silent for 1800 s.

use std::sync::Arc;

use evenkeel_core::findings::{Finding, FindingList};
use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::judge::Severity;
use evenkeel_core::know::{Now, Source};
use evenkeel_core::policy::{
    Beat, Client, Connection, Door, Policy, Protocol, Remediation, Server, ServicePick,
};
use evenkeel_core::{Core, Input};
use serde_json::json;

const NOW: Now = Now {
    mono: evenkeel_core::know::Mono(0),
    wall: evenkeel_core::know::Wall(1_795_266_000),
};

fn client(keepalive: Option<Beat>) -> Client {
    Client {
        tcp_keepalive: keepalive,
        ..Client::undeclared("worker".into(), Door::Cluster)
    }
}

fn policy(keepalive: Option<Beat>) -> Policy {
    Policy {
        namespace: "shop".into(),
        name: "reports".into(),
        services: ServicePick::Names(vec!["reports".into()]),
        balance: None,
        connections: vec![Connection {
            name: "jobs".into(),
            ports: Vec::new(),
            protocol: Protocol::Http1,
            longest_silence_seconds: Some(1800),
            longest_request_seconds: None,
            clients: vec![client(keepalive)],
            server: Server {
                tcp_keepalive: Some(Beat::Disabled),
                ..Server::default()
            },
            hops: Vec::new(),
        }],
        remediation: Remediation::default(),
        exceptions: Vec::new(),
        unknown_fields: Vec::new(),
    }
}

/// The cluster of the incident, as kubeadm would have set it up.
fn cluster(core: &mut Core, config: &str) {
    let mut put = |source, object: serde_json::Value| {
        core.handle(NOW, Input::Begin(source));
        core.handle(NOW, Input::object(source, object.to_string().as_bytes()));
        core.handle(NOW, Input::Synced(source));
    };
    put(
        Source::Services,
        json!({"metadata": {"name": "reports", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.20", "selector": {"app": "reports"}, "ports": [{"port": 80, "name": "http"}]}}),
    );
    put(
        Source::Nodes,
        json!({"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}},
            "status": {"nodeInfo": {"operatingSystem": "linux", "kernelVersion": "5.15.0-91", "kubeletVersion": "v1.31.2"},
                "conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    put(
        Source::DaemonSets,
        json!({"metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "spec": {"selector": {"matchLabels": {"k8s-app": "kube-proxy"}},
                "template": {"metadata": {"labels": {"k8s-app": "kube-proxy"}}, "spec": {"hostNetwork": true,
                    "nodeSelector": {"kubernetes.io/os": "linux"},
                    "containers": [{"name": "kube-proxy", "image": "registry.k8s.io/kube-proxy:v1.31.2",
                        "command": ["/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf"],
                        "volumeMounts": [{"name": "kube-proxy", "mountPath": "/var/lib/kube-proxy"}]}],
                    "volumes": [{"name": "kube-proxy", "configMap": {"name": "kube-proxy"}}]}}}}),
    );
    put(
        Source::ConfigMaps,
        json!({"metadata": {"name": "kube-proxy", "namespace": "kube-system"}, "data": {"config.conf": config}}),
    );
}

const IPVS: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\nipvs:\n  tcpTimeout: 0s\n";

fn audit(keepalive: Option<Beat>, prepare: impl FnOnce(&mut Core)) -> FindingList {
    let mut core = Core::default();
    core.handle(NOW, Input::Synced(Source::Policies));
    cluster(&mut core, IPVS);
    core.handle(NOW, Input::Policy(Arc::new(policy(keepalive))));
    prepare(&mut core);
    core.round(NOW);
    core.findings(NOW)
}

fn path(list: &FindingList) -> Option<&Finding> {
    list.findings.iter().find(|one| one.check == "path-idle-budget")
}

#[test]
fn silence_beyond_the_table_is_violated_with_the_kernels_900_seconds() {
    let list = audit(Some(Beat::Disabled), |_| {});
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), finding.severity),
        ("Violated", Severity::Critical)
    );
    assert!(finding.message.contains("900 s"), "{}", finding.message);
    assert!(finding.message.contains("1800 s"), "{}", finding.message);
    // Where the numbers were read is evidence.
    let idle = finding
        .evidence
        .iter()
        .find(|one| one.what == "idleTimeout")
        .unwrap();
    assert!(
        idle.source.contains("ConfigMap kube-system/kube-proxy"),
        "{}",
        idle.source
    );
    assert!(idle.source.contains("tcpTimeout: 0s"), "{}", idle.source);
}

#[test]
fn a_keepalive_of_300_seconds_meets_it() {
    let list = audit(Some(Beat::Enabled(Some(300))), |_| {});
    assert_eq!(path(&list), None);
    assert!(list.summary.met > 0);
}

#[test]
fn an_undeclared_keepalive_is_a_risk_and_never_critical() {
    let list = audit(None, |_| {});
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), finding.severity),
        ("AtRisk", Severity::Warning)
    );
    assert!(
        finding
            .evidence
            .iter()
            .any(|one| one.origin == evenkeel_core::know::Origin::Assumed)
    );
}

#[test]
fn an_unreadable_config_map_is_unknown() {
    let list = audit(Some(Beat::Disabled), |core| {
        core.handle(
            NOW,
            Input::Freshness(
                Source::ConfigMaps,
                Part::Whole,
                Freshness::unreadable("forbidden"),
            ),
        );
    });
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), finding.severity),
        ("Unknown", Severity::Unknown)
    );
    assert!(finding.message.contains("forbidden"), "{}", finding.message);
}

#[test]
fn the_finding_clears_when_the_keepalive_is_declared() {
    let mut core = Core::default();
    core.handle(NOW, Input::Synced(Source::Policies));
    cluster(&mut core, IPVS);
    core.handle(NOW, Input::Policy(Arc::new(policy(Some(Beat::Disabled)))));
    core.round(NOW);
    assert!(path(&core.findings(NOW)).is_some());
    core.handle(
        NOW,
        Input::Policy(Arc::new(policy(Some(Beat::Enabled(Some(300)))))),
    );
    let round = core.round(NOW);
    assert_eq!(round.transitions.len(), 1);
    assert_eq!(path(&core.findings(NOW)), None);
}

/// A source that was refused but in one namespace.
fn within(core: &mut Core, source: Source, namespace: &str) {
    core.handle(NOW, Input::Synced(source));
    let refused = Freshness::unreadable("forbidden");
    for (part, freshness) in [
        (Part::Whole, refused),
        (Part::Namespace(namespace), Freshness::Complete),
    ] {
        core.handle(NOW, Input::Freshness(source, part, freshness));
    }
}

#[test]
fn what_was_read_in_its_namespace_is_judged_and_the_rest_is_unknown() {
    let list = audit(Some(Beat::Disabled), |core| {
        for source in [Source::Services, Source::Policies] {
            within(core, source, "shop");
        }
    });
    let paths: Vec<_> = list
        .findings
        .iter()
        .filter(|one| one.check == "path-idle-budget")
        .map(|one| {
            (
                one.verdict.name(),
                &*one.subject.namespace,
                one.message.contains("forbidden"),
            )
        })
        .collect();
    assert_eq!(paths, [("Violated", "shop", false), ("Unknown", "", true)]);
    let unreadable: Vec<_> = list
        .unreadable
        .iter()
        .map(|one| (&*one.source, &*one.reason))
        .collect();
    assert_eq!(
        unreadable,
        [("services", "forbidden"), ("traffichealthpolicies", "forbidden")]
    );
}

#[test]
fn a_source_that_was_read_in_other_namespaces_alone_leaves_a_gap_in_this_one() {
    let list = audit(Some(Beat::Disabled), |core| {
        within(core, Source::Policies, "pay");
        core.handle(NOW, Input::Policy(Arc::new(policy(Some(Beat::Disabled)))));
    });
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), &*finding.subject.namespace),
        ("Unknown", "shop")
    );
}
