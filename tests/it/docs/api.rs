//! The reference of the kinds, written from their definitions.

use std::fmt::Write as _;

use evenkeel::api::{crds, ledger_crds};
use serde_json::Value;

const HEAD: &str = "\
<!-- Generated from src/api: make bless -->
# API reference

Group `evenkeel.dev`, version `v1alpha1`. Every field of the kinds: what it is, and what the API server takes. A field
that is left out is unknown, not \"off\". `kubectl explain thp.spec` shows the same in a cluster.

Remediation and RemediationApproval are in `crds/ledger`, and installed by the component `remedy-cordon` alone. An operator that
runs with `--remedies` writes records and reads approvals.
";

/// A description in one line of a table.
fn flat(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}

/// What a node may be.
fn takes(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_f64();
    let mut parts = Vec::new();
    if schema["x-kubernetes-int-or-string"] == true {
        parts.push("integer or string".to_owned());
    } else if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        parts.push(words.join(", "));
    } else {
        let items = schema["items"]["type"].as_str();
        parts.push(match (schema["type"].as_str().unwrap_or("any"), items) {
            ("array", Some(items)) => format!("list of {items}s"),
            ("object", _) if schema.get("additionalProperties").is_some() => "map".to_owned(),
            (kind, _) => schema["format"]
                .as_str()
                .filter(|format| *format == "date-time")
                .unwrap_or(kind)
                .to_owned(),
        });
    }
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => parts.push(format!("{least} to {most}")),
        (Some(least), None) => parts.push(format!("from {least}")),
        (None, Some(most)) => parts.push(format!("up to {most}")),
        (None, None) => {}
    }
    for (name, unit) in [
        ("maxItems", "items"),
        ("maxProperties", "entries"),
        ("maxLength", "characters"),
    ] {
        if let Some(most) = schema[name].as_u64() {
            parts.push(format!("at most {most} {unit}"));
        }
    }
    if let Some(default) = schema.get("default") {
        parts.push(format!("default `{default}`"));
    }
    parts.join("; ")
}

/// A row for each field below a node, parents first.
fn rows(page: &mut String, path: &str, schema: &Value) {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let list = field["type"] == "array";
        let path = format!("{path}{name}{}", if list { "[]" } else { "" });
        let mark = if required.iter().any(|one| **one == *name) {
            " **required**;"
        } else {
            ""
        };
        let text = flat(field["description"].as_str().unwrap_or_default());
        writeln!(page, "| `{path}` |{mark} {} | {text} |", takes(field)).unwrap();
        let inner = if list { &field["items"] } else { field };
        rows(page, &format!("{path}."), inner);
    }
}

/// A row for each rule across fields.
fn rules(page: &mut String, path: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let message = rule["message"]
            .as_str()
            .or_else(|| rule["messageExpression"].as_str());
        let at = if path.is_empty() { "." } else { path };
        writeln!(page, "| `{at}` | {} |", flat(message.unwrap_or_default())).unwrap();
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        rules(page, &format!("{path}{dot}{name}"), field);
        if let Some(items) = field.get("items") {
            rules(page, &format!("{path}{dot}{name}[]"), items);
        }
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for crd in crds().into_iter().chain(ledger_crds()) {
        let names = &crd.spec.names;
        let version = &crd.spec.versions[0];
        let schema = version.schema.clone().unwrap().open_api_v3_schema.unwrap();
        let schema = serde_json::to_value(schema).unwrap();
        let short = names.short_names.clone().unwrap_or_default().join(", ");
        write!(
            page,
            "\n## {}\n\n{} `kubectl get {short}`; {}.\n",
            names.kind,
            flat(schema["description"].as_str().unwrap_or_default()),
            crd.spec.scope.to_lowercase(),
        )
        .unwrap();
        let parts = ["spec", "status"].into_iter();
        for part in parts.filter(|part| schema["properties"][part].is_object()) {
            write!(
                page,
                "\n### {part} of {}\n\n| field | takes | what it is |\n|---|---|---|\n",
                names.kind
            )
            .unwrap();
            rows(&mut page, "", &schema["properties"][part]);
        }
        let mut table = String::new();
        rules(&mut table, "", &schema);
        if !table.is_empty() {
            write!(
                page,
                "\n### Rules across fields of {}\n\n| at | what is refused with |\n|---|---|\n{table}",
                names.kind
            )
            .unwrap();
        }
    }
    page
}

#[test]
fn the_reference_is_current() {
    let page = page();
    assert!(
        page.lines().count() > 200 && page.contains("`connections[].clients[].tcpKeepalive"),
        "{page}"
    );
    super::assert_current("docs/api.md", &page);
}
