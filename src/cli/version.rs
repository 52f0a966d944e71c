//! `evenkeel version`: the version of this program, of the operator, of the kinds and of the API server, and whether they fit.

use std::fmt::Write as _;

use clap::Args;
use http::Request;
use serde::{Deserialize, Serialize};

use super::status::{OperatorTarget, StatusForm};
use super::{End, answer, status};
use crate::escape::line;
use crate::live::{self, VERSION};
use crate::{api, render};

/// Of what.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only the version of this program: no cluster is asked
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    target: OperatorTarget,
}

/// The versions; absent is what was not asked for, or is not there.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Versions of the kinds that the server serves; empty where they are not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<String>>,
    /// `Alive`, `Silent`, `GivenBack`, `NotFound` or `NotAllowed`, as in `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    /// What does not fit together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skew: Vec<String>,
}

/// The part of an `APIGroup` that is shown.
#[derive(Debug, Default, Deserialize)]
struct ApiGroup {
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Debug, Deserialize)]
struct GroupVersion {
    version: String,
}

/// Shows them.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let mut versions = Versions {
        client: env!("CARGO_PKG_VERSION"),
        ..Versions::default()
    };
    let outcome = if arguments.client {
        Ok(())
    } else {
        arguments
            .target
            .cluster
            .wait(ask(&arguments.target, &mut versions))
    };
    versions.skew = skew(&versions);
    answer(&match arguments.target.output {
        StatusForm::Json => render::json(&versions)?,
        StatusForm::Yaml => render::yaml(&versions)?,
        StatusForm::Table => text(&versions),
    })?;
    // What this program is was worth saying all the same.
    outcome.map(|()| End::Good)
}

async fn ask(target: &OperatorTarget, versions: &mut Versions) -> anyhow::Result<()> {
    let (client, server) = live::connect(&target.cluster.options()).await?;
    let version = client.apiserver_version().await;
    versions.server = Some(
        version
            .map_err(|error| server.failed(&error, VERSION))?
            .git_version,
    );
    let request = Request::get(format!("/apis/{}", api::GROUP)).body(Vec::new())?;
    let group = match client.request::<ApiGroup>(request).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(ApiGroup::default()),
        group => group,
    };
    let group = group.map_err(|error| server.failed(&error, VERSION))?;
    versions.kinds = Some(group.versions.into_iter().map(|one| one.version).collect());
    let operator = status::operator(&client, &server, &target.operator_namespace, &target.lease).await?;
    versions.operator_state = Some(operator.state);
    versions.operator = operator.reported.map(|reported| reported.version);
    Ok(())
}

/// What does not fit together.
fn skew(versions: &Versions) -> Vec<String> {
    let mut skew = Vec::new();
    let client = versions.client;
    if let Some(operator) = versions.operator.as_ref().filter(|operator| *operator != client) {
        skew.push(format!(
            "the operator is {operator}: it may judge otherwise than this program, which is {client}"
        ));
    }
    let installed = versions.kinds.as_ref().filter(|kinds| !kinds.is_empty());
    if let Some(kinds) = installed.filter(|kinds| !kinds.iter().any(|one| one == api::VERSION)) {
        skew.push(format!(
            "the cluster serves {} of evenkeel's kinds, and this program reads {}",
            kinds.join(", "),
            api::VERSION
        ));
    }
    skew
}

fn text(versions: &Versions) -> String {
    let mut text = format!("evenkeel  {}\n", versions.client);
    let mut put = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<8}  {}", line(value));
    };
    if let Some(state) = versions.operator_state {
        let version = versions.operator.as_deref().unwrap_or("version not known");
        put(
            "operator",
            &match state {
                "Alive" => version.to_owned(),
                "NotFound" => "not installed".into(),
                "NotAllowed" => "you may not see its Lease".into(),
                "Silent" => format!("{version}, SILENT: see {} status", render::program()),
                _ => format!("{version}, not running"),
            },
        );
    }
    if let Some(kinds) = &versions.kinds {
        let shown = if kinds.is_empty() {
            "not installed".into()
        } else {
            format!("{}/{}", api::GROUP, kinds.join(", "))
        };
        put("kinds", &shown);
    }
    if let Some(server) = &versions.server {
        put("server", server);
    }
    for one in &versions.skew {
        put("skew", one);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use rstest::rstest;

    use super::*;

    /// What people see where every text that a server says is this one.
    pub(crate) fn shown(by: &str) -> String {
        text(&Versions {
            client: "0.1.0",
            server: Some(by.into()),
            kinds: Some(vec![by.into()]),
            operator_state: Some("Alive"),
            operator: Some(by.into()),
            skew: vec![by.into()],
        })
    }

    #[rstest]
    #[case::none(None, None, 0)]
    #[case::not_installed(None, Some(&[][..]), 0)]
    #[case::equal(Some(env!("CARGO_PKG_VERSION")), Some(&["v1alpha1"][..]), 0)]
    #[case::older(Some("0.0.9"), Some(&["v1alpha1"][..]), 1)]
    #[case::both(Some("9.0.0"), Some(&["v9"][..]), 2)]
    fn what_does_not_fit_is_said(
        #[case] operator: Option<&str>,
        #[case] kinds: Option<&[&str]>,
        #[case] expected: usize,
    ) {
        let versions = Versions {
            client: env!("CARGO_PKG_VERSION"),
            operator: operator.map(str::to_owned),
            kinds: kinds.map(|kinds| kinds.iter().map(|one| (*one).to_owned()).collect()),
            ..Versions::default()
        };
        assert_eq!(skew(&versions).len(), expected);
    }
}
