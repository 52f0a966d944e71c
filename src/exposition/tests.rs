//! Pages as exporters write them, and as none should.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const METRICS: &[WantedMetric] = &[
    WantedMetric {
        name: "apiserver_request_total",
        kind: SeriesKind::Counter,
        only: None,
    },
    WantedMetric {
        name: "node_nf_conntrack_entries",
        kind: SeriesKind::Gauge,
        only: None,
    },
    WantedMetric {
        name: "etcd_request_duration_seconds_count",
        kind: SeriesKind::Histogram,
        only: None,
    },
];

/// A sample that came out: place, labels, value, time.
type SeenSample = (usize, Vec<(String, String)>, String, Option<i64>);

fn read_in(
    chunks: &[&[u8]],
    format: Format,
    limits: PageLimits,
) -> Result<(Vec<SeenSample>, Summary), PageError> {
    let wanted = Wanted::new(METRICS);
    let mut reader = Reader::new(&wanted, format, limits);
    let mut seen = Vec::new();
    for chunk in chunks {
        reader.push(chunk, &mut |at, sample| {
            assert_eq!(METRICS[at].name, sample.name);
            let labels = sample.labels.iter();
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            // NaN is equal to nothing; its text is.
            seen.push((at, labels.collect(), sample.value.to_string(), sample.at));
        })?;
    }
    Ok((seen, reader.finish()?))
}

fn read(page: &str, format: Format) -> Result<Vec<SeenSample>, PageError> {
    read_in(&[page.as_bytes()], format, PageLimits::default()).map(|read| read.0)
}

fn one(line: &str) -> Result<SeenSample, PageError> {
    read(line, Format::Text).map(|mut seen| seen.remove(0))
}

#[rstest]
#[case::bare("node_nf_conntrack_entries 7\n", &[], "7", None)]
#[case::time("node_nf_conntrack_entries 7 1700000000123\n", &[], "7", Some(1_700_000_000_123))]
#[case::blanks("  node_nf_conntrack_entries\t{ a = \"b\" , } \t 7  \n", &[("a", "b")], "7", None)]
#[case::exponent("node_nf_conntrack_entries{} 1.5e+06\n", &[], "1500000", None)]
#[case::nan("node_nf_conntrack_entries NaN\n", &[], "NaN", None)]
#[case::infinity("node_nf_conntrack_entries +Inf\n", &[], "inf", None)]
#[case::escapes(r#"node_nf_conntrack_entries{a="\"x\" \\ \n",b="}"} 1
"#, &[("a", "\"x\" \\ \n"), ("b", "}")], "1", None)]
fn a_line_is_read(
    #[case] page: &str,
    #[case] labels: &[(&str, &str)],
    #[case] value: &str,
    #[case] at: Option<i64>,
) {
    let expected = labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
    assert_eq!(one(page).unwrap(), (1, expected.collect(), value.to_owned(), at));
}

#[rstest]
#[case::no_value("node_nf_conntrack_entries\n", "has no value")]
#[case::word("node_nf_conntrack_entries many\n", "has a value that is no number")]
#[case::label("node_nf_conntrack_entries{a=\"b} 1\n", "has a label that does not end")]
#[case::unquoted("node_nf_conntrack_entries{a=b} 1\n", "has a label that is not quoted")]
#[case::escape("node_nf_conntrack_entries{a=\"\\t\"} 1\n", "has an escape that is none")]
#[case::twice("node_nf_conntrack_entries{a=\"1\",a=\"2\"} 1\n", "has a label twice")]
#[case::digit("node_nf_conntrack_entries{1a=\"1\"} 1\n", "has a label without a name")]
#[case::joined("node_nf_conntrack_entries{a=\"1\"b=\"2\"} 1\n", "has labels that do not end")]
#[case::time("node_nf_conntrack_entries 1 soon\n", "has a time that is none")]
#[case::more("node_nf_conntrack_entries 1 2 3\n", "has something after its value")]
#[case::exemplar(
    "node_nf_conntrack_entries 1 # {a=\"1\"} 1\n",
    "has something after its value"
)]
fn a_line_that_is_wrong_makes_the_page_worthless(#[case] page: &str, #[case] what: &'static str) {
    assert_eq!(one(page).unwrap_err(), PageError::Malformed { line: 1, what });
}

#[test]
fn what_is_not_wanted_may_be_anything() {
    let long = "x".repeat(100_000);
    let page = format!(
        "# HELP whatever {long}\nother{{a=\"{long} 1\n{long}\n\u{1f}\n\nnode_nf_conntrack_entries_limit 9\n\
         node_nf_conntrack_entries 7\n{{\"quoted.name\"}} 1\n"
    );
    let seen = read(&page, Format::Text).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].2, "7");
}

#[test]
fn open_metrics_has_seconds_exemplars_and_an_end() {
    let page = "# TYPE apiserver_request counter\n\
                apiserver_request_total{verb=\"GET\"} 7 1700000000.5 # {trace_id=\"a b\"} 0.3 1700000000\n\
                apiserver_request_total{verb=\"PUT\"} 8 # {} 1\n# EOF\n";
    let seen = read(page, Format::OpenMetrics).unwrap();
    assert_eq!(seen[0].3, Some(1_700_000_000_500));
    assert_eq!((seen.len(), seen[1].3), (2, None));
    let cut = page.strip_suffix("# EOF\n").unwrap();
    assert_eq!(read(cut, Format::OpenMetrics), Err(PageError::Torn(3)));
    let more = format!("{page}x 1\n");
    assert_eq!(read(&more, Format::OpenMetrics), Err(PageError::AfterEnd(5)));
}

#[rstest]
#[case::nothing("", PageError::Torn(0))]
#[case::half_a_line("other 1\nnode_nf_conntrack_ent", PageError::Torn(1))]
#[case::no_last_newline("node_nf_conntrack_entries 7", PageError::Torn(0))]
#[case::twice(
    "node_nf_conntrack_entries{a=\"1\",b=\"2\",c=\"\"} 7\nnode_nf_conntrack_entries{b=\"2\",a=\"1\"} 7\n",
    PageError::Duplicate { line: 2, name: "node_nf_conntrack_entries" }
)]
#[case::wrong_type(
    "# TYPE node_nf_conntrack_entries counter\nnode_nf_conntrack_entries 7\n",
    PageError::WrongType { line: 1, name: "node_nf_conntrack_entries", expected: SeriesKind::Gauge }
)]
#[case::wrong_type_of_a_family(
    "# TYPE etcd_request_duration_seconds gauge\n",
    PageError::WrongType { line: 1, name: "etcd_request_duration_seconds_count", expected: SeriesKind::Histogram }
)]
fn a_page_that_is_wrong_is_none(#[case] page: &str, #[case] why: PageError) {
    assert_eq!(read(page, Format::Text), Err(why));
}

#[rstest]
#[case::bytes(PageLimits { bytes: 100, ..PageLimits::default() }, PageError::TooLong(100))]
#[case::lines(PageLimits { lines: 2, ..PageLimits::default() }, PageError::TooManyLines(2))]
#[case::line(PageLimits { line_bytes: 40, ..PageLimits::default() }, PageError::LineTooLong { line: 2, most: 40 })]
#[case::series(PageLimits { series: 2, ..PageLimits::default() }, PageError::TooManySeries(2))]
fn a_page_has_limits(#[case] limits: PageLimits, #[case] why: PageError) {
    let page = format!(
        "other{{a=\"{}\"}} 1\napiserver_request_total{{verb=\"GET\",code=\"200\"}} 1\n\
         apiserver_request_total{{verb=\"GET\"}} 1\napiserver_request_total{{verb=\"PUT\"}} 1\n",
        "x".repeat(30)
    );
    let whole = read_in(&[page.as_bytes()], Format::Text, limits);
    assert_eq!(whole.unwrap_err(), why);
    let bytes: Vec<&[u8]> = page.as_bytes().chunks(1).collect();
    assert_eq!(read_in(&bytes, Format::Text, limits).unwrap_err(), why);
}

#[rstest]
#[case("text/plain; version=0.0.4; charset=utf-8", Format::Text)]
#[case("application/openmetrics-text; version=1.0.0", Format::OpenMetrics)]
#[case("", Format::Text)]
fn the_format_is_the_answers(#[case] content_type: &str, #[case] format: Format) {
    assert_eq!(Format::of(content_type), format);
}

/// A value of a label as exporters write it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

/// Parts that make lines of every kind, right and wrong.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            "node_nf_conntrack_entries",
            "apiserver_request_total",
            "{a=\"b\"}",
            "{",
            "}",
            "\"",
            "\\",
            " ",
            "\t",
            "1",
            "NaN",
            "\n",
            "#",
            "# TYPE ",
            "# EOF",
            ",",
        ])
        .prop_map(|part| part.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn any_label_comes_back(
        labels in prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", any::<String>(), 0..6),
        value in any::<f64>(),
    ) {
        let text: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let page = format!("node_nf_conntrack_entries{{{}}} {value}\n", text.join(","));
        let seen = one(&page).unwrap();
        prop_assert_eq!(seen, (1, labels.into_iter().collect(), value.to_string(), None));
    }

    #[test]
    fn how_a_page_is_cut_changes_nothing(
        parts in prop::collection::vec(parts(), 0..60),
        cuts in prop::collection::vec(1_usize..9, 1..80),
        open in any::<bool>(),
    ) {
        let format = if open { Format::OpenMetrics } else { Format::Text };
        let page = parts.concat();
        let whole = read_in(&[&page], format, PageLimits::default());
        let mut rest = &page[..];
        let mut chunks = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(whole, read_in(&chunks, format, PageLimits::default()));
    }
}
