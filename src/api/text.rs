//! The few forms of text that the kinds accept, each as the pattern that the API server checks and as a function.
//!
//! The pattern is the published form; the function says the same without a regular-expression engine, so a draft can
//! be judged in the command line. A test holds the two together.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A name of one DNS label, as Services and namespaces have it.
pub(super) const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The name of a Service's port: as a DNS label, with a letter in it.
pub(super) const PORT_NAME: &str = "^([0-9][-0-9]*)?[a-z]([-a-z0-9]*[a-z0-9])?$";
/// A label's key: a name, after a DNS subdomain and a slash where it has a prefix.
pub(super) const LABEL_KEY: &str =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// A label's value.
pub(super) const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// A host and its port: a name, an IPv4 address or an IPv6 address in brackets.
pub(super) const HOST_PORT: &str = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?|\\[[0-9a-f:.]+\\]):[1-9][0-9]{0,4}$";
/// The name of a metric, as its exporters write it: without the colons of recording rules, which are no Pod's own
/// (`prometheus/common`, `model.IsValidLegacyMetricName`).
pub(super) const METRIC_NAME: &str = "^[a-zA-Z_][a-zA-Z0-9_]*$";
/// The name of a label of a metric, as targets and exporters write it; what begins with an underscore is internal.
pub(super) const METRIC_LABEL: &str = "^[a-zA-Z][a-zA-Z0-9_]*$";
/// A moment in UTC to the second, as RFC 3339 writes it.
pub(super) const UTC_SECONDS: &str =
    "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$";

/// Whether the text has the form of the pattern; `None` when the pattern is none of this module's.
pub(super) fn has_form(pattern: &str, text: &str) -> Option<bool> {
    Some(match pattern {
        DNS_LABEL => is_dns_label(text),
        PORT_NAME => is_port_name(text),
        LABEL_KEY => is_label_key(text),
        HOST_PORT => is_host_port(text),
        LABEL_VALUE => text.is_empty() || is_bare_name(text),
        METRIC_NAME => is_metric_name(text),
        METRIC_LABEL => is_metric_name(text) && !text.starts_with('_'),
        UTC_SECONDS => is_utc_seconds(text),
        _ => return None,
    })
}

/// Whether the text is one DNS label; the length is bounded elsewhere.
pub(crate) fn is_dns_label(text: &str) -> bool {
    framed(
        text,
        |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(),
        |byte| byte == b'-',
    )
}

/// Whether the text has the form of the name of a Service's port; the length is bounded elsewhere.
pub(crate) fn is_port_name(text: &str) -> bool {
    is_dns_label(text) && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Whether the text has the form of a label's key.
fn is_label_key(text: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match text.split_once('/') {
        Some((prefix, name)) => {
            framed(prefix, lower, |byte| matches!(byte, b'-' | b'.')) && is_bare_name(name)
        }
        None => is_bare_name(text),
    }
}

/// Whether the text can be the key of a label in all that Kubernetes asks: more than a pattern can say.
pub(super) fn can_be_label_key(text: &str) -> bool {
    let (prefix, name) = text
        .split_once('/')
        .map_or((None, text), |(prefix, name)| (Some(prefix), name));
    is_bare_name(name) && name.len() <= 63 && prefix.is_none_or(is_dns_subdomain)
}

/// Whether the text is a DNS subdomain, as most objects are named.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Whether the text is a label's value or a key without prefix.
fn is_bare_name(text: &str) -> bool {
    framed(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| matches!(byte, b'-' | b'_' | b'.'),
    )
}

/// Whether the text is not empty, starts and ends with an `edge` byte, and has only `edge` and `inner` bytes.
fn framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|&byte| edge(byte))
        && bytes.last().is_some_and(|&byte| edge(byte))
        && bytes.iter().all(|&byte| edge(byte) || inner(byte))
}

/// Whether the text has the form of a host and its port; the length is bounded elsewhere.
fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inside {
        Some(inside) => {
            let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b':' | b'.');
            !inside.is_empty() && inside.bytes().all(is_part)
        }
        None => framed(
            host,
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            |byte| matches!(byte, b'-' | b'.'),
        ),
    };
    let is_port = (1..=5).contains(&port.len())
        && !port.starts_with('0')
        && port.bytes().all(|byte| byte.is_ascii_digit());
    is_host && is_port
}

/// Whether the text can be the name of a metric; the length is bounded elsewhere.
fn is_metric_name(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(is_word) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Whether the text has the shape of a moment in UTC; whether such a day exists is asked elsewhere.
fn is_utc_seconds(text: &str) -> bool {
    let shape = b"20dd-dd-ddTdd:dd:ddZ";
    let bytes = text.as_bytes();
    bytes.len() == shape.len()
        && bytes.iter().zip(shape).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            form => byte == form,
        })
        && &text[11..13] <= "23"
        && &text[14..16] <= "59"
        && &text[17..19] <= "59"
}

/// The schema of a map of labels. The keys cannot be bounded in a structural schema: a rule does it.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
    })
}

/// The schema of a port: its number or its name.
pub(super) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 1,
        "maximum": 65535,
        "minLength": 1,
        "maxLength": 15,
        "pattern": PORT_NAME,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small backtracking matcher of just the syntax these patterns use would be a second engine; the CEL engine of
    /// the tests has a real one.
    fn engine(pattern: &str, text: &str) -> bool {
        let schema = serde_json::json!({
            "type": "string",
            "x-kubernetes-validations": [{ "rule": format!("self.matches({})", serde_json::json!(pattern)) }],
        });
        kube::core::cel::Validator::new()
            .validate(&schema, &serde_json::json!(text), None)
            .is_ok()
    }

    #[test]
    fn functions_say_what_the_patterns_say() {
        let texts = [
            "",
            "a",
            "-",
            "a-",
            "-a",
            "a-b",
            "a--b",
            "1",
            "80",
            "8a",
            "8-",
            "8-a",
            "-8a",
            "8-8",
            "a8",
            "A",
            "aB",
            "a.b",
            ".a",
            "a_b",
            "_",
            "_a",
            "a:b",
            "a{b=\"c\"}",
            "a/b",
            "A/b",
            "a/B",
            "a.b/c_d",
            "a./c",
            "/c",
            "a/",
            "a/b/c",
            "é",
            "a b",
            "a\n",
            "2027-01-31T00:00:00Z",
            "2027-01-31T24:00:00Z",
            "2027-01-31T23:60:00Z",
            "2027-01-31T23:59:60Z",
            "2027-01-31T00:00:00z",
            "2027-01-31t00:00:00Z",
            "api.example.com:6443",
            "192.0.2.1:443",
            "[2001:db8::1]:6443",
            "2001:db8::1:6443",
            "[]:6443",
            "-api:6443",
            "api:06443",
            "api:123456",
            "api:",
            ":6443",
            "2027-01-31 00:00:00Z",
            "2027-13-41T00:00:00Z",
            "2027-01-31T00:00:00+01:00",
            "1999-01-31T00:00:00Z",
            "2027-01-31",
            "2027-01-31T00:00:00.5Z",
        ];
        for pattern in [
            DNS_LABEL,
            PORT_NAME,
            LABEL_KEY,
            LABEL_VALUE,
            METRIC_NAME,
            METRIC_LABEL,
            HOST_PORT,
            UTC_SECONDS,
        ] {
            for text in texts {
                assert_eq!(
                    has_form(pattern, text),
                    Some(engine(pattern, text)),
                    "{pattern} on {text:?}"
                );
            }
        }
        assert_eq!(has_form("^x$", "x"), None);
    }
}
