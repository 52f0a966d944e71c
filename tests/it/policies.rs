//! Drafts that people write, and what is said about them.
//!
//! `policies/valid` and the examples are taken by the API server and compile. `policies/invalid` is refused by the API
//! server. `policies/refused` is taken by it but does not compile, for what no schema can know. The first line of a
//! file that is not taken names the field that a problem must be about. The local validator must say the same as a
//! real API server, which is asked by the tests that have one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evenkeel::api::{
    ClusterTrafficHealthPolicy, Problem, TrafficHealthPolicy, compile, compile_cluster, crds, local,
};
use evenkeel_core::policy::{Beat, Door, Layer, Limit, Mode, Policy, PortRef, Protocol, ServicePick};
use kube::core::cel::Validator;
use serde_json::Value;

/// The ids of checks that the corpus speaks of.
const CHECKS: [&str; 3] = ["keepalive-order", "path-idle-budget", "backend-placement-skew"];

/// A file of the corpus.
struct Draft {
    name: String,
    expected: Option<String>,
    object: Value,
}

/// The drafts of one folder of the repository.
fn drafts(folder: &str) -> Vec<Draft> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            let expected = text
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("# expect:"));
            Draft {
                name: file
                    .strip_prefix(env!("CARGO_MANIFEST_DIR"))
                    .unwrap()
                    .display()
                    .to_string(),
                expected: expected.map(|field| field.trim().to_owned()),
                object: serde_saphyr::from_str(&text).unwrap(),
            }
        })
        .collect()
}

/// Every draft there is.
fn every_draft() -> Vec<Draft> {
    [
        "examples",
        "tests/policies/valid",
        "tests/policies/invalid",
        "tests/policies/refused",
    ]
    .iter()
    .flat_map(|folder| drafts(folder))
    .collect()
}

/// Compiles what the local validator took.
fn compiled(draft: local::Draft) -> Result<(), Vec<Problem>> {
    match draft {
        local::Draft::Policy(policy) => compile(&policy, &|check| CHECKS.contains(&check)).map(drop),
        local::Draft::Cluster(policy) => compile_cluster(&policy).map(drop),
    }
}

fn assert_tells(draft: &Draft, problems: &[Problem]) {
    let expected = draft
        .expected
        .as_deref()
        .unwrap_or_else(|| panic!("{}: no expectation", draft.name));
    let told = problems.iter().any(|problem| problem.field == expected);
    assert!(told, "{}: expected {expected:?} in {problems:?}", draft.name);
}

#[test]
fn examples_and_valid_drafts_are_taken_and_compile() {
    let drafts: Vec<Draft> = ["examples", "tests/policies/valid"]
        .iter()
        .flat_map(|folder| drafts(folder))
        .collect();
    assert!(drafts.len() >= 20, "only {} drafts", drafts.len());
    for draft in drafts {
        let taken = local::validate(&draft.object).unwrap_or_else(|why| panic!("{}: {why:?}", draft.name));
        compiled(taken).unwrap_or_else(|why| panic!("{}: {why:?}", draft.name));
    }
}

#[test]
fn invalid_drafts_are_refused_and_the_field_is_named() {
    let drafts = drafts("tests/policies/invalid");
    assert!(drafts.len() >= 25, "only {} drafts", drafts.len());
    for draft in drafts {
        match local::validate(&draft.object) {
            Ok(_) => panic!("{}: taken", draft.name),
            Err(problems) => assert_tells(&draft, &problems),
        }
    }
}

#[test]
fn what_no_schema_can_know_is_reported_by_compilation() {
    let drafts = drafts("tests/policies/refused");
    assert!(drafts.len() >= 8, "{}", drafts.len());
    for draft in drafts {
        let taken = local::validate(&draft.object).unwrap_or_else(|why| panic!("{}: {why:?}", draft.name));
        assert_tells(&draft, &compiled(taken).unwrap_err());
    }
}

#[test]
fn defaults_are_filled_in_as_the_server_does() {
    let drafts = drafts("tests/policies/valid");
    let draft = drafts
        .iter()
        .find(|draft| draft.name.ends_with("defaults-filled.yaml"))
        .unwrap();
    let Ok(local::Draft::Policy(policy)) = local::validate(&draft.object) else {
        panic!("not taken")
    };
    let spec = serde_json::to_value(&policy.spec).unwrap();
    assert_eq!(spec["balance"]["measure"], "NewConnections");
    assert_eq!(spec["balance"]["tolerancePercent"], 25);
    assert_eq!(spec["balance"]["newcomerGraceSeconds"], 600);
    assert_eq!(spec["remediation"]["recyclePods"]["mode"], "Observe");
}

#[test]
fn all_problems_are_reported_at_once() {
    let object = serde_json::json!({
        "apiVersion": "evenkeel.dev/v1alpha1",
        "kind": "TrafficHealthPolicy",
        "metadata": { "name": "checkout" },
        "spec": {
            "services": { "names": ["Checkout"] },
            "balance": { "tolerancePercent": 0, "shape": "even" },
            "connections": [{ "name": "a", "protocol": "TCP", "ports": [0] }],
        },
    });
    let problems = local::validate(&object).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|problem| &*problem.field).collect();
    let expected = [
        "spec.balance.shape",
        "spec.balance.tolerancePercent",
        "spec.connections[0].ports[0]",
        "spec.services.names[0]",
    ];
    assert_eq!(fields, expected);
}

/// The policy that has every field of a connection, compiled.
fn whole_connection() -> Policy {
    let drafts = drafts("tests/policies/valid");
    let draft = drafts
        .iter()
        .find(|draft| draft.name.ends_with("all-of-a-connection.yaml"))
        .unwrap();
    let Ok(local::Draft::Policy(policy)) = local::validate(&draft.object) else {
        panic!("not taken")
    };
    compile(&policy, &|_| true).unwrap()
}

#[test]
fn nothing_of_a_connection_is_lost_in_compilation() {
    let compiled = whole_connection();
    assert_eq!((&*compiled.namespace, &*compiled.name), ("default", "checkout"));
    assert!(matches!(&compiled.services, ServicePick::Names(names) if &*names[0] == "checkout"));
    let connection = &compiled.connections[0];
    assert_eq!(
        connection.ports,
        [PortRef::Name("grpc".into()), PortRef::Number(8080)]
    );
    assert_eq!(connection.protocol, Protocol::Grpc);
    assert_eq!(
        (
            connection.longest_silence_seconds,
            connection.longest_request_seconds
        ),
        (Some(1800), Some(1800))
    );
}

#[test]
fn nothing_of_its_ends_is_lost_in_compilation() {
    let compiled = whole_connection();
    let connection = &compiled.connections[0];
    let cart = &connection.clients[0];
    let pods = cart.pods.as_ref().unwrap();
    assert!(pods.matches(|key| (key == "app").then_some("cart")));
    assert_eq!(
        (cart.tcp_keepalive, cart.ping, cart.ping_without_calls),
        (
            Some(Beat::Enabled(Some(300))),
            Some(Beat::Enabled(Some(60))),
            Some(true)
        )
    );
    assert_eq!(
        (cart.idle_timeout, cart.request_timeout_seconds),
        (Some(Limit::Seconds(90)), Some(2000))
    );
    assert_eq!(
        (cart.max_connection_age, cart.new_connections_per_second),
        (Some(Limit::Seconds(3600)), Some(20))
    );
    let outside = &connection.clients[1];
    assert_eq!(
        (outside.from, &outside.pods, outside.tcp_keepalive),
        (Door::LoadBalancer, &None, None)
    );
    let server = &connection.server;
    assert_eq!(
        (server.tcp_keepalive, server.ping, server.ping_without_calls),
        (Some(Beat::Disabled), Some(Beat::Disabled), None)
    );
    assert_eq!(
        (server.idle_timeout, server.minimum_ping_interval_seconds),
        (Some(Limit::Seconds(700)), Some(30))
    );
    assert_eq!(
        (server.request_timeout_seconds, server.max_connection_age),
        (Some(1850), Some(Limit::Seconds(1800)))
    );
}

#[test]
fn nothing_of_its_hops_is_lost_in_compilation() {
    let compiled = whole_connection();
    let hops = &compiled.connections[0].hops;
    let layers: Vec<_> = hops.iter().map(|hop| (hop.layer, hop.idle_timeout)).collect();
    assert_eq!(
        layers,
        [
            (Layer::L4, Some(Limit::Seconds(3600))),
            (Layer::L7, Some(Limit::Seconds(620))),
            (Layer::L7, Some(Limit::Never)),
        ]
    );
    let upstream = &hops[2].upstream;
    assert_eq!(
        (upstream.tcp_keepalive, upstream.ping, upstream.ping_without_calls),
        (
            Some(Beat::Enabled(Some(60))),
            Some(Beat::Enabled(Some(60))),
            Some(false)
        )
    );
    assert_eq!(
        (upstream.idle_timeout, upstream.max_connection_age),
        (Some(Limit::Seconds(600)), Some(Limit::Never))
    );
}

#[test]
fn nothing_of_the_clusters_policy_is_lost_in_compilation() {
    let drafts = drafts("examples");
    let platform = drafts
        .iter()
        .find(|draft| draft.name.ends_with("platform.yaml"))
        .unwrap();
    let Ok(local::Draft::Cluster(policy)) = local::validate(&platform.object) else {
        panic!("not taken")
    };
    let compiled = compile_cluster(&policy).unwrap();
    assert_eq!(
        (compiled.ceiling_mode, compiled.ceiling_recycles_per_hour),
        (Mode::Suggest, Some(20))
    );
    assert_eq!(
        compiled.conntrack.kernel.max_entries.unwrap().maximum,
        Some(1_048_576)
    );
    assert_eq!(compiled.control_plane.etcd_quota_bytes, Some(2_147_483_648));
    assert_eq!(compiled.storm.zone_unhealthy_percent, Some(30));
}

/// The schema of a kind, as published.
fn schema_of(kind: &str) -> Value {
    let crd = crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .unwrap();
    serde_json::to_value(
        crd.spec.versions[0]
            .schema
            .as_ref()
            .unwrap()
            .open_api_v3_schema
            .as_ref()
            .unwrap(),
    )
    .unwrap()
}

/// The messages of all CEL rules of a schema.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    let rules = schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
    found.extend(rules.map(|rule| rule["message"].as_str().unwrap().to_owned()));
    let inner = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|properties| properties.values());
    inner
        .chain(schema.get("items"))
        .chain(schema.get("additionalProperties"))
        .for_each(|inner| messages(inner, found));
}

/// What compilation says of a draft that can be read into its type, and the draft without nulls.
fn read_and_compile(object: &Value) -> Option<(Value, Vec<Problem>)> {
    if object["kind"] == "TrafficHealthPolicy" {
        let policy: TrafficHealthPolicy = serde_json::from_value(object.clone()).ok()?;
        let problems = compile(&policy, &|check| CHECKS.contains(&check))
            .err()
            .unwrap_or_default();
        Some((serde_json::to_value(policy).unwrap(), problems))
    } else {
        let policy: ClusterTrafficHealthPolicy = serde_json::from_value(object.clone()).ok()?;
        let problems = compile_cluster(&policy).err().unwrap_or_default();
        Some((serde_json::to_value(policy).unwrap(), problems))
    }
}

#[test]
fn compilation_says_what_the_rules_of_the_schema_say() {
    let mut failed_rules = BTreeSet::new();
    let mut all_rules = BTreeSet::new();
    for kind in ["TrafficHealthPolicy", "ClusterTrafficHealthPolicy"] {
        let schema = schema_of(kind);
        let mut rules = BTreeSet::new();
        messages(&schema, &mut rules);
        for draft in every_draft().iter().filter(|draft| draft.object["kind"] == kind) {
            let Some((object, problems)) = read_and_compile(&draft.object) else {
                continue;
            };
            let by_schema: BTreeSet<Problem> = match Validator::new().validate(&schema, &object, None) {
                Ok(()) => BTreeSet::new(),
                Err(failed) => failed
                    .into_iter()
                    .map(|failed| Problem::new(failed.field_path, failed.message))
                    .collect(),
            };
            let by_compilation: BTreeSet<Problem> = problems
                .into_iter()
                .filter(|problem| rules.contains(&problem.message))
                .collect();
            assert_eq!(by_schema, by_compilation, "{}", draft.name);
            failed_rules.extend(by_schema.into_iter().map(|problem| problem.message));
        }
        all_rules.extend(rules);
    }
    let untried: Vec<_> = all_rules.difference(&failed_rules).collect();
    assert!(untried.is_empty(), "no draft breaks these rules: {untried:?}");
}
