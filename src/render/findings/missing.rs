//! Rights that are missing, as one block: what could not be listed, what that keeps from being judged, and the grant to ask
//! for.

use std::collections::BTreeSet;
use std::fmt::Write as _;

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
    // Commands stay whole, so that they can be pasted. Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "    grant: kubectl create clusterrole {ROLE} --verb=get,list --resource={}",
        line(&names.join(","))
    );
    let _ = writeln!(
        text,
        "           kubectl create clusterrolebinding {ROLE} --clusterrole={ROLE} --user={}",
        line(grantee)
    );
    text + "    all that an audit reads is in manifests/rbac-view.yaml\n\n"
}
