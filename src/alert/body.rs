//! An alert as Alertmanager's API v2 takes it (`api/v2/openapi.yaml`, `postableAlert`).

use std::collections::BTreeMap;

use evenkeel_core::findings::Finding;
use jiff::Timestamp;
use serde::Serialize;

use super::LASTS;

/// One alert. Labels are what it is known by: they hold no number that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    /// When it ends unless it is told again.
    pub(super) ends_at: Timestamp,
}

impl Alert {
    /// The alert of a finding, and the finding's id.
    pub(super) fn of(finding: &Finding, now: Timestamp) -> (String, Self) {
        let subject = &finding.subject;
        let labels = [
            ("alertname", "EvenkeelFinding".to_owned()),
            ("check", finding.check.to_owned()),
            ("severity", finding.severity.name().to_owned()),
            ("cause", finding.cause.to_owned()),
            ("finding", finding.id.clone()),
            ("kind", subject.kind.to_owned()),
            ("namespace", subject.namespace.clone()),
            ("name", subject.name.clone()),
            (
                "port",
                subject.port.map(|port| port.to_string()).unwrap_or_default(),
            ),
            ("connection", subject.connection.clone()),
            ("client", subject.client.clone()),
            ("policy", finding.policy.clone().unwrap_or_default()),
        ];
        let annotations = [
            ("summary", format!("{}: {subject}", finding.check)),
            ("description", finding.message.clone()),
            ("advice", finding.advice.join("\n")),
            ("runbook", format!("docs/checks/{}.md", finding.check)),
        ];
        let since = finding.since.and_then(|since| Timestamp::from_second(since).ok());
        let alert = Self {
            labels: kept(labels),
            annotations: kept(annotations),
            starts_at: since.unwrap_or(now),
            ends_at: now + LASTS,
        };
        (finding.id.clone(), alert)
    }
}

/// Without what is empty: an empty label is no label.
fn kept<const N: usize>(pairs: [(&'static str, String); N]) -> BTreeMap<&'static str, String> {
    pairs.into_iter().filter(|pair| !pair.1.is_empty()).collect()
}
