//! `evenkeel dataplane`: what the nodes effectively do with Service traffic.

use clap::Args;

use super::input::Input;
use super::{End, answer};
use crate::render::{self, Form, dataplane};

/// Of what, and in which form.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    input: Input,
}

/// Shows it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let judged = arguments.input.judge()?;
    arguments.input.scope.exists(&judged.core)?;
    let mut view = dataplane::view(&judged.core, judged.now, judged.findings().unreadable);
    let wanted = &arguments.input.scope.namespace;
    if !wanted.is_empty() {
        view.load_balancers.retain(|one| wanted.contains(&one.namespace));
    }
    answer(&match arguments.output {
        Form::Json => render::json(&view)?,
        Form::Yaml => render::yaml(&view)?,
        Form::Table => {
            let grantee = arguments.input.scope.cluster.grantee();
            dataplane::table(&view, &arguments.input.again(), &grantee)
        }
        Form::Wide => dataplane::wide(&view),
        Form::Markdown => dataplane::markdown(&view),
    })?;
    Ok(if view.unreadable.is_empty() {
        End::Good
    } else {
        End::Unread
    })
}
