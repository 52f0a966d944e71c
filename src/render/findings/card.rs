//! Everything of one finding.

use std::fmt::Write as _;

use evenkeel_core::findings::{EvidenceView, Finding};
use evenkeel_core::know::Origin;
use evenkeel_core::sample::SampleView;

use super::colour;
use crate::escape::line;
use crate::render::screen::Screen;
use crate::render::{coloured, wrapped};

/// Everything of one finding.
pub(crate) fn card(finding: &Finding) -> String {
    let word = coloured(
        finding.severity.name(),
        colour(finding.severity),
        Screen::current(),
    );
    let subject = finding.subject.to_string();
    let mut text = format!("{word}  {}  {}\n", finding.check, line(&subject));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", wrapped(&finding.message, "  "));
    let cause = if finding.cause.is_empty() { "" } else { ", cause " };
    let _ = writeln!(
        text,
        "  {}{cause}{}, id {}",
        finding.verdict, finding.cause, finding.id
    );
    if let Some(policy) = &finding.policy {
        let _ = writeln!(text, "  policy {}", line(policy));
    }
    if let Some(accepted) = accepted(finding) {
        let _ = writeln!(text, "{}", wrapped(&accepted, "  "));
    }
    if !finding.evidence.is_empty() {
        text += "  evidence\n";
        for one in &finding.evidence {
            let _ = writeln!(text, "{}", wrapped(&evidence(one), "    "));
        }
    }
    if !finding.advice.is_empty() {
        text += "  what to do\n";
        for (number, step) in (1..).zip(&finding.advice) {
            let _ = writeln!(text, "{}", wrapped(&format!("{number}. {step}"), "    "));
        }
    }
    text
}

/// Most samples that are shown of one finding.
const SAMPLES: usize = 24;

/// What was measured: metric, subject, value with unit, observer and age.
pub(crate) fn samples(all: &[SampleView]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text = String::from("  measured\n");
    for one in all.iter().take(SAMPLES) {
        let (metric, value) = (one.metric.name(), one.value_text());
        let sample = format!(
            "{metric} of {}: {value} ({}, {} s ago)",
            one.on, one.observer, one.age_seconds
        );
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", wrapped(&sample, "    "));
    }
    if all.len() > SAMPLES {
        let _ = writeln!(text, "    and {} more", all.len() - SAMPLES);
    }
    text
}

/// One piece of evidence with its unit, origin and source.
pub(crate) fn evidence(one: &EvidenceView) -> String {
    let origin = origin(one.origin);
    format!(
        "{}: {}{} ({origin}; {})",
        one.what, one.value, one.unit, one.source
    )
}

pub(super) const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Measured => "measured",
        Origin::Declared => "declared",
        Origin::Default => "default",
        Origin::Assumed => "assumed",
    }
}

/// A moment in seconds since the Unix epoch, as people read it.
pub(super) fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

/// Until when a finding is accepted, and why; `None` where it is not.
pub(crate) fn accepted(finding: &Finding) -> Option<String> {
    let exception = finding.exception.as_ref()?;
    Some(format!(
        "accepted until {}: {}",
        moment(exception.until()),
        exception.reason
    ))
}

/// The severity, and whether somebody has accepted it.
pub(super) fn level(finding: &Finding) -> String {
    match finding.exception {
        Some(_) => format!("{} (accepted)", finding.severity.name()),
        None => finding.severity.name().to_owned(),
    }
}
