//! The drafts of `tests/policies` and the examples, judged by a real API server with `fieldValidation=Strict`; the
//! local validator must come to the same verdict, file by file.

use std::path::PathBuf;

use evenkeel::api::local;
use evenkeel_e2e::ControlPlane;
use evenkeel_e2e::repository::root;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const GROUP: &str = "evenkeel.dev";

/// The control plane with the published definitions.
async fn plane() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let plane = ControlPlane::shared().await.unwrap();
    INSTALLED
        .get_or_init(|| async { plane.install_crds(&root().join("crds")).await.unwrap() })
        .await;
    plane
}

/// The drafts of a folder, by file name.
fn drafts(folder: &str) -> Vec<(String, Value)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy();
            let text = std::fs::read_to_string(file).unwrap();
            (format!("{folder}/{name}"), serde_saphyr::from_str(&text).unwrap())
        })
        .collect()
}

/// Asks the server what it would do with a draft in a namespace of ours, without doing it.
async fn ask(client: &Client, namespace: &str, draft: &Value) -> Result<Value, String> {
    let mut draft = draft.clone();
    let cluster = draft["kind"] == "ClusterTrafficHealthPolicy";
    if !cluster {
        draft["metadata"]["namespace"] = namespace.into();
    }
    let version = draft["apiVersion"].as_str().unwrap_or_default().to_owned();
    let at = if cluster {
        format!("/apis/{version}/clustertraffichealthpolicies")
    } else {
        format!("/apis/{version}/namespaces/{namespace}/traffichealthpolicies")
    };
    let request = http::Request::post(format!("{at}?dryRun=All&fieldValidation=Strict"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&draft).unwrap())
        .unwrap();
    match client.request::<Value>(request).await {
        Ok(made) => Ok(made),
        // A refusal of the draft, not of the request: 400 for unknown fields, 404 for an unknown version.
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404 | 422) => {
            Err(status.message.clone())
        }
        Err(error) => panic!("the server gave no verdict: {error}"),
    }
}

/// What the server warns of in a draft that it takes.
async fn warnings(client: &Client, namespace: &str, draft: &Value) -> Vec<String> {
    let at = format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/traffichealthpolicies?dryRun=All");
    let mut draft = draft.clone();
    draft["metadata"]["namespace"] = namespace.into();
    let request = http::Request::post(at)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&draft).unwrap().into())
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    let headers = response.headers().get_all(http::header::WARNING);
    headers
        .iter()
        .map(|one| String::from_utf8_lossy(one.as_bytes()).into_owned())
        .filter(|one| one.contains("evenkeel-policy-warnings"))
        .collect()
}

/// The component policy-warnings: numbers that exclude each other are warned of, and taken.
#[tokio::test]
async fn numbers_that_exclude_each_other_are_warned_of() {
    let plane = plane().await;
    let file = root().join("manifests/components/policy-warnings/warnings.yaml");
    plane
        .apply_yaml(&std::fs::read_to_string(file).unwrap())
        .await
        .unwrap();
    let (client, namespace) = (plane.client().await.unwrap(), plane.namespace().await.unwrap());
    let draft = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "TrafficHealthPolicy", "metadata": {"name": "a"},
        "spec": {"services": {"names": ["api"]}, "connections": [{"name": "grpc", "protocol": "GRPC",
            "longestRequestSeconds": 600,
            "clients": [{"name": "cart", "requestTimeoutSeconds": 30, "ping": {"state": "Enabled", "intervalSeconds": 10}}],
            "server": {"requestTimeoutSeconds": 60, "minimumPingIntervalSeconds": 30}},
            {"name": "web", "protocol": "HTTP1", "longestRequestSeconds": 600,
             "hops": [{"name": "proxy", "layer": "L7", "requestTimeoutSeconds": 60}]}]},
    });
    // The server learns of admission policies by a watch of its own.
    let told = async {
        loop {
            let told = warnings(&client, &namespace, &draft).await;
            if !told.is_empty() {
                return told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), told)
        .await
        .unwrap();
    for expected in [
        "spec.connections grpc: server.requestTimeoutSeconds is below longestRequestSeconds",
        "spec.connections grpc: requestTimeoutSeconds of a client is below longestRequestSeconds",
        "spec.connections web: requestTimeoutSeconds of a hop is below longestRequestSeconds",
        "spec.connections grpc: a client pings faster than server.minimumPingIntervalSeconds permits",
    ] {
        assert!(
            told.iter().any(|one| one.contains(expected)),
            "{expected}: {told:?}"
        );
    }
    let mut examples = drafts("examples");
    examples.retain(|(_, draft)| draft["kind"] == "TrafficHealthPolicy");
    assert!(!examples.is_empty());
    for (name, draft) in examples {
        let told = warnings(&client, &namespace, &draft).await;
        assert!(told.is_empty(), "{name}: {told:?}");
    }
}

/// Asks about every draft of some folders, and says what each was expected to be.
async fn verdicts(folders: &[&str], taken: bool) {
    let plane = plane().await;
    let (client, namespace) = (plane.client().await.unwrap(), plane.namespace().await.unwrap());
    let mut wrong = Vec::new();
    for (name, draft) in folders.iter().flat_map(|folder| drafts(folder)) {
        let server = ask(&client, &namespace, &draft).await;
        let here = local::validate(&draft);
        if server.is_ok() != taken || here.is_ok() != taken {
            wrong.push(format!(
                "{name}: server {:?}, local {:?}",
                server.map(drop),
                here.map(drop)
            ));
        }
    }
    assert!(wrong.is_empty(), "expected taken={taken}:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_server_takes_what_the_local_validator_takes() {
    verdicts(
        &["examples", "tests/policies/valid", "tests/policies/refused"],
        true,
    )
    .await;
}

#[tokio::test]
async fn the_server_refuses_what_the_local_validator_refuses() {
    verdicts(&["tests/policies/invalid"], false).await;
}

#[tokio::test]
async fn defaults_are_the_same_on_both_sides() {
    let plane = plane().await;
    let (client, namespace) = (plane.client().await.unwrap(), plane.namespace().await.unwrap());
    for (name, draft) in ["examples", "tests/policies/valid"]
        .iter()
        .flat_map(|folder| drafts(folder))
    {
        let stored = ask(&client, &namespace, &draft).await.unwrap();
        // What the server filled in must change nothing for us, and we must have filled in all of it.
        let mut bare =
            json!({"apiVersion": draft["apiVersion"], "kind": draft["kind"], "metadata": draft["metadata"]});
        bare["spec"] = stored["spec"].clone();
        let (from_server, from_draft) = (local::validate(&bare).unwrap(), local::validate(&draft).unwrap());
        let spec = |draft: local::Draft| match draft {
            local::Draft::Policy(policy) => serde_json::to_value(policy.spec).unwrap(),
            local::Draft::Cluster(policy) => serde_json::to_value(policy.spec).unwrap(),
        };
        assert_eq!(spec(from_server), spec(from_draft), "{name}");
    }
}

/// Doubles every bound of a schema that the cost of a rule depends on, and counts them.
fn double(schema: &mut Value) -> u32 {
    let mut doubled = 0;
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_u64() {
                    Some(bound) if matches!(name.as_str(), "maxItems" | "maxLength") => {
                        *value = (2 * bound).into();
                        doubled += 1;
                    }
                    _ => doubled += double(value),
                }
            }
        }
        Value::Array(items) => doubled += items.iter_mut().map(double).sum::<u32>(),
        _ => {}
    }
    doubled
}

/// The server refuses a definition whose rules could cost too much; ours must be far from that.
#[tokio::test]
async fn rules_would_be_cheap_enough_at_twice_every_bound() {
    let plane = plane().await;
    let client = plane.client().await.unwrap();
    let mut doubled = 0;
    for crd in evenkeel::api::crds()
        .into_iter()
        .chain(evenkeel::api::ledger_crds())
    {
        let mut copy = serde_json::to_value(crd).unwrap();
        // A copy under a group of its own, so that nothing else sees it.
        let group = format!("doubled.{GROUP}");
        copy["metadata"]["name"] =
            format!("{}.{group}", copy["spec"]["names"]["plural"].as_str().unwrap()).into();
        copy["spec"]["group"] = group.into();
        doubled += double(&mut copy["spec"]["versions"]);
        let request = http::Request::post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All&fieldValidation=Strict",
        )
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&copy).unwrap())
        .unwrap();
        let made: Result<Value, _> = client.request(request).await;
        assert!(
            made.is_ok(),
            "{}: {}",
            copy["metadata"]["name"],
            made.unwrap_err()
        );
    }
    assert!(doubled > 20, "only {doubled} bounds were doubled");
}
