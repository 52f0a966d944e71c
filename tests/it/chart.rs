//! The Helm chart has what the manifests have: its copies of files, its version, and the program's flags. What it renders
//! is compared where helm is: `make chart`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::docs::assert_current;

/// Files that the chart has copies of, as nothing outside of a chart's folder is packaged: folder of the chart, and where
/// they come from.
const COPIES: [(&str, &[&str]); 4] = [
    (
        "crds",
        &[
            "crds/clustertraffichealthpolicies.yaml",
            "crds/traffichealthpolicies.yaml",
        ],
    ),
    (
        "files",
        &[
            "manifests/rbac.yaml",
            "manifests/rbac-kube-system.yaml",
            "manifests/rbac-view.yaml",
            "manifests/service.yaml",
            "manifests/disruption-budget.yaml",
            "manifests/components/policy-warnings/warnings.yaml",
            "manifests/components/prometheus/rules.yaml",
            "manifests/components/prometheus/service-monitor.yaml",
        ],
    ),
    (
        "files/instance-metrics",
        &[
            "manifests/components/instance-metrics/rbac.yaml",
            "manifests/components/instance-metrics/rbac-kube-public.yaml",
        ],
    ),
    (
        "files/remedy-cordon",
        &[
            "crds/ledger/remediations.yaml",
            "crds/ledger/remediationapprovals.yaml",
            "manifests/components/remedy-cordon/admission.yaml",
            "manifests/components/remedy-cordon/rbac.yaml",
            "manifests/components/remedy-cordon/rbac-people.yaml",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn chart() -> PathBuf {
    root().join("manifests/chart")
}

#[test]
fn copies_are_current() {
    for (folder, sources) in COPIES {
        let mut wanted = BTreeSet::new();
        for source in sources {
            let text = std::fs::read_to_string(root().join(source)).unwrap();
            let name = Path::new(source).file_name().unwrap().to_str().unwrap();
            assert_current(&format!("manifests/chart/{folder}/{name}"), &text);
            wanted.insert(OsString::from(name));
        }
        let there = std::fs::read_dir(chart().join(folder)).unwrap();
        let files = there
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_file());
        let there: BTreeSet<_> = files.map(|entry| entry.file_name()).collect();
        assert_eq!(there, wanted, "{folder}");
    }
    let definitions = std::fs::read_dir(root().join("crds")).unwrap();
    let definitions = definitions.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|extension| extension == "yaml")
    });
    assert_eq!(definitions.count(), COPIES[0].1.len(), "a definition has no copy");
}

#[test]
fn the_chart_is_of_the_version_of_the_program() {
    let text = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let about: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// The schema names each value and no other, so that it neither refuses a value nor lets a typing mistake pass.
#[test]
fn the_schema_names_every_value() {
    let values: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(chart().join("values.yaml")).unwrap()).unwrap();
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap();
    let mut names = keys(&values);
    names.insert("global".to_owned());
    // What a team may add, and the defaults do not have.
    assert_eq!(keys(&schema["properties"]), names);
    for (name, value) in values.as_object().unwrap() {
        let schema = &schema["properties"][name];
        if schema["additionalProperties"] == false && name != "resources" {
            assert_eq!(keys(&schema["properties"]), keys(value), "{name}");
        }
    }
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// Flags that the chart gives are ones that the program has.
#[test]
fn the_flags_exist() {
    let text = std::fs::read_to_string(chart().join("templates/deployment.yaml")).unwrap();
    let flags: BTreeSet<&str> = text
        .split(|c: char| c.is_whitespace() || c == '"')
        .filter_map(|word| word.strip_prefix("--")?.split('=').next())
        .collect();
    assert!(flags.len() >= 5, "{flags:?}");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words: BTreeSet<&str> = help.split_whitespace().collect();
    for flag in flags {
        let flag = format!("--{flag}");
        assert!(words.contains(flag.as_str()), "{flag} is no flag of run");
    }
}
