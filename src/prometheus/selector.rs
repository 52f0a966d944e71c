//! Parts of PromQL that are made of names that others chose: each is checked or quoted here, and nowhere else.

use std::fmt::Write;

/// A metric's name: `[a-zA-Z_:][a-zA-Z0-9_:]*` (Prometheus' data model), without the colons, which mark rules of the
/// server and not what was measured. At most 200 bytes: nothing that is exported is longer.
pub fn is_metric(name: &str) -> bool {
    name.len() <= 200 && is_name(name)
}

/// A label's name: `[a-zA-Z_][a-zA-Z0-9_]*`; two underscores at the beginning are Prometheus' own.
pub fn is_label(name: &str) -> bool {
    name.len() <= 100 && !name.starts_with("__") && is_name(name)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A text as PromQL writes it in double quotes, with Go's escapes (`promql/parser/lex.go`, `lexEscape`;
/// `util/strutil/quote.go`).
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                // `\u` and four digits: every control character is below U+0100. A `String` takes every write.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Longest pattern that a query has, in bytes: it is there twice, and servers take a request line of 8 KiB at least once
/// each of its signs is escaped (RFC 9112, section 3, recommends so much).
const LONGEST_PATTERN: usize = 2048;

/// A pattern that means these names and nothing else, in the syntax of RE2, which PromQL anchors at both ends; `None` where it
/// would be too long, or would mean nothing. What is no name of an object is left out.
pub fn any_of<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let is_name = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
    };
    let names: Vec<String> = names
        .filter(is_name)
        .map(|name| name.replace('.', "\\."))
        .collect();
    let pattern = names.join("|");
    (!pattern.is_empty() && pattern.len() <= LONGEST_PATTERN).then_some(pattern)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http_requests_total", true)]
    #[case("_x", true)]
    #[case("", false)]
    #[case("9x", false)]
    #[case("job:x:rate5m", false)]
    #[case("up{namespace=\"other\"}", false)]
    #[case("up or vector(1)", false)]
    #[case("up\n", false)]
    #[case("\u{e9}", false)]
    fn only_a_name_is_a_metric(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_metric(name), expected);
        assert_eq!(is_label(name), expected);
    }

    #[rstest]
    #[case("__name__", false)]
    #[case("pod", true)]
    fn labels_of_prometheus_are_its_own(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_label(name), expected);
    }

    #[rstest]
    #[case("shop", r#""shop""#)]
    #[case("a\"} or up{b=\"", r#""a\"} or up{b=\"""#)]
    #[case("a\\", r#""a\\""#)]
    #[case("a\nb", "\"a\\u000ab\"")]
    fn a_text_stays_a_text(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(quoted(text), expected);
    }

    proptest! {
        /// Whatever is quoted, the only quote that is not escaped is the last character.
        #[test]
        fn no_text_leaves_its_quotes(text in any::<String>()) {
            let quoted = quoted(&text);
            let mut inside = quoted.chars().skip(1);
            let mut length = 1;
            while let Some(c) = inside.next() {
                length += 1;
                prop_assert!(!c.is_control());
                match c {
                    '\\' => { inside.next(); length += 1; }
                    '"' => break,
                    _ => {}
                }
            }
            prop_assert_eq!(length, quoted.chars().count());
        }
    }
}
