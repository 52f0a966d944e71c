//! What one namespace asks for costs its own share, against a real API server.

use std::time::Duration;

use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::Source;
use evenkeel_core::names::Key;
use evenkeel_e2e::repository::root;
use evenkeel_e2e::{ControlPlane, Options};
use serde_json::{Value, json};

use super::bed::{Operator, grant, link, options};

/// A policy whose clients are Pods of so many kinds.
fn policy(namespace: &str, clients: usize) -> String {
    let clients: Vec<Value> = (0..clients)
        .map(|at| {
            json!({"name": format!("c{at}"), "tcpKeepalive": {"state": "Enabled"},
                "podSelector": {"matchLabels": {"app": format!("c{at}")}}})
        })
        .collect();
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "TrafficHealthPolicy",
        "metadata": {"name": "api", "namespace": namespace},
        "spec": {"services": {"names": ["api"]}, "connections": [
            {"name": "http", "protocol": "HTTP1", "longestSilenceSeconds": 60, "clients": clients}]}})
    .to_string()
}

fn pod(namespace: &str, name: &str, app: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": "example.com/main:1"}]}})
    .to_string()
}

async fn own_plane() -> ControlPlane {
    let plane = ControlPlane::start(Options {
        audit: false,
        ..options()
    })
    .await
    .unwrap();
    plane.install_crds(&root().join("crds")).await.unwrap();
    plane
}

/// What is watched of a namespace's Pods.
fn watched(operator: &Operator, namespace: &str) -> Vec<String> {
    let targets = operator.intake.targets();
    targets
        .filter(|(_, target)| target.source == Source::Pods && target.namespace == namespace)
        .map(|(_, target)| target.labels.clone())
        .collect()
}

fn fresh(operator: &Operator, namespace: &str) -> Freshness {
    let index = operator.core.index();
    let name = index.names.find(namespace).unwrap_or_default();
    index.freshness_of(Source::Pods, Part::Namespace(name)).clone()
}

#[tokio::test]
async fn one_watch_of_a_namespace_takes_over_from_many_and_back_and_nothing_is_lost() {
    let plane = own_plane().await;
    grant(&plane, "many", "").await;
    let namespace = plane.namespace().await.unwrap();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespace}});
    plane.apply_yaml(&account.to_string()).await.unwrap();
    for at in 0..6 {
        let app = format!("c{at}");
        plane.apply_yaml(&pod(&namespace, &app, &app)).await.unwrap();
    }
    plane
        .apply_yaml(&pod(&namespace, "other", "other"))
        .await
        .unwrap();
    plane.apply_yaml(&policy(&namespace, 3)).await.unwrap();
    let mut operator = Operator::new(link(&plane, "many", None));
    operator.settled().await;
    let rows = |this: &Operator| this.core.index().rows(Source::Pods);
    operator.until("three are read", |this| rows(this) == 3).await;
    assert_eq!(watched(&operator, &namespace).len(), 3);

    plane.apply_yaml(&policy(&namespace, 6)).await.unwrap();
    let mut fewest = usize::MAX;
    operator
        .until("six are read, and not the seventh", |this| {
            fewest = fewest.min(rows(this));
            rows(this) == 6 && fresh(this, &namespace) == Freshness::Complete
        })
        .await;
    assert_eq!((watched(&operator, &namespace), fewest), (vec![String::new()], 3));

    plane.apply_yaml(&policy(&namespace, 2)).await.unwrap();
    let mut gaps = 0;
    operator
        .until("they are watched by selector again", |this| {
            gaps += usize::from(fresh(this, &namespace) != Freshness::Complete);
            fewest = rows(this);
            fewest == 2
        })
        .await;
    assert_eq!((watched(&operator, &namespace).len(), gaps), (2, 0));
    operator.rest(Duration::from_secs(2)).await;
    assert_eq!(
        (rows(&operator), fresh(&operator, &namespace)),
        (2, Freshness::Complete)
    );
}

#[tokio::test]
async fn a_config_map_without_a_right_is_a_gap_of_its_own() {
    let plane = own_plane().await;
    grant(&plane, "narrow", "configmaps").await;
    let one = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "one", "namespace": "kube-system"}, "rules": [{"apiGroups": [""],
            "resources": ["configmaps"], "resourceNames": ["kube-proxy"], "verbs": ["get", "list", "watch"]}]});
    let bound = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "one", "namespace": "kube-system"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "narrow"}]});
    for object in [one, bound] {
        plane.apply_yaml(&object.to_string()).await.unwrap();
    }
    let mut operator = Operator::new(link(&plane, "narrow", None));
    let gap = |this: &Operator, name: &str| {
        let index = this.core.index();
        let find = |text: &str| index.names.find(text).unwrap_or_default();
        let key = Key {
            namespace: find("kube-system"),
            name: find(name),
        };
        index.gap_at(Source::ConfigMaps, key)
    };
    operator
        .until("the others are refused", |this| {
            this.intake.is_settled() && gap(this, "cilium-config").is_some()
        })
        .await;
    operator
        .until("and this one is not", |this| gap(this, "kube-proxy").is_none())
        .await;
    let refused = gap(&operator, "cilium-config").unwrap().to_string();
    assert!(refused.contains("missing right: watch configmaps"), "{refused}");
}

#[tokio::test]
async fn three_hundred_namespaces_are_watched_each_for_itself() {
    let plane = own_plane().await;
    grant(&plane, "wide", "").await;
    for at in 0..300 {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("n{at}")}});
        plane.apply_yaml(&namespace.to_string()).await.unwrap();
        plane.apply_yaml(&policy(&format!("n{at}"), 1)).await.unwrap();
    }
    let mut operator = Operator::new(link(&plane, "wide", None));
    operator
        .until("each is read", |this| {
            (0..300).all(|at| fresh(this, &format!("n{at}")) == Freshness::Complete)
        })
        .await;
    assert_eq!(operator.fresh(Source::Pods), Freshness::Complete);
}
