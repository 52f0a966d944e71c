//! `docs/schemas` says what `audit -o json` and `diff -o json` print: every field that is printed is in the schema, as the schema has it.

use std::collections::BTreeMap;
use std::path::Path;

use evenkeel_core::findings::{Finding, FindingList, FindingVerdict, JudgedInPart, NotJudged, SubjectKind};
use evenkeel_core::judge::{Datum, Severity};
use evenkeel_core::know::{Mono, Now, Origin, Unit, Wall};
use rstest::rstest;
use serde_json::{Value, json};

use crate::files::{self, Options, Report};
use crate::render;
use crate::render::findings::{Changes, ComparedAudit};
use crate::render::tests::{finding, list};

fn schema(kind: &str) -> Value {
    let file = format!("docs/schemas/{kind}.v1alpha1.schema.json");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// What does not fit, by path. It knows the keywords that the schema uses, and is stricter in one: what a schema of an object
/// does not name is wrong, though readers have to take what later versions add.
fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(target) = schema["$ref"].as_str() {
        let target = target.strip_prefix('#').unwrap();
        return faults(root, root.pointer(target).unwrap(), value, at);
    }
    let mut found = Vec::new();
    for (keyword, wanted) in schema.as_object().unwrap() {
        if let Some(what) = fault(root, keyword, wanted, value) {
            found.push(format!("{at}: {what}: {value}"));
        }
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap()).is_none() {
            found.push(format!("{at}: has no {key}: {value}"));
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(schema) => found.extend(faults(root, schema, inner, &format!("{at}.{key}"))),
            None => found.push(format!("{at}.{key}: is not in the schema")),
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        let inner = items.iter().zip(0..);
        found.extend(inner.flat_map(|(one, index)| faults(root, schema, one, &format!("{at}[{index}]"))));
    }
    found
}

/// How a value is not as one keyword wants it.
fn fault(root: &Value, keyword: &str, wanted: &Value, value: &Value) -> Option<&'static str> {
    let (holds, what) = match keyword {
        "type" => {
            let is = match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("{other}"),
            };
            (is, "is of another type")
        }
        "const" => (wanted == value, "is another value"),
        "enum" => (
            wanted.as_array().unwrap().contains(value),
            "is none of the values",
        ),
        "minimum" => {
            let enough = value
                .as_i64()
                .is_none_or(|number| number >= wanted.as_i64().unwrap());
            (enough, "is too small")
        }
        "maxItems" => {
            let most = usize::try_from(wanted.as_u64().unwrap()).unwrap();
            let few = value.as_array().is_none_or(|items| items.len() <= most);
            (few, "has too many items")
        }
        "anyOf" => {
            let fits = |one: &Value| faults(root, one, value, "").is_empty();
            (
                wanted.as_array().unwrap().iter().any(fits),
                "is none of the forms",
            )
        }
        "$schema" | "$id" | "$defs" | "title" | "description" | "required" | "properties" | "items" => {
            return None;
        }
        other => panic!("the schema uses {other}, which this test does not know"),
    };
    (!holds).then_some(what)
}

fn printed(list: &FindingList) -> Value {
    serde_json::from_str(&render::json(list).unwrap()).unwrap()
}

fn fits(value: &Value) {
    fits_in("finding-list", value);
}

fn fits_in(kind: &str, value: &Value) {
    let schema = schema(kind);
    let faults = faults(&schema, &schema, value, "list");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[rstest]
#[case("examples/demo")]
#[case("tests/fixtures/b1")]
fn real_audits_fit(#[case] folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut core, mut report) = (evenkeel_core::Core::default(), Report::default());
    files::read(&mut core, &[folder], &Options::default(), &mut report);
    let now = Now {
        mono: Mono(0),
        wall: Wall(1_795_266_000),
    };
    core.round(now);
    let mut list = core.findings(now);
    report.tell(&mut list);
    assert!(!list.findings.is_empty());
    fits(&printed(&list));
}

/// Findings of which each value of a closed set is in one.
fn of_each_value() -> Vec<Finding> {
    use FindingVerdict::{AtRisk, Violated};
    use Origin::{Assumed, Declared, Default, Measured};
    use Severity::{Critical, Info, Warning};
    use SubjectKind::{Cluster, Node, Service, Webhook, Workload, Zone};
    use Unit::{Bytes, Count, PerSecond, Percent, Seconds};

    let mut findings = Vec::new();
    let mut add = |change: &dyn Fn(&mut Finding)| {
        let mut one = finding("x");
        one.since = Some(1_700_000_000);
        if let Some(exception) = &mut one.exception {
            exception.capped_at = Some(1_700_000_000);
        }
        change(&mut one);
        findings.push(one);
    };
    for severity in [Severity::Unknown, Info, Warning, Critical] {
        add(&|one| one.severity = severity);
    }
    for verdict in [AtRisk, Violated, FindingVerdict::Unknown] {
        add(&|one| one.verdict = verdict);
    }
    for kind in [Cluster, Node, Service, Webhook, Workload, Zone] {
        add(&|one| one.subject.kind = kind);
    }
    for unit in [Seconds, Count, Percent, PerSecond, Bytes, Unit::None] {
        add(&|one| {
            one.evidence[0].unit = unit;
            one.evidence[0].value = Datum::Number(-1);
        });
    }
    for origin in [Measured, Declared, Default, Assumed] {
        add(&|one| one.evidence[0].origin = origin);
    }
    findings
}

/// A list with every field and every value of a closed set.
fn whole() -> FindingList {
    let mut list = list("x");
    list.findings.extend(of_each_value());
    list.not_judged = Some(NotJudged {
        checks: vec!["endpoint-flap"],
        reason: "because",
        policies: vec![JudgedInPart {
            policy: "shop/p".into(),
            declared: 2,
            judged: 1,
            reason: "because".into(),
        }],
        policies_left: 1,
        left_in: BTreeMap::new(),
    });
    list
}

#[test]
fn every_field_and_value_is_in_the_schema() {
    fits(&printed(&whole()));
}

#[test]
fn what_two_audits_differ_in_fits() {
    let (nothing, whole) = (
        ComparedAudit::from(&list_of(Vec::new())),
        ComparedAudit::from(&whole()),
    );
    let mut accepted = whole.clone();
    for one in &mut accepted.findings {
        one.exception = None;
    }
    for (before, after) in [(&nothing, &whole), (&whole, &nothing), (&whole, &accepted)] {
        let changes = Changes::of(before, after);
        assert!(!changes.is_empty());
        let printed = render::json(&changes).unwrap();
        fits_in("finding-diff", &serde_json::from_str(&printed).unwrap());
    }
    // What `audit` prints is what `diff` reads.
    let printed: ComparedAudit = serde_json::from_value(printed(&self::whole())).unwrap();
    assert_eq!(printed, whole);
}

fn list_of(findings: Vec<Finding>) -> FindingList {
    FindingList {
        findings,
        unreadable: Vec::new(),
        ..list("x")
    }
}

#[rstest]
#[case::no_version("/apiVersion")]
#[case::no_findings("/findings")]
#[case::no_id("/findings/0/id")]
#[case::no_kind("/findings/0/subject/kind")]
#[case::no_unit("/findings/0/evidence/0/unit")]
#[case::no_count("/summary/atRisk")]
fn what_is_wrong_does_not_fit(#[case] field: &str) {
    let schema = schema("finding-list");
    let mut other = printed(&whole());
    *other.pointer_mut(field).unwrap() = json!(true);
    assert_eq!(faults(&schema, &schema, &other, "list").len(), 1);
    let mut without = printed(&whole());
    let (parent, key) = field.rsplit_once('/').unwrap();
    let parent = without.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().remove(key).unwrap();
    assert_eq!(faults(&schema, &schema, &without, "list").len(), 1);
}
