//! Rights that are missing, as one block: what could not be listed, what that keeps from being judged, and the grant to ask
//! for.

use std::collections::BTreeSet;

use evenkeel_core::findings::{Finding, FindingList, Unreadable};
use evenkeel_core::know::Source;

use super::group::counted;
use crate::escape::line;
use crate::render::filled;
use crate::resources::RESOURCES;
use crate::rights::{ALONE, missing};

/// The `ClusterRole` to ask for; `manifests/` has it with everything that an audit reads.
const ROLE: &str = "evenkeel-audit";

/// Most checks that are named.
const NAMED: usize = 4;

/// Whether a source could not be read for want of a right, which this block says.
pub(crate) fn is_right(one: &Unreadable) -> bool {
    missing(&one.reason).is_some() && resources(one).next().is_some()
}

/// Whether a finding is Unknown for want of a right alone.
pub(super) fn is_blind(finding: &Finding, list: &FindingList) -> bool {
    let source = finding.blind.map(Source::name);
    let mut refused = list.unreadable.iter().filter(|one| is_right(one));
    refused.any(|one| source == Some(&*one.source))
}

/// The resources of a source, as `kubectl create clusterrole` names them.
fn resources(one: &Unreadable) -> impl Iterator<Item = String> {
    let of_source = |resource: &&crate::resources::Resource| resource.source.name() == one.source;
    RESOURCES
        .iter()
        .filter(of_source)
        .map(crate::resources::Resource::name)
}

/// The block of an audit; empty where no right is missing.
pub(super) fn block(list: &FindingList, grantee: &str, columns: usize) -> String {
    let blind = list.findings.iter().filter(|one| is_blind(one, list));
    let checks: BTreeSet<_> = blind.map(|one| one.check).collect();
    of(&list.unreadable, &checks, grantee, columns)
}

/// The block for what could not be read, with the checks that it keeps from judging, and the user whom the grant names.
pub(crate) fn of(
    unreadable: &[Unreadable],
    checks: &BTreeSet<&'static str>,
    grantee: &str,
    columns: usize,
) -> String {
    let refused: Vec<_> = unreadable.iter().filter(|one| is_right(one)).collect();
    if refused.is_empty() {
        return String::new();
    }
    let names: BTreeSet<_> = refused.iter().flat_map(|one| resources(one)).collect();
    let names: Vec<_> = names.into_iter().collect();
    let mut text = filled(
        &format!("you may not list {}", names.join(", ")),
        "? Missing rights: ",
        "    ",
        columns,
    );
    text.push('\n');
    // The namespaces that were read by themselves are said in each reason.
    let alone = |one: &&&Unreadable| one.reason.contains("; read in ");
    let place = refused.iter().find(alone);
    if let Some((_, place)) = place.and_then(|one| one.reason.split_once("; read in ")) {
        let read: Vec<_> = refused
            .iter()
            .filter(alone)
            .map(|one| one.source.as_str())
            .collect();
        let said = format!("of these, {} were read in {place}", read.join(", "));
        text = text + &filled(&said, "    ", "    ", columns) + "\n";
    } else if refused.iter().any(|one| one.reason.ends_with(ALONE)) {
        let said = "where your rights end at a namespace: -n NAMESPACE judges what is in it";
        text = text + &filled(said, "    ", "    ", columns) + "\n";
    }
    if !checks.is_empty() {
        let named: Vec<_> = checks.iter().copied().take(NAMED).collect();
        let more = checks.len().saturating_sub(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let blinds = format!(
            "{} cannot judge: {}{more}",
            counted(checks.len(), "check", "checks"),
            named.join(", ")
        );
        text = text + &filled(&blinds, "    ", "    ", columns) + "\n";
    }
    text += &grant(&names, line(grantee).as_ref(), columns);
    text + "    all that an audit reads is in manifests/rbac-view.yaml\n\n"
}

/// Fewest columns of a line of a command.
const FEWEST: usize = 60;

/// Margin of a command.
const MARGIN: &str = "      ";

/// The commands that grant it.
fn grant(resources: &[String], grantee: &str, columns: usize) -> String {
    // The end of a line takes two columns.
    let room = columns.max(FEWEST).saturating_sub(MARGIN.len() + 2);
    let verb = "kubectl create clusterrole".to_owned();
    let mut role = vec![verb, ROLE.to_owned(), "--verb=get,list".to_owned()];
    let mut flag = String::new();
    for name in resources.iter().map(|name| line(name)) {
        if flag.is_empty() || flag.len() + 1 + name.len() > room {
            role.extend((!flag.is_empty()).then_some(flag));
            flag = format!("--resource={name}");
        } else {
            flag = flag + "," + &name;
        }
    }
    role.push(flag);
    let binding = [
        "kubectl create clusterrolebinding".to_owned(),
        ROLE.to_owned(),
        format!("--clusterrole={ROLE}"),
        format!("--user={grantee}"),
    ];
    format!("    grant:\n{}{}", command(&role, room), command(&binding, room))
}

/// A command in lines of so many columns, which a shell reads as one when they are pasted.
fn command(words: &[String], room: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(last) if last.len() + 1 + word.len() <= room => *last = format!("{last} {word}"),
            _ => lines.push(word.clone()),
        }
    }
    format!("{MARGIN}{}\n", lines.join(&format!(" \\\n{MARGIN}")))
}
