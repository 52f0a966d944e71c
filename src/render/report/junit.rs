//! Findings as a report of tests in the XML of `JUnit`, as CI systems read it.
//!
//! A check is a suite and a finding one of its cases. It fails where the command fails for it (`--fail-on`), is skipped where
//! it is accepted or Unknown, and passes otherwise, with its text as output. What is met is one case that passes for each
//! check, so that a healthy cluster has tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use evenkeel_core::findings::{Finding, FindingList};
use evenkeel_core::judge::Severity;

use super::{Context, details, not_judged, title};
use crate::escape::xml;
use crate::render::findings::accepted;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaseOutcome {
    Passed,
    Skipped,
    Failed,
    Error,
}

/// One case of a suite.
struct Case {
    name: String,
    outcome: CaseOutcome,
    /// What it says at a glance.
    message: String,
    /// What kind of failure it is.
    kind: &'static str,
    /// The rest.
    lines: Vec<String>,
}

/// The findings, what is met, and what could not be read.
pub(crate) fn junit(list: &FindingList, context: &Context<'_>) -> String {
    let mut suites: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for one in &list.findings {
        suites.entry(one.check).or_default().push(case(one, context));
    }
    for (check, met) in context.met {
        suites.entry(check).or_default().push(Case {
            name: format!("{} met", met.count),
            outcome: CaseOutcome::Passed,
            message: String::new(),
            kind: "",
            lines: Vec::new(),
        });
    }
    let unread = list.unreadable.iter().map(|one| Case {
        name: one.source.clone(),
        outcome: CaseOutcome::Error,
        message: format!("could not be read: {}", one.reason),
        kind: "unreadable",
        lines: Vec::new(),
    });
    let left = not_judged(list).into_iter().map(|text| Case {
        name: text.clone(),
        outcome: CaseOutcome::Skipped,
        message: text,
        kind: "",
        lines: Vec::new(),
    });
    let rest: Vec<Case> = unread.chain(left).collect();
    if !rest.is_empty() {
        suites.insert("reading", rest);
    }
    // The form of the xUnit plugin of Jenkins (jenkinsci/xunit-plugin, `junit-10.xsd`) counts what was skipped by suite alone.
    let all = counts(&suites.values().flatten(), false);
    let mut text =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"evenkeel\"{all}>\n");
    for (name, cases) in &suites {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\"{}>",
            xml(name),
            counts(&cases.iter(), true)
        );
        for case in cases {
            write(&mut text, name, case);
        }
        text += "  </testsuite>\n";
    }
    text + "</testsuites>\n"
}

fn case(finding: &Finding, context: &Context<'_>) -> Case {
    let place = context.place(finding).map(|at| {
        let path = context.path(&at.file).display().to_string();
        at.line
            .map_or_else(|| path.clone(), |line| format!("{path}, line {line}"))
    });
    let (outcome, message) = match accepted(finding) {
        Some(why) => (CaseOutcome::Skipped, format!("{why}; {}", finding.message)),
        None if (context.fails)(finding) => (CaseOutcome::Failed, finding.message.clone()),
        None if finding.severity == Severity::Unknown => (CaseOutcome::Skipped, finding.message.clone()),
        None => (CaseOutcome::Passed, finding.message.clone()),
    };
    Case {
        name: title(finding),
        outcome,
        message,
        kind: finding.severity.name(),
        lines: place.into_iter().chain(details(finding)).collect(),
    }
}

/// How many cases of each outcome there are, as attributes; those that were skipped in a suite alone.
fn counts<'a>(cases: &(impl Iterator<Item = &'a Case> + Clone), of_suite: bool) -> String {
    let of = |outcome| cases.clone().filter(|one| one.outcome == outcome).count();
    let skipped = if of_suite {
        format!(" skipped=\"{}\"", of(CaseOutcome::Skipped))
    } else {
        String::new()
    };
    format!(
        " tests=\"{}\" failures=\"{}\" errors=\"{}\"{skipped} time=\"0\"",
        cases.clone().count(),
        of(CaseOutcome::Failed),
        of(CaseOutcome::Error),
    )
}

fn write(text: &mut String, suite: &str, case: &Case) {
    let (name, message) = (xml(&case.name), xml(&case.message));
    let head = format!(
        "    <testcase classname=\"{}\" name=\"{name}\" time=\"0\"",
        xml(suite)
    );
    let lines = case
        .lines
        .iter()
        .fold(String::new(), |text, line| text + &xml(line) + "\n");
    let failed = |element: &str| {
        let kind = case.kind;
        format!("<{element} message=\"{message}\" type=\"{kind}\">\n{lines}</{element}>")
    };
    let body = match case.outcome {
        CaseOutcome::Passed if case.message.is_empty() => {
            *text += &(head + "/>\n");
            return;
        }
        CaseOutcome::Passed => format!("<system-out>{}: {message}\n{lines}</system-out>", case.kind),
        CaseOutcome::Skipped => format!("<skipped message=\"{message}\"/>"),
        CaseOutcome::Failed => failed("failure"),
        CaseOutcome::Error => failed("error"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{head}>\n      {body}\n    </testcase>");
}
