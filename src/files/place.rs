//! Where a document, an item of a list or a field stands, for messages.

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::Path;

use evenkeel_core::sources::{self, FieldPath, FieldStep};

use super::document::Document;
use super::locate::{LineColumn, locate};

/// About how many bytes of a file are read again to find where its faults stand: a file of a million faults must not be read
/// a million times. Beyond that, the place of the document is shown.
const AGAIN: usize = 4 << 20;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct InputFile<'a> {
    pub(super) path: &'a Path,
    /// What people call it.
    pub(super) name: &'a str,
    /// Its text as UTF-8.
    pub(super) bytes: &'a [u8],
    again: Cell<usize>,
    /// The last place that was shown, and its byte: the next is mostly behind it.
    last: Cell<(usize, LineColumn)>,
}

impl<'a> InputFile<'a> {
    pub(super) const fn new(path: &'a Path, name: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            path,
            name,
            bytes,
            again: Cell::new(AGAIN),
            last: Cell::new((0, LineColumn::FIRST)),
        }
    }

    /// The place of a byte in a document of this number.
    pub(super) fn at(&self, number: u32, byte: usize) -> String {
        format!("{}, document {number}, {}", self.name, self.line_column(byte))
    }

    fn line_column(&self, byte: usize) -> LineColumn {
        let (from, at) = match self.last.get() {
            last if last.0 <= byte => last,
            _ => (0, LineColumn::FIRST),
        };
        let place = at.on(self.bytes, from, byte);
        self.last.set((byte, place));
        place
    }
}

/// A document, or an item of the list that it is.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    pub(super) file: &'a InputFile<'a>,
    number: u32,
    text: &'a str,
    is_json: bool,
    start: usize,
    /// The way to the item.
    item: FieldPath,
    /// Kind and name of the object, once they are known.
    object: String,
    /// Whether it is an item of a `List`, which holds nothing but objects.
    pub(super) listed: bool,
}

impl<'a> Place<'a> {
    pub(super) fn document(file: &'a InputFile<'a>, document: &Document<'a>) -> Self {
        Self {
            file,
            number: document.number,
            text: document.text,
            is_json: document.is_json,
            start: document.start,
            item: FieldPath::default(),
            object: String::new(),
            listed: false,
        }
    }

    /// An item of the list that stands here, under a key or as the document itself.
    pub(super) fn item(&self, key: Option<&str>, index: usize, listed: bool) -> Self {
        let mut place = self.clone();
        place.item.0.extend(key.map(FieldStep::from));
        place.item.0.push(FieldStep::Item(index));
        place.listed = listed;
        place
    }

    /// The same place, now that it is known what stands there: `Service shop/checkout`.
    pub(super) fn of_object(&self, object: String) -> Self {
        Self {
            object,
            ..self.clone()
        }
    }

    /// The line at which a document begins, behind blank lines and comments; none for an item of a list, which only a second
    /// reading would find.
    pub(super) fn line(&self) -> Option<u64> {
        let mut start = self.start;
        for line in self.text.split_inclusive('\n') {
            let text = line.trim_start();
            if !text.is_empty() && !text.starts_with('#') {
                break;
            }
            start += line.len();
        }
        self.item.0.is_empty().then(|| self.file.line_column(start).line)
    }

    /// Where it begins.
    pub(super) fn begins(&self) -> String {
        self.tell(&[])
    }

    fn tell(&self, field: &[FieldStep]) -> String {
        let left = self.file.again.get();
        let within = (left > 0).then(|| {
            self.file.again.set(left.saturating_sub(self.text.len()));
            let way: Vec<FieldStep> = self.item.0.iter().chain(field).cloned().collect();
            locate(self.text, self.is_json, &way)
        });
        let byte = self.start + within.flatten().unwrap_or(0);
        let mut told = self.file.at(self.number, byte);
        if !self.item.0.is_empty() {
            let _ = write!(told, ", {}", self.item);
        }
        if !self.object.is_empty() {
            let _ = write!(told, " ({})", self.object);
        }
        told
    }
}

impl sources::Place for Place<'_> {
    fn of(&self, field: &FieldPath) -> String {
        self.tell(&field.0)
    }
}
