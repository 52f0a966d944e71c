//! First policies: written from files, never over a file, and judged at once.

use rstest::rstest;

use super::{code, evenkeel, folder, json, out};

/// The cluster of the fixtures without its policy.
const FILES: [&str; 6] = [
    "--from",
    "b1/nodes.json",
    "--from",
    "b1/kube-proxy.yaml",
    "--from",
    "b1/service.yaml",
];

fn told(arguments: &[&str]) -> (i32, String) {
    let output = evenkeel(arguments);
    (
        code(&output),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_draft_is_written_and_judged_at_once() {
    let folder = folder(&[]);
    let path = folder.path().join("shop.yaml");
    let path = path.to_str().unwrap();
    let written = evenkeel(&[&["init", "-n", "shop", "-o", path], &FILES[..]].concat());
    assert_eq!(code(&written), 0);
    assert!(
        out(&written).contains("holds 1 policy for 1 Service.\nNext: evenkeel audit --from b1/nodes.json"),
        "{}",
        out(&written)
    );
    let (_, list) = json(
        &[
            &["audit", "-n", "shop", "--policy", path, "-o", "json"],
            &FILES[..],
        ]
        .concat(),
    );
    // What nothing declares is no critical finding, and the draft itself is without mistakes.
    assert_eq!(list["notes"], serde_json::Value::Null, "{list:#}");
    let findings = list["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|one| one["policy"] == "shop/checkout"),
        "{list:#}"
    );
    assert!(
        findings.iter().all(|one| one["severity"] != "critical"),
        "{list:#}"
    );
    // A second time nothing is written over.
    let before = std::fs::read(path).unwrap();
    let (status, said) = told(&[&["init", "-n", "shop", "-o", path], &FILES[..]].concat());
    assert!(
        status == 2 && said.contains("exists already and is left as it is"),
        "{said}"
    );
    assert_eq!(std::fs::read(path).unwrap(), before);
}

#[test]
fn what_is_governed_is_left_alone() {
    let (status, said) = told(&["init", "-n", "shop", "--from", "b1"]);
    assert!(status == 0 && said.contains("nothing is to be written"), "{said}");
}

#[rstest]
#[case::of_nothing(&["init", "--from", "b1"], "name a namespace (-n NAMESPACE), or --cluster")]
#[case::of_both(&["init", "--from", "b1", "--cluster", "-n", "shop"], "cannot be used with")]
#[case::mistyped(&["init", "--from", "b1", "-n", "shopp"], "there is no namespace shopp; did you mean shop?")]
fn mistakes_are_told(#[case] arguments: &[&str], #[case] expected: &str) {
    let (status, said) = told(arguments);
    assert!(status == 2 && said.contains(expected), "{said}");
}

#[test]
fn the_policy_of_the_platform_comes_from_the_nodes() {
    let output = evenkeel(&[&["init", "--cluster"], &FILES[..]].concat());
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}");
    assert!(
        text.contains("  dataPlane:\n    # Seen: Ipvs on 2 nodes.\n    proxyMode: Ipvs\n"),
        "{text}"
    );
    assert!(
        text.contains("serviceIdleTimeoutSeconds: {minimum: 900}"),
        "{text}"
    );
}
