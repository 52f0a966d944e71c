//! What a team can make the operator ask for.

use serde_json::json;

use super::attack::Attack;

/// One DaemonSet that mounts as many `ConfigMaps` as fit, and looks like each data plane that is read by its ConfigMap.
#[tokio::test(flavor = "multi_thread")]
async fn no_object_of_a_team_opens_reads_in_its_name() {
    let attack = Attack::begin("reads").await;
    let team = &attack.team;
    for (name, image) in [
        ("kube-proxy", "registry.k8s.io/kube-proxy:v1.31.2"),
        ("cilium-agent", "quay.io/cilium/cilium:v1.18.2"),
        ("antrea-agent", "antrea/antrea-agent-ubuntu:v2.4.0"),
        ("terway", "registry.example/terway:v1.14.0"),
    ] {
        let volumes: Vec<_> = (0..1_500)
            .map(|at| json!({"name": format!("v{at}"), "configMap": {"name": format!("m{at}")}}))
            .collect();
        let mounts: Vec<_> = (0..1_500)
            .map(|at| json!({"name": format!("v{at}"), "mountPath": format!("/m/{at}")}))
            .collect();
        let labels = json!({"k8s-app": name});
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [{"name": name, "image": image, "command": [name, "--config=/m/7/config.conf"], "volumeMounts": mounts}],
                "volumes": volumes}}}});
        team.make(&set).await.unwrap();
    }
    attack.until_seen().await;
    let open = attack.open_files();
    eprintln!("6,000 mounted ConfigMaps: {open} files are open");
    assert!(open < 100, "{open} files are open");
    attack.end().await;
}
