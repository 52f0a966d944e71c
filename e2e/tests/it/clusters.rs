//! Small clusters of every kind, audited live under the rights that are shipped: files of them give the same findings.
//!
//! Each file of `clusters` is one cluster. Its comments tell what it is like, which parts it shares with others
//! (`# with:`), and what each check that it is about finds (`# finds: CHECK VERDICT SEVERITY`, or `nothing`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use evenkeel::resources::RESOURCES;
use evenkeel_e2e::operator::OperatorAccess;
use evenkeel_e2e::under_test::evenkeel_json;
use evenkeel_e2e::{ControlPlane, Options};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

/// One of the clusters.
struct Cluster {
    name: String,
    /// Its objects and those of its parts, as YAML.
    text: String,
    /// What each check finds: verdict and severity, one for each finding.
    finds: BTreeMap<String, BTreeSet<String>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clusters")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn clusters() -> Vec<Cluster> {
    let files = std::fs::read_dir(folder()).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    files.iter().map(|path| cluster(path)).collect()
}

fn cluster(path: &Path) -> Cluster {
    let own = read(path);
    let notes = |key: &'static str| own.lines().filter_map(move |line| line.strip_prefix(key));
    let parts = notes("# with: ").flat_map(|parts| parts.split(", "));
    let mut texts: Vec<String> = parts
        .map(|part| read(&folder().join(format!("parts/{part}.yaml"))))
        .collect();
    texts.push(own.clone());
    let mut finds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in notes("# finds: ") {
        let (check, found) = line.split_once(' ').unwrap();
        let all = finds.entry(check.to_owned()).or_default();
        if found != "nothing" {
            all.insert(found.to_owned());
        }
    }
    assert!(!finds.is_empty(), "{}: nothing is expected", path.display());
    Cluster {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        text: texts.join("---\n"),
        finds,
    }
}

/// Writes the objects the way `collect` does: one list of each kind, which is all there is of it.
fn write_as_collected(text: &str, folder: &Path) {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    for resource in &RESOURCES {
        let kind = resource.kind;
        let items: Vec<_> = objects.iter().filter(|one| one["kind"] == kind.name).collect();
        let version = items.first().map_or_else(
            || match kind.group {
                "" => json!(kind.versions[0]),
                group => json!(format!("{group}/{}", kind.versions[0])),
            },
            |one| one["apiVersion"].clone(),
        );
        let list = json!({"apiVersion": version, "kind": format!("{}List", kind.name), "items": items});
        let file = folder.join(format!("{}.json", kind.plural));
        std::fs::write(file, list.to_string()).unwrap();
    }
    let unreadable = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "UnreadableList", "items": []});
    std::fs::write(folder.join("unreadable.json"), unreadable.to_string()).unwrap();
}

/// What one audit says of some checks: verdict and severity by check, and every message.
fn audit(of: &[&str], checks: &BTreeSet<&String>) -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let mut arguments = vec!["audit", "-o", "json"];
    arguments.extend(of);
    let (list, _) = evenkeel_json(&arguments).unwrap();
    assert_eq!(list["unreadable"], json!([]), "{of:?}");
    let mut found: BTreeMap<_, _> = checks
        .iter()
        .map(|check| ((*check).clone(), BTreeSet::new()))
        .collect();
    let mut messages = BTreeSet::new();
    for finding in list["findings"].as_array().unwrap() {
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        if let Some(all) = found.get_mut(&text("check")) {
            all.insert(format!("{} {}", text("verdict"), text("severity")));
            messages.insert(format!("{}: {}", text("check"), text("message")));
        }
    }
    (found, messages)
}

/// New nodes are tainted until a controller has seen them; here is none.
async fn untaint(plane: &ControlPlane, applied: &[DynamicObject]) {
    for object in applied {
        let is_node = object.types.as_ref().is_some_and(|types| types.kind == "Node");
        let declared = object.data.pointer("/spec/taints").and_then(Value::as_array);
        let own: Vec<_> = declared
            .into_iter()
            .flatten()
            .filter(|taint| taint["key"] != "node.kubernetes.io/not-ready")
            .collect();
        if is_node && declared.is_some_and(|all| all.len() > own.len()) {
            let patch = Patch::Merge(json!({"spec": {"taints": own}}));
            let name = object.metadata.name.as_deref().unwrap();
            let nodes: Api<Node> = Api::all(plane.client().await.unwrap());
            nodes.patch(name, &PatchParams::default(), &patch).await.unwrap();
        }
    }
}

#[tokio::test]
async fn files_and_the_living_cluster_give_the_same_findings() {
    let options = Options {
        controller_manager: false,
        ..Options::default()
    };
    let plane = ControlPlane::start(options).await.unwrap();
    plane.install_operator().await.unwrap();
    plane.install_crds(&folder().join("base")).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let access = OperatorAccess::make(&plane, "auditor", place.path(), None)
        .await
        .unwrap();
    let kubeconfig = access.kubeconfig();
    let clusters = clusters();
    assert!(clusters.len() >= 40, "only {} clusters", clusters.len());
    let mut wrong = Vec::new();
    for cluster in &clusters {
        let applied = plane.apply_yaml(&cluster.text).await;
        let applied = applied.unwrap_or_else(|error| panic!("{}: {error:#}", cluster.name));
        untaint(&plane, &applied).await;
        let checks: BTreeSet<&String> = cluster.finds.keys().collect();
        let live = audit(&["-A", "--kubeconfig", kubeconfig.to_str().unwrap()], &checks);
        plane.remove(&applied).await.unwrap();
        let files = tempfile::tempdir().unwrap();
        write_as_collected(&cluster.text, files.path());
        let from_files = audit(&["--from", files.path().to_str().unwrap()], &checks);
        if live.0 != cluster.finds || live != from_files {
            let name = &cluster.name;
            wrong.push(format!(
                "{name}: expected {:?}\n  live {live:?}\n  from files {from_files:?}",
                cluster.finds
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
