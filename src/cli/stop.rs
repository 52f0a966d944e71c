//! `evenkeel stop`: people say stop, and no node is fenced until they say go.

use std::fmt::Write as _;

use anyhow::{bail, ensure};
use clap::Args;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;

use super::cluster::{Cluster, words};
use super::{End, FIELD_MANAGER, answer};
use crate::escape::line;
use crate::live::{ApiServer, Ask, AskError};
use crate::remedy::STOP;
use crate::{lease, live, render};

/// Why, and of which operator.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Why, as `evenkeel status` shows it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    place: OperatorPlace,
}

/// Which operator, of which cluster.
#[derive(Debug, Args)]
pub(super) struct OperatorPlace {
    /// Namespace of the operator
    #[arg(long, value_name = "NAME", default_value = lease::NAMESPACE)]
    pub(super) operator_namespace: String,
    #[command(flatten)]
    pub(super) cluster: Cluster,
}

impl OperatorPlace {
    /// The flags that name the same operator again, as words of a command.
    pub(super) fn words(&self) -> String {
        let own = self.operator_namespace.clone();
        let own = (own != lease::NAMESPACE).then_some(("--operator-namespace", own));
        words(own.into_iter().chain(self.cluster.again()))
    }
}

/// Most characters of a reason.
const LONGEST: usize = 256;

/// The stop that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopNotice {
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// Who said it, as the object has it; absent where the object was made by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    /// The program that made the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) made_with: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip)]
    pub(super) uid: String,
}

impl StopNotice {
    fn of(map: ConfigMap) -> Self {
        let data = map.data.unwrap_or_default();
        let text = |key: &str| {
            let text = data.get(key).filter(|text| !text.is_empty())?;
            Some(text.chars().take(LONGEST).collect())
        };
        let metadata = map.metadata;
        Self {
            since: metadata.creation_timestamp.map(|time| time.0.to_string()),
            by: text("by"),
            made_with: metadata
                .managed_fields
                .and_then(|all| all.into_iter().next()?.manager),
            reason: text("reason"),
            uid: metadata.uid.unwrap_or_default(),
        }
    }

    /// As part of a sentence: by whom, since when, and why.
    pub(super) fn told(&self) -> String {
        let mut text = match (&self.by, &self.made_with) {
            (Some(by), _) => format!("by {by}"),
            (None, Some(program)) => format!("by somebody with {program}"),
            (None, None) => "by somebody".to_owned(),
        };
        if let Some(since) = &self.since {
            // Writing into a String cannot fail.
            let _ = write!(text, ", since {since}");
        }
        if let Some(reason) = &self.reason {
            let _ = write!(text, ": {reason}");
        }
        line(&text).into_owned()
    }
}

/// The stop that is in force in the operator's namespace.
///
/// # Errors
/// What became of the request.
pub(super) async fn read(
    client: &Client,
    server: &ApiServer,
    namespace: &str,
) -> Result<Option<StopNotice>, AskError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(STOP).await;
    let found = found.map_err(|error| server.failed(&error, ask("get", namespace)))?;
    Ok(found.map(StopNotice::of))
}

/// What is asked of the object.
pub(super) const fn ask<'a>(verb: &'static str, namespace: &'a str) -> Ask<'a> {
    Ask {
        verb,
        resource: "configmaps",
        name: STOP,
        namespace,
    }
}

/// An error where the operator's namespace does not exist. Without the right to know it may.
pub(super) async fn namespace_exists(client: &Client, server: &ApiServer, name: &str) -> anyhow::Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    match api.get_metadata_opt(name).await {
        Ok(None) => bail!(
            "{server} has no namespace {name}, so no evenkeel runs there; --operator-namespace names another"
        ),
        _ => Ok(()),
    }
}

/// Says stop. It is done when it was said before.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let length = arguments
        .reason
        .as_ref()
        .map_or(0, |reason| reason.chars().count());
    ensure!(
        length <= LONGEST,
        "the reason has {length} characters: {LONGEST} at most"
    );
    let place = &arguments.place;
    place.cluster.wait(async {
        let (client, server) = live::connect(&place.cluster.options()).await?;
        let namespace = &*place.operator_namespace;
        namespace_exists(&client, &server, namespace).await?;
        let (made, notice) = say(&client, &server, arguments).await?;
        let admission = Admission::read(&client, namespace).await;
        answer(&text(made, &notice, &admission, place))?;
        Ok(End::Good)
    })
}

/// Makes the object, or finds the one that is there; whether it was made, and what it says.
async fn say(
    client: &Client,
    server: &ApiServer,
    arguments: &Arguments,
) -> anyhow::Result<(bool, StopNotice)> {
    let namespace = &*arguments.place.operator_namespace;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut data = std::collections::BTreeMap::new();
    data.extend(who(client).await.map(|by| ("by".to_owned(), by)));
    data.extend(
        arguments
            .reason
            .iter()
            .map(|reason| ("reason".to_owned(), reason.clone())),
    );
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(STOP.to_owned()),
            labels: Some([("app.kubernetes.io/name".to_owned(), "evenkeel".to_owned())].into()),
            ..kube::api::ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let options = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&options, &map).await {
        Ok(map) => Ok((true, StopNotice::of(map))),
        Err(kube::Error::Api(status)) if status.code == 409 => match read(client, server, namespace).await? {
            Some(notice) => Ok((false, notice)),
            None => bail!("somebody said go at the same moment: nothing is stopped; say it again"),
        },
        Err(error) => Err(server.failed(&error, ask("create", namespace)).into()),
    }
}

/// The user that the server takes us for; `None` where it does not say.
pub(super) async fn who(client: &Client) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let (options, question) = (PostParams::default(), SelfSubjectReview::default());
    let review = api.create(&options, &question).await.ok()?;
    review.status?.user_info?.username
}

/// Whether the API server itself refuses fences while the object exists.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Admission {
    /// It does.
    Refuses,
    /// The component is not installed.
    Absent,
    /// The policy looks for the object in another namespace.
    Elsewhere(String),
    /// You may not see it.
    Unseen,
}

impl Admission {
    async fn read(client: &Client, namespace: &str) -> Self {
        let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        match api.get_opt(STOP).await {
            Ok(None) => Self::Absent,
            // Before Kubernetes 1.30 there are no such policies.
            Err(kube::Error::Api(status)) if status.code == 404 => Self::Absent,
            Err(_) => Self::Unseen,
            Ok(Some(binding)) => {
                let named = binding.spec.param_ref.and_then(|parameter| parameter.namespace);
                match named {
                    Some(named) if named == namespace => Self::Refuses,
                    named => Self::Elsewhere(named.unwrap_or_default()),
                }
            }
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Refuses => "Within about a second the API server itself refuses new fences, also those under way.".into(),
            Self::Absent => "The API server itself refuses no fence: the component remedy-cordon is not installed. Without it \
                             evenkeel has no right to fence nodes."
                .into(),
            Self::Elsewhere(namespace) => format!(
                "But the API server refuses no fence by it: the ValidatingAdmissionPolicyBinding {STOP} looks for it in \
                 namespace {namespace:?}. Correct its spec.paramRef.namespace."
            ),
            Self::Unseen => format!(
                "Whether the API server itself refuses new fences cannot be seen: you may not get the \
                 ValidatingAdmissionPolicyBinding {STOP}."
            ),
        }
    }
}

fn text(made: bool, notice: &StopNotice, admission: &Admission, place: &OperatorPlace) -> String {
    let told = notice.told();
    let first = if made {
        format!("Stopped: no node is fenced from now on ({told}).")
    } else {
        format!("Stopped already: {told}. Nothing was changed.")
    };
    let second = format!("{} Fences that are there stay.", admission.told());
    let (program, words) = (render::program(), place.words());
    render::wrapped(&first, "")
        + "\n"
        + &render::wrapped(&second, "")
        + "\nNext: "
        + &line(&format!(
            "{program} undo --all --dry-run{}",
            place.cluster.words()
        ))
        + "    # which fences there are\n      "
        + &line(&format!("{program} go{words}"))
        + "    # when it may go on\n"
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    pub(crate) fn notice(by: &str) -> StopNotice {
        StopNotice {
            since: Some("2026-01-01T00:00:00Z".into()),
            by: Some(by.into()),
            made_with: Some(by.into()),
            reason: Some(by.into()),
            uid: "u".into(),
        }
    }

    fn place(namespace: &str) -> OperatorPlace {
        OperatorPlace {
            operator_namespace: namespace.into(),
            cluster: Cluster::default(),
        }
    }

    /// What people see where every text of the object is this one.
    pub(crate) fn shown(by: &str) -> String {
        let admission = Admission::Elsewhere(by.into());
        text(true, &notice(by), &admission, &place("evenkeel-system"))
            + &text(false, &notice(by), &admission, &place(by))
    }

    #[test]
    fn screens() {
        let by_hand = StopNotice {
            by: None,
            reason: None,
            made_with: Some("kubectl-create".into()),
            ..notice("jane")
        };
        let jane = StopNotice {
            reason: Some("the network is rebuilt".into()),
            ..notice("jane@example.com")
        };
        let screens = [
            text(true, &jane, &Admission::Refuses, &place("evenkeel-system")),
            text(false, &by_hand, &Admission::Unseen, &place("evenkeel-system")),
            text(true, &jane, &Admission::Absent, &place("evenkeel-system")),
            text(
                false,
                &StopNotice::default(),
                &Admission::Elsewhere("evenkeel-system".into()),
                &place("ops"),
            ),
        ];
        insta::assert_snapshot!("stop", screens.join("\n"));
    }

    #[test]
    fn a_long_text_is_cut() {
        let map = serde_json::json!({"data": {"by": "a".repeat(1000), "reason": ""}});
        let notice = StopNotice::of(serde_json::from_value(map).unwrap());
        assert_eq!(notice.by.unwrap().len(), LONGEST);
        assert_eq!(notice.reason, None);
    }
}
