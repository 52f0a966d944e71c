//! `evenkeel undo`: takes evenkeel's fence from nodes, also where no operator runs.

use clap::Args;
use clap_complete::ArgValueCompleter;
use evenkeel_core::drive::{LiveNode, NodePatch, REASON, RECORD, is_fence};
use http::{Method, Request, header};
use kube::Client;
use serde_json::Value;

use super::cluster::Cluster;
use super::{End, FIELD_MANAGER, answer, candidates};
use crate::escape::line;
use crate::live::{self, ApiServer, Ask, AskError};
use crate::render;

/// Of which nodes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Nodes whose fence is undone
    #[arg(value_name = "NODE", required_unless_present = "all", conflicts_with = "all",
        add = ArgValueCompleter::new(candidates::nodes))]
    nodes: Vec<String>,
    /// Every node that is fenced by evenkeel
    #[arg(long)]
    all: bool,
    /// Show what would be done; the API server is asked whether it would take it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    cluster: Cluster,
}

/// How often a patch is made anew for a node that others change at the same time.
const TRIES: u32 = 5;
/// Nodes in a page.
const PAGE: u32 = 500;

/// What was there, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeUndo {
    node: String,
    /// Effect of the taint; `None` of a node that has annotations alone.
    effect: Option<String>,
    /// Why it was fenced, in one stable word.
    cause: Option<String>,
    /// Name of the record.
    record: Option<String>,
    annotations: usize,
    pub(super) outcome: UndoOutcome,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UndoOutcome {
    /// It is undone.
    Done,
    /// It would be: the API server would take it.
    WouldDo,
    /// There was nothing of evenkeel on the node.
    NotFenced,
    /// The node does not exist, or not any more.
    Gone,
    /// It could not be done.
    Failed(String),
}

impl NodeUndo {
    fn of(live: &LiveNode, outcome: UndoOutcome) -> Self {
        let annotation = |key: &str| live.annotations.as_ref()?.get(key).cloned();
        let fence = live.taints.iter().find(|one| is_fence(one));
        Self {
            node: live.name.clone(),
            effect: fence.map(|taint| taint["effect"].as_str().unwrap_or_default().to_owned()),
            cause: annotation(REASON),
            record: annotation(RECORD),
            annotations: live.cleared().map_or(0, |patch| patch.annotations.len()),
            outcome,
        }
    }

    /// Of a node that could not be read.
    fn unread(node: &str, outcome: UndoOutcome) -> Self {
        Self {
            node: node.to_owned(),
            effect: None,
            cause: None,
            record: None,
            annotations: 0,
            outcome,
        }
    }

    /// What is taken away, as part of a sentence.
    fn parts(&self) -> String {
        let taint = self
            .effect
            .as_ref()
            .map(|effect| format!("the taint with effect {effect}"));
        let annotations = match self.annotations {
            0 => None,
            1 => Some("1 annotation".to_owned()),
            count => Some(format!("{count} annotations")),
        };
        let parts: Vec<_> = taint.into_iter().chain(annotations).collect();
        parts.join(" and ")
    }

    /// One sentence.
    pub(super) fn told(&self) -> String {
        let node = &self.node;
        let why = self
            .cause
            .as_ref()
            .map_or_else(String::new, |cause| format!(", set because of {cause}"));
        let parts = self.parts();
        let text = match &self.outcome {
            UndoOutcome::Done => format!("{node}: removed {parts}{why}."),
            UndoOutcome::WouldDo => format!("{node}: would remove {parts}{why}."),
            UndoOutcome::NotFenced => format!("{node}: not fenced by evenkeel. Nothing was changed."),
            UndoOutcome::Gone => format!("{node}: there is no such node."),
            UndoOutcome::Failed(why) => format!("{node}: FAILED, {parts} may still be there: {why}"),
        };
        line(&text).into_owned()
    }
}

/// Undoes fences. Exits with 2 where one could not be undone.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let dry = arguments.dry_run;
    arguments.cluster.wait(async {
        let (client, server) = live::connect(&arguments.cluster.options()).await?;
        let (looked_at, undone) = if arguments.all {
            let (count, fenced) = fenced(&client, &server).await?;
            (count, undo_all(&client, &server, fenced, dry).await)
        } else {
            let mut undone = Vec::new();
            for name in &arguments.nodes {
                undone.push(match read(&client, &server, name).await {
                    Ok(Some(live)) => undo(&client, &server, live, dry).await,
                    Ok(None) => NodeUndo::unread(name, UndoOutcome::Gone),
                    Err(error) if arguments.nodes.len() == 1 => return Err(error.into()),
                    Err(error) => NodeUndo::unread(name, UndoOutcome::Failed(error.to_string())),
                });
            }
            (undone.len(), undone)
        };
        answer(&text(looked_at, &undone, arguments))?;
        let failed = |one: &NodeUndo| {
            // One that goes while all are undone has no fence any more.
            matches!(one.outcome, UndoOutcome::Failed(_))
                || (one.outcome == UndoOutcome::Gone && !arguments.all)
        };
        Ok(if undone.iter().any(failed) {
            End::Unread
        } else {
            End::Good
        })
    })
}

/// Undoes these fences, one after the other. One that cannot be undone keeps no other from it.
pub(super) async fn undo_all(
    client: &Client,
    server: &ApiServer,
    fenced: Vec<LiveNode>,
    dry: bool,
) -> Vec<NodeUndo> {
    let mut undone = Vec::new();
    for live in fenced {
        undone.push(undo(client, server, live, dry).await);
    }
    undone
}

/// Nodes that have something of evenkeel, and how many were looked at.
pub(super) async fn fenced(client: &Client, server: &ApiServer) -> Result<(usize, Vec<LiveNode>), AskError> {
    let mut count = 0;
    let mut fenced = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/api/v1/nodes?limit={PAGE}&continue={}", escaped(&token));
        let list = send(client, Method::GET, &path, Vec::new()).await;
        let list = list.map_err(|error| server.failed(&error, ask("list", "")))?;
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        count += items.len();
        let ours = items
            .iter()
            .filter_map(LiveNode::parse)
            .filter(|one| one.cleared().is_some());
        fenced.extend(ours);
        match list["metadata"]["continue"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut token),
            _ => return Ok((count, fenced)),
        }
    }
}

/// Undoes one fence: for the node, the version and the whole list of taints that were read, so that nothing that others
/// change at the same time is lost. After such a change it is read and tried again, and so it is where no answer came: it may be
/// undone.
async fn undo(client: &Client, server: &ApiServer, live: LiveNode, dry: bool) -> NodeUndo {
    let mut now = live.clone();
    let mut why = String::new();
    for _ in 0..TRIES {
        let Some(patch) = now.cleared() else {
            // A try of ours whose answer was lost, or somebody else.
            let outcome = match live.cleared() {
                Some(_) => UndoOutcome::Done,
                None => UndoOutcome::NotFenced,
            };
            return NodeUndo::of(&live, outcome);
        };
        match send_patch(client, &now.name, &patch, dry).await {
            Ok(()) if dry => return NodeUndo::of(&now, UndoOutcome::WouldDo),
            Ok(()) => return NodeUndo::of(&now, UndoOutcome::Done),
            Err(error) => {
                let failed = server.failed(&error, ask("patch", &now.name));
                let again = match &failed {
                    // The node has changed since, or an admission policy refuses: which of them, only the next try shows.
                    AskError::Answered { code, .. } => matches!(code, 409 | 422 | 429 | 500..),
                    AskError::Absent(..) | AskError::Unreachable(..) => true,
                    _ => false,
                };
                why = failed.to_string();
                if !again {
                    break;
                }
            }
        }
        match read(client, server, &live.name).await {
            Ok(Some(next)) if next.uid == live.uid => now = next,
            Ok(_) => return NodeUndo::of(&live, UndoOutcome::Gone),
            Err(error) => {
                why = error.to_string();
                break;
            }
        }
    }
    NodeUndo::of(&now, UndoOutcome::Failed(why))
}

async fn send_patch(client: &Client, name: &str, patch: &NodePatch, dry: bool) -> Result<(), kube::Error> {
    let dry = if dry { "&dryRun=All" } else { "" };
    let path = format!(
        "/api/v1/nodes/{}?fieldManager={FIELD_MANAGER}{dry}",
        escaped(name)
    );
    let body = patch.json().to_string().into_bytes();
    send(client, Method::PATCH, &path, body).await.map(drop)
}

async fn read(client: &Client, server: &ApiServer, name: &str) -> Result<Option<LiveNode>, AskError> {
    let path = format!("/api/v1/nodes/{}", escaped(name));
    match send(client, Method::GET, &path, Vec::new()).await {
        Ok(node) => Ok(LiveNode::parse(&node)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(server.failed(&error, ask("get", name))),
    }
}

async fn send(client: &Client, method: Method, path: &str, body: Vec<u8>) -> Result<Value, kube::Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json-patch+json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// A word as part of a path or query.
fn escaped(word: &str) -> String {
    word.bytes().fold(String::new(), |text, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => text + &char::from(byte).to_string(),
        _ => text + &format!("%{byte:02X}"),
    })
}

const fn ask<'a>(verb: &'static str, name: &'a str) -> Ask<'a> {
    Ask {
        verb,
        resource: "nodes",
        name,
        namespace: "",
    }
}

fn text(looked_at: usize, undone: &[NodeUndo], arguments: &Arguments) -> String {
    if arguments.all && undone.is_empty() {
        return format!("Nothing of evenkeel is on any of {looked_at} nodes.\n");
    }
    let mut text = String::new();
    for one in undone {
        text = text + &render::wrapped(&one.told(), "") + "\n";
    }
    let program = render::program();
    let words = arguments.cluster.words();
    let first = |outcome: UndoOutcome| undone.iter().find(|one| one.outcome == outcome);
    if first(UndoOutcome::WouldDo).is_some() {
        let names: Vec<_> = arguments
            .nodes
            .iter()
            .map(|name| super::cluster::quoted(name))
            .collect();
        let what = if arguments.all {
            "--all".to_owned()
        } else {
            names.join(" ")
        };
        let next = format!("{program} undo {what}{words}");
        text = text + "Nothing was changed; the API server would take it.\nNext: " + &line(&next) + "\n";
    } else if let Some(one) = first(UndoOutcome::Done) {
        if undone.iter().any(|one| one.record.is_some()) {
            let said = "Where people have removed its fence evenkeel leaves a node alone for a day (UndoneByOthers).";
            text = text + &render::wrapped(said, "") + "\n";
        }
        let name = super::cluster::quoted(&one.node);
        let next = format!("kubectl annotate nodes {name} evenkeel.dev/hands-off=true{words}");
        text = text + "Next: " + &line(&next) + "    # where it is never to fence it\n";
    }
    text
}

#[cfg(test)]
pub(super) mod tests;
