//! Notes, with what is said alike of several policies said once.

use std::collections::HashMap;

use evenkeel_core::findings::{Note, Remark};

/// Notes in their order; where they are to be few, policies with the same mistake are one note, under the first of them.
pub(super) fn grouped(notes: &[Note], few: bool) -> Vec<String> {
    let mut groups: Vec<(&Note, usize)> = Vec::new();
    let mut places: HashMap<&Remark, usize> = HashMap::new();
    for note in notes {
        if let (Note::OfPolicy { remark, .. }, true) = (note, few) {
            let place = *places.entry(remark).or_insert(groups.len());
            if let Some(group) = groups.get_mut(place) {
                group.1 += 1;
                continue;
            }
        }
        groups.push((note, 0));
    }
    let shown = groups.into_iter().map(|group| match group {
        (Note::OfPolicy { policy, remark }, more @ 1..) => {
            remark.of(format_args!("policy {policy} (and {more} more like it)"))
        }
        (note, _) => note.to_string(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policy: &str, connection: Option<&str>, said: &str) -> Note {
        Note::OfPolicy {
            policy: policy.into(),
            remark: Remark {
                connection: connection.map(str::to_owned),
                said: said.into(),
            },
        }
    }

    #[test]
    fn policies_with_one_mistake_are_one_note() {
        let file = || Note::from("a file".to_owned());
        let notes = [
            file(),
            of("a/x", None, "selects no Service of its namespace"),
            of("b/y", Some("c"), "no"),
            of("b/y", Some("d"), "no"),
            of("c/z", None, "selects no Service of its namespace"),
            of("d/z", Some("c"), "no"),
            file(),
        ];
        let expected = [
            "a file",
            "policy a/x (and 1 more like it) selects no Service of its namespace",
            "policy b/y (and 1 more like it), connection c: no",
            "policy b/y, connection d: no",
            "a file",
        ];
        assert_eq!(grouped(&notes, true), expected);
        let each = notes.iter().map(ToString::to_string);
        assert_eq!(grouped(&notes, false), each.collect::<Vec<_>>());
    }
}
