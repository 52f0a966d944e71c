//! What pumps' words are to the core: most of all for sources that come in parts.

mod again;
mod ceiling;

use std::collections::HashMap;

use evenkeel_core::Input;
use evenkeel_core::fleet::{NamedWants, Wants};
use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Mono, Now, Source};
use evenkeel_core::policy::Selector;
use rstest::rstest;

use super::super::intake::{Intake, Start, TargetChange};
use super::super::line;
use super::*;

/// An intake, and the inputs it has given to the core.
#[derive(Default)]
struct Bed {
    intake: Intake,
    told: Vec<String>,
    fresh: Fresh,
}

/// How fresh each part is, as the core remembers it.
#[derive(Default)]
struct Fresh(HashMap<String, String>);

impl Fresh {
    /// What the core takes of an input: repeats are ignored, and what was never read is missing.
    fn news(&mut self, input: &Input<'_>) -> Option<String> {
        let Input::Freshness(source, part, freshness) = input else {
            return Some(say(input));
        };
        let part = match part {
            Part::Whole => source.to_string(),
            part => format!("{source} {part:?}"),
        };
        let freshness = format!("{freshness:?}");
        let before = self.0.insert(part.clone(), freshness.clone());
        let news = before.as_deref().unwrap_or("Missing") != freshness;
        news.then(|| format!("{freshness} {part}"))
    }
}

impl Bed {
    fn want(&mut self, pods: &[(&str, &str)]) -> TargetChange {
        self.wants(&pods_of(pods))
    }

    fn wants(&mut self, wants: &Wants) -> TargetChange {
        let (told, fresh) = (&mut self.told, &mut self.fresh);
        self.intake
            .want(wants, &mut |input| told.extend(fresh.news(&input)))
    }

    fn retry(&mut self) -> TargetChange {
        let (told, fresh) = (&mut self.told, &mut self.fresh);
        self.intake.retry(&mut |input| told.extend(fresh.news(&input)))
    }

    /// Reads parts anew; returns what the core was told as well.
    fn read_again(&mut self, at: u64, with_room: Vec<(Source, Arc<str>)>) -> (TargetChange, Vec<String>) {
        self.told.clear();
        let (told, fresh) = (&mut self.told, &mut self.fresh);
        let change = self.intake.read_again(Mono(at), with_room, &mut |input| {
            told.extend(fresh.news(&input));
        });
        (change, std::mem::take(&mut self.told))
    }

    fn id(&self, source: Source, part: &str) -> Id {
        let named = |target: &Target| target.source == source && target.show().contains(part);
        self.intake.targets().find(|(_, target)| named(target)).unwrap().0
    }

    /// Takes words in, and returns the inputs that the core got.
    fn take(&mut self, id: Id, words: Vec<What>) -> Vec<String> {
        self.told.clear();
        for what in words {
            let (told, fresh) = (&mut self.told, &mut self.fresh);
            self.intake.take(WatchEvent::of(id, what), &mut |input| {
                told.extend(fresh.news(&input));
            });
        }
        std::mem::take(&mut self.told)
    }
}

/// Pods by namespace and selector: `x=1`, or empty for all.
fn pods_of(pods: &[(&str, &str)]) -> Wants {
    let mut wants = Wants::default();
    for (namespace, selector) in pods {
        let labels = selector.split_once('=').into_iter();
        let selector = Selector {
            labels: labels.map(|(key, value)| (key.into(), value.into())).collect(),
            expressions: Vec::new(),
        };
        let pods = wants.pods.entry((*namespace).into()).or_default();
        Arc::make_mut(pods).insert(selector);
    }
    wants
}

fn say(input: &Input<'_>) -> String {
    match input {
        Input::Begin(source) => format!("begin {source}"),
        Input::Object { source, json, .. } => {
            let (namespace, name) = line::key(json);
            format!("{source} {namespace}/{name}")
        }
        Input::Gone(source, namespace, name) => format!("gone {source} {namespace}/{name}"),
        Input::Synced(source) => format!("synced {source}"),
        Input::Policy(policy) => format!("policy {}/{}", policy.namespace, policy.name),
        Input::Refused(source, namespace, name, _) => format!("refused {source} {namespace}/{name}"),
        other => format!("{other:?}"),
    }
}

fn pod(name: &str) -> What {
    pod_of("shop", name)
}

fn pod_of(namespace: &str, name: &str) -> What {
    text(format!(
        r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}"}}}}"#
    ))
}

fn text(json: impl Into<String>) -> What {
    let json: String = json.into();
    let all = 0..json.len();
    What::Object(json.into(), all)
}

const STALE: What = What::Freshness(Freshness::Stale);
const COMPLETE: What = What::Freshness(Freshness::Complete);

fn refused() -> What {
    What::Freshness(Freshness::unreadable("no"))
}

fn gone(name: &str) -> What {
    What::Gone("shop".into(), name.into())
}

/// Pods by two selectors, both read: `a` by the first, `b` by both.
fn two_parts() -> (Bed, Id, Id) {
    let mut bed = Bed::default();
    bed.want(&[("shop", "x=1"), ("shop", "y=2")]);
    let (first, second) = (bed.id(Source::Pods, "x=1"), bed.id(Source::Pods, "y=2"));
    let told = bed.take(first, vec![What::Begin, pod("a"), pod("b"), What::Synced]);
    // Complete only when all of the namespace's targets are.
    assert_eq!(told, ["pods shop/a", "pods shop/b"]);
    let told = bed.take(second, vec![What::Begin, pod("b"), What::Synced]);
    assert_eq!(told, ["pods shop/b", r#"Complete pods Namespace("shop")"#]);
    (bed, first, second)
}

#[test]
fn a_source_of_one_part_is_passed_on() {
    let mut bed = Bed::default();
    bed.want(&[]);
    let id = bed.id(Source::Nodes, "");
    let told = bed.take(
        id,
        vec![
            What::Begin,
            pod("a"),
            What::Synced,
            gone("a"),
            What::Begin,
            What::Synced,
        ],
    );
    assert_eq!(
        told,
        [
            "begin nodes",
            "nodes shop/a",
            "synced nodes",
            "gone nodes shop/a",
            "begin nodes",
            "synced nodes"
        ]
    );
    let told = bed.take(id, vec![STALE, COMPLETE, refused(), COMPLETE]);
    assert_eq!(
        told,
        [
            "Stale nodes",
            "Complete nodes",
            r#"Unreadable("no") nodes"#,
            "Complete nodes"
        ]
    );
}

#[test]
fn what_is_wanted_already_starts_nothing() {
    let mut bed = Bed::default();
    bed.want(&[]);
    assert_eq!(bed.want(&[]), TargetChange::default());
}

#[test]
fn an_object_leaves_when_no_part_holds_it() {
    let (mut bed, first, second) = two_parts();
    assert_eq!(bed.take(first, vec![gone("b")]), [""; 0]);
    assert_eq!(bed.take(second, vec![gone("b")]), ["gone pods shop/b"]);
    assert_eq!(bed.take(first, vec![gone("a"), gone("a")]), ["gone pods shop/a"]);
}

#[test]
fn a_new_list_of_a_part_sweeps_what_it_alone_held() {
    let (mut bed, first, _) = two_parts();
    // It names neither: `b` is still held by the other part.
    let told = bed.take(first, vec![What::Begin, pod("c"), What::Synced]);
    assert_eq!(told, ["pods shop/c", "gone pods shop/a"]);
}

#[rstest]
#[case::stale(STALE, "Stale", "Stale")]
#[case::unreadable(refused(), r#"Unreadable("no")"#, "Stale")]
fn a_namespace_is_as_fresh_as_the_worst_of_its_targets(
    #[case] bad: What,
    #[case] told: &str,
    #[case] without_it: &str,
) {
    let (mut bed, first, second) = two_parts();
    let pods = |freshness: &str| [format!(r#"{freshness} pods Namespace("shop")"#)];
    assert_eq!(bed.take(first, vec![bad]), pods(told));
    assert_eq!(bed.take(second, vec![STALE]), [""; 0]);
    let back = bed.take(first, vec![COMPLETE]);
    assert_eq!(
        back,
        if told == without_it {
            vec![]
        } else {
            pods(without_it).to_vec()
        }
    );
    assert_eq!(bed.take(second, vec![COMPLETE]), pods("Complete"));
}

#[test]
fn one_namespace_says_nothing_of_others() {
    let (mut bed, ..) = two_parts();
    bed.told.clear();
    let change = bed.want(&[("shop", "x=1"), ("shop", "y=2"), ("pay", "z=3")]);
    assert_eq!((change.start.len(), change.stop.len()), (1, 0));
    assert_eq!(bed.told, [""; 0]);
    let third = bed.id(Source::Pods, "z=3");
    assert_eq!(
        bed.take(third, vec![refused()]),
        [r#"Unreadable("no") pods Namespace("pay")"#]
    );
}

#[test]
fn targets_no_longer_wanted_leave_and_late_events_are_ignored() {
    let (mut bed, first, second) = two_parts();
    bed.told.clear();
    let change = bed.want(&[("shop", "y=2")]);
    assert_eq!(
        change,
        TargetChange {
            start: vec![],
            stop: vec![first]
        }
    );
    assert_eq!(bed.told, ["gone pods shop/a"]);
    assert_eq!(bed.take(first, vec![pod("z"), STALE, refused()]), [""; 0]);
    assert_eq!(bed.take(second, vec![gone("b")]), ["gone pods shop/b"]);
}

#[test]
fn a_nameless_object_goes_with_the_list_that_held_it() {
    let (mut bed, first, _) = two_parts();
    assert_eq!(bed.take(first, vec![text("not json")]), ["pods /"]);
    let told = bed.take(first, vec![What::Begin, pod("a"), pod("b"), What::Synced]);
    assert_eq!(told, ["pods shop/a", "pods shop/b", "gone pods /"]);
}

#[test]
fn webhooks_of_two_kinds_may_share_a_name() {
    let mut bed = Bed::default();
    bed.want(&[]);
    let validating = bed.id(Source::Webhooks, "validating");
    let mut kinds = Vec::new();
    let hook = br#"{"metadata":{"name":"w"},"webhooks":[]}"#.to_vec();
    let named = br#"{"kind":"ValidatingWebhookConfiguration","metadata":{"name":"v"}}"#.to_vec();
    let whole = |bytes: &Vec<u8>| std::iter::once(0..bytes.len()).collect::<Vec<_>>();
    let (hook_at, named_at) = (whole(&hook), whole(&named));
    for what in [
        What::Begin,
        What::Page(hook, hook_at),
        What::Page(named, named_at),
        What::Synced,
    ] {
        bed.intake.take(WatchEvent::of(validating, what), &mut |input| {
            if let Input::Object { json, .. } = input {
                let json: serde_json::Value = serde_json::from_slice(json).unwrap();
                kinds.push(json["kind"].as_str().unwrap().to_owned());
            }
        });
    }
    assert_eq!(kinds, ["ValidatingWebhookConfiguration"; 2]);
    let told = bed.take(validating, vec![What::Gone(String::new(), "w".into())]);
    assert_eq!(
        told,
        ["gone webhookconfigurations ValidatingWebhookConfiguration/w"]
    );
}

#[test]
fn policies_come_compiled_or_refused() {
    let mut bed = Bed::default();
    bed.want(&[]);
    let id = bed.id(Source::Policies, "");
    let good = r#"{"metadata":{"namespace":"shop","name":"p"},"spec":{"services":{"names":["web"]}}}"#;
    let bad = r#"{"metadata":{"namespace":"shop","name":"q"},"spec":{"services":{}}}"#;
    let told = bed.take(id, vec![text(good), text(bad), text("{")]);
    assert_eq!(
        told,
        [
            "policy shop/p",
            "refused traffichealthpolicies shop/q",
            "refused traffichealthpolicies /"
        ]
    );
}

/// Targets of Pods, as people see them.
fn watched(bed: &Bed) -> Vec<String> {
    let pods = bed.intake.targets().filter(|one| one.1.source == Source::Pods);
    pods.map(|(_, target)| target.show()).collect()
}

#[test]
fn no_namespace_is_never_all() {
    let mut bed = Bed::default();
    bed.want(&[("", "app=a"), ("few", "app=a"), ("few", "app=b")]);
    assert_eq!(
        watched(&bed),
        [
            "/api/v1/namespaces/few/pods?app=a",
            "/api/v1/namespaces/few/pods?app=b"
        ]
    );
}

#[test]
fn a_thousand_namespaces_are_watched_each_for_itself() {
    let mut bed = Bed::default();
    let namespaces: Vec<_> = (0..1_000).map(|at| format!("n{at}")).collect();
    let pods: Vec<_> = namespaces.iter().map(|one| (one.as_str(), "app=a")).collect();
    bed.want(&pods);
    assert_eq!(watched(&bed).len(), 1_000);
    assert_eq!(bed.told, [""; 0], "none of them is a gap");
}

const FIVE: [(&str, &str); 5] = [
    ("shop", "x=1"),
    ("shop", "y=2"),
    ("shop", "z=3"),
    ("shop", "v=4"),
    ("shop", "w=5"),
];

fn labelled(name: &str, key: &str, value: &str) -> What {
    text(format!(
        r#"{{"metadata":{{"namespace":"shop","name":"{name}","labels":{{"{key}":"{value}"}}}}}}"#
    ))
}

#[test]
fn one_watch_of_a_namespace_takes_over_without_any_object_going() {
    let (mut bed, first, second) = two_parts();
    let change = bed.want(&FIVE);
    assert_eq!((change.start.len(), change.stop), (1, vec![first, second]));
    assert!(!change.start[0].known, "three selectors were not read before");
    assert_eq!(watched(&bed), ["/api/v1/namespaces/shop/pods"]);
    assert_eq!(bed.told, [r#"Missing pods Namespace("shop")"#]);
    let told = bed.take(
        change.start[0].id,
        vec![
            What::Begin,
            labelled("a", "x", "1"),
            labelled("other", "x", "2"),
            labelled("c", "z", "3"),
            What::Synced,
        ],
    );
    // `b` is not among them any more, and what is not selected is not kept.
    assert_eq!(
        told,
        [
            "pods shop/a",
            "pods shop/c",
            "gone pods shop/b",
            r#"Complete pods Namespace("shop")"#
        ]
    );
}

#[test]
fn a_pod_whose_labels_are_no_longer_selected_goes() {
    let mut bed = Bed::default();
    bed.want(&FIVE);
    let id = bed.id(Source::Pods, "shop");
    bed.take(id, vec![What::Begin, labelled("a", "x", "1"), What::Synced]);
    assert_eq!(bed.take(id, vec![labelled("a", "x", "2")]), ["gone pods shop/a"]);
    assert_eq!(bed.take(id, vec![labelled("a", "x", "2"), gone("a")]), [""; 0]);
    assert_eq!(bed.take(id, vec![labelled("a", "x", "1")]), ["pods shop/a"]);
}

#[test]
fn selectors_take_over_again_and_the_namespace_stays_known() {
    let mut bed = Bed::default();
    bed.want(&FIVE);
    let all = bed.id(Source::Pods, "shop");
    bed.take(all, vec![What::Begin, labelled("a", "x", "1"), What::Synced]);
    bed.told.clear();
    let change = bed.want(&FIVE[..2]);
    assert_eq!((change.start.len(), change.stop), (2, vec![all]));
    assert!(change.start.iter().all(|one| one.known));
    assert_eq!(bed.told, [""; 0], "it is as complete as it was");
    let (x, y) = (bed.id(Source::Pods, "x=1"), bed.id(Source::Pods, "y=2"));
    assert_eq!(bed.take(y, vec![What::Begin, What::Synced]), [""; 0]);
    assert_eq!(
        bed.take(x, vec![What::Begin, labelled("a", "x", "1"), What::Synced]),
        ["pods shop/a"]
    );
    assert_eq!(bed.take(x, vec![gone("a")]), ["gone pods shop/a"]);
}

#[test]
fn a_watch_of_a_namespace_lists_anew_when_more_is_wanted_and_only_then() {
    let mut bed = Bed::default();
    bed.want(&FIVE);
    let all = bed.id(Source::Pods, "shop");
    bed.take(all, vec![What::Begin, labelled("a", "x", "1"), What::Synced]);
    assert_eq!(bed.want(&FIVE[..3]), TargetChange::default(), "less is wanted");
    bed.told.clear();
    let change = bed.want(&FIVE);
    assert_eq!((change.start.len(), change.stop), (1, vec![all]));
    assert_eq!(bed.told, [r#"Missing pods Namespace("shop")"#]);
    let told = bed.take(
        change.start[0].id,
        vec![What::Begin, labelled("a", "x", "1"), What::Synced],
    );
    assert_eq!(told, ["pods shop/a", r#"Complete pods Namespace("shop")"#]);
}

fn maps_of(namespace: &str, names: &[&str], beyond: usize) -> Wants {
    let maps = NamedWants {
        names: names.iter().map(|name| Arc::from(*name)).collect(),
        beyond,
    };
    Wants {
        config_maps: [(Arc::from(namespace), maps)].into(),
        ..Wants::default()
    }
}

#[test]
fn a_config_map_that_is_refused_is_a_gap_of_its_own() {
    let mut core = evenkeel_core::Core::default();
    let mut intake = Intake::default();
    let change = intake.want(&maps_of("kube-system", &["a", "b"], 0), &mut |input| {
        core.handle(Now::ONCE, input);
    });
    for start in change
        .start
        .iter()
        .filter(|one| one.target.source == Source::ConfigMaps)
    {
        let end = if start.target.name == "a" {
            What::Synced
        } else {
            refused()
        };
        intake.take(WatchEvent::of(start.id, end), &mut |input| {
            core.handle(Now::ONCE, input);
        });
    }
    let index = core.index();
    let names = &index.names;
    let key = |name: &str| evenkeel_core::names::Key {
        namespace: names.find("kube-system").unwrap(),
        name: names.find(name).unwrap(),
    };
    assert_eq!(index.gap_at(Source::ConfigMaps, key("a")), None);
    assert!(index.gap_at(Source::ConfigMaps, key("b")).is_some());
    assert!(
        index.gap(Source::ConfigMaps).is_some(),
        "what is in that namespace is not known"
    );
}

#[test]
fn config_maps_beyond_a_namespaces_budget_are_reported_though_no_watch_starts() {
    let mut bed = Bed::default();
    bed.wants(&maps_of("kube-system", &["a"], 0));
    let id = bed.id(Source::ConfigMaps, "a");
    bed.take(id, vec![What::Begin, What::Synced]);
    let change = bed.wants(&maps_of("kube-system", &["a"], 40));
    assert_eq!(change, TargetChange::default());
    assert_eq!(
        bed.told,
        [
            r#"Unreadable("41 are named in this namespace, and at most 32 are read") configmaps Namespace("kube-system")"#
        ]
    );
}

#[test]
fn the_core_keeps_what_any_part_holds() {
    let mut core = evenkeel_core::Core::default();
    let mut intake = Intake::default();
    let wants = pods_of(&[("shop", "x=1"), ("shop", "y=2")]);
    let change = intake.want(&wants, &mut |input| core.handle(Now::ONCE, input));
    let starts = change.start.iter();
    for Start { id, target, .. } in starts.filter(|one| one.target.source == Source::Pods) {
        assert_eq!(
            *core.index().worst_freshness(Source::Pods),
            Freshness::Missing,
            "{}",
            target.show()
        );
        for what in [What::Begin, pod("a"), What::Synced] {
            intake.take(WatchEvent::of(*id, what), &mut |input| {
                core.handle(Now::ONCE, input);
            });
        }
    }
    assert_eq!(*core.index().worst_freshness(Source::Pods), Freshness::Complete);
    assert!(intake.is_filling(), "the other sources have not been read");
}
