//! Pages of samples among the objects that they are about: judged after each of them, or once after all, the same is found.
//!
//! What is kept of samples follows from the order in which they came, so both cores get the same inputs at the same times,
//! and only one of them is judged in between.

use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::sample::{
    Metric, Metrics, Observer, Page, PageGap, PageScope, Sample, SampleSubject, Why,
};
use evenkeel_core::{Core, Input};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::histories::cases;

const NODES: [&str; 3] = ["n0", "n1", "n2"];

/// What checks of nodes rest on, and one that needs two samples.
const METRICS: [Metric; 4] = [
    Metric::ConntrackEntries,
    Metric::ConntrackLimit,
    Metric::ConntrackDrops,
    Metric::ListenOverflows,
];

const OBSERVERS: [Observer; 2] = [Observer::Prometheus, Observer::Agent];

#[derive(Debug, Clone)]
enum PageStep {
    /// A Node comes or goes.
    Node(usize, bool),
    /// Who is asked.
    Observers(u8),
    /// A page: observer, metric, a value for each node that it has, how old they are, and why it is not whole.
    Page(Observer, Metric, [Option<f64>; 3], i64, Option<Why>),
    /// So many seconds pass.
    Pass(u64),
}

fn value() -> impl Strategy<Value = Option<f64>> {
    let value = prop_oneof![
        4 => (0..20_u32).prop_map(|tenth| f64::from(tenth) * 50.0),
        1 => Just(f64::NAN),
    ];
    prop_oneof![3 => value.prop_map(Some), 1 => Just(None)]
}

fn step() -> impl Strategy<Value = PageStep> {
    let gap = prop::option::weighted(0.2, select(&Why::ALL[..]));
    prop_oneof![
        1 => (0..NODES.len(), any::<bool>()).prop_map(|(at, is)| PageStep::Node(at, is)),
        1 => (0..4_u8).prop_map(PageStep::Observers),
        10 => (select(&OBSERVERS[..]), select(&METRICS[..]), [value(), value(), value()], 0..70_i64, gap)
            .prop_map(|(observer, metric, values, age, gap)| PageStep::Page(observer, metric, values, age, gap)),
        6 => (0..90_u64).prop_map(PageStep::Pass),
    ]
}

/// A core beside the time.
struct PlayedPages {
    core: Core,
    seconds: u64,
}

impl PlayedPages {
    fn begin() -> Self {
        let mut played = Self {
            core: Core::default(),
            seconds: 1,
        };
        for source in Source::ALL {
            played.give(Input::Begin(source));
            if source == Source::Nodes {
                for name in &NODES {
                    played.node(name);
                }
            }
            played.give(Input::Synced(source));
        }
        played.give(Input::Observers(&OBSERVERS));
        played
    }

    fn now(&self) -> Now {
        Now {
            mono: Mono(self.seconds * 1_000),
            wall: Wall(1_800_000_000 + i64::try_from(self.seconds).unwrap()),
        }
    }

    fn give(&mut self, input: Input<'_>) {
        let now = self.now();
        self.core.handle(now, input);
    }

    fn node(&mut self, name: &str) {
        let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        self.give(Input::object(Source::Nodes, node.to_string().as_bytes()));
    }

    fn play(&mut self, step: &PageStep) {
        match step {
            PageStep::Node(at, true) => self.node(NODES[*at]),
            PageStep::Node(at, false) => self.give(Input::Gone(Source::Nodes, "", NODES[*at])),
            PageStep::Observers(mask) => {
                let asked = OBSERVERS.iter().zip([1, 2]).filter(|one| mask & one.1 != 0);
                let asked: Vec<_> = asked.map(|one| *one.0).collect();
                self.give(Input::Observers(&asked));
            }
            PageStep::Page(observer, metric, values, age, why) => {
                let asked = self.now().wall.0 * 1_000;
                let samples = NODES.iter().zip(values).filter_map(|(name, value)| {
                    Some(Sample {
                        metric: *metric,
                        subject: SampleSubject::Node(*name),
                        value: (*value)?,
                        at: asked - age * 1_000,
                    })
                });
                let samples: Vec<_> = samples.collect();
                self.give(Input::Samples(&Page {
                    observer: *observer,
                    metrics: Metrics::of(&[*metric]),
                    scope: PageScope::Nodes,
                    asked,
                    samples: &samples,
                    gap: why.map(|why| PageGap { why, detail: "" }),
                }));
            }
            PageStep::Pass(seconds) => self.seconds += seconds,
        }
    }

    /// Every finding.
    fn shown(&mut self) -> String {
        let now = self.now();
        self.core.round(now);
        format!("{:#?}", self.core.findings(now))
    }

    /// When time alone may change something; the end of time where it does not.
    fn deadline(&self) -> Mono {
        self.core.deadline(self.now()).unwrap_or(Mono(u64::MAX))
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn judged_after_each_page_or_after_all_the_same_is_found(steps in vec(step(), 1..60)) {
        let (mut often, mut once) = (PlayedPages::begin(), PlayedPages::begin());
        for step in &steps {
            often.play(step);
            often.core.round(often.now());
            once.play(step);
        }
        prop_assert_eq!(often.shown(), once.shown());
        // A page that says the same again makes what is known of a node last longer, without judging the node: a verdict may
        // be looked at sooner than it must be, and never later.
        prop_assert!(often.deadline() <= once.deadline());
    }

    #[test]
    fn until_the_deadline_no_sample_becomes_too_old(steps in vec(step(), 1..40), share in 0..100_u64) {
        let mut played = PlayedPages::begin();
        for step in &steps {
            played.play(step);
        }
        let now = played.now();
        played.core.round(now);
        let shown = |played: &PlayedPages| format!("{:#?}", played.core.findings(played.now()));
        let before = shown(&played);
        let left = played.core.deadline(now).map_or(1_000, |at| (at.0 - now.mono.0) / 1_000);
        // Strictly before the deadline, wherever that is.
        played.seconds += left.saturating_sub(1) * share / 100;
        prop_assert!(played.core.round(played.now()).transitions.is_empty());
        prop_assert_eq!(before, shown(&played));
    }
}
