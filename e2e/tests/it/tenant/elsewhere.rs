//! What is the platform's to write, and what a team can write instead.

use serde_json::{Value, json};

use super::attack::Attack;
use super::bed::VICTIMS;
use super::team::service;

/// Everything that is believed of `evenkeel-system` and of cluster-scoped objects is out of a team's reach, by the roles that
/// Kubernetes and the manifests bring: also the kinds that exist for remedies.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_platforms_is_not_a_teams_to_write() {
    let attack = Attack::begin("elsewhere").await;
    let team = &attack.team;
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}});
    let own = "/api/v1/namespaces/evenkeel-system";
    let ours = "/apis/evenkeel.dev/v1alpha1";
    let leases = "/apis/coordination.k8s.io/v1/namespaces/evenkeel-system/leases";
    let makes: Vec<(String, Value)> = vec![
        (format!("{own}/configmaps"), map("evenkeel-stop")),
        (format!("{own}/configmaps"), map("evenkeel-callers")),
        (
            "/api/v1/namespaces/kube-system/configmaps".into(),
            map("kube-proxy-of-mine"),
        ),
        (
            format!("{own}/events"),
            json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {}}),
        ),
        (format!("{own}/pods"), super::team::pod("evenkeel-0", "evenkeel")),
        (
            leases.to_owned(),
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "evenkeel-2"}}),
        ),
        (
            format!("{ours}/clustertraffichealthpolicies"),
            json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "ClusterTrafficHealthPolicy",
                "metadata": {"name": "cluster"}, "spec": {"trustedNamespaces": [team.namespace()]}}),
        ),
        (
            format!("{ours}/namespaces/{}/traffichealthpolicies", VICTIMS[0].0),
            super::team::policy("theirs", &json!({})),
        ),
        (
            "/api/v1/namespaces/kube-system/pods/kube-proxy-1/eviction".into(),
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "kube-proxy-1"}}),
        ),
    ];
    for (path, object) in makes {
        let answer = team.make_at(&path, &object).await;
        assert_eq!(answer, Err(403), "{path}");
    }
    let changes: Vec<(String, Value)> = vec![
        (
            format!("{leases}/evenkeel"),
            json!({"spec": {"holderIdentity": "team"}, "metadata": {"annotations": {"a": "b"}}}),
        ),
        (
            format!("{ours}/namespaces/{}/traffichealthpolicies/reports", VICTIMS[0].0),
            json!({"spec": {"exceptions": []}}),
        ),
        (
            format!("{ours}/clustertraffichealthpolicies/cluster"),
            json!({"spec": {"ceiling": {}}}),
        ),
        (
            "/api/v1/nodes/node-a".into(),
            json!({"metadata": {"labels": {"a": "b"}}}),
        ),
        (
            "/api/v1/nodes/node-a/status".into(),
            json!({"status": {"conditions": []}}),
        ),
        (
            format!("/api/v1/namespaces/{}", team.namespace()),
            json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "kube-system"}}}),
        ),
    ];
    for (path, patch) in changes {
        assert_eq!(team.change_at(&path, &patch).await, Err(403), "{path}");
    }
    attack.end().await;
}

/// A team asks for every remedy, with all that it may spend, for its own Pods as clients of all Services.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_asks_for_remedies_gets_none_elsewhere() {
    let attack = Attack::begin("remedies").await;
    let team = &attack.team;
    team.make(&service("own", 2)).await.unwrap();
    let recycle =
        json!({"mode": "Enforce", "asClient": true, "causes": ["PinnedClient", "HotBackend", "StuckClient"]});
    let broken = json!([{"name": "k", "protocol": "TCP", "longestSilenceSeconds": 86_400,
        "server": {"tcpKeepalive": {"state": "Disabled"}},
        "clients": [{"name": "c", "tcpKeepalive": {"state": "Disabled"}, "podSelector": {"matchLabels": {"app": "c"}}}]}]);
    let taken = team
        .policy(
            "acting",
            &json!({"connections": broken, "remediation": {"recyclePods": recycle}}),
        )
        .await;
    assert_eq!(
        taken,
        Ok(()),
        "the platform's ceiling decides, not the API server"
    );
    // The platform's fields in a team's policy: the API server drops what the kind does not have.
    let mut more = super::team::policy("platform", &json!({"connections": broken}));
    more["spec"]["nodes"] = json!({"cordon": {"mode": "Enforce", "maxPercent": 100}});
    more["spec"]["trustedNamespaces"] = json!([team.namespace()]);
    more["spec"]["ceiling"] = json!({"namespaces": ["*"]});
    eprintln!(
        "a policy with the platform's fields: {:?}",
        team.make(&more).await
    );
    attack.until_seen().await;
    attack.until_own("path-idle-budget").await;
    let (_, metrics) = attack.operator.get("/metrics").await.unwrap();
    let planned =
        |line: &&str| line.starts_with("evenkeel_plans{") && !line.ends_with(" 0.0") && !line.ends_with(" 0");
    assert_eq!(metrics.lines().find(planned), None);
    attack.end().await;
}
