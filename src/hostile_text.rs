//! Every exit with hostile text: nothing of it is obeyed, and no line, cell, series or mention is of its making.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use evenkeel_core::findings::Summary;
use evenkeel_core::plan::{Decision, HeldView, PlanView, PlansView};
use evenkeel_core::policy::Mode;
use evenkeel_core::standing::{Condition, Holds, Reason, Standing};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use crate::api::PolicyRef;
use crate::escape::tests::hostile;
use crate::escape::{is_plain, page};
use crate::files::Places;
use crate::metrics::{CriticalSeries, Metrics, Snapshot};
use crate::query::{IndexView, Readiness};
use crate::render::report::Context;
use crate::render::report::github::github;
use crate::render::report::junit::junit;
use crate::render::report::sarif::sarif;
use crate::render::tests::{finding, for_people, list};
use crate::status::{PolicyStatus, Times, event};
use crate::{alert, cli, serve};

/// Where a text leaves to, and so what could be done with it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// A terminal, or what shows it as it is.
    Terminal,
    /// What renders Markdown.
    Markdown,
    /// What renders Markdown, as text that is indented and so shown as it is.
    Indented,
    /// Chats and mails.
    Chat,
    /// Prometheus.
    Scrape,
    /// What parses XML.
    Xml,
    /// The runner of a GitHub workflow.
    Runner,
}

/// All that leaves with this text in every place that others may fill.
fn exits(text: &str) -> Vec<(String, To, String)> {
    let mut all = Vec::new();
    for (renderer, shown) in for_people(text) {
        let to = match renderer {
            "path markdown" => To::Indented,
            one if one.ends_with("markdown") => To::Markdown,
            _ => To::Terminal,
        };
        all.push((renderer.to_owned(), to, shown));
    }
    let terminal = [
        ("status command", cli::status_shown(text)),
        ("version command", cli::version_shown(text)),
        ("approve command", cli::approve_shown(text)),
        ("stop command", cli::stop_shown(text)),
        ("undo command", cli::undo_shown(text)),
        (
            "error line",
            cli::told(&anyhow::anyhow!("{text}").context(text.to_owned())),
        ),
    ];
    all.extend(terminal.map(|(name, shown)| (name.to_owned(), To::Terminal, shown)));
    all.extend(
        alert::texts(text)
            .into_iter()
            .map(|one| ("alert".to_owned(), To::Chat, one)),
    );
    all.extend(reports(text));
    let status = status(text);
    let policy = PolicyRef {
        namespace: "shop".into(),
        name: "api".into(),
    };
    for condition in &status.0.conditions {
        let event = event(&policy, "uid", condition, "evenkeel-0");
        all.extend(texts("Event", &serde_json::to_value(event).unwrap()));
    }
    all.extend(texts("status", &serde_json::to_value(&status.0).unwrap()));
    all.extend(texts(
        "status of the platform",
        &serde_json::to_value(status.cluster()).unwrap(),
    ));
    all.push(("metrics".into(), To::Scrape, scrape(text)));
    all
}

/// Reports for programs that show them to people.
fn reports(text: &str) -> [(String, To, String); 3] {
    let list = list(text);
    let context = Context {
        places: &Places::default(),
        root: PathBuf::new(),
        from: &[],
        again: "",
        met: &BTreeMap::new(),
        fails: &|one| one.exception.is_none(),
    };
    [
        ("SARIF".to_owned(), To::Terminal, sarif(&list, &context).unwrap()),
        ("JUnit".to_owned(), To::Xml, junit(&list, &context)),
        ("annotations".to_owned(), To::Runner, github(&list, &context)),
    ]
}

/// The texts of an object, each by itself: `kubectl` prints them as they are.
fn texts(name: &str, value: &Value) -> Vec<(String, To, String)> {
    match value {
        Value::String(text) => vec![(name.to_owned(), To::Terminal, text.clone())],
        Value::Array(all) => all.iter().flat_map(|one| texts(name, one)).collect(),
        Value::Object(all) => all
            .iter()
            .flat_map(|(key, one)| texts(&format!("{name}.{key}"), one))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn plans(text: &str) -> PlansView {
    let plan = PlanView {
        id: "0123456789abcdef".into(),
        remedy: "CordonNode",
        node: text.into(),
        cause: "RefilledFlapper",
        message: text.into(),
        evidence: Vec::new(),
        decision: Decision::Held,
        held: Some(HeldView {
            by: "EntryAtRisk",
            message: text.into(),
            evidence: Vec::new(),
            again_at: None,
        }),
        since: 0,
    };
    PlansView {
        planning: true,
        plans: vec![plan],
        ..PlansView::default()
    }
}

fn status(text: &str) -> PolicyStatus {
    let condition = |holds, reason| Condition {
        holds,
        reason,
        message: text.into(),
    };
    let standing = Standing {
        accepted: condition(Holds::False, Reason::Invalid),
        observed: condition(Holds::True, Reason::AllInputsFresh),
        healthy: condition(Holds::False, Reason::Violated),
        remediating: condition(Holds::False, Reason::ModeObserve),
        counts: Summary::default(),
        excepted: 0,
        governed: 1,
        mode: Mode::Observe,
        limited_by: None,
        findings: vec![finding(text)],
        total: 1,
        plans: plans(text),
    };
    PolicyStatus::of(&standing, 1, false, Timestamp::UNIX_EPOCH, &Times::default())
}

fn scrape(text: &str) -> String {
    Metrics::default().text(&Snapshot {
        unhealthy: vec![(text.into(), text.into())],
        criticals: vec![CriticalSeries {
            check: "path-idle-budget",
            namespace: text.into(),
            policy: text.into(),
            count: 1,
        }],
        ..Snapshot::default()
    })
}

/// How many of these marks stand in a text without a backslash that takes their meaning.
fn marks(text: &str, marks: &[char]) -> usize {
    let mut escaped = false;
    let mut count = 0;
    for c in text.chars() {
        if !escaped && marks.contains(&c) {
            count += 1;
        }
        escaped = !escaped && c == '\\';
    }
    count
}

/// Calls of a whole chat, and links under another text.
fn calls(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "<!",
        "<@",
        "<#",
        "<http",
        "@here",
        "@channel",
        "@everyone",
        "@all",
    ]
    .iter()
    .any(|call| text.contains(call))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_acts(text in hostile()) {
        // Neither empty nor blank at an end, as the harmless text.
        let (shown, plain) = (exits(&format!("x{text}x")), exits("xx"));
        prop_assert_eq!(shown.len(), plain.len());
        for ((name, to, shown), (_, _, plain)) in shown.into_iter().zip(plain) {
            prop_assert!(is_plain(&shown), "{}: {:?}", name, shown);
            prop_assert_eq!(shown.lines().count(), plain.lines().count(), "{}: {:?}", name, shown);
            match to {
                // The last step before a terminal changes nothing more.
                To::Terminal => prop_assert_eq!(page(&shown), shown.as_str()),
                To::Markdown => {
                    let marked = |text: &str| marks(text, &['`', '|', '<', '>', '[', ']']);
                    prop_assert_eq!(marked(&shown), marked(&plain), "{}: {:?}", name, shown);
                }
                To::Indented => prop_assert!(shown.lines().all(|line| line.starts_with("    ")), "{:?}", shown),
                To::Chat => prop_assert!(!calls(&shown), "{}: {:?}", name, shown),
                To::Xml => {
                    let marked = |text: &str| text.matches(['<', '>', '"']).count();
                    prop_assert_eq!(marked(&shown), marked(&plain), "{}: {:?}", name, shown);
                }
                To::Runner => {
                    prop_assert!(shown.lines().all(|line| line.starts_with("::")), "{:?}", shown);
                    let ends = |text: &str| text.matches("%0A").count();
                    prop_assert_eq!(ends(&shown), ends(&plain), "{}: {:?}", name, shown);
                }
                To::Scrape => prop_assert_eq!(marks(&shown, &['"']), marks(&plain, &['"']), "{}: {:?}", name, shown),
            }
        }
    }

    #[test]
    fn pages_for_programs_are_exact(text in hostile()) {
        let why = text.clone();
        let pages = [
            page_of(&list(&text)),
            page_of(&IndexView { opaque: vec![(why.clone(), why.clone())], ..IndexView::default() }),
            page_of(&Readiness { not_fresh: BTreeMap::from([("pods", why)]), ..Readiness::default() }),
        ];
        for (shown, expected) in pages {
            prop_assert!(is_plain(&shown), "{:?}", shown);
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), expected);
        }
    }
}

/// A page under `/debug`, and what a program reads there.
fn page_of<T: serde::Serialize>(answer: &T) -> (String, Value) {
    (serve::body(answer), serde_json::to_value(answer).unwrap())
}
