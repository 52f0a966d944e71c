//! `evenkeel path`: one path hop by hop, with what each hop forgets after and what keeps the connection alive.

use anyhow::{Context, bail};
use clap::Args;
use evenkeel_core::paths::PathView;

use super::input::Input;
use super::{End, answer};
use crate::render::{self, Form, path};

/// From where to where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name of the client as its policy declares it, `[NAMESPACE/]CLIENT`; `-` for every client
    client: String,
    /// The Service, `[NAMESPACE/]SERVICE[:PORT]`
    service: String,
    #[command(flatten)]
    input: Input,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Draws it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let judged = arguments.input.judge()?;
    let home = arguments.input.scope.home();
    let (service, port) = match arguments.service.split_once(':') {
        Some((service, port)) => {
            let port: u16 = port
                .parse()
                .with_context(|| format!("the port `{port}` is no number from 1 to 65535"))?;
            (service, Some(port))
        }
        None => (arguments.service.as_str(), None),
    };
    let (namespace, service) = service.split_once('/').unwrap_or((home, service));
    let client = arguments
        .client
        .rsplit('/')
        .next()
        .filter(|client| *client != "-");
    let paths = judged.core.paths(judged.now, namespace, service, port, client);
    if paths.is_empty() {
        bail!(
            "{}",
            absent(&judged.core, judged.now, namespace, service, &arguments.client)
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

/// Why there is nothing to draw, and what there is instead.
fn absent(
    core: &evenkeel_core::Core,
    now: evenkeel_core::know::Now,
    namespace: &str,
    service: &str,
    client: &str,
) -> String {
    let declared: Vec<String> = core
        .paths(now, namespace, service, None, None)
        .iter()
        .map(|path: &PathView| format!("{} to port {}", path.client, path.port))
        .collect();
    if declared.is_empty() {
        format!(
            "no policy declares a connection to {namespace}/{service}; write one (see examples/) and judge it with --policy FILE"
        )
    } else {
        format!(
            "no policy declares {client} to {namespace}/{service}; declared are: {}",
            declared.join(", ")
        )
    }
}
