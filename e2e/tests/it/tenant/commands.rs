//! What the command line writes about a team's namespace: text of a team's objects is data there, too.

use std::fs;

use evenkeel_e2e::under_test::evenkeel;
use serde_json::{Value, json};

use super::attack::Attack;
use super::team::{policy, service};

/// Text that would be another document, another field or another line, where it is not quoted.
const HOSTILE: [&str; 6] = [
    "a\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: stolen}",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "*/ }} {{ .Values }} ${HOME} $(id) `id`",
    "\"}, \"spec\": {\"ceiling\": {}}, \"a\": {\"",
    "| x | [y](javascript:z) <script> <!channel>",
    "\u{202e}desrever \u{2028}line",
];

/// Services whose every free text is hostile. Names and labels are what the API server takes; annotations, hosts and commands
/// are anything.
fn hostile(at: usize, text: &str) -> Value {
    let mut one = service(&format!("hostile-{at}"), 2);
    let annotations: serde_json::Map<String, Value> = [
        "service.kubernetes.io/topology-mode",
        "service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout",
        "service.beta.kubernetes.io/aws-load-balancer-attributes",
        "kubectl.kubernetes.io/last-applied-configuration",
        "prometheus.io/scrape",
    ]
    .iter()
    .map(|key| ((*key).to_owned(), json!(text)))
    .collect();
    one["metadata"]["annotations"] = annotations.into();
    one["spec"]["selector"] = json!({"app": format!("a{at}")});
    one
}

fn deployment(at: usize, text: &str) -> Value {
    let labels = json!({"app": format!("a{at}")});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("hostile-{at}"),
        "annotations": {"a": text}},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": text.replace(['\n', ' '], "-"), "command": [text], "args": [text],
                "env": [{"name": "A", "value": text}]}]}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commands_write_about_a_hostile_namespace_is_what_they_mean() {
    let attack = Attack::begin("commands").await;
    let team = &attack.team;
    for (at, text) in HOSTILE.iter().enumerate() {
        team.make(&hostile(at, text)).await.unwrap();
        eprintln!("a Deployment: {:?}", team.make(&deployment(at, text)).await);
    }
    let kubeconfig = attack.plane().kubeconfig_path().to_str().unwrap();
    let namespace = team.namespace();
    let folder = tempfile::tempdir().unwrap();

    // Before any policy of the team, as no second one is written for a Service.
    // What will be applied is policies of this namespace and nothing else.
    let said = evenkeel(&["init", "-n", namespace, "--kubeconfig", kubeconfig]).unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    assert_harmless("init", &said.out);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&said.out).unwrap();
    assert!(!documents.is_empty(), "{}", said.out);
    for one in &documents {
        assert_eq!(one["kind"], "TrafficHealthPolicy", "{one:#}");
        assert_eq!(one["metadata"]["namespace"], namespace, "{one:#}");
        let fields: Vec<_> = one.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["apiVersion", "kind", "metadata", "spec"], "{one:#}");
    }
    // The same as drafts.
    let drafts = folder.path().join("drafts.yaml");
    fs::write(&drafts, &said.out).unwrap();
    let drafts = drafts.to_str().unwrap();
    let audit = evenkeel(&[
        "audit",
        "-n",
        namespace,
        "--policy",
        drafts,
        "-o",
        "wide",
        "--kubeconfig",
        kubeconfig,
    ])
    .unwrap();
    assert!(!audit.out.is_empty(), "{}", audit.err);
    assert_harmless("audit of drafts", &audit.out);

    for (at, text) in HOSTILE.iter().enumerate() {
        let reason: String = text.chars().take(200).collect();
        let exception =
            json!({"check": "backend-minimum-ready", "reason": reason, "expiresAt": "2099-01-01T00:00:00Z"});
        let made = team
            .make(&policy(
                &format!("p{at}"),
                &json!({"balance": {"minimumReadyBackends": 1_000}, "exceptions": [exception]}),
            ))
            .await;
        eprintln!("an exception: {made:?}");
    }
    attack.until_seen().await;
    // A folder that will be sent to others: files of its own names, and no value that no check reads.
    let collected = folder.path().join("collected");
    let to = collected.to_str().unwrap();
    let said = evenkeel(&["collect", "-o", to, "--kubeconfig", kubeconfig]).unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    for entry in fs::read_dir(&collected).unwrap() {
        let entry = entry.unwrap();
        let text = if entry.path().is_file() {
            fs::read_to_string(entry.path()).unwrap()
        } else {
            String::new()
        };
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.contains("hostile"), "{name}");
        assert!(!text.contains("last-applied-configuration"), "{name}");
        assert!(
            !text.contains("$(id)") || !name.starts_with("deployments"),
            "{name}"
        );
    }
    let again = evenkeel(&["audit", "--from", to, "-n", namespace, "-o", "markdown"]).unwrap();
    assert!(!again.out.is_empty(), "{}", again.err);
    assert_harmless("audit of a folder", &again.out);
    for format in ["junit", "sarif", "github", "yaml"] {
        let said = evenkeel(&["audit", "-n", namespace, "-o", format, "--kubeconfig", kubeconfig]).unwrap();
        // There are no annotations where nothing is wrong.
        assert!(
            format == "github" || !said.out.is_empty(),
            "{format}: {}",
            said.err
        );
        assert_harmless(format, &said.out);
    }
    attack.end().await;
}

/// No byte that a terminal obeys, and none that turns the direction of text or ends a line unseen.
fn assert_harmless(exit: &str, text: &str) {
    let active = |c: char| {
        (c.is_control() && !['\n', '\t'].contains(&c))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}')
    };
    assert_eq!(text.chars().find(|c| active(*c)), None, "{exit}");
}
