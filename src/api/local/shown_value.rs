//! What a message shows of a value that does not fit: the value itself, and an example of one that does.

use jiff::SignedDuration;
use serde_json::Value;

use crate::suggest::did_you_mean;

/// Most characters of a value that are shown.
const SHOWN: usize = 40;

/// A value as shown: texts in quotes, and cut where they are long.
pub(super) fn found(value: &Value) -> String {
    let text = value.to_string();
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

/// What a value of another type was probably meant to be, with what leads to it; empty where that is not known.
pub(super) fn meant(schema: &Value, value: &Value, path: &str) -> String {
    match value {
        Value::String(text) if schema["type"] == "integer" => number(text, path),
        Value::Number(number) if schema["type"] == "string" => format!("; write \"{number}\""),
        // YAML 1.1 reads on, off, yes and no as these.
        Value::Bool(on) if schema["type"] == "string" => {
            let word = if *on { "Enabled" } else { "Disabled" };
            let mut values = schema["enum"].as_array().into_iter().flatten();
            let known = values.any(|value| value == word);
            if known {
                format!("; write {word}")
            } else {
                String::new()
            }
        }
        _ if schema["type"] == "array" && !value.is_object() => format!("; write [{value}]"),
        _ => String::new(),
    }
}

/// A whole number that was written as text, or as a time with a unit.
fn number(text: &str, path: &str) -> String {
    let whole = text.trim().parse::<i64>().ok();
    let seconds = || {
        let time: SignedDuration = text.parse().ok().filter(|_| path.ends_with("Seconds"))?;
        (time.subsec_nanos() == 0).then(|| time.as_secs())
    };
    match (whole, seconds()) {
        (Some(number), _) => format!("; write {number}"),
        (None, Some(seconds)) => format!("; in seconds: {seconds}"),
        (None, None) => String::new(),
    }
}

/// One of a few words that was mistyped.
pub(super) fn similar(text: &str, values: &[&str]) -> String {
    let same = values.iter().find(|value| value.eq_ignore_ascii_case(text));
    match (same, text.to_ascii_lowercase().as_str()) {
        (Some(value), _) => format!("; did you mean {value}?"),
        (None, "on" | "true" | "yes") if values.contains(&"Enabled") => "; did you mean Enabled?".into(),
        (None, "off" | "false" | "no") if values.contains(&"Disabled") => "; did you mean Disabled?".into(),
        _ => did_you_mean(text, values.iter().copied()),
    }
}

/// A field that was mistyped.
pub(super) fn field(schema: &Value, name: &str) -> String {
    let known = schema["properties"].as_object();
    did_you_mean(
        name,
        known
            .into_iter()
            .flat_map(|fields| fields.keys().map(String::as_str)),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"type": "integer"}), json!("30m"), "a.idleSeconds", "; in seconds: 1800")]
    #[case(json!({"type": "integer"}), json!("1h30m"), "idleTimeoutSeconds", "; in seconds: 5400")]
    #[case(json!({"type": "integer"}), json!("1800"), "a.idleSeconds", "; write 1800")]
    #[case(json!({"type": "integer"}), json!("30m"), "maxPercentPerNode", "")]
    #[case(json!({"type": "integer"}), json!("a lot"), "a.idleSeconds", "")]
    #[case(json!({"type": "string", "enum": ["Enabled", "Disabled"]}), json!(true), "state", "; write Enabled")]
    #[case(json!({"type": "string", "enum": ["Enabled", "Disabled"]}), json!(false), "state", "; write Disabled")]
    #[case(json!({"type": "string"}), json!(true), "name", "")]
    #[case(json!({"type": "string"}), json!(1), "name", "; write \"1\"")]
    #[case(json!({"type": "array"}), json!("grpc"), "ports", "; write [\"grpc\"]")]
    fn examples(#[case] schema: Value, #[case] value: Value, #[case] path: &str, #[case] expected: &str) {
        assert_eq!(meant(&schema, &value, path), expected);
    }

    #[rstest]
    #[case("grpc", "; did you mean GRPC?")]
    #[case("HTTP", "; did you mean HTTP1?")]
    #[case("on", "")]
    fn words(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(similar(text, &["GRPC", "HTTP1", "TCP"]), expected);
        assert_eq!(similar("on", &["Enabled", "Disabled"]), "; did you mean Enabled?");
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(found(&json!("a".repeat(100))).chars().count(), SHOWN + 1);
        assert_eq!(found(&json!("30m")), "\"30m\"");
    }
}
