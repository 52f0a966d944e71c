//! Reads a page chunk by chunk.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::line::{self, Sample, is_blank};
use super::{Format, PageError, Wanted};

/// How much of a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Most bytes of a page.
    pub bytes: u64,
    /// Most lines of a page.
    pub lines: u64,
    /// Most bytes of a line that is wanted; others may have any number.
    pub line_bytes: usize,
    /// Most series that are wanted.
    pub series: usize,
}

impl Default for PageLimits {
    /// Pages of 50 MB are known from API servers with many resources; a series of theirs has some 150 bytes.
    fn default() -> Self {
        Self {
            bytes: 128 << 20,
            lines: 2_000_000,
            line_bytes: 16 << 10,
            series: 50_000,
        }
    }
}

/// What a page came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of it.
    pub bytes: u64,
    /// Lines of it.
    pub lines: u64,
    /// Series that were wanted.
    pub series: usize,
}

/// What the line is that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineState {
    /// It may be wanted: its beginning is held.
    Held,
    /// It is not wanted, and skipped to its end.
    Skipped,
}

/// Reads one page.
#[derive(Debug)]
pub struct Reader<'w> {
    wanted: &'w Wanted,
    format: Format,
    limits: PageLimits,
    summary: Summary,
    /// Whether the line that ends the page, `# EOF`, was read.
    ended: bool,
    state: LineState,
    /// The beginning of a line whose end has not arrived.
    held: Vec<u8>,
    /// The metric of the last line, and its place among those that are wanted. The lines of a metric follow each other.
    last: (Vec<u8>, Option<usize>),
    /// A hash of each wanted series. Its keys are random, so no page can bring two to collide.
    seen: HashSet<u64>,
    hashes: RandomState,
}

impl<'w> Reader<'w> {
    /// A reader of a page in this format.
    pub fn new(wanted: &'w Wanted, format: Format, limits: PageLimits) -> Self {
        Self {
            wanted,
            format,
            limits,
            summary: Summary {
                bytes: 0,
                lines: 0,
                series: 0,
            },
            ended: false,
            state: LineState::Held,
            held: Vec::new(),
            last: (Vec::new(), None),
            seen: HashSet::new(),
            hashes: RandomState::new(),
        }
    }

    /// Takes the next bytes. `sink` gets each wanted sample, with the place of its metric in the list.
    ///
    /// # Errors
    /// What makes the page worthless; nothing more may be pushed then, and what the sink got counts for nothing.
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn FnMut(usize, &Sample<'_>)) -> Result<(), PageError> {
        self.summary.bytes += chunk.len() as u64;
        if self.summary.bytes > self.limits.bytes {
            return Err(PageError::TooLong(self.limits.bytes));
        }
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            self.line(line, sink)?;
        }
        self.hold(rest)
    }

    /// The page has come to its end.
    ///
    /// # Errors
    /// It has not: its last line, or its mark of the end, is missing.
    pub fn finish(self) -> Result<Summary, PageError> {
        let whole = match self.format {
            Format::OpenMetrics => self.ended,
            Format::Text => self.summary.lines > 0,
        };
        if whole && self.held.is_empty() && self.state == LineState::Held {
            Ok(self.summary)
        } else {
            Err(PageError::Torn(self.summary.lines))
        }
    }

    /// Takes the last bytes of a line.
    fn line(&mut self, end: &[u8], sink: &mut dyn FnMut(usize, &Sample<'_>)) -> Result<(), PageError> {
        self.summary.lines += 1;
        if self.summary.lines > self.limits.lines {
            return Err(PageError::TooManyLines(self.limits.lines));
        }
        if self.state == LineState::Skipped {
            self.state = LineState::Held;
            return Ok(());
        }
        if self.held.is_empty() {
            return self.whole(end, sink);
        }
        let mut line = std::mem::take(&mut self.held);
        line.extend_from_slice(end);
        let outcome = self.whole(&line, sink);
        // Its room is used again.
        line.clear();
        self.held = line;
        outcome
    }

    /// Keeps the beginning of a line, as far as it may be wanted.
    fn hold(&mut self, begin: &[u8]) -> Result<(), PageError> {
        if self.state == LineState::Skipped || begin.is_empty() {
            return Ok(());
        }
        self.held.extend_from_slice(begin);
        if self.held.len() <= self.limits.line_bytes {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        if !held.starts_with(b"#") && self.place(unindented(&held)).is_some() {
            return Err(self.too_long(self.summary.lines + 1));
        }
        self.state = LineState::Skipped;
        Ok(())
    }

    /// Reads a line.
    fn whole(&mut self, line: &[u8], sink: &mut dyn FnMut(usize, &Sample<'_>)) -> Result<(), PageError> {
        let number = self.summary.lines;
        if self.ended {
            return Err(PageError::AfterEnd(number));
        }
        if line.starts_with(b"#") {
            return self.comment(line);
        }
        let line = unindented(line);
        let Some(at) = self.place(line) else {
            return Ok(());
        };
        let only = self.wanted.metric(at).and_then(|metric| metric.only);
        if only.is_some_and(|only| memchr::memmem::find(line, only.as_bytes()).is_none()) {
            return Ok(());
        }
        if line.len() > self.limits.line_bytes {
            return Err(self.too_long(number));
        }
        let sample = line::parse(line, self.last.0.len(), self.format);
        let sample = sample.map_err(|what| PageError::Malformed { line: number, what })?;
        self.summary.series += 1;
        if self.summary.series > self.limits.series {
            return Err(PageError::TooManySeries(self.limits.series));
        }
        if !self.seen.insert(self.hash(at, &sample)) {
            let name = self.wanted.metric(at).map_or("", |metric| metric.name);
            return Err(PageError::Duplicate { line: number, name });
        }
        sink(at, &sample);
        Ok(())
    }

    /// The place of a line's metric among those that are wanted; the metric is the last one from here on.
    fn place(&mut self, line: &[u8]) -> Option<usize> {
        let (last, at) = &mut self.last;
        let same = line.starts_with(last)
            && !last.is_empty()
            && line
                .get(last.len())
                .is_some_and(|byte| *byte == b'{' || is_blank(*byte));
        if !same {
            let end = memchr::memchr3(b'{', b' ', b'\t', line).unwrap_or(line.len());
            let name = line.get(..end).unwrap_or_default();
            *at = self.wanted.find(name);
            last.clear();
            // No metric that is wanted has a longer name; the lines of others are compared as well.
            last.extend_from_slice(name.get(..name.len().min(256)).unwrap_or_default());
        }
        *at
    }

    /// Reads a line that begins with `#`: the type of a metric, or the end of the page.
    fn comment(&mut self, line: &[u8]) -> Result<(), PageError> {
        if self.format == Format::OpenMetrics && line == b"# EOF" {
            self.ended = true;
            return Ok(());
        }
        let Some(declared) = line.strip_prefix(b"# TYPE ") else {
            return Ok(());
        };
        let mut words = declared
            .split(|byte| is_blank(*byte))
            .filter(|word| !word.is_empty());
        let (Some(family), Some(kind)) = (words.next(), words.next()) else {
            return Ok(());
        };
        match self.wanted.contradiction(family, kind) {
            None => Ok(()),
            Some(metric) => Err(PageError::WrongType {
                line: self.summary.lines,
                name: metric.name,
                expected: metric.kind,
            }),
        }
    }

    /// The same for the same labels in any order; labels without a value are as good as absent.
    fn hash(&self, at: usize, sample: &Sample<'_>) -> u64 {
        let labels = sample.labels.iter().filter(|(_, value)| !value.is_empty());
        let of = |label: (&str, &str)| self.hashes.hash_one((at, label));
        labels.fold(self.hashes.hash_one(at), |sum, label| sum.wrapping_add(of(label)))
    }

    fn too_long(&self, line: u64) -> PageError {
        PageError::LineTooLong {
            line,
            most: self.limits.line_bytes,
        }
    }
}

/// A line without the blanks that it may begin with.
fn unindented(line: &[u8]) -> &[u8] {
    let begin = line.iter().position(|byte| !is_blank(*byte));
    begin.and_then(|begin| line.get(begin..)).unwrap_or_default()
}
