//! Prints how fast a page of an API server is read, in MB/s: `cargo bench --bench exposition`. Nothing is asserted, as times
//! are the machine's as much as ours.

#![allow(
    clippy::expect_used,
    reason = "a bench that cannot read its page prints nothing"
)]
#![allow(
    clippy::cast_precision_loss,
    reason = "a page has far fewer bytes than an f64 holds exactly"
)]

use std::fmt::Write as _;
use std::time::Instant;

use evenkeel::exposition::{Format, PageLimits, Reader, SeriesKind, Wanted, WantedMetric};

const METRICS: &[WantedMetric] = &[
    WantedMetric {
        name: "apiserver_request_total",
        kind: SeriesKind::Counter,
        only: None,
    },
    WantedMetric {
        name: "etcd_request_duration_seconds_count",
        kind: SeriesKind::Histogram,
        only: None,
    },
];

/// A page of about so many bytes, of which the buckets of histograms are most, as on a real one.
fn page(bytes: usize) -> String {
    let mut page = String::with_capacity(bytes + 4096);
    let mut resource = 0;
    while page.len() < bytes {
        resource += 1;
        for verb in ["GET", "LIST", "PUT", "WATCH"] {
            // A String takes every write.
            let _ = writeln!(
                page,
                "apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"apps\",resource=\"r{resource}\",scope=\"resource\",subresource=\"\",verb=\"{verb}\",version=\"v1\"}} {resource}"
            );
            for bucket in 0..40 {
                let _ = writeln!(
                    page,
                    "apiserver_request_duration_seconds_bucket{{component=\"apiserver\",dry_run=\"\",group=\"apps\",resource=\"r{resource}\",scope=\"resource\",subresource=\"\",verb=\"{verb}\",version=\"v1\",le=\"{bucket}\"}} {bucket}"
                );
            }
        }
    }
    page
}

fn main() {
    let page = page(50 << 20);
    let wanted = Wanted::new(METRICS);
    for chunk in [8 << 10, 64 << 10] {
        let began = Instant::now();
        let mut reader = Reader::new(&wanted, Format::Text, PageLimits::default());
        let mut sum = 0.0;
        for bytes in page.as_bytes().chunks(chunk) {
            reader
                .push(bytes, &mut |_, sample| sum += sample.value)
                .expect("the page is right");
        }
        let summary = reader.finish().expect("the page is whole");
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{} lines, {} of them wanted, in chunks of {} KiB: {:.0} MB/s ({:.0} ms; sum {sum})",
            summary.lines,
            summary.series,
            chunk >> 10,
            summary.bytes as f64 / 1e6 / seconds,
            seconds * 1000.0
        );
    }
}
