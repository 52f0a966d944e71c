//! Notes on policies, with what several of them say alike said once.

/// Notes in their order; where they are to be few, policies with the same mistake are one note, under the first of them.
pub(super) fn grouped(notes: &[String], few: bool) -> Vec<String> {
    if !few {
        return notes.to_vec();
    }
    let mut groups: Vec<(&str, &str, usize)> = Vec::new();
    for note in notes {
        let (policy, said) = split(note).unwrap_or(("", note));
        let same = groups.iter_mut().find(|one| !one.0.is_empty() && one.1 == said);
        match same {
            Some(one) if !policy.is_empty() => one.2 += 1,
            _ => groups.push((policy, said, 0)),
        }
    }
    let shown = groups
        .into_iter()
        .map(|(policy, said, more)| match (policy, more) {
            ("", _) => said.to_owned(),
            (policy, 0) => format!("policy {policy}{said}"),
            (policy, more) => format!("policy {policy} and {more} more like it{said}"),
        });
    shown.collect()
}

/// A note on one policy: which, and what is said of it.
fn split(note: &str) -> Option<(&str, &str)> {
    let rest = note.strip_prefix("policy ")?;
    rest.split_at_checked(rest.find([' ', ',', ':'])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_with_one_mistake_are_one_note() {
        let notes = [
            "a file",
            "policy a/x selects no Service of its namespace",
            "policy b/y, connection c: no",
            "policy c/z selects no Service of its namespace",
            "a file",
        ]
        .map(str::to_owned);
        let expected = [
            "a file",
            "policy a/x and 1 more like it selects no Service of its namespace",
            "policy b/y, connection c: no",
            "a file",
        ];
        assert_eq!(grouped(&notes, true), expected);
        assert_eq!(grouped(&notes, false), notes);
    }
}
