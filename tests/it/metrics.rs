//! The metrics that are documented are the ones that are served, with the labels that are documented.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel::metrics::{
    CriticalSeries, MetricType, Metrics, SERIES, SampleSnapshot, Snapshot, SourceSnapshot, TABLE, page,
};
use evenkeel_core::judge::Severity;
use evenkeel_core::know::Source;

use crate::docs::assert_current;

#[test]
fn the_page_is_current() {
    assert_current("docs/metrics.md", &page());
}

/// A picture in which every series exists.
fn full() -> Snapshot {
    Snapshot {
        leader: true,
        ready: true,
        sources: vec![SourceSnapshot {
            source: Source::Nodes,
            fresh: true,
            age_seconds: Some(1.5),
            restarts: 1,
            lists: 1,
            silences: 0,
            lines: 7,
            opaque: 0,
        }],
        findings: BTreeMap::from([(("path-idle-budget", "Violated", Severity::Critical), 2)]),
        excepted: BTreeMap::from([("keepalive-order", 1)]),
        policies: BTreeMap::from([(("Healthy".to_owned(), "True"), 3)]),
        unhealthy: (0..SERIES + 50)
            .map(|at| ("shop".to_owned(), format!("p{at:04}")))
            .collect(),
        unhealthy_left: 50,
        criticals: (0..SERIES as u32 + 50)
            .map(|at| CriticalSeries {
                check: "path-idle-budget",
                namespace: "shop".to_owned(),
                policy: format!("p{at:04}"),
                count: at,
            })
            .collect(),
        criticals_left: 7,
        samples: Some(SampleSnapshot::default()),
        queue: 0,
        plans: BTreeMap::from([(("CordonNode", "Storm"), 1)]),
        remediations: BTreeMap::from([("Waiting", 1), ("InEffect", 1)]),
        storm: Some(true),
    }
}

/// Names and labels of every sample of a scrape, without what the format adds.
fn samples(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut samples: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let bare = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let labels = rest.split_once('}').map_or("", |one| one.0);
        let labels = labels
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|pair| pair.0);
        let labels = labels.filter(|label| *label != "le").map(str::to_owned);
        samples
            .entry(bare.unwrap_or(name).to_owned())
            .or_default()
            .extend(labels);
    }
    samples
}

#[test]
fn what_is_served_is_what_is_documented() {
    let metrics = Metrics::default();
    metrics.wrote("written", Duration::from_millis(1));
    metrics.pushed("accepted");
    metrics.asked_prometheus("answered", 1);
    metrics.round(Duration::from_micros(50));
    metrics.acts();
    let served = samples(&metrics.text(&full()));
    let documented: BTreeMap<String, BTreeSet<String>> = TABLE
        .iter()
        .map(|one| {
            let labels = one.labels.iter().map(|label| (*label).to_owned());
            (one.name.to_owned(), labels.collect())
        })
        .collect();
    assert_eq!(served, documented);
    assert!(
        TABLE
            .iter()
            .all(|one| (one.kind == MetricType::Counter) == one.name.ends_with("_total"))
    );
}

#[test]
fn series_of_policies_are_bounded_and_old_ones_vanish() {
    let metrics = Metrics::default();
    for name in ["evenkeel_policy_unhealthy{", "evenkeel_critical_findings{"] {
        let count = |text: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(count(&metrics.text(&full())), SERIES);
        assert_eq!(count(&metrics.text(&Snapshot::default())), 0);
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let metrics = Metrics::default();
    metrics.left_out(105);
    let text = metrics.text(&full());
    for line in [
        "{what=\"policies\"} 50",
        "{what=\"findings\"} 7",
        "{what=\"alerts\"} 105",
    ] {
        assert!(text.contains(&format!("evenkeel_truncated{line}")), "{text}");
    }
}
