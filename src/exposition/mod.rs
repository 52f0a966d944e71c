//! The text that exporters serve on `/metrics`, read as it arrives: Prometheus' text format 0.0.4 and OpenMetrics 1.0.
//!
//! The page of a busy API server has 50 MB, of which a few kilobytes matter. So a page is never held: [`Reader`] takes it
//! chunk by chunk, skips a line whose metric is not wanted by its first bytes, and gives the others to its caller one at a
//! time. A page that is wrong in what is wanted of it, or that does not come to its end, is an error as a whole: half of
//! the series of a counter, added up, would be a number that was never measured.
//!
//! The formats: `docs/instrumenting/exposition_formats.md` of prometheus/docs, and
//! `specification/OpenMetrics.md` of OpenObservability/OpenMetrics.

mod labels;
mod line;
mod reader;
#[cfg(test)]
mod tests;
mod wanted;

pub use labels::SeriesLabels;
pub use line::Sample;
pub(crate) use line::{millis, number};
pub use reader::{PageLimits, Reader, Summary};
pub use wanted::{SeriesKind, Wanted, WantedMetric};

/// What a page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4: times are milliseconds, and the page has no end of its own.
    Text,
    /// OpenMetrics: times are seconds, samples may have exemplars, and the page ends with `# EOF`.
    OpenMetrics,
}

impl Format {
    /// By the `Content-Type` of an answer. What names neither is read as text, as Prometheus itself did before version 3
    /// (`model/textparse/interface.go`, `New`).
    pub fn of(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// Why a page says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It has more bytes than are read.
    #[error("more than {} MiB", .0 >> 20)]
    TooLong(u64),
    /// It has more lines than are read.
    #[error("more than {0} lines")]
    TooManyLines(u64),
    /// A wanted line is longer than any that is written in earnest.
    #[error("line {line}: more than {most} bytes")]
    LineTooLong {
        /// The line, from 1.
        line: u64,
        /// The limit.
        most: usize,
    },
    /// More series are wanted than are taken.
    #[error("more than {0} series of the metrics that are read")]
    TooManySeries(usize),
    /// A wanted line is not written as the format says.
    #[error("line {line}: {what}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The same series twice: which of them counts is not known.
    #[error("line {line}: {name} is there twice with the same labels")]
    Duplicate {
        /// The line, from 1.
        line: u64,
        /// The metric.
        name: &'static str,
    },
    /// A metric of another type than the one it is read as.
    #[error("line {line}: {name} is not a {expected} here")]
    WrongType {
        /// The line, from 1.
        line: u64,
        /// The metric.
        name: &'static str,
        /// What it is read as.
        expected: SeriesKind,
    },
    /// The page broke off.
    #[error("the page breaks off after {0} lines")]
    Torn(u64),
    /// Something follows the end of the page.
    #[error("line {0}: something follows the end of the page")]
    AfterEnd(u64),
}
