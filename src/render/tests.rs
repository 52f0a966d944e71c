//! Every renderer with hostile text; what people see of it is judged in `hostile_text.rs`, with the other exits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use evenkeel_core::checks::path::budget::{Closing, Segment, Side, Span};
use evenkeel_core::findings::{
    EvidenceView, ExceptionView, Finding, FindingList, FindingVerdict, JudgedObjects, SubjectKind,
    SubjectView, Summary, Unreadable,
};
use evenkeel_core::judge::{Datum, Severity};
use evenkeel_core::know::{Origin, Unit, Val};
use evenkeel_core::paths::PathView;
use proptest::prelude::*;

use super::screen::Screen;
use super::{dataplane, findings, json, path, yaml};
use crate::escape::is_plain;
use crate::escape::tests::hostile;

/// A finding in which every text that may come from an object or file is this one.
pub(crate) fn finding(text: &str) -> Finding {
    Finding {
        id: "0123456789abcdef".into(),
        check: "path-idle-budget",
        verdict: FindingVerdict::Violated,
        severity: Severity::Critical,
        subject: SubjectView {
            kind: SubjectKind::Service,
            namespace: text.into(),
            name: text.into(),
            port: Some(80),
            connection: text.into(),
            client: text.into(),
        },
        policy: Some(text.into()),
        exception: Some(ExceptionView {
            reason: text.into(),
            expires_at: 1_700_000_000,
            capped_at: None,
        }),
        cause: "Slow",
        message: text.into(),
        evidence: vec![EvidenceView {
            what: "idle timeout",
            value: Datum::Text(text.into()),
            unit: Unit::None,
            source: text.into(),
            origin: Origin::Declared,
        }],
        advice: vec![text.into(), text.into()],
        since: None,
        blind: None,
    }
}

/// A list with such findings.
pub(crate) fn list(text: &str) -> FindingList {
    FindingList {
        api_version: "evenkeel.dev/v1alpha1",
        kind: "FindingList",
        findings: vec![finding(text), finding(text)],
        unreadable: vec![Unreadable {
            source: text.into(),
            reason: text.into(),
        }],
        not_judged: None,
        notes: vec![text.to_owned().into()],
        summary: Summary::default(),
    }
}

pub(crate) fn drawn(text: &str) -> PathView {
    let val = || Val::declared(900, text);
    let span = Span {
        best: Some(val()),
        worst: Some(val()),
    };
    PathView {
        policy: text.into(),
        connection: text.into(),
        client: text.into(),
        service: text.into(),
        port: 80,
        protocol: "TCP",
        silence: Some(val()),
        segments: vec![Segment {
            from: Side::named(text),
            to: Side::named(text),
            keepalive: span.clone(),
            idle_keepalive: span.clone(),
            stream: span.clone(),
            pool: span.clone(),
            silence: span.clone(),
            tables: Vec::new(),
            closings: vec![Closing {
                hop: text.into(),
                idle: val(),
                silence: span,
                end: None,
            }],
            closes_after: None,
        }],
        findings: vec![finding(text)],
    }
}

/// What is new, gone, judged otherwise and no longer read, each with the texts of this list.
fn changes(list: &FindingList) -> findings::Changes {
    let empty = FindingList {
        findings: Vec::new(),
        unreadable: Vec::new(),
        ..list.clone()
    };
    let mut open = findings::ComparedAudit::from(list);
    for one in &mut open.findings {
        one.exception = None;
    }
    let (list, empty) = (
        findings::ComparedAudit::from(list),
        findings::ComparedAudit::from(&empty),
    );
    findings::Changes {
        new: findings::Changes::of(&empty, &open).new,
        gone: findings::Changes::of(&list, &empty).gone,
        unread: findings::Changes::of(&empty, &list).unread,
        ..findings::Changes::of(&list, &open)
    }
}

/// What people see of this text, by renderer.
pub(crate) fn for_people(text: &str) -> Vec<(&'static str, String)> {
    let list = list(text);
    let notes = [text.to_owned().into()];
    let ignored = BTreeMap::from([(text.to_owned(), 2)]);
    let aside = findings::Aside {
        hidden: 0,
        notes: &notes,
        ignored: &ignored,
        again: format!(" --from '{text}'"),
        busiest: None,
        grantee: format!("'{text}'"),
        judged: JudgedObjects::default(),
        checks: 0,
        met: &BTreeMap::new(),
        all: true,
        list_met: true,
    };
    let view = dataplane::tests::view(text);
    let changes = changes(&list);
    vec![
        ("audit table", findings::table(&list, &aside, Screen::ENDLESS)),
        ("audit wide", findings::wide(&list, &aside)),
        ("audit markdown", findings::markdown(&list, &aside)),
        ("diff table", changes.page(&aside.again, Screen::ENDLESS)),
        ("diff markdown", changes.markdown()),
        ("finding", findings::card(&list.findings[0])),
        ("finding markdown", findings::card_markdown(&list.findings[0])),
        ("path", path::draw(&drawn(text))),
        ("path markdown", path::draw_markdown(&drawn(text))),
        (
            "dataplane table",
            dataplane::table(&view, &aside.again, &aside.grantee),
        ),
        ("dataplane wide", dataplane::wide(&view)),
        ("dataplane markdown", dataplane::markdown(&view)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn programs_read_exactly_what_is_there(text in hostile()) {
        let answers = [
            serde_json::to_value(list(&text)).unwrap(),
            path::view(&drawn(&text)),
            serde_json::to_value(dataplane::tests::view(&text)).unwrap(),
        ];
        for expected in &answers {
            let shown = json(expected).unwrap();
            prop_assert!(is_plain(&shown), "{:?}", shown);
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&shown).unwrap(), expected);
            let shown = yaml(expected).unwrap();
            prop_assert!(is_plain(&shown), "{:?}", shown);
            prop_assert_eq!(&serde_saphyr::from_str::<serde_json::Value>(&shown).unwrap(), expected);
        }
    }
}

#[test]
fn a_megabyte_is_cut_for_people() {
    for (renderer, shown) in for_people(&"ä".repeat(1 << 20)) {
        assert!(shown.len() < 1 << 20, "{renderer}: {} bytes", shown.len());
    }
}

/// A command is pasted, and would be two where it is broken; a backtick alone, or two far apart, are no command.
#[test]
fn what_stands_between_backticks_is_not_broken() {
    let filled = |text: &str| super::filled(text, "", "  ", 24);
    assert_eq!(
        filled("declare it with `kubectl apply -f -` and look"),
        "declare it with\n  `kubectl apply -f -`\n  and look"
    );
    assert_eq!(
        filled("a lone ` is one of many here"),
        "a lone ` is one of many\n  here"
    );
    let far = format!("`a {} b`", "x ".repeat(20));
    assert!(filled(&far).lines().count() > 1, "{}", filled(&far));
    assert_eq!(filled("`a b`, `c`"), "`a b`, `c`");
    // A number and its unit are read in one.
    assert_eq!(
        filled("it is silent for up to 1800 s, and then"),
        "it is silent for up to\n  1800 s, and then"
    );
    assert_eq!(
        filled("the first of 33 names are shown"),
        "the first of 33 names\n  are shown"
    );
}
