//! `evenkeel init`: first policies, from what is seen.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::cluster::quoted;
use super::input::{Input, Judged};
use super::prometheus::Measured;
use super::{End, answer, note};
use crate::init::{self, Heading, WrittenPolicies};
use crate::render::findings::counted;
use crate::render::program;

/// Of what, and where to.
#[derive(Debug, Args)]
// `--cluster` is the platform's policy here, so the cluster of the kubeconfig has a longer name.
#[command(mut_arg("cluster", |arg| arg.long("kubeconfig-cluster")))]
pub(super) struct Arguments {
    /// Write the policy of the platform instead of those of a namespace
    #[arg(long = "cluster", id = "platform", conflicts_with = "namespace")]
    platform: bool,
    /// Write to this file, which must not exist yet [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    measured: Measured,
}

/// Writes them.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let namespaces = &arguments.input.scope.namespace;
    if !arguments.platform && namespaces.is_empty() {
        bail!("name a namespace (-n NAMESPACE), or --cluster for the policy of the platform");
    }
    if let Some(file) = &arguments.output {
        is_free(file)?;
    }
    let judged = arguments
        .input
        .judge_with_backends(namespaces, &arguments.measured)?;
    arguments.input.scope.exists(&judged.core)?;
    for problem in &judged.report.problems {
        note(&format!(
            "note: not read: {} ({})",
            problem.source, problem.reason
        ));
    }
    let again = arguments.input.again() + &arguments.measured.again();
    let file = arguments
        .output
        .as_deref()
        .map_or_else(|| "FILE".into(), |file| file.display().to_string());
    let next = format!("{} audit{again} --policy {}", program(), quoted(&file));
    let draft = arguments.draft(&judged, &next)?;
    if draft.policies == 0 {
        note(arguments.nothing(&judged));
        return Ok(End::Good);
    }
    let Some(file) = &arguments.output else {
        answer(&draft.text)?;
        return Ok(End::Good);
    };
    write(file, &draft.text)?;
    let what = if arguments.platform {
        "the policy of the platform".to_owned()
    } else {
        format!(
            "{} for {}",
            counted(draft.policies, "policy", "policies"),
            counted(draft.services, "Service", "Services")
        )
    };
    answer(&format!("{} holds {what}.\nNext: {next}\n", file.display()))?;
    Ok(End::Good)
}

impl Arguments {
    /// Why there is nothing to write.
    fn nothing(&self, judged: &Judged) -> &'static str {
        let mut namespaces = self.input.scope.namespace.iter();
        if namespaces.all(|namespace| judged.core.services_of(namespace).is_empty()) {
            "note: there is no Service there yet: nothing is to be written"
        } else {
            "note: every Service there is governed by a policy already, or is an alias: nothing is to be written"
        }
    }

    fn draft(&self, judged: &Judged, next: &str) -> anyhow::Result<WrittenPolicies> {
        let at = jiff::Timestamp::from_second(judged.now.wall.0).context("the time")?;
        let seen = if self.input.from().is_empty() {
            format!("in the cluster at {at}")
        } else {
            "in files".to_owned()
        };
        let head = Heading { seen: &seen, next };
        if self.platform {
            return init::platform(&judged.core, judged.now, &head);
        }
        let mut whole = WrittenPolicies {
            text: String::new(),
            policies: 0,
            services: 0,
        };
        for namespace in &self.input.scope.namespace {
            let draft = init::team(&judged.core, judged.now, namespace, &head)?;
            whole.text.push_str(&draft.text);
            whole.policies += draft.policies;
            whole.services += draft.services;
        }
        Ok(whole)
    }
}

/// Nothing that exists is written over.
fn is_free(file: &Path) -> anyhow::Result<()> {
    if file.symlink_metadata().is_ok() {
        bail!(
            "{} exists already and is left as it is; name another file",
            file.display()
        );
    }
    Ok(())
}

/// Writes a new file.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => is_free(file),
        made => made
            .and_then(|mut made| made.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display())),
    }
}
