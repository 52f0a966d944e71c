//! Pages of `/metrics`: however their bytes arrive, they say the same.

#![no_main]

// The module's own source, so that the program and its dependencies need not be built with the sanitizers.
#[allow(dead_code, unused_imports, reason = "of the module a part is used")]
#[path = "../../src/exposition/mod.rs"]
mod exposition;

use std::sync::LazyLock;

use exposition::{Format, PageError, PageLimits, Reader, SeriesKind, Summary, Wanted, WantedMetric};
use libfuzzer_sys::fuzz_target;

const METRICS: &[WantedMetric] = &[
    WantedMetric {
        name: "a_total",
        kind: SeriesKind::Counter,
        only: None,
    },
    WantedMetric {
        name: "b",
        kind: SeriesKind::Gauge,
        only: None,
    },
    WantedMetric {
        name: "c_bucket",
        kind: SeriesKind::Histogram,
        only: Some("le=\"10\""),
    },
];

static WANTED: LazyLock<Wanted> = LazyLock::new(|| Wanted::new(METRICS));

const LIMITS: PageLimits = PageLimits {
    bytes: 4_096,
    lines: 64,
    line_bytes: 256,
    series: 16,
};

/// What a page says when it arrives in chunks of this size.
fn read(page: &[u8], format: Format, chunk: usize) -> (Result<Summary, PageError>, Vec<String>) {
    let mut reader = Reader::new(&WANTED, format, LIMITS);
    let mut said = Vec::new();
    for part in page.chunks(chunk.max(1)) {
        let pushed = reader.push(part, &mut |at, sample| said.push(format!("{at} {sample:?}")));
        if let Err(error) = pushed {
            return (Err(error), said);
        }
    }
    assert!(said.len() <= LIMITS.series);
    (reader.finish(), said)
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (open_metrics, chunk, page) = input;
    let format = if open_metrics { Format::OpenMetrics } else { Format::Text };
    let whole = read(page, format, usize::MAX);
    let parts = read(page, format, usize::from(chunk));
    // Which limit a page is first above depends on how it arrives; that it says nothing then does not.
    assert_eq!(whole.0.is_ok(), parts.0.is_ok());
    if whole.0.is_ok() {
        assert_eq!(whole, parts);
    }
});
