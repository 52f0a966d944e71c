//! `evenkeel collect`: a folder for `audit --from`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use evenkeel_core::Core;

use super::input::{ClusterScope, Drafts};
use super::prometheus::Measured;
use super::{End, answer};
use crate::collect::{Collection, Folder};
use crate::escape::line;
use crate::files::{self, Report};
use crate::live::Beside;
use crate::live::page::ListPiece;
use crate::render::findings::missing;
use crate::render::program;
use crate::render::screen::Screen;

/// From where to where.
#[derive(Debug, Args)]
#[command(mut_arg("namespace", |arg| arg.help(NAMESPACE).long_help(NAMESPACE)))]
#[command(mut_arg("all_namespaces", |arg| arg.hide(true)))]
pub(super) struct Arguments {
    /// The folder to write; it must not exist, or be empty [default: evenkeel-TIME]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Read also the Pods that drafts of policies ask for; the drafts themselves are not written
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterScope,
    #[command(flatten)]
    measured: Measured,
}

/// Here it narrows nothing: a folder of half a cluster would be judged as a whole one.
const NAMESPACE: &str = "Where you may not list the whole cluster, read this namespace by itself; repeatable. \
    What you may list is written whole";

/// Writes what comes, beside the drafts.
struct FolderWriter<'a> {
    drafts: Drafts<'a>,
    collection: Collection,
}

impl Beside for FolderWriter<'_> {
    fn known(&mut self, core: &mut Core) {
        self.drafts.give(core);
    }

    fn page(&mut self, page: &ListPiece) -> anyhow::Result<()> {
        self.collection.page(page)
    }
}

/// Reads, writes, and says what could not be read.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let target = arguments.output.clone().unwrap_or_else(|| {
        let now = jiff::Timestamp::now();
        now.strftime("evenkeel-%Y%m%dT%H%M%SZ").to_string().into()
    });
    let options = files::Options {
        namespace: arguments.cluster.home().into(),
        ..files::Options::default()
    };
    let mut report = Report::default();
    let mut writing = FolderWriter {
        drafts: Drafts::new(&arguments.policy, &options, &mut report),
        collection: Collection::new(Folder::begin(&target)?),
    };
    let mut core = arguments.cluster.read(&mut writing)?;
    arguments.cluster.exists(&core)?;
    let collection = &mut writing.collection;
    arguments
        .measured
        .each(&mut core, &arguments.cluster.cluster, &mut |_, page| {
            collection.samples(page)
        })?;
    let contents = writing.collection.finish(&core)?;
    let mut list = core.findings(evenkeel_core::know::Now::default());
    report.tell(&mut list);
    let shown = target.display().to_string();
    let mut text = format!("{}:\n", line(&shown));
    for (kind, count) in &contents.objects {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {count} {kind}");
    }
    if contents.pages > 0 {
        let _ = writeln!(text, "  {} answers of a Prometheus", contents.pages);
    }
    let grantee = arguments.cluster.cluster.grantee();
    text += &missing::of(
        &list.unreadable,
        &BTreeSet::new(),
        &grantee,
        Screen::current().page(),
    );
    for one in list.unreadable.iter().filter(|one| !missing::is_right(one)) {
        let problem = format!("could not be read: {}: {}", one.source, one.reason);
        let _ = writeln!(text, "{}", line(&problem));
    }
    let _ = writeln!(
        text,
        "Next: {} audit --from {}",
        program(),
        line(&super::cluster::quoted(&shown))
    );
    answer(&text)?;
    Ok(if list.unreadable.is_empty() {
        End::Good
    } else {
        End::Unread
    })
}
