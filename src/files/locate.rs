//! Which field of an object an error is about.
//!
//! The core decodes JSON bytes and reports a column in them. Those bytes were made here, so nobody has seen that
//! column; but it leads to the field, and the field is what a person can find in a file.

/// One step of a path.
enum Step {
    Field(String),
    Item(usize),
}

/// The core's words with the field they are about, in place of a column.
pub(super) fn explain(json: &[u8], why: &str) -> String {
    let what = in_words(super::document::without_place(why));
    let column = why
        .rsplit_once(" column ")
        .and_then(|(_, digits)| digits.parse().ok());
    match column.map(|column| path(json, column)) {
        Some(path) if !path.is_empty() && !what.starts_with(&path) => format!("{path}: {what}"),
        _ => what,
    }
}

/// The decoder names Rust's types; a person knows ranges.
fn in_words(what: &str) -> String {
    let Some((found, kind)) = what.rsplit_once(", expected ") else {
        return what.to_owned();
    };
    let range = match kind {
        "u8" => "from 0 to 255",
        "u16" => "from 0 to 65535",
        "u32" => "from 0 to 4294967295",
        "u64" | "usize" => "from 0",
        "i32" | "i64" => "that fits",
        _ if kind.starts_with("struct ") => return format!("{found}, expected a mapping"),
        _ => return what.to_owned(),
    };
    let quoted = found
        .strip_prefix("invalid type: string \"")
        .and_then(|text| text.strip_suffix('"'))
        .is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let quotes = if quoted { ", without quotes" } else { "" };
    format!("{found}, expected a whole number {range}{quotes}")
}

/// The path of the field that holds this byte of a JSON text.
fn path(json: &[u8], column: usize) -> String {
    let mut steps: Vec<Step> = Vec::new();
    let mut key_next = false;
    let mut at = 0;
    while at < column.min(json.len()) {
        match json.get(at) {
            Some(b'{') => {
                steps.push(Step::Field(String::new()));
                key_next = true;
            }
            Some(b'[') => {
                steps.push(Step::Item(0));
                key_next = false;
            }
            Some(b'}' | b']') => {
                steps.pop();
                key_next = false;
            }
            Some(b',') => match steps.last_mut() {
                Some(Step::Item(index)) => *index += 1,
                _ => key_next = true,
            },
            Some(b'"') => {
                let end = end_of_text(json, at);
                if key_next && let Some(Step::Field(name)) = steps.last_mut() {
                    let inner = json.get(at + 1..end).unwrap_or_default();
                    *name = String::from_utf8_lossy(inner).into_owned();
                    key_next = false;
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Field(name) if name.is_empty() => path,
        Step::Field(name) if name.contains(['.', '/']) => format!("{path}[\"{name}\"]"),
        Step::Field(name) if path.is_empty() => name.clone(),
        Step::Field(name) => format!("{path}.{name}"),
        Step::Item(index) => format!("{path}[{index}]"),
    })
}

/// Where the text that begins here ends: its closing quote.
fn end_of_text(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        r#"{"spec":{"ports":[{"port":1},{"port":"x"}]}}"#,
        r#""x""#,
        "spec.ports[1].port"
    )]
    #[case(r#"{"metadata":{"labels":{"a.b/c":7}}}"#, "7", r#"metadata.labels["a.b/c"]"#)]
    #[case(r#"{"a":"{\"b\":[","c":7}"#, "7", "c")]
    #[case(r#"{"metadata":{"x":1},"b":2}"#, r#""x":1}"#, "metadata")]
    fn paths(#[case] json: &str, #[case] upto: &str, #[case] expected: &str) {
        let column = json.find(upto).map(|at| at + upto.len()).unwrap();
        assert_eq!(path(json.as_bytes(), column), expected);
    }

    #[test]
    fn any_column_gives_a_path() {
        let json = br#"{"a":[{"b\"":"\\"},[]],"c":{}}"#;
        for column in 0..json.len() + 3 {
            path(json, column);
        }
    }
}
