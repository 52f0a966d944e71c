//! `evenkeel path`: one path hop by hop, with what each hop forgets after and what keeps the connection alive.

use std::num::NonZeroU16;

use anyhow::bail;
use clap::Args;
use clap_complete::ArgValueCompleter;
use evenkeel_core::Core;

use super::candidates;
use super::input::{Input, Judged};
use super::{End, answer};
use crate::render::{self, Form, path};
use crate::rights::refused;
use crate::suggest::did_you_mean;

/// From where to where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name of the client as its policy declares it, `[NAMESPACE/]CLIENT`; `-` for every client
    client: String,
    /// The Service, `[NAMESPACE/]SERVICE[:PORT]`
    #[arg(add = ArgValueCompleter::new(candidates::services))]
    service: String,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    input: Input,
}

/// Draws it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let judged = arguments.input.judge()?;
    let home = arguments.input.scope.home();
    let (service, port) = match arguments.service.split_once(':') {
        Some((service, port)) => {
            let Ok(number) = port.parse::<NonZeroU16>() else {
                bail!("`{port}` is no number of a port: write one from 1 to 65535, as in {service}:80");
            };
            (service, Some(number.get()))
        }
        None => (arguments.service.as_str(), None),
    };
    let (namespace, service) = service.split_once('/').unwrap_or((home, service));
    let client = arguments
        .client
        .rsplit('/')
        .next()
        .filter(|client| *client != "-");
    arguments.input.scope.exists(&judged.core)?;
    let known = judged.core.namespaces();
    if let Some(known) = known.filter(|known| !known.contains(namespace)) {
        let hint = elsewhere(&judged.core, service);
        let hint = hint.unwrap_or_else(|| did_you_mean(namespace, known.iter().copied()));
        bail!("there is no namespace {namespace}{hint}");
    }
    let paths = judged.core.paths(judged.now, namespace, service, port, client);
    if paths.is_empty() {
        bail!(
            "{}",
            absent(
                &judged,
                (namespace, service),
                port,
                client.unwrap_or("any client")
            )
        );
    }
    let views = || paths.iter().map(path::view).collect::<Vec<_>>();
    answer(&match arguments.output {
        Form::Json => render::json(&views())?,
        Form::Yaml => render::yaml(&views())?,
        Form::Table | Form::Wide => paths.iter().map(path::draw).collect::<Vec<_>>().join("\n"),
        Form::Markdown => {
            let drawn = paths.iter().map(path::draw_markdown);
            drawn.collect::<Vec<_>>().join("\n")
        }
    })?;
    Ok(End::Good)
}

/// The Service of this name in another namespace, which is meant where no namespace was named.
fn elsewhere(core: &Core, service: &str) -> Option<String> {
    let spaces = core.namespaces()?;
    let space = spaces
        .into_iter()
        .find(|space| core.services_of(space).contains(&service))?;
    Some(format!("; did you mean {space}/{service}?"))
}

/// Why there is nothing to draw, and what there is instead.
fn absent(judged: &Judged, (namespace, service): (&str, &str), port: Option<u16>, client: &str) -> String {
    let core = &judged.core;
    if let Some(gap) = core.unseen_service(namespace, service) {
        return format!(
            "whether a policy declares a connection to {namespace}/{service} is not known: {}",
            refused(&gap, namespace)
        );
    }
    let services = core.services_of(namespace);
    if !services.contains(&service) {
        let hint = elsewhere(core, service).unwrap_or_else(|| did_you_mean(service, services));
        return format!("there is no Service {namespace}/{service}{hint}");
    }
    let paths = core.paths(judged.now, namespace, service, None, None);
    if paths.is_empty() {
        return format!(
            "no policy declares a connection to {namespace}/{service}; `evenkeel init -n {namespace}` writes one, to be judged with \
             --policy FILE"
        );
    }
    let clients = || paths.iter().map(|path| &*path.client);
    let hint = if clients().any(|one| one == client) {
        String::new()
    } else {
        did_you_mean(client, clients())
    };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let declared = paths
        .iter()
        .map(|path| format!("{} to port {}", path.client, path.port));
    let declared: Vec<_> = declared.take(DECLARED).collect();
    format!(
        "no policy declares {client} to {namespace}/{service}{port} (but {}){hint}",
        declared.join(", ")
    )
}

/// Most declared connections that are named.
const DECLARED: usize = 10;
