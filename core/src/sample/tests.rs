//! Pages as feeders hand them over, and what a check could read afterwards.

use rstest::rstest;

use super::{
    DroppedSamples, MOST_DETAIL, Metric, Metrics, Observer, Page, PageGap, PageScope, Sample, SampleSubject,
    Why,
};
use crate::handle::Input;
use crate::know::{Gap, Source};
use crate::world::{World, instances, node};

const ENTRIES: Metric = Metric::ConntrackEntries;
const DROPS: Metric = Metric::ConntrackDrops;
const PROMETHEUS: Observer = Observer::Prometheus;

/// Two Nodes, an API server, and these observers.
fn world(observers: &[Observer]) -> World {
    let mut world = World::watched(&[(Source::Nodes, node("n1", "z")), (Source::Nodes, node("n2", "z"))]);
    world.input(Input::Observers(observers));
    world
}

fn on(node: &str) -> SampleSubject<&str> {
    SampleSubject::Node(node)
}

/// The present value on a Node, or why there is none.
fn value(world: &World, metric: Metric, node: &str) -> Result<f64, String> {
    let subject = SampleSubject::Node(world.name(node));
    let samples = world.core.index().samples();
    let (reading, _) = samples.reading(world.now.mono, metric, subject);
    reading.map(|one| one.value).map_err(|gap| gap.to_string())
}

fn drops(world: &World) -> DroppedSamples {
    world.core.index().samples().drops()
}

#[test]
fn what_is_measured_is_read_until_it_is_too_old() {
    let mut world = world(&[PROMETHEUS]);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(ENTRIES, on("n1"), 7.0)]);
    assert_eq!(value(&world, ENTRIES, "n1"), Ok(7.0));
    let missing = "not measured: conntrackEntries: Prometheus has no such series";
    assert_eq!(value(&world, ENTRIES, "n2").unwrap_err(), missing, "never zero");
    world.wait(74);
    assert_eq!(value(&world, ENTRIES, "n1"), Ok(7.0));
    world.wait(1);
    assert_eq!(value(&world, ENTRIES, "n1").unwrap_err(), missing);
    world.wait(120);
    assert!(
        world.core.index().samples().is_empty(),
        "what no longer counts is forgotten"
    );
}

#[test]
fn a_frozen_observer_is_no_observer() {
    let mut world = world(&[PROMETHEUS]);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(ENTRIES, on("n1"), 7.0)]);
    let frozen = world.milliseconds();
    for _ in 0..6 {
        world.wait(15);
        let sample = Sample {
            metric: ENTRIES,
            subject: on("n1"),
            value: 7.0,
            at: frozen,
        };
        world.page(PROMETHEUS, PageScope::Nodes, &[sample], None);
    }
    assert!(value(&world, ENTRIES, "n1").is_err());
}

#[test]
fn a_gap_says_why_and_takes_nothing_away_that_is_fresh() {
    let mut world = world(&[PROMETHEUS]);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(ENTRIES, on("n1"), 7.0)]);
    world.no_answer(
        PROMETHEUS,
        PageScope::Nodes,
        Metrics::of(&[ENTRIES]),
        Why::Unreachable,
    );
    assert_eq!(value(&world, ENTRIES, "n1"), Ok(7.0));
    world.wait(80);
    assert_eq!(
        value(&world, ENTRIES, "n1").unwrap_err(),
        "not measured: conntrackEntries: Prometheus cannot be reached: HTTP 503"
    );
    assert_eq!(
        value(&world, DROPS, "n1").unwrap_err(),
        "not measured: conntrackDrops: no answer yet"
    );
}

/// Two samples of both Nodes, 30 s apart, after which they count for 75 s.
fn measured_twice() -> World {
    let mut world = world(&[PROMETHEUS]);
    for (wait, entries) in [(0, 7.0), (30, 8.0)] {
        world.wait(wait);
        let both = [(ENTRIES, on("n1"), entries), (ENTRIES, on("n2"), entries)];
        world.measure(PROMETHEUS, PageScope::Nodes, &both);
    }
    world
}

/// For how many more seconds a Node has a value.
fn lasts(world: &mut World, node: &str) -> u64 {
    (0..1_000)
        .find(|_| {
            let gone = value(world, ENTRIES, node).is_err();
            world.wait(1);
            gone
        })
        .unwrap()
}

#[rstest]
#[case::unreachable(Some(Why::Unreachable))]
#[case::late(Some(Why::TimedOut))]
#[case::in_part(Some(Why::Partly))]
#[case::nothing_new(None)]
fn an_observer_that_fails_is_believed_for_two_intervals(#[case] why: Option<Why>) {
    let mut world = measured_twice();
    let frozen = world.milliseconds();
    world.wait(35);
    if let Some(why) = why {
        world.no_answer(PROMETHEUS, PageScope::Nodes, Metrics::of(&[ENTRIES]), why);
    } else {
        let of = |node| Sample {
            metric: ENTRIES,
            subject: on(node),
            value: 8.0,
            at: frozen,
        };
        world.page(PROMETHEUS, PageScope::Nodes, &[of("n1"), of("n2")], None);
    }
    assert_eq!(lasts(&mut world, "n1"), 25);
}

#[test]
fn one_scrape_that_fails_makes_no_gap() {
    let mut world = measured_twice();
    world.wait(35);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(ENTRIES, on("n2"), 9.0)]);
    assert_eq!(lasts(&mut world, "n1"), 40);
}

#[test]
fn a_shard_that_is_gone_is_not_waited_for() {
    let mut world = World::watched(&["n1", "n2", "n3", "n4"].map(|name| (Source::Nodes, node(name, "z"))));
    world.input(Input::Observers(&[PROMETHEUS]));
    let of =
        |names: &[&'static str]| -> Vec<_> { names.iter().map(|name| (ENTRIES, on(name), 7.0)).collect() };
    for _ in 0..2 {
        world.wait(30);
        world.measure(PROMETHEUS, PageScope::Nodes, &of(&["n1", "n2", "n3", "n4"]));
    }
    world.wait(30);
    world.measure(PROMETHEUS, PageScope::Nodes, &of(&["n3", "n4"]));
    assert_eq!(lasts(&mut world, "n1"), 30, "and not 45");
}

#[test]
fn one_subject_that_is_lied_about_is_doubted_alone() {
    let mut world = measured_twice();
    world.wait(30);
    let lies = [
        (ENTRIES, on("n1"), 9.0),
        (ENTRIES, on("n1"), 10.0),
        (ENTRIES, on("n2"), 9.0),
    ];
    world.measure(PROMETHEUS, PageScope::Nodes, &lies);
    assert_eq!(lasts(&mut world, "n1"), 30);
    assert_eq!(
        value(&world, ENTRIES, "n1").unwrap_err(),
        "not measured: conntrackEntries: Prometheus has several values for one subject"
    );
    assert!(value(&world, ENTRIES, "n2").is_ok());
}

#[test]
fn without_an_observer_nothing_is_taken() {
    let mut world = world(&[Observer::Agent]);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(ENTRIES, on("n1"), 7.0)]);
    assert!(value(&world, ENTRIES, "n1").is_err());
    assert_eq!(drops(&world).not_asked, 1);
    world.input(Input::Observers(&[PROMETHEUS]));
    world.measure(PROMETHEUS, PageScope::Nodes, &[(ENTRIES, on("n1"), 7.0)]);
    world.input(Input::Observers(&[]));
    assert!(world.core.index().samples().is_empty());
}

#[rstest]
#[case::no_node(&[(ENTRIES, on("n9"), 1.0)], DroppedSamples { no_subject: 1, ..DroppedSamples::default() })]
#[case::twice(&[(ENTRIES, on("n1"), 1.0), (ENTRIES, on("n1"), 2.0)], DroppedSamples { duplicate: 2, ..DroppedSamples::default() })]
#[case::no_number(&[(ENTRIES, on("n1"), f64::NAN)], DroppedSamples { not_a_number: 1, ..DroppedSamples::default() })]
#[case::infinite(&[(ENTRIES, on("n1"), f64::INFINITY)], DroppedSamples { not_a_number: 1, ..DroppedSamples::default() })]
#[case::negative(&[(ENTRIES, on("n1"), -1.0)], DroppedSamples { not_a_number: 1, ..DroppedSamples::default() })]
#[case::kilobytes(&[(Metric::MemoryTotal, on("n1"), 16_777_216.0)], DroppedSamples { wrong_unit: 1, ..DroppedSamples::default() })]
#[case::not_of_a_node(&[(Metric::EtcdQuota, on("n1"), 1.0)], DroppedSamples { not_asked: 1, ..DroppedSamples::default() })]
#[case::not_of_this_page(&[(Metric::EtcdQuota, SampleSubject::Cluster, 1.0)], DroppedSamples { not_asked: 1, ..DroppedSamples::default() })]
fn what_does_not_count_is_counted(
    #[case] values: &[(Metric, SampleSubject<&str>, f64)],
    #[case] expected: DroppedSamples,
) {
    let mut world = world(&[PROMETHEUS]);
    world.measure(PROMETHEUS, PageScope::Nodes, values);
    assert_eq!(drops(&world), expected);
    assert!(world.core.index().samples().is_empty());
}

#[test]
fn a_metric_that_was_not_asked_for_does_not_count() {
    let mut world = world(&[PROMETHEUS]);
    let sample = Sample {
        metric: ENTRIES,
        subject: on("n1"),
        value: 1.0,
        at: world.milliseconds(),
    };
    let page = Page {
        observer: PROMETHEUS,
        metrics: Metrics::of(&[DROPS]),
        scope: PageScope::Nodes,
        asked: world.milliseconds(),
        samples: &[sample],
        gap: None,
    };
    world.input(Input::Samples(&page));
    assert_eq!(drops(&world).not_asked, 1);
}

#[test]
fn two_observers_who_differ_are_no_evidence() {
    let mut world = world(&[PROMETHEUS, Observer::Agent]);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(ENTRIES, on("n1"), 1000.0)]);
    world.measure(Observer::Agent, PageScope::Nodes, &[(ENTRIES, on("n1"), 1190.0)]);
    assert!(value(&world, ENTRIES, "n1").is_ok(), "they agree within 20 %");
    world.wait(30);
    world.measure(Observer::Agent, PageScope::Nodes, &[(ENTRIES, on("n1"), 1300.0)]);
    assert_eq!(
        value(&world, ENTRIES, "n1").unwrap_err(),
        "not measured: conntrackEntries: Prometheus says 1000 and the agent says 1300, which differ by more than 20 %"
    );
    // When one of them falls silent the other counts.
    for _ in 0..3 {
        world.wait(30);
        world.measure(Observer::Agent, PageScope::Nodes, &[(ENTRIES, on("n1"), 1300.0)]);
    }
    assert_eq!(value(&world, ENTRIES, "n1"), Ok(1300.0));
}

#[test]
fn growth_takes_two_samples() {
    let mut world = world(&[PROMETHEUS]);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(DROPS, on("n1"), 40.0)]);
    assert_eq!(
        value(&world, DROPS, "n1").unwrap_err(),
        "conntrackDrops has too few samples yet"
    );
    world.wait(30);
    world.measure(PROMETHEUS, PageScope::Nodes, &[(DROPS, on("n1"), 100.0)]);
    assert_eq!(value(&world, DROPS, "n1"), Ok(2.0));
}

#[test]
fn what_counts_is_shown_with_its_age_and_observer() {
    let mut world = measured_twice();
    world.measure(PROMETHEUS, PageScope::Nodes, &[(DROPS, on("n1"), 5.0)]);
    world.wait(7);
    let samples = world.core.index().samples();
    let shown = |of: &str| {
        let metrics = Metrics::of(&[ENTRIES, DROPS]);
        let names = &world.core.index().names;
        let shown = samples.shown(world.now.mono, names, metrics, |subject| subject == on(of));
        let line = |one: &super::SampleView| {
            let (name, value) = (one.metric.name(), one.value_text());
            format!(
                "{name} of {}: {value}, {}, {} s",
                one.on, one.observer, one.age_seconds
            )
        };
        shown.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        shown("n1"),
        [
            "conntrackEntries of n1: 8, Prometheus, 7 s",
            "conntrackDrops of n1: one sample, of which no growth is known, Prometheus, 7 s"
        ]
    );
    assert_eq!(shown("n2"), ["conntrackEntries of n2: 8, Prometheus, 7 s"]);
}

#[test]
fn an_observer_fails_where_nothing_that_is_asked_for_comes() {
    let mut world = measured_twice();
    let failing = |world: &World| {
        let failing = world.core.index().samples().failing();
        failing.get(&PROMETHEUS).map(|one| one.0)
    };
    let drops = Metrics::of(&[DROPS]);
    world.no_answer(PROMETHEUS, PageScope::Nodes, drops, Why::TimedOut);
    assert_eq!(failing(&world), None, "it has entries");
    world.no_answer(
        PROMETHEUS,
        PageScope::Nodes,
        Metrics::of(&[ENTRIES]),
        Why::Refused,
    );
    assert_eq!(failing(&world), Some(Why::Refused));
}

#[test]
fn a_node_that_is_gone_is_forgotten_at_once() {
    let mut world = world(&[PROMETHEUS]);
    world.measure(
        PROMETHEUS,
        PageScope::Nodes,
        &[(ENTRIES, on("n1"), 1.0), (ENTRIES, on("n2"), 1.0)],
    );
    world.input(Input::Gone(Source::Nodes, "", "n1"));
    assert_eq!(world.core.index().samples().len(), 1);
}

#[test]
fn an_api_server_is_what_default_kubernetes_shows() {
    let [known, unknown]: [std::net::IpAddr; 2] =
        ["192.0.2.1", "192.0.2.9"].map(|text| text.parse().unwrap());
    let mut world = world(&[Observer::Instance]);
    world.put(Source::EndpointSlices, &instances(&["192.0.2.1"]));
    for at in [known, unknown] {
        let values = [
            (Metric::StartTime, SampleSubject::Instance(at), 1.7e9),
            (
                Metric::WatchCacheRevision,
                SampleSubject::Resource(at, "apps/deployments"),
                1.0,
            ),
        ];
        world.measure(Observer::Instance, PageScope::Instance(at), &values);
    }
    assert_eq!(world.core.index().samples().len(), 2);
    assert_eq!(drops(&world).no_subject, 2);
}

#[test]
fn particulars_of_a_gap_are_short_and_plain() {
    let mut world = world(&[PROMETHEUS]);
    let detail = format!("\u{1b}[31m{}", "é".repeat(500));
    let page = Page {
        observer: PROMETHEUS,
        metrics: Metrics::of(&[ENTRIES]),
        scope: PageScope::Nodes,
        asked: 0,
        samples: &[],
        gap: Some(PageGap {
            why: Why::Refused,
            detail: &detail,
        }),
    };
    world.input(Input::Samples(&page));
    let subject = SampleSubject::Node(world.name("n1"));
    let (reading, _) = world
        .core
        .index()
        .samples()
        .reading(world.now.mono, ENTRIES, subject);
    let Err(Gap::Unmeasured(text)) = reading else {
        panic!("{reading:?}")
    };
    assert!(
        text.len() <= MOST_DETAIL + 60 && !text.contains('\u{1b}'),
        "{text}"
    );
}
