//! A page of YAML with a comment above each field.

use std::fmt::Write as _;

use crate::escape::line;

/// Columns of a comment, as in the examples.
const COLUMNS: usize = 100;

/// Text that grows field by field. What comes from objects stands in comments alone, or was checked to be a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CommentedYaml {
    pub(super) text: String,
}

impl CommentedYaml {
    /// A comment, wrapped. It begins with `# `.
    pub(super) fn say(&mut self, indent: usize, text: &str) {
        let text = line(text);
        let room = COLUMNS.saturating_sub(indent + 2);
        let mut row = String::new();
        for word in text.split_whitespace() {
            if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > room {
                self.put(indent, "# ", &row);
                row.clear();
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
        if !row.is_empty() {
            self.put(indent, "# ", &row);
        }
    }

    /// A comment with a command in it, which is there to be pasted: it stays one line.
    pub(super) fn command(&mut self, text: &str) {
        self.put(0, "# ", &line(text));
    }

    /// A field that counts.
    pub(super) fn field(&mut self, indent: usize, text: &str) {
        self.put(indent, "", text);
    }

    /// A field that counts once its `#` is removed.
    pub(super) fn off(&mut self, indent: usize, text: &str) {
        self.put(indent, "#", text);
    }

    /// The lines of another page.
    pub(super) fn add(&mut self, other: &Self) {
        self.text.push_str(&other.text);
    }

    fn put(&mut self, indent: usize, mark: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{mark}{text}", "");
    }
}

/// A name as YAML reads it as a text, and no number, truth or nothing: what does not begin with a letter is quoted, and so
/// are the words of YAML 1.1, which Go's decoder follows (`sigs.k8s.io/yaml`), and `~`.
pub(super) fn name(text: &str) -> String {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if plain && begins && !WORDS.contains(&&*text.to_ascii_lowercase()) {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    }
}

/// Names in a list of one row.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", names.map(name).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("shop", "shop")]
    #[case("on", "\"on\"")]
    #[case("1e5", "\"1e5\"")]
    #[case("null", "\"null\"")]
    #[case("http2", "http2")]
    fn names_stay_texts(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(name(text), expected);
        assert_eq!(
            serde_saphyr::from_str::<String>(&name(text)).ok().as_deref(),
            Some(text)
        );
    }

    #[test]
    fn comments_are_wrapped_and_cannot_end() {
        let mut page = CommentedYaml::default();
        page.say(4, &format!("Seen: {}\nkind: Secret", "a word ".repeat(40)));
        assert!(
            page.text
                .lines()
                .all(|row| row.starts_with("    # ") && row.len() <= COLUMNS),
            "{}",
            page.text
        );
        assert!(page.text.lines().count() > 2);
    }
}
