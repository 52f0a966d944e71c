//! What people see of it.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{NOT_JUDGED_YET, OperatorHealth, OperatorTarget, Row, StatusAnswer};
use crate::api::PlanDecision;
use crate::escape::line;
use crate::render;
use crate::render::findings;

/// The whole answer: the operator first, as everything below comes from it; `again` are the flags that name the same place.
pub(super) fn text(answer: &StatusAnswer, target: &OperatorTarget, again: &str) -> String {
    let mut text = operator(&answer.operator, target) + &answer.under_way.stop_line(&target.again());
    for one in &answer.unseen {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "Not seen: {}", line(one));
    }
    if answer.policies.is_empty() && !answer.unseen.is_empty() {
        return text;
    }
    let under_way = answer.under_way.table();
    if answer.policies.is_empty() {
        return text
            + &under_way
            + "\nThere is no policy.\nNext: "
            + render::program()
            + " init -n NAMESPACE"
            + &line(again)
            + "    # writes first ones from what it sees\n";
    }
    text + "\n"
        + &table(&answer.policies)
        + &mistakes(&answer.policies)
        + &worst(&answer.policies, again)
        + &plans(&answer.policies)
        + &under_way
}

/// How the operator is, and which of its sources are not current.
fn operator(operator: &OperatorHealth, target: &OperatorTarget) -> String {
    let (home, lease) = (&*target.operator_namespace, &*target.lease);
    let age = operator.renewed_seconds_ago.unwrap_or(0);
    let holder = line(operator.holder.as_deref().unwrap_or("a replica without a name"));
    let mut text = match operator.state {
        "Alive" => {
            let reported = operator.reported.as_ref();
            let version =
                reported.map_or_else(String::new, |reported| format!(", version {}", reported.version));
            format!(
                "Operator: alive, {holder}{}, renewed {age} s ago\n",
                line(&version)
            )
        }
        "Silent" => format!(
            "Operator: SILENT. {holder} renewed its Lease {age} s ago; what follows is as old as that, and is \
             not corrected.\nNext: kubectl -n {} get pods{}\n",
            line(home),
            line(&target.cluster.words())
        ),
        "GivenBack" => {
            "Operator: NOT RUNNING. The last one has given its Lease back; what follows is not corrected.\n"
                .into()
        }
        "NotAllowed" => format!(
            "Operator: UNKNOWN. You may not get Lease {}/{}, which shows whether it is alive; what follows may be old.\n",
            line(home),
            line(lease)
        ),
        _ => "Operator: NOT FOUND. No policy is judged; evenkeel audit judges them once.\n".into(),
    };
    // What a holder that is gone reported of its sources says nothing about now.
    if let Some(reported) = operator.reported.as_ref().filter(|_| operator.state == "Alive") {
        if reported.not_fresh.is_empty() {
            text.push_str("Sources:  all complete and current\n");
        }
        if let Some(why) = &reported.unfit {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "Control plane: NOT FIT for acts on nodes, {}", line(why));
        }
        for (source, why) in &reported.not_fresh {
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{}",
                line(&format!(
                    "Source {source}: NOT CURRENT, {why}: what rests on it is Unknown"
                ))
            );
        }
    }
    text
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
            // Writing into a String cannot fail.
            let _ = writeln!(text, "and {more} more plans");
        }
    }
    if text.is_empty() {
        return text;
    }
    let guard = policies
        .iter()
        .flat_map(|one| &one.plans.plans)
        .find_map(|one| one.held_by.as_deref());
    let next = guard.map_or_else(String::new, |guard| {
        format!("Next: {} explain {}\n", render::program(), line(guard))
    });
    format!("\nRemedies:\n{text}{next}")
}

/// Most lines of mistakes, and of worst findings.
const WORST: usize = 20;

/// The worst finding of each policy that is not healthy, and the command that explains the first of them.
fn worst(policies: &[Row], again: &str) -> String {
    let unhealthy = policies.iter().filter(|one| one.healthy == "False");
    let worst = unhealthy.filter_map(|one| Some((one, one.findings.first()?)));
    let worst: Vec<_> = worst.collect();
    let Some((_, first)) = worst.first() else {
        return String::new();
    };
    let said = worst
        .iter()
        .map(|(policy, finding)| (policy.shown(), format!("{}: {}", finding.check, finding.message)));
    let text = "\n".to_owned() + &lines(&alike(said), "that are not healthy");
    let all = policies.iter().flat_map(|policy| &policy.findings);
    let id = line(findings::prefix_among(&first.id, all.map(|one| &*one.id))).into_owned();
    text + "Next: " + render::program() + " explain " + &id + &line(again) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

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
