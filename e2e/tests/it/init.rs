//! First policies of a living cluster: the API server takes them as they are written, and an audit judges with them.

use evenkeel::api::{ClusterTrafficHealthPolicy, TrafficHealthPolicy};
use evenkeel_e2e::repository::{example, root};
use evenkeel_e2e::under_test::{evenkeel, evenkeel_json};
use evenkeel_e2e::{ControlPlane, Options};
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};

/// Applies a document by server-side apply as a dry run, with strict validation of fields.
async fn dry_run(client: &Client, document: &Value) -> Result<Value, String> {
    let name = document["metadata"]["name"].as_str().unwrap();
    let place = match document["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("namespaces/{namespace}/traffichealthpolicies"),
        None => "clustertraffichealthpolicies".to_owned(),
    };
    let at = format!(
        "/apis/evenkeel.dev/v1alpha1/{place}/{name}?dryRun=All&fieldManager=test&fieldValidation=Strict"
    );
    let request = http::Request::patch(at)
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(serde_json::to_vec(document).unwrap())
        .unwrap();
    client
        .request::<Value>(request)
        .await
        .map_err(|error| error.to_string())
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .skip(1)
        .map(|one| serde_saphyr::from_str(one).unwrap())
        .collect()
}

#[tokio::test]
async fn drafts_are_taken_by_the_server_and_judged() {
    let plane = ControlPlane::start(Options {
        controller_manager: false,
        ..Options::default()
    })
    .await
    .unwrap();
    plane.install_crds(&root().join("crds")).await.unwrap();
    for file in ["demo/cluster.yaml", "demo/shop.yaml"] {
        plane.apply_yaml(&example(file).unwrap()).await.unwrap();
    }
    let client = plane.client().await.unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reports-0", "namespace": "shop", "labels": {"app": "reports"}},
        "spec": {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "120"}]},
            "automountServiceAccountToken": false, "containers": [{"name": "web", "image": "example.com/web:1"}]}});
    plane.apply_yaml(&pod.to_string()).await.unwrap();
    let kubeconfig = plane.kubeconfig_path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    for (arguments, file) in [
        (&["init", "-n", "shop"][..], "shop.yaml"),
        (&["init", "--cluster"], "platform.yaml"),
    ] {
        let file = path(file);
        let said = evenkeel(&[arguments, &["-o", &file, "--kubeconfig", kubeconfig]].concat()).unwrap();
        assert_eq!(said.code, 0, "{}", said.err);
        let text = std::fs::read_to_string(&file).unwrap();
        let all = documents(&text);
        assert!(!all.is_empty(), "{text}");
        for document in &all {
            dry_run(&client, document)
                .await
                .unwrap_or_else(|why| panic!("{why}: {text}"));
        }
    }
    let text = std::fs::read_to_string(path("shop.yaml")).unwrap();
    // The Pod behind the Service was read, which an audit without a policy does not do.
    assert!(text.contains("# Seen: 1 Pod. A keepalive"), "{text}");
    assert!(text.contains("1 after 120 s by their"), "{text}");
    assert!(text.contains("the IPVS table of 2 nodes,"), "{text}");
    assert!(text.contains("# after 900 s"), "{text}");

    let (list, _) = evenkeel_json(&[
        "audit",
        "-n",
        "shop",
        "-o",
        "json",
        "--policy",
        &path("shop.yaml"),
        "--policy",
        &path("platform.yaml"),
        "--kubeconfig",
        kubeconfig,
    ])
    .unwrap();
    let findings = list["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|one| one["policy"] == "shop/reports"),
        "{list:#}"
    );
    assert_eq!(list["notes"], Value::Null, "{list:#}");
    // Nothing was written: there is no policy.
    let all = ListParams::default();
    let own: Api<TrafficHealthPolicy> = Api::all(client.clone());
    assert!(own.list(&all).await.unwrap().items.is_empty());
    let platform: Api<ClusterTrafficHealthPolicy> = Api::all(client);
    assert!(platform.list(&all).await.unwrap().items.is_empty());
}
