//! Feeds a core from files: what `--from` and `--policy` name.
//!
//! Files are what people happen to have: a pile from `kubectl get -o yaml`, a folder of manifests, half a download.
//! So nothing that is wrong with one document keeps the others from being read, and nothing is skipped in silence:
//! every document that was not understood is listed with its file, its number and the place within it. Kinds that
//! no check reads are only counted.
//!
//! What a file does not hold is not known to be absent: what proves that a kind was given as a whole is in `extent`. Our
//! own kinds are the exception: no policy is no policy. Where a part of the EndpointSlices could not be read, all of
//! them count as lost, because "no endpoint" judged from half of them would be a false alarm.

mod decode;
mod document;
mod extent;
mod feed;
mod fields;
mod find;
mod head;
mod list;
mod locate;
mod measured;
mod options;
mod place;
mod places;
mod refused;
mod route;
mod strict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use evenkeel_core::Core;
use evenkeel_core::findings::{FindingList, Note, Unreadable};
use evenkeel_core::know::{Mono, Source};

use feed::{Feed, Take};
pub use places::{At, Places};

/// How files are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest file that is read, in bytes.
    pub max_file_size: u64,
    /// The namespace of objects that name none.
    pub namespace: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_file_size: 64 << 20,
            namespace: "default".into(),
        }
    }
}

/// What reading brought, apart from the facts.
#[derive(Debug, Default)]
pub struct Report {
    /// What could not be read, in the order it was met.
    pub problems: Vec<Unreadable>,
    /// What a person may want to know, without being wrong.
    pub notes: Vec<Note>,
    /// How many objects were left aside, by kind.
    pub ignored: BTreeMap<String, u32>,
    /// Where the objects stand that findings are about.
    pub places: Places,
    /// The moment at which what was measured is judged, since the first of it was asked for.
    pub measured: Mono,
    /// Sources of which a part was lost with a document; the problems say which.
    torn: BTreeSet<Source>,
}

impl Report {
    /// Adds a note: a sentence by itself.
    pub(crate) fn note(&mut self, sentence: String) {
        self.notes.push(Note::Sentence(sentence));
    }

    /// Lists the problems with files among what could not be read. The document by which a source was torn is one of them,
    /// so the source itself is not listed once more.
    pub fn tell(&self, list: &mut FindingList) {
        list.unreadable
            .retain(|one| !self.torn.iter().any(|source| one.source == source.name()));
        list.unreadable.extend(self.problems.iter().cloned());
        list.unreadable
            .sort_by_cached_key(|one| (by_number(&one.source), one.reason.clone()));
    }
}

/// Most digits of a number by which text is sorted.
const DIGITS: usize = 10;

/// A key that sorts text as people count: line 9 before line 12.
fn by_number(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (words, numbers) = rest.split_at(at);
        let end = numbers.find(|c: char| !c.is_ascii_digit());
        let (number, after) = numbers.split_at(end.unwrap_or(numbers.len()));
        key.push_str(words);
        key.extend(std::iter::repeat_n('0', DIGITS.saturating_sub(number.len())));
        key.push_str(number);
        rest = after;
    }
    key + rest
}

/// Reads everything below these paths into a core.
pub fn read(core: &mut Core, paths: &[PathBuf], options: &Options, report: &mut Report) {
    let mut feed = Feed::new(core, Take::Everything, options, report);
    feed.paths(paths);
    feed.finish();
}

/// Reads drafts of policies into a core that knows the rest; of equal names the draft replaces the stored one.
pub fn drafts(core: &mut Core, paths: &[PathBuf], options: &Options, report: &mut Report) {
    Feed::new(core, Take::Policies, options, report).paths(paths);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a.yaml, line 9, column 30", "a.yaml, line 12, column 3")]
    #[case("a.yaml, line 9, column 3", "a.yaml, line 9, column 12")]
    #[case("a", "b")]
    #[case("a 1", "a 2")]
    #[case("a 99999999999", "b 1")]
    fn numbers_are_sorted_as_people_count(#[case] first: &str, #[case] second: &str) {
        assert!(by_number(first) < by_number(second));
    }
}
