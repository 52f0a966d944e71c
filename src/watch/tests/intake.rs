//! What pumps' words are to the core: most of all for sources that come in parts.

use std::collections::HashMap;

use evenkeel_core::Input;
use evenkeel_core::fleet::Wants;
use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Now, Source};
use rstest::rstest;

use super::super::intake::{Change, Intake};
use super::super::line;
use super::*;

/// An intake, and the inputs it has given to the core.
#[derive(Default)]
struct Desk {
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
            part @ Part::Namespace(_) => format!("{source} {part:?}"),
        };
        let freshness = format!("{freshness:?}");
        let before = self.0.insert(part.clone(), freshness.clone());
        let news = before.as_deref().unwrap_or("Missing") != freshness;
        news.then(|| format!("{freshness} {part}"))
    }
}

impl Desk {
    fn want(&mut self, pods: &[(&str, &str)]) -> Change {
        let pods = pods
            .iter()
            .map(|(namespace, selector)| ((*namespace).into(), (*selector).into()));
        let wants = Wants {
            pods: pods.collect(),
            ..Wants::default()
        };
        let (told, fresh) = (&mut self.told, &mut self.fresh);
        self.intake
            .want(&wants, &mut |input| told.extend(fresh.news(&input)))
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
            self.intake
                .take(Event::of(id, what), &mut |input| told.extend(fresh.news(&input)));
        }
        std::mem::take(&mut self.told)
    }
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
    text(format!(
        r#"{{"metadata":{{"namespace":"shop","name":"{name}"}}}}"#
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
fn two_parts() -> (Desk, Id, Id) {
    let mut desk = Desk::default();
    desk.want(&[("shop", "x=1"), ("shop", "y=2")]);
    let (first, second) = (desk.id(Source::Pods, "x=1"), desk.id(Source::Pods, "y=2"));
    let told = desk.take(first, vec![What::Begin, pod("a"), pod("b"), What::Synced]);
    // Complete only when all of the namespace's targets are.
    assert_eq!(told, ["pods shop/a", "pods shop/b"]);
    let told = desk.take(second, vec![What::Begin, pod("b"), What::Synced]);
    assert_eq!(told, ["pods shop/b", r#"Complete pods Namespace("shop")"#]);
    (desk, first, second)
}

#[test]
fn a_source_of_one_part_is_passed_on() {
    let mut desk = Desk::default();
    desk.want(&[]);
    let id = desk.id(Source::Nodes, "");
    let told = desk.take(
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
    let told = desk.take(id, vec![STALE, COMPLETE, refused(), COMPLETE]);
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
    let mut desk = Desk::default();
    desk.want(&[]);
    assert_eq!(desk.want(&[]), Change::default());
}

#[test]
fn an_object_leaves_when_no_part_holds_it() {
    let (mut desk, first, second) = two_parts();
    assert_eq!(desk.take(first, vec![gone("b")]), [""; 0]);
    assert_eq!(desk.take(second, vec![gone("b")]), ["gone pods shop/b"]);
    assert_eq!(desk.take(first, vec![gone("a"), gone("a")]), ["gone pods shop/a"]);
}

#[test]
fn a_new_list_of_a_part_sweeps_what_it_alone_held() {
    let (mut desk, first, _) = two_parts();
    // It names neither: `b` is still held by the other part.
    let told = desk.take(first, vec![What::Begin, pod("c"), What::Synced]);
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
    let (mut desk, first, second) = two_parts();
    let pods = |freshness: &str| [format!(r#"{freshness} pods Namespace("shop")"#)];
    assert_eq!(desk.take(first, vec![bad]), pods(told));
    assert_eq!(desk.take(second, vec![STALE]), [""; 0]);
    let back = desk.take(first, vec![COMPLETE]);
    assert_eq!(
        back,
        if told == without_it {
            vec![]
        } else {
            pods(without_it).to_vec()
        }
    );
    assert_eq!(desk.take(second, vec![COMPLETE]), pods("Complete"));
}

#[test]
fn one_namespace_says_nothing_of_others() {
    let (mut desk, ..) = two_parts();
    desk.told.clear();
    let change = desk.want(&[("shop", "x=1"), ("shop", "y=2"), ("pay", "z=3")]);
    assert_eq!((change.start.len(), change.stop.len()), (1, 0));
    assert_eq!(desk.told, [""; 0]);
    let third = desk.id(Source::Pods, "z=3");
    assert_eq!(
        desk.take(third, vec![refused()]),
        [r#"Unreadable("no") pods Namespace("pay")"#]
    );
}

#[test]
fn what_nobody_wants_any_more_leaves_and_late_words_are_ignored() {
    let (mut desk, first, second) = two_parts();
    desk.told.clear();
    let change = desk.want(&[("shop", "y=2")]);
    assert_eq!(
        change,
        Change {
            start: vec![],
            stop: vec![first]
        }
    );
    assert_eq!(desk.told, ["gone pods shop/a"]);
    assert_eq!(desk.take(first, vec![pod("z"), STALE, refused()]), [""; 0]);
    assert_eq!(desk.take(second, vec![gone("b")]), ["gone pods shop/b"]);
}

#[test]
fn a_nameless_object_goes_with_the_list_that_held_it() {
    let (mut desk, first, _) = two_parts();
    assert_eq!(desk.take(first, vec![text("not json")]), ["pods /"]);
    let told = desk.take(first, vec![What::Begin, pod("a"), pod("b"), What::Synced]);
    assert_eq!(told, ["pods shop/a", "pods shop/b", "gone pods /"]);
}

#[test]
fn webhooks_of_two_kinds_are_told_apart() {
    let mut desk = Desk::default();
    desk.want(&[]);
    let validating = desk.id(Source::Webhooks, "validating");
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
        desk.intake.take(Event::of(validating, what), &mut |input| {
            if let Input::Object { json, .. } = input {
                let json: serde_json::Value = serde_json::from_slice(json).unwrap();
                kinds.push(json["kind"].as_str().unwrap().to_owned());
            }
        });
    }
    assert_eq!(kinds, ["ValidatingWebhookConfiguration"; 2]);
    let told = desk.take(validating, vec![What::Gone(String::new(), "w".into())]);
    assert_eq!(
        told,
        ["gone webhookconfigurations ValidatingWebhookConfiguration/w"]
    );
}

#[test]
fn policies_come_compiled_or_refused() {
    let mut desk = Desk::default();
    desk.want(&[]);
    let id = desk.id(Source::Policies, "");
    let good = r#"{"metadata":{"namespace":"shop","name":"p"},"spec":{"services":{"names":["web"]}}}"#;
    let bad = r#"{"metadata":{"namespace":"shop","name":"q"},"spec":{"services":{}}}"#;
    let told = desk.take(id, vec![text(good), text(bad), text("{")]);
    assert_eq!(
        told,
        [
            "policy shop/p",
            "refused traffichealthpolicies shop/q",
            "refused traffichealthpolicies /"
        ]
    );
}

#[test]
fn many_selectors_are_one_watch_and_no_namespace_is_never_all() {
    let mut desk = Desk::default();
    let selectors: Vec<_> = (0..1_000).map(|at| format!("app=a{at}")).collect();
    let mut pods: Vec<_> = selectors.iter().map(|one| ("shop", one.as_str())).collect();
    pods.extend([
        ("pay", "app=a"),
        ("pay", ""),
        ("", "app=b"),
        ("few", "app=a"),
        ("few", "app=b"),
    ]);
    desk.want(&pods);
    let watched: Vec<_> = desk
        .intake
        .targets()
        .filter(|(_, target)| target.source == Source::Pods)
        .map(|(_, target)| target.show())
        .collect();
    assert_eq!(
        watched,
        [
            "/api/v1/namespaces/few/pods?app=a",
            "/api/v1/namespaces/few/pods?app=b",
            "/api/v1/namespaces/pay/pods",
            "/api/v1/namespaces/shop/pods",
        ]
    );
}

#[test]
fn too_many_namespaces_are_said_and_not_watched() {
    let mut desk = Desk::default();
    let namespaces: Vec<_> = (0..300).map(|at| format!("n{at}")).collect();
    let pods: Vec<_> = namespaces.iter().map(|one| (one.as_str(), "app=a")).collect();
    let change = desk.want(&pods);
    let watched = change
        .start
        .iter()
        .filter(|(_, target)| target.source == Source::Pods)
        .count();
    assert_eq!(watched, 256);
    let why = "policies select Pods in 300 ways over all namespaces; at most 256 are watched";
    let refused = format!(r#"Unreadable("{why}") pods"#);
    assert_eq!(desk.told.len(), 300 - 256);
    assert!(
        desk.told.iter().all(|one| one.starts_with(&refused)),
        "{:?}",
        desk.told
    );
}

#[test]
fn one_way_too_many_is_said_although_nothing_starts_or_stops_for_it() {
    let mut desk = Desk::default();
    let namespaces: Vec<_> = (0..257).map(|at| format!("n{at:03}")).collect();
    let pods: Vec<_> = namespaces.iter().map(|one| (one.as_str(), "app=a")).collect();
    desk.want(&pods[..256]);
    let change = desk.want(&pods);
    assert!(change.start.is_empty() && change.stop.is_empty(), "{change:?}");
    let why = "policies select Pods in 257 ways over all namespaces; at most 256 are watched";
    assert_eq!(
        desk.told,
        [format!(r#"Unreadable("{why}") pods Namespace("n256")"#)]
    );
}

#[test]
fn the_core_keeps_what_any_part_holds() {
    let mut core = evenkeel_core::Core::default();
    let mut intake = Intake::default();
    let wants = Wants {
        pods: [("shop".into(), "x=1".into()), ("shop".into(), "y=2".into())].into(),
        ..Wants::default()
    };
    let change = intake.want(&wants, &mut |input| core.handle(Now::ONCE, input));
    for (id, target) in change
        .start
        .iter()
        .filter(|(_, target)| target.source == Source::Pods)
    {
        assert_eq!(
            *core.index().worst_freshness(Source::Pods),
            Freshness::Missing,
            "{}",
            target.show()
        );
        for what in [What::Begin, pod("a"), What::Synced] {
            intake.take(Event::of(*id, what), &mut |input| {
                core.handle(Now::ONCE, input);
            });
        }
    }
    assert_eq!(*core.index().worst_freshness(Source::Pods), Freshness::Complete);
    assert!(intake.is_filling(), "the other sources have not been read");
}
