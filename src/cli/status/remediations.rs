//! What people said and what is under way on nodes: the stop, and records that are open.

use std::fmt::Write as _;

use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;

use super::PAGE;
use crate::api::{Condition, ConditionStatus, GROUP, RemediationRecord, VERSION};
use crate::cli::stop::{self, StopNotice};
use crate::live::{ApiServer, Ask, AskError};
use crate::render;

/// The stop and the open records; nothing where the component `remedy-cordon` is not installed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct RemedyState {
    /// The stop that is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<StopNotice>,
    /// Records that are open, by node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remediations: Vec<OpenRemediation>,
}

/// A record that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenRemediation {
    target: String,
    name: String,
    remedy: String,
    cause: String,
    /// `InEffect`, `Approved`, `Intended`, or `AwaitsApproval`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl OpenRemediation {
    /// `None` of a record that is finished.
    fn of(record: RemediationRecord) -> Option<Self> {
        let conditions = record.status.unwrap_or_default().conditions;
        let asks = record.spec.approval_reason.is_some();
        Some(Self {
            state: state(&conditions, asks)?,
            target: record.spec.target.name,
            name: record.metadata.name.unwrap_or_default(),
            remedy: format!("{:?}", record.spec.remedy),
            cause: record.spec.cause,
            since: record.metadata.creation_timestamp.map(|time| time.0.to_string()),
        })
    }
}

/// The state of a record that waits for a person.
const AWAITS: &str = "AwaitsApproval";

/// How far a record has come, by its conditions, and whether a person has to agree; `None` of one that is finished.
fn state(conditions: &[Condition], asks: bool) -> Option<String> {
    let holds = |kind: &str| {
        let mut all = conditions.iter();
        all.any(|one| one.r#type == kind && one.status == ConditionStatus::True)
    };
    if holds("Finished") {
        return None;
    }
    let state = match asks {
        _ if holds("Started") => "InEffect",
        _ if holds("Approved") => "Approved",
        true => AWAITS,
        false => "Intended",
    };
    Some(state.into())
}

/// Reads them. What may not be seen is added to `unseen`.
pub(super) async fn read(
    (client, server): (&Client, &ApiServer),
    namespace: &str,
    unseen: &mut Vec<String>,
) -> Result<RemedyState, AskError> {
    let mut under_way = RemedyState::default();
    // Without the component there is nothing that may be missed, whatever rights there are.
    if !is_installed(client).await {
        return Ok(under_way);
    }
    match stop::read(client, server, namespace).await {
        Ok(stop) => under_way.stop = stop,
        Err(error @ AskError::Forbidden(_)) => unseen.push(error.to_string()),
        Err(error) => return Err(error),
    }
    let api: Api<RemediationRecord> = Api::namespaced(client.clone(), namespace);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = match api.list(&page).await {
            Ok(list) => list,
            Err(error) => {
                let ask = Ask {
                    verb: "list",
                    resource: "remediations.evenkeel.dev",
                    name: "",
                    namespace,
                };
                match server.failed(&error, ask) {
                    AskError::Absent(..) => {}
                    error @ AskError::Forbidden(_) => unseen.push(error.to_string()),
                    error => return Err(error),
                }
                break;
            }
        };
        let open = list.items.into_iter().filter_map(OpenRemediation::of);
        under_way.remediations.extend(open);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    under_way.remediations.sort();
    Ok(under_way)
}

/// Whether the kinds of the ledger are served, where that can be told: everybody may ask for it.
async fn is_installed(client: &Client) -> bool {
    let group = format!("{GROUP}/{VERSION}");
    match client.list_api_group_resources(&group).await {
        Ok(list) => list.resources.iter().any(|one| one.name == "remediations"),
        Err(kube::Error::Api(status)) => status.code != 404,
        Err(_) => true,
    }
}

/// Most records that are shown.
const SHOWN: usize = 20;

impl RemedyState {
    /// A line that is read before everything else where people said stop.
    pub(super) fn stop_line(&self, again: &str) -> String {
        let Some(stop) = &self.stop else {
            return String::new();
        };
        let go = format!("`{} go{again}`", render::program());
        let said = format!("STOPPED {}: no node is fenced until {go}", stop.told());
        render::wrapped(&said, "") + "\n"
    }

    /// The first record that waits for a person.
    pub(super) fn awaits_approval(&self) -> Option<&str> {
        let mut waiting = self.remediations.iter().filter(|one| one.state == AWAITS);
        waiting.next().map(|one| &*one.name)
    }

    /// A table of records that are open.
    pub(super) fn table(&self) -> String {
        if self.remediations.is_empty() {
            return String::new();
        }
        let rows = self.remediations.iter().take(SHOWN).map(|one| {
            let since = one.since.clone().unwrap_or_else(|| "-".into());
            let [target, state, cause, name] =
                [&one.target, &one.state, &one.cause, &one.name].map(Clone::clone);
            vec![target, state, since, cause, name]
        });
        let heads = ["NODE", "REMEDIATION", "SINCE", "CAUSE", "RECORD"];
        let mut text = "\n".to_owned() + &render::table(&heads, rows);
        let more = self.remediations.len().saturating_sub(SHOWN);
        if more > 0 {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "and {more} more; -o json has all");
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    pub(crate) fn under_way(by: &str, records: usize) -> RemedyState {
        let record = OpenRemediation {
            target: by.into(),
            name: by.into(),
            remedy: "CordonNode".into(),
            cause: by.into(),
            state: by.into(),
            since: Some("2026-01-01T00:00:00Z".into()),
        };
        RemedyState {
            stop: Some(stop::tests::notice(by)),
            remediations: vec![record; records],
        }
    }

    /// One record that waits for a person.
    pub(crate) fn awaited(name: &str) -> RemedyState {
        let mut state = under_way(name, 1);
        for one in &mut state.remediations {
            AWAITS.clone_into(&mut one.state);
        }
        state
    }

    #[rstest]
    #[case::stored(json!([]), Some("Intended"))]
    #[case::approved(json!([["Approved", "True", "Approved"]]), Some("Approved"))]
    #[case::acts(json!([["Approved", "True", "Approved"], ["Started", "True", "Fenced"]]), Some("InEffect"))]
    #[case::over(json!([["Started", "True", "Fenced"], ["Finished", "True", "Undone"]]), None)]
    #[case::not_over(json!([["Finished", "False", "Undone"]]), Some("Intended"))]
    fn a_record_is_open_until_it_is_finished(
        #[case] conditions: serde_json::Value,
        #[case] expected: Option<&str>,
    ) {
        let all = conditions.as_array().unwrap().iter().map(|one| {
            let condition = json!({"type": one[0], "status": one[1], "reason": one[2], "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            serde_json::from_value(condition).unwrap()
        });
        let all: Vec<Condition> = all.collect();
        assert_eq!(state(&all, false).as_deref(), expected);
        let asks = expected.map(|state| if state == "Intended" { AWAITS } else { state });
        assert_eq!(state(&all, true).as_deref(), asks);
    }

    /// Who may see nothing of it misses nothing where it is not installed.
    #[rstest]
    #[case::not_installed("clustertraffichealthpolicies", 0)]
    #[case::installed("remediations", 2)]
    #[tokio::test]
    async fn without_the_component_nothing_is_unseen(#[case] resource: &'static str, #[case] unseen: usize) {
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| async move {
            let kinds = json!({"kind": "APIResourceList", "groupVersion": "evenkeel.dev/v1alpha1", "resources": [
                {"name": resource, "singularName": "", "namespaced": true, "kind": "A", "verbs": ["list"]}]});
            let refused = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "message": "no", "reason": "Forbidden"});
            let is_discovery = request.uri().path() == "/apis/evenkeel.dev/v1alpha1";
            let (code, body) = if is_discovery {
                (200, kinds)
            } else {
                (403, refused)
            };
            let body = kube::client::Body::from(body.to_string().into_bytes());
            let answer = http::Response::builder().status(code).body(body).unwrap();
            Ok::<_, std::convert::Infallible>(answer)
        });
        let client = Client::new(service, "default");
        let mut missed = Vec::new();
        let read = read((&client, &ApiServer::unnamed()), "evenkeel-system", &mut missed).await;
        assert_eq!(read.unwrap(), RemedyState::default());
        assert_eq!(missed.len(), unseen, "{missed:?}");
    }

    #[test]
    fn a_long_table_is_cut() {
        let text = under_way("a", SHOWN + 5).table();
        assert!(text.contains("and 5 more"), "{text}");
        assert_eq!(
            RemedyState::default().table() + &RemedyState::default().stop_line(""),
            ""
        );
    }
}
