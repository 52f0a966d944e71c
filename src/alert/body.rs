//! An alert as Alertmanager's API v2 takes it (`api/v2/openapi.yaml`, `postableAlert`).

use std::collections::BTreeMap;

use evenkeel_core::findings::Finding;
use jiff::Timestamp;
use serde::Serialize;

use super::LASTS;
use crate::escape;

/// What an alert is known by.
pub(super) type AlertLabels = BTreeMap<&'static str, String>;

/// The label with the finding's id.
const FINDING: &str = "finding";

/// One alert. Labels are what it is known by: they hold no number that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    labels: AlertLabels,
    annotations: BTreeMap<&'static str, String>,
    /// Since when the finding holds.
    pub(super) starts_at: Timestamp,
    /// When it ends unless it is pushed again.
    pub(super) ends_at: Timestamp,
}

impl Alert {
    /// The alert of a finding.
    pub(super) fn of(finding: &Finding, now: Timestamp) -> Self {
        let subject = &finding.subject;
        let labels = [
            ("alertname", "EvenkeelFinding".to_owned()),
            ("check", finding.check.to_owned()),
            ("severity", finding.severity.name().to_owned()),
            ("cause", finding.cause.to_owned()),
            (FINDING, finding.id.clone()),
            ("kind", subject.kind.name().to_owned()),
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
        let labels = labels.map(|(name, value)| (name, escape::alert(&value)));
        let advice: Vec<_> = finding.advice.iter().map(|step| escape::alert(step)).collect();
        let annotations = [
            ("summary", escape::alert(&format!("{}: {subject}", finding.check))),
            ("description", escape::alert(&finding.message)),
            ("advice", advice.join("\n")),
            ("runbook_url", format!("docs/checks/{}.md", finding.check)),
        ];
        let since = finding.since.and_then(|since| Timestamp::from_second(since).ok());
        Self {
            labels: kept(labels),
            annotations: kept(annotations),
            // A beginning after the end would be refused: clocks may have been set back.
            starts_at: since.unwrap_or(now).min(now),
            ends_at: now + LASTS,
        }
    }

    /// What it is known by.
    pub(super) fn labels(&self) -> &AlertLabels {
        &self.labels
    }

    /// The namespace that it is about; empty for the cluster and its nodes.
    pub(super) fn namespace(&self) -> &str {
        self.labels.get("namespace").map_or("", String::as_str)
    }

    /// The id of its finding.
    pub(super) fn finding(&self) -> &str {
        self.labels.get(FINDING).map_or("", String::as_str)
    }

    /// Goes on as it was last seen, and says that it is not seen now.
    pub(super) fn hold(&mut self, now: Timestamp) {
        let note =
            "cannot be judged at present, as something needed cannot be read: this is what was last seen";
        self.annotations.insert("note", note.into());
        self.ends_at = now + LASTS;
    }

    /// Ends now.
    pub(super) fn end(&mut self, now: Timestamp) {
        self.ends_at = now.max(self.starts_at);
    }
}

/// Without what is empty: an empty label is no label.
fn kept<const N: usize>(pairs: [(&'static str, String); N]) -> BTreeMap<&'static str, String> {
    pairs.into_iter().filter(|pair| !pair.1.is_empty()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::render::tests::finding;

    /// The labels and annotations of a finding in which every text is this one.
    pub(crate) fn texts(text: &str) -> Vec<String> {
        let alert = Alert::of(&finding(text), Timestamp::UNIX_EPOCH);
        alert
            .labels
            .into_values()
            .chain(alert.annotations.into_values())
            .collect()
    }
}
