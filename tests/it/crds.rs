//! The published definitions are what the types say, and follow the rules of an API that people rely on.

use evenkeel::api::{crd_files, crds, ledger_crd_files, ledger_crds};
use serde_json::Value;

use crate::docs::assert_current;

#[test]
fn published_definitions_are_current() {
    let files = crd_files().unwrap();
    assert_eq!(files.len(), 2);
    for (name, content) in files {
        assert_current(&format!("crds/{name}"), &content);
    }
    // Beside those that are installed by default: the component remedy-cordon installs them.
    for (name, content) in ledger_crd_files().unwrap() {
        assert_current(&format!("crds/ledger/{name}"), &content);
    }
}

/// A node of a schema and its path.
struct Node<'a> {
    path: String,
    schema: &'a Value,
    /// Whether it is a field, whose description people read.
    field: bool,
}

/// Every node of every schema, parents first.
fn every_node(visit: &mut dyn FnMut(&Node<'_>)) {
    fn walk(path: &str, schema: &Value, field: bool, visit: &mut dyn FnMut(&Node<'_>)) {
        visit(&Node {
            path: path.to_owned(),
            schema,
            field,
        });
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), inner, true, visit);
        }
        for inner in ["items", "additionalProperties"]
            .iter()
            .filter_map(|key| schema.get(key))
        {
            walk(&format!("{path}[]"), inner, false, visit);
        }
    }
    for crd in crds().into_iter().chain(ledger_crds()) {
        let schema = crd.spec.versions[0]
            .schema
            .clone()
            .unwrap()
            .open_api_v3_schema
            .unwrap();
        walk(
            &crd.spec.names.kind,
            &serde_json::to_value(schema).unwrap(),
            true,
            visit,
        );
    }
}

/// Asserts that no node of any schema is accused.
fn no_node(accuse: impl Fn(&Node<'_>) -> Option<String>) {
    let mut accused = Vec::new();
    let mut seen = 0;
    every_node(&mut |node| {
        seen += 1;
        accused.extend(accuse(node).map(|why| format!("{}: {why}", node.path)));
    });
    assert!(seen > 100, "only {seen} nodes");
    assert!(accused.is_empty(), "{}", accused.join("\n"));
}

#[test]
fn every_field_is_documented() {
    no_node(|node| {
        let text = node.schema["description"].as_str().unwrap_or_default();
        (node.field && text.len() < 10).then(|| format!("description {text:?}"))
    });
}

#[test]
fn every_list_is_bounded_and_typed() {
    no_node(|node| {
        let list = node.schema["type"] == "array";
        let typed = node.schema["x-kubernetes-list-type"].is_string();
        (list && !(node.schema["maxItems"].is_u64() && typed)).then(|| node.schema.to_string())
    });
}

#[test]
fn every_text_and_map_is_bounded() {
    no_node(|node| {
        let schema = node.schema;
        let bounded =
            schema["maxLength"].is_u64() || schema["enum"].is_array() || schema["format"] == "date-time";
        let text = schema["type"] == "string" || schema["x-kubernetes-int-or-string"] == true;
        let map = schema.get("additionalProperties").is_some();
        ((text && !bounded) || (map && !schema["maxProperties"].is_u64())).then(|| schema.to_string())
    });
}

#[test]
fn every_number_is_signed_and_whole() {
    no_node(|node| {
        let schema = node.schema;
        let number = schema["type"] == "integer" || schema["type"] == "number";
        let known = ["int32", "int64"]
            .iter()
            .any(|format| schema["format"] == *format);
        (number && !(known && schema["type"] == "integer" && schema["minimum"].is_number()))
            .then(|| schema.to_string())
    });
}

#[test]
fn every_number_of_a_spec_has_a_ceiling() {
    no_node(|node| {
        let spec = node.path.contains(".spec.");
        (spec && node.schema["type"] == "integer" && !node.schema["maximum"].is_number())
            .then(|| node.schema.to_string())
    });
}

#[test]
fn every_enum_is_closed_and_in_upper_camel_case() {
    no_node(|node| {
        let values = node.schema["enum"].as_array()?;
        let camel = |value: &Value| {
            value.as_str().is_some_and(|value| {
                value.starts_with(|first: char| first.is_ascii_uppercase())
                    && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        };
        (!values.iter().all(camel) || values.is_empty()).then(|| format!("{values:?}"))
    });
}

#[test]
fn every_rule_explains_itself() {
    no_node(|node| {
        let rules = node.schema["x-kubernetes-validations"].as_array()?;
        rules
            .iter()
            .find(|rule| !rule["message"].is_string())
            .map(ToString::to_string)
    });
}

/// The local validator knows these keywords; another one would be ignored by it in silence.
#[test]
fn only_keywords_that_the_local_validator_knows() {
    const KNOWN: [&str; 21] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    ];
    no_node(|node| {
        let unknown = node
            .schema
            .as_object()
            .unwrap()
            .keys()
            .find(|key| !KNOWN.contains(&key.as_str()))?;
        Some(format!("keyword {unknown}"))
    });
}

#[test]
fn names_scope_and_columns() {
    for crd in crds() {
        let names = &crd.spec.names;
        assert_eq!(names.categories.as_deref(), Some(&["evenkeel".to_owned()][..]));
        assert_eq!(crd.spec.group, "evenkeel.dev");
        let version = &crd.spec.versions[0];
        assert_eq!(version.name, "v1alpha1");
        assert!(
            version
                .subresources
                .as_ref()
                .is_some_and(|subresources| subresources.status.is_some())
        );
        let columns = version.additional_printer_columns.as_ref().unwrap();
        let shown = columns.iter().filter(|column| column.priority.unwrap_or(0) == 0);
        // A value is at most as wide as "Unknown"; three spaces lie between columns. 25 are left for the name.
        let width: usize = shown
            .map(|column| column.name.len().max("Unknown".len()) + 3)
            .sum();
        assert!(width <= 55, "{}: {width}", names.kind);
    }
    let scopes: Vec<_> = crds()
        .into_iter()
        .map(|crd| (crd.spec.names.short_names.unwrap(), crd.spec.scope))
        .collect();
    assert_eq!(
        scopes,
        [
            (vec!["thp".to_owned()], "Namespaced".to_owned()),
            (vec!["cthp".to_owned()], "Cluster".to_owned())
        ]
    );
}
