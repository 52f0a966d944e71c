//! `evenkeel go`: takes a stop back.

use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use super::stop::{self, OperatorPlace};
use super::{End, answer};
use crate::remedy::STOP;
use crate::{live, render};

/// Of which operator.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: OperatorPlace,
}

/// Takes it back. It is done when there is none.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let place = &arguments.place;
    place.cluster.wait(async {
        let (client, server) = live::connect(&place.cluster.options()).await?;
        let namespace = &*place.operator_namespace;
        let Some(notice) = stop::read(&client, &server, namespace).await? else {
            stop::namespace_exists(&client, &server, namespace).await?;
            let text = format!("Nothing is stopped in namespace {namespace}. Nothing was changed.");
            answer(&(render::wrapped(&text, "") + "\n"))?;
            return Ok(End::Good);
        };
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        // Of the stop that was read: one that somebody says meanwhile stays.
        let options = DeleteParams::default().preconditions(Preconditions {
            uid: Some(notice.uid.clone()),
            resource_version: None,
        });
        match api.delete(STOP, &options).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {
                anyhow::bail!("somebody said stop anew at the same moment: it stays; see `evenkeel status`")
            }
            Err(error) => return Err(server.failed(&error, stop::ask("delete", namespace)).into()),
        }
        let text = format!(
            "Going on: nodes may be fenced again. The stop that is taken back: {}.",
            notice.told()
        );
        answer(&(render::wrapped(&text, "") + "\n"))?;
        Ok(End::Good)
    })
}
