//! What we ask people to install: exactly the rights that the code declares, nothing that Pod Security would refuse, and
//! no file that is never applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use evenkeel::rights::{Right, RightScope};
use evenkeel::{lease, lookup, send, watch};
use evenkeel_core::know::Source;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// Every object of every manifest, by file.
fn objects() -> Vec<(String, Value)> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml")
            || path.ends_with("kustomization.yaml")
        {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        objects.extend(documents.into_iter().map(|object| (name.clone(), object)));
    }
    objects
}

fn of_kind(kind: &str) -> Vec<Value> {
    let all = objects().into_iter().map(|one| one.1);
    all.filter(|object| object["kind"] == kind).collect()
}

/// Group, resource, verb and namespace (empty for everywhere).
type Grain = (String, String, String, String);

fn declared() -> BTreeMap<Grain, &'static str> {
    let all = [watch::RIGHTS, lookup::RIGHTS, send::RIGHTS, lease::RIGHTS].concat();
    let mut grains = BTreeMap::new();
    for right in all {
        let Right {
            group,
            resource,
            verbs,
            scope,
            why,
        } = right;
        assert!(!why.is_empty(), "{resource} of {group:?} does not say why");
        let namespace = match scope {
            RightScope::Cluster => "",
            RightScope::Namespace(name) => name,
        };
        for verb in verbs {
            let grain = [group, resource, verb, namespace].map(str::to_owned);
            grains.insert(grain.into(), why);
        }
    }
    grains
}

/// The file of the roles that are for people.
const FOR_PEOPLE: &str = "rbac-view.yaml";

/// Roles of a kind, those of the operator or those for people.
fn roles(kind: &str, for_people: bool) -> Vec<Value> {
    let of_file = objects()
        .into_iter()
        .filter(|one| (one.0 == FOR_PEOPLE) == for_people);
    of_file
        .map(|one| one.1)
        .filter(|object| object["kind"] == kind)
        .collect()
}

fn granted() -> BTreeSet<Grain> {
    granted_by(
        roles("ClusterRole", false)
            .into_iter()
            .chain(roles("Role", false)),
    )
}

fn granted_by(roles: impl Iterator<Item = Value>) -> BTreeSet<Grain> {
    let mut grains = BTreeSet::new();
    for role in roles {
        let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
        for rule in role["rules"].as_array().unwrap() {
            let texts = |field: &str| -> Vec<String> {
                let list = rule[field].as_array().unwrap();
                list.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
            };
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    for verb in texts("verbs") {
                        let grain = (group.clone(), resource.clone(), verb, namespace.to_owned());
                        assert!(
                            !format!("{grain:?}").contains('*'),
                            "a wildcard grants too much: {grain:?}"
                        );
                        grains.insert(grain);
                    }
                }
            }
        }
    }
    grains
}

#[test]
fn what_is_granted_is_what_the_code_declares() {
    let (declared, granted) = (declared(), granted());
    let missing: Vec<_> = declared
        .iter()
        .filter(|(grain, _)| !granted.contains(*grain))
        .collect();
    let extra: Vec<_> = granted
        .iter()
        .filter(|grain| !declared.contains_key(*grain))
        .collect();
    assert!(missing.is_empty(), "the manifests do not grant {missing:#?}");
    assert!(
        extra.is_empty(),
        "the manifests grant what no code declares: {extra:#?}"
    );
}

/// The role for people who audit has all that an audit reads, and grants no write.
#[test]
fn who_audits_may_read_what_an_audit_reads() {
    let all = roles("ClusterRole", true);
    let audit = all
        .iter()
        .find(|role| role["metadata"]["name"] == "evenkeel-audit")
        .unwrap();
    let granted = granted_by(std::iter::once(audit.clone()));
    for (group, resource, verb, _) in declared().keys() {
        let reads = ["get", "list"].contains(&verb.as_str());
        let wanted = reads && !["events", "leases"].contains(&resource.as_str());
        let grain = (group.clone(), resource.clone(), verb.clone(), String::new());
        assert!(!wanted || granted.contains(&grain), "{grain:?}");
    }
    for (_, resource, verb, _) in granted_by(all.into_iter()) {
        assert!(
            ["get", "list", "watch"].contains(&verb.as_str()),
            "{verb} {resource}"
        );
    }
}

/// The component policy-warnings warns: a policy that it does not like, or cannot judge, is taken all the same.
#[test]
fn warnings_never_refuse() {
    let text = std::fs::read_to_string(root().join("components/policy-warnings/warnings.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let [policy, binding] = objects.as_slice() else {
        panic!("{objects:?}");
    };
    assert_eq!(policy["spec"]["failurePolicy"], "Ignore");
    assert_eq!(binding["spec"]["validationActions"], serde_json::json!(["Warn"]));
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    for object in &objects {
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "evenkeel");
    }
}

/// What would make the operator more than an observer.
#[test]
fn nothing_but_our_own_words_can_be_written() {
    let ours = [
        "traffichealthpolicies/status",
        "clustertraffichealthpolicies/status",
        "events",
        "leases",
    ];
    for (group, resource, verb, _) in granted() {
        let reads = ["get", "list", "watch"].contains(&verb.as_str());
        assert!(
            reads || ours.contains(&resource.as_str()),
            "{verb} {resource}.{group} changes what is not ours"
        );
        assert_ne!(resource, "secrets");
    }
}

#[test]
fn every_role_is_bound_to_our_account_alone() {
    for (role, binding) in [("ClusterRole", "ClusterRoleBinding"), ("Role", "RoleBinding")] {
        let (roles, bindings) = (roles(role, false), of_kind(binding));
        assert_eq!(roles.len(), bindings.len());
        for binding in bindings {
            assert!(
                roles
                    .iter()
                    .any(|one| one["metadata"]["name"] == binding["roleRef"]["name"]
                        && one["metadata"]["namespace"] == binding["metadata"]["namespace"])
            );
            let subjects = binding["subjects"].as_array().unwrap();
            assert_eq!(subjects.len(), 1);
            assert_eq!(subjects[0]["namespace"], lease::NAMESPACE);
            assert_eq!(
                subjects[0]["name"],
                of_kind("ServiceAccount")[0]["metadata"]["name"]
            );
        }
    }
}

#[test]
fn every_file_is_applied() {
    let text = std::fs::read_to_string(root().join("kustomization.yaml")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&text).unwrap();
    let listed: BTreeSet<&str> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    let there: BTreeSet<String> = objects().into_iter().map(|one| one.0).collect();
    for file in &there {
        assert!(
            listed.contains(file.as_str()),
            "{file} is not in kustomization.yaml"
        );
    }
    for file in listed.iter().filter(|file| **file != "../crds") {
        assert!(there.contains(*file), "{file} does not exist");
    }
    let tag = &kustomization["images"][0]["newTag"];
    assert_eq!(tag, env!("CARGO_PKG_VERSION"), "the image's tag is the version");
}

/// The Pod Security standard `restricted`, which the namespace enforces.
#[test]
fn the_pod_is_restricted() {
    let deployment = of_kind("Deployment").remove(0);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    assert_eq!(
        of_kind("Namespace")[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > 5, "the program takes up to 5 s to end");
}

/// The arguments of the Deployment are ones that the program has.
#[test]
fn the_arguments_exist() {
    let deployment = of_kind("Deployment").remove(0);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A scraper must not be able to keep a probe from being answered: the kubelet would restart the Pod.
#[test]
fn probes_have_a_port_that_no_pod_is_admitted_to() {
    let deployment = of_kind("Deployment").remove(0);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], "probes", "{probe}");
    }
    for policy in of_kind("NetworkPolicy") {
        for rule in policy["spec"]["ingress"].as_array().unwrap() {
            assert!(
                rule["from"].as_array().is_some_and(|from| !from.is_empty()),
                "a rule admits everybody"
            );
            assert_eq!(
                rule["ports"],
                serde_json::json!([{"port": "http", "protocol": "TCP"}])
            );
        }
    }
}

#[test]
fn the_way_out_leads_to_api_servers_and_not_to_the_web() {
    let policy = of_kind("NetworkPolicy").remove(0);
    let mut ports = BTreeSet::new();
    for rule in policy["spec"]["egress"].as_array().unwrap() {
        for port in rule["ports"].as_array().unwrap() {
            let port = port["port"].as_u64().unwrap();
            ports.insert(port);
            let anywhere = rule["to"].as_array().is_none_or(Vec::is_empty);
            assert!(
                !anywhere || ![80, 443].contains(&port),
                "port {port} of the whole internet"
            );
        }
    }
    assert_eq!(ports, BTreeSet::from([443, 6443, 8443, 9093, 16443]));
}

/// `system-*` classes are refused outside of kube-system on some platforms (GKE and its quota for them).
#[test]
fn the_pod_has_a_priority_class_of_our_own() {
    let class = of_kind("PriorityClass").remove(0);
    let deployment = of_kind("Deployment").remove(0);
    let named = &deployment["spec"]["template"]["spec"]["priorityClassName"];
    assert_eq!(named, &class["metadata"]["name"]);
    assert!(!named.as_str().unwrap().starts_with("system-"));
    // User classes end at 1,000,000,000 (`pkg/apis/scheduling/types.go`, `HighestUserDefinablePriority`).
    let value = class["value"].as_i64().unwrap();
    assert!(value > 0 && value <= 1_000_000_000);
}

/// An administrator who grants rights has to know what evenkeel concludes from which object.
#[test]
fn what_is_believed_is_named_with_who_can_write_it() {
    let text = std::fs::read_to_string(root().join("../SECURITY.md")).unwrap();
    let section = text.split("## Who can write what we believe").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|kinds| kinds.split(", "))
        .collect();
    for source in Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Configz)
    {
        for kind in source.kinds() {
            assert!(
                named.contains(kind.name),
                "SECURITY.md does not say who can write a {}",
                kind.name
            );
        }
    }
    for other in ["Lease", "configz", "evenkeel-stop", "evenkeel-callers"] {
        assert!(section.contains(other), "{other}");
    }
}

#[test]
fn the_component_for_instance_metrics_grants_what_its_feeder_needs() {
    let rules = |file: &str, kind: &str| {
        let path = root().join("components/instance-metrics").join(file);
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap();
        let of_kind = objects.iter().find(|object| object["kind"] == kind).unwrap();
        (of_kind["metadata"]["namespace"].clone(), of_kind["rules"].clone())
    };
    let [published, leases] = evenkeel::instances::RIGHTS else {
        panic!("other rights than the manifests grant")
    };
    assert_eq!(leases.scope, RightScope::Namespace("kube-system"));
    let lists = serde_json::json!([{"apiGroups": [leases.group], "resources": [leases.resource], "verbs": leases.verbs}]);
    assert_eq!(rules("rbac.yaml", "Role"), ("kube-system".into(), lists));
    assert_eq!(published.scope, RightScope::Namespace("kube-public"));
    let gets = serde_json::json!([{"apiGroups": [published.group], "resources": [published.resource],
        "resourceNames": ["cluster-info"], "verbs": published.verbs}]);
    assert_eq!(
        rules("rbac-kube-public.yaml", "Role"),
        ("kube-public".into(), gets)
    );
    let reads = serde_json::json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]);
    assert_eq!(rules("rbac.yaml", "ClusterRole"), (Value::Null, reads));
}

/// What of the component `remedy-cordon` grants is what requests of a remedy need, and its admission policies refuse where
/// they cannot judge.
#[test]
fn the_component_for_fencing_grants_what_its_requests_need() {
    let read = |file: &str| -> Vec<Value> {
        let path = root().join("components/remedy-cordon").join(file);
        serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let objects = read("rbac.yaml");
    let roles = objects
        .iter()
        .filter(|one| ["ClusterRole", "Role"].contains(&one["kind"].as_str().unwrap()));
    let granted = granted_by(roles.cloned());
    let grains = evenkeel::remedy::RIGHTS.iter().flat_map(|right| {
        let namespace = match right.scope {
            RightScope::Cluster => "",
            RightScope::Namespace(name) => name,
        };
        let grain = move |verb: &&str| -> Grain {
            let [group, resource, verb, namespace] =
                [right.group, right.resource, *verb, namespace].map(str::to_owned);
            (group, resource, verb, namespace)
        };
        right.verbs.iter().map(grain)
    });
    assert_eq!(granted, grains.collect());
    // Single objects by name, and nothing of the default installation.
    for rule in objects
        .iter()
        .flat_map(|one| one["rules"].as_array().into_iter().flatten())
    {
        for (resource, name) in [
            ("leases", evenkeel_core::drive::SLOT),
            ("configmaps", evenkeel::remedy::STOP),
        ] {
            if rule["resources"] == serde_json::json!([resource]) {
                assert_eq!(rule["resourceNames"], serde_json::json!([name]));
            }
        }
    }
    let admission = read("admission.yaml");
    let of_kind = |kind: &'static str| admission.iter().filter(move |one| one["kind"] == kind);
    let policies: BTreeMap<_, _> = of_kind("ValidatingAdmissionPolicy")
        .map(|one| (one["metadata"]["name"].as_str().unwrap(), one))
        .collect();
    assert_eq!(policies.len(), 4);
    for policy in policies.values() {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    }
    assert_eq!(of_kind("ValidatingAdmissionPolicyBinding").count(), 4);
    for binding in of_kind("ValidatingAdmissionPolicyBinding") {
        assert!(policies.contains_key(binding["spec"]["policyName"].as_str().unwrap()));
        assert_eq!(binding["spec"]["validationActions"], serde_json::json!(["Deny"]));
        assert!(
            binding["spec"].get("matchResources").is_none(),
            "it holds everywhere"
        );
    }
    for name in ["evenkeel-nodes", "evenkeel-stop"] {
        let text = policies[name].to_string();
        assert!(text.contains(evenkeel_core::sources::claim::FENCE), "{name}");
    }
    // Nothing of it is in a default installation.
    assert!(
        !std::fs::read_to_string(root().join("kustomization.yaml"))
            .unwrap()
            .contains("remedy")
    );
}
