//! What people see of it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;

use super::{NOT_JUDGED_YET, OperatorHealth, OperatorTarget, Row, StatusAnswer};
use crate::api::{PlanDecision, StatusFinding};
use crate::escape::line;
use crate::render;
use crate::render::findings;
use crate::render::screen::Screen;

/// The whole answer: the operator first, as everything below comes from it, and last what to do next; `again` are the flags
/// that name the same place.
pub(super) fn text(answer: &StatusAnswer, target: &OperatorTarget, again: &str) -> String {
    let mut text = operator(&answer.operator, target) + &answer.under_way.stop_line(&target.again());
    for one in &answer.unseen {
        text += &sentence(&format!("Not seen: {one}"));
    }
    if !answer.policies.is_empty() {
        text = text + "\n" + &table(&answer.policies);
    }
    let said = mistakes(&answer.policies) + &worst(&answer.policies) + &plans(&answer.policies);
    text += &said;
    let under_way = answer.under_way.table();
    text += &under_way;
    if answer.policies.is_empty() && answer.unseen.is_empty() {
        text += "\nThere is no policy.\n";
    }
    let Some(next) = next(answer, target, again) else {
        return text;
    };
    // Below a table it would read as a row.
    let ends_in_table = !under_way.is_empty() || (said.is_empty() && !answer.policies.is_empty());
    let apart = if ends_in_table { "\n" } else { "" };
    text + apart + "Next: " + &next + "\n"
}

/// What to do next, as a command to be pasted; `None` where there is nothing to do.
///
/// Without an operator whatever its statuses say is old, so that it comes first; then what waits for a person, then what is
/// wrong, then what is held back.
fn next(answer: &StatusAnswer, target: &OperatorTarget, again: &str) -> Option<String> {
    let (program, again) = (render::program(), line(again));
    if matches!(answer.operator.state, "Silent" | "GivenBack") {
        let (home, words) = (&*target.operator_namespace, &*target.cluster.words());
        return Some(format!(
            "kubectl -n {} get deployments,pods{}    # why no operator runs",
            line(home),
            line(words)
        ));
    }
    if answer.policies.is_empty() && answer.unseen.is_empty() {
        return Some(format!(
            "{program} init -n NAMESPACE{again}    # writes first ones from what it sees"
        ));
    }
    if answer.policies.is_empty() {
        return Some(format!(
            "{program} audit{again}    # says which rights are missing"
        ));
    }
    if answer.operator.state != "Alive" {
        return Some(format!("{program} audit{again}    # judges them once"));
    }
    // It waits for an hour at most, and for people alone.
    if let Some(record) = answer.under_way.awaits_approval() {
        let (record, again) = (line(record), target.again());
        return Some(format!(
            "{program} approve {record}{}    # shows the plan and agrees to it; or reject",
            line(&again)
        ));
    }
    // Of equal ones what is wrong with the cluster explains what is wrong with a part of it.
    let worst = unhealthy(&answer.policies)
        .min_by_key(|(policy, finding)| (Reverse(finding.severity), policy.namespace.is_some()));
    if let Some((_, first)) = worst {
        let all = answer.policies.iter().flat_map(|policy| &policy.findings);
        let id = findings::prefix_among(&first.id, all.map(|one| &*one.id));
        return Some(format!("{program} explain {}{again}", line(id)));
    }
    let plans = answer.policies.iter().flat_map(|one| &one.plans.plans);
    let guard = plans.into_iter().find_map(|one| one.held_by.as_deref());
    guard.map(|guard| format!("{program} explain {}", line(guard)))
}

/// How the operator is, and which of its sources are not current.
fn operator(operator: &OperatorHealth, target: &OperatorTarget) -> String {
    let (home, lease) = (&*target.operator_namespace, &*target.lease);
    let age = operator.renewed_seconds_ago.unwrap_or(0);
    let holder = operator.holder.as_deref().unwrap_or("a replica without a name");
    let said = match operator.state {
        "Alive" => {
            let reported = operator.reported.as_ref();
            let version =
                reported.map_or_else(String::new, |reported| format!(", version {}", reported.version));
            format!("Operator: alive, {holder}{version}, renewed {age} s ago")
        }
        "Silent" => format!(
            "Operator: SILENT. {holder} renewed its Lease {age} s ago; what follows is as old as that, and is \
             not corrected."
        ),
        "GivenBack" => {
            "Operator: NOT RUNNING. The last one has given its Lease back; what follows is not corrected."
                .into()
        }
        "NotAllowed" => format!(
            "Operator: UNKNOWN. You may not get Lease {home}/{lease}, which shows whether it is alive; what follows may \
             be old."
        ),
        _ => "Operator: NOT FOUND. No policy is judged, and what follows is not corrected.".into(),
    };
    let mut text = sentence(&said);
    // What a holder that is gone reported of its sources says nothing about now.
    let alive = operator.state == "Alive";
    let Some(reported) = operator.reported.as_ref().filter(|_| alive) else {
        return text;
    };
    if reported.not_fresh.is_empty() {
        text.push_str("Sources:  all complete and current\n");
    }
    let unfit = reported.unfit.iter();
    let unfit = unfit.map(|why| format!("Control plane: NOT FIT for acts on nodes, {why}"));
    let sources = reported.not_fresh.iter();
    let sources = sources
        .map(|(source, why)| format!("Source {source}: NOT CURRENT, {why}: what rests on it is Unknown"));
    for said in unfit.chain(sources) {
        text += &sentence(&said);
    }
    text
}

/// One sentence in lines of the screen, which hang below the first.
fn sentence(said: &str) -> String {
    let columns = Screen::current().columns.unwrap_or(usize::MAX);
    render::filled(said, "", "  ", columns) + "\n"
}

/// One line for each policy.
fn table(policies: &[Row]) -> String {
    let heads = ["NAMESPACE", "POLICY", "HEALTHY", "REASON", "OBSERVED", "FINDINGS"];
    let rows = policies.iter().map(|one| {
        vec![
            one.namespace.clone().unwrap_or_else(|| "(cluster)".into()),
            one.name.clone(),
            one.healthy.clone(),
            // A policy without a status has none of an older generation either.
            if one.current || one.reason == NOT_JUDGED_YET {
                one.reason.clone()
            } else {
                format!("{} (of an older generation)", one.reason)
            },
            one.observed.clone(),
            if one.reason == NOT_JUDGED_YET {
                "-".to_owned()
            } else {
                one.findings_total.to_string()
            },
        ]
    });
    render::table(&heads, rows)
}

/// Policies that were refused, or that are in force with a mistake in them.
fn mistakes(policies: &[Row]) -> String {
    let mistaken = policies.iter().filter(|one| !one.mistakes.is_empty());
    let said = alike(mistaken.map(|one| (one.shown(), one.mistakes.clone())));
    if said.is_empty() {
        return String::new();
    }
    "\n".to_owned() + &lines(&said, "with mistakes")
}

/// What is said of policies, each thing once: under the first of them, with how many more there are.
fn alike(all: impl Iterator<Item = (String, String)>) -> Vec<(String, usize, String)> {
    let mut groups: Vec<(String, usize, String)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (policy, said) in all {
        let place = *places.entry(said.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.1 += 1,
            None => groups.push((policy, 0, said)),
        }
    }
    groups
}

/// The first of these in lines of the screen, and how many policies are left out.
fn lines(groups: &[(String, usize, String)], what: &str) -> String {
    let mut text = String::new();
    for (policy, more, said) in groups.iter().take(WORST) {
        let others = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        text = text + &render::wrapped(&format!("{policy}{others}: {said}"), "") + "\n";
    }
    let left: usize = groups.iter().skip(WORST).map(|one| one.1 + 1).sum();
    if left > 0 {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "and {left} more policies {what}; -o json has all");
    }
    text
}

/// What remedies would do, and what holds each back: as prominent as findings.
fn plans(policies: &[Row]) -> String {
    let mut text = String::new();
    for policy in policies {
        for one in &policy.plans.plans {
            let by = one
                .held_by
                .as_deref()
                .map_or_else(String::new, |by| format!(" by {by}"));
            let decision = match one.decision {
                PlanDecision::Planned => "PLANNED",
                PlanDecision::Suggested => "SUGGESTED",
                PlanDecision::Held => "HELD",
            };
            let again = one
                .again
                .as_ref()
                .map_or_else(String::new, |at| format!("; looked at again at {}", at.0));
            let said = format!(
                "{decision}{by}: {} of node {}: {}{again}",
                one.remedy, one.node, one.message
            );
            text = text + &render::wrapped(&said, "") + "\n";
        }
        let total = usize::try_from(policy.plans.plans_total.unwrap_or(0)).unwrap_or(0);
        let more = total.saturating_sub(policy.plans.plans.len());
        if more > 0 {
            let plans = if more == 1 { "plan" } else { "plans" };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "and {more} more {plans}");
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\nRemedies:\n{text}")
}

/// Most lines of mistakes, and of worst findings.
const WORST: usize = 20;

/// The policies that are not healthy, each with its worst finding.
fn unhealthy(policies: &[Row]) -> impl Iterator<Item = (&Row, &StatusFinding)> {
    let unhealthy = policies.iter().filter(|one| one.healthy == "False");
    unhealthy.filter_map(|one| Some((one, one.findings.first()?)))
}

/// The worst finding of each policy that is not healthy.
fn worst(policies: &[Row]) -> String {
    let said = unhealthy(policies)
        .map(|(policy, finding)| (policy.shown(), format!("{}: {}", finding.check, finding.message)));
    let said = alike(said);
    if said.is_empty() {
        return String::new();
    }
    "\n".to_owned() + &lines(&said, "that are not healthy")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;
    use crate::api::FindingSeverity;
    use crate::cli::cluster::Cluster;
    use crate::cli::status::{StatusForm, remediations, tests};

    fn target() -> OperatorTarget {
        OperatorTarget {
            operator_namespace: "evenkeel-system".into(),
            lease: "evenkeel".into(),
            output: StatusForm::Table,
            cluster: Cluster::default(),
        }
    }

    /// What is done first comes of the operator, then of people who are asked, then of findings, then of what holds a remedy back.
    #[rstest]
    #[case::unhealthy("Alive", &[], "evenkeel explain 01234567 -n a")]
    #[case::held("Alive", &["findings"], "evenkeel explain x")]
    #[case::asked("Alive", &["answer"], "evenkeel approve waits    # shows the plan and agrees to it; or reject")]
    #[case::well("Alive", &["findings", "plans"], "")]
    #[case::silent("Silent", &[], "kubectl -n evenkeel-system get deployments,pods    # why no operator runs")]
    #[case::none("NotFound", &[], "evenkeel audit -n a    # judges them once")]
    #[case::no_policy("NotFound", &["policies", "unseen"], "evenkeel init -n NAMESPACE -n a    # writes first ones from what it sees")]
    #[case::not_allowed("Alive", &["policies"], "evenkeel audit -n a    # says which rights are missing")]
    fn the_last_line_is_what_to_do_next(
        #[case] state: &'static str,
        #[case] without: &[&str],
        #[case] expected: &str,
    ) {
        let mut answer = tests::told("x");
        answer.operator.state = state;
        for part in without {
            match *part {
                "findings" => answer.policies[0].findings.clear(),
                "plans" => answer.policies[0].plans.plans.clear(),
                "answer" => answer.under_way = remediations::tests::awaited("waits"),
                "policies" => answer.policies.clear(),
                _ => answer.unseen.clear(),
            }
        }
        let shown = text(&answer, &target(), " -n a");
        let next: Vec<_> = shown.lines().filter(|line| line.starts_with("Next: ")).collect();
        let expected: Vec<_> = [expected]
            .into_iter()
            .filter(|command| !command.is_empty())
            .map(|command| format!("Next: {command}"))
            .collect();
        assert_eq!(next, expected, "{shown}");
        assert!(
            expected.is_empty() || shown.ends_with(&format!("{}\n", expected[0])),
            "{shown}"
        );
    }

    /// On call, the worst comes first, and of equal ones that of the whole cluster.
    #[rstest]
    #[case::worse(FindingSeverity::Warning, FindingSeverity::Critical, "bb")]
    #[case::equal(FindingSeverity::Critical, FindingSeverity::Critical, "bb")]
    #[case::milder(FindingSeverity::Critical, FindingSeverity::Warning, "aa")]
    fn the_worst_is_explained_first(
        #[case] of_team: FindingSeverity,
        #[case] of_platform: FindingSeverity,
        #[case] expected: &str,
    ) {
        let mut answer = tests::told("x");
        let mut platform = answer.policies[0].clone();
        platform.namespace = None;
        for (policy, id, severity) in [
            (&mut answer.policies[0], "aa", of_team),
            (&mut platform, "bb", of_platform),
        ] {
            policy.findings[0].id = id.into();
            policy.findings[0].severity = severity;
        }
        answer.policies.push(platform);
        let next = next(&answer, &target(), "").unwrap();
        assert_eq!(next, format!("evenkeel explain {expected}"));
    }

    #[test]
    fn what_many_policies_share_is_said_once() {
        let said = |policy: &str, what: &str| (policy.to_owned(), what.to_owned());
        let all = [said("a/x", "no"), said("b/x", "other"), said("c/x", "no")];
        let shown = lines(&alike(all.into_iter()), "with mistakes");
        assert_eq!(shown, "a/x and 1 more: no\nb/x: other\n");
    }

    #[test]
    fn policies_beyond_the_lines_are_counted() {
        let all = (0..2 * WORST).map(|at| (format!("a/{at}"), format!("{}", at % (WORST + 3))));
        let shown = lines(&alike(all), "with mistakes");
        assert_eq!(shown.lines().count(), WORST + 1);
        assert!(
            shown.ends_with("and 3 more policies with mistakes; -o json has all\n"),
            "{shown}"
        );
    }
}
