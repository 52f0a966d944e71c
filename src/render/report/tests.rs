//! Each form as people's tools read it, also with hostile text.

use std::collections::BTreeMap;
use std::path::PathBuf;

use evenkeel_core::findings::{Finding, FindingList, FindingVerdict, Met};
use evenkeel_core::judge::Severity;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::Context;
use super::github::github;
use super::junit::junit;
use super::sarif::sarif;
use crate::escape::is_plain;
use crate::escape::tests::hostile;
use crate::files::{self, Options, Places, Report};
use crate::render::tests::{finding, list};

/// What stands in a folder of files.
fn places(files: &[(&str, &str)]) -> (tempfile::TempDir, Places) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut report = Report::default();
    let mut core = evenkeel_core::Core::default();
    files::read(
        &mut core,
        &[folder.path().into()],
        &Options::default(),
        &mut report,
    );
    (folder, report.places)
}

fn shown<T>(places: &Places, root: PathBuf, met: u32, show: impl FnOnce(&Context<'_>) -> T) -> T {
    let met = BTreeMap::from([(
        "dns-n1-headroom",
        Met {
            count: met,
            first: Vec::new(),
        },
    )]);
    show(&Context {
        places,
        root,
        from: &["manifests".into()],
        again: " --from manifests",
        met: &met,
        fails: &|one| one.exception.is_none() && one.severity == Severity::Critical,
    })
}

/// One finding of each severity, and one that is accepted.
fn each() -> FindingList {
    let severities = [
        Severity::Critical,
        Severity::Warning,
        Severity::Info,
        Severity::Unknown,
        Severity::Critical,
    ];
    let one = |(at, severity): (usize, Severity)| {
        let mut one = finding("shop");
        one.subject.name = format!("api-{at}");
        one.id = format!("{at:016x}");
        one.severity = severity;
        one.message = format!("api-{at} is silent for 1800 s, 90 % of what is forgotten: <a, \"b\">");
        if severity == Severity::Unknown {
            one.verdict = FindingVerdict::Unknown;
        }
        if at < 4 {
            one.exception = None;
        }
        one.policy = (at == 1).then(|| "shop/p".into());
        one
    };
    FindingList {
        findings: severities.into_iter().enumerate().map(one).collect(),
        ..list("shop")
    }
}

const FILES: [(&str, &str); 2] = [
    (
        "a b.yaml",
        "# Services\n---\n# the first\n\napiVersion: v1\nkind: Service\nmetadata: {name: api-0, namespace: shop}\n---\n\
         apiVersion: evenkeel.dev/v1alpha1\nkind: TrafficHealthPolicy\nmetadata: {name: p, namespace: shop}\n",
    ),
    (
        "list.yaml",
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: api-2, namespace: shop}\n",
    ),
];

#[test]
fn as_sarif() {
    let (folder, places) = places(&FILES);
    let text = shown(&places, folder.path().into(), 3, |context| {
        sarif(&each(), context)
    })
    .unwrap();
    let mut log: Value = serde_json::from_str(&text).unwrap();
    let driver = &mut log["runs"][0]["tool"]["driver"];
    driver["semanticVersion"] = json!("VERSION");
    driver["rules"][0]["help"] = json!("PAGE");
    insta::assert_snapshot!(serde_json::to_string_pretty(&log).unwrap());
}

#[test]
fn as_junit() {
    let (folder, places) = places(&FILES);
    insta::assert_snapshot!(shown(&places, folder.path().into(), 3, |context| junit(
        &each(),
        context
    )));
}

#[test]
fn as_annotations() {
    let (folder, places) = places(&FILES);
    insta::assert_snapshot!(shown(&places, folder.path().into(), 3, |context| github(
        &each(),
        context
    )));
}

#[test]
fn a_file_elsewhere_has_its_whole_address() {
    let (folder, places) = places(&FILES);
    let text = shown(&places, "/elsewhere".into(), 0, |context| sarif(&each(), context)).unwrap();
    let log: Value = serde_json::from_str(&text).unwrap();
    let at = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
    let uri = format!("file://{}/a%20b.yaml", folder.path().display());
    assert_eq!(*at, json!({ "uri": uri }));
}

#[rstest]
#[case::plain("a [b] (c)", "a [b] (c)")]
#[case::link("[here](https://example.com)", r"\[here\](https://example.com)")]
#[case::escaped(r"\[here](x)", r"\\\[here\](x)")]
fn a_message_holds_no_link(#[case] text: &str, #[case] expected: &str) {
    let mut list = list("x");
    list.unreadable[0].source = text.into();
    let text = shown(&Places::default(), PathBuf::new(), 0, |context| {
        sarif(&list, context)
    })
    .unwrap();
    let log: Value = serde_json::from_str(&text).unwrap();
    let said = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
    assert_eq!(*said, json!(format!("could not be read: {expected}: x")));
}

/// A list in which nothing is accepted, so that each form shows each text.
fn open(text: &str) -> FindingList {
    let mut list = list(text);
    let open = |one: Finding| Finding {
        exception: None,
        ..one
    };
    let findings = std::mem::take(&mut list.findings);
    list.findings = findings.into_iter().map(open).collect();
    list.findings.extend(self::list(text).findings);
    list
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_text_stays_text(text in hostile()) {
        let (list, plain) = (open(&format!("x{text}x")), open("xx"));
        let none = Places::default();
        let both = |show: fn(&FindingList, &Context<'_>) -> String| {
            let show = |list| shown(&none, PathBuf::new(), 1, |context| show(list, context));
            (show(&list), show(&plain))
        };

        let (log, _) = both(|list, context| sarif(list, context).unwrap());
        prop_assert!(is_plain(&log), "{:?}", log);
        let log: Value = serde_json::from_str(&log).unwrap();
        let results = log["runs"][0]["results"].as_array().unwrap();
        prop_assert_eq!(results.len(), list.findings.len());
        prop_assert_eq!(&results[0]["partialFingerprints"]["evenkeelFinding/v1"], &json!("0123456789abcdef"));

        let (report, expected) = both(junit);
        prop_assert!(is_plain(&report), "{:?}", report);
        let elements = |text: &str| {
            let document = roxmltree::Document::parse(text).unwrap();
            let names = document.descendants().filter(roxmltree::Node::is_element);
            names.map(|one| (one.tag_name().name().to_owned(), one.attributes().len())).collect::<Vec<_>>()
        };
        prop_assert_eq!(elements(&report), elements(&expected));

        let (commands, expected) = both(github);
        prop_assert!(is_plain(&commands), "{:?}", commands);
        prop_assert_eq!(commands.lines().count(), expected.lines().count());
        for (line, expected) in commands.lines().zip(expected.lines()) {
            // `::command key=value,key=value::message`, as the runner takes it apart.
            let parts = |line: &str| {
                let (properties, message) = line[2..].split_once("::").unwrap();
                (properties.to_owned(), message.matches("%0A").count())
            };
            prop_assert!(line.starts_with("::"), "{}", line);
            prop_assert_eq!(parts(line), parts(expected));
        }
    }
}
