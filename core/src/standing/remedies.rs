//! What a policy says of remedies: what is planned, what holds it back, and whether it is carried out.

use super::{Condition, Holds, Reason};
use crate::plan::{Decision, PlansView};

/// Why no plan is carried out.
pub(super) const PLANS_ONLY: &str = "nothing is carried out: the operator runs without --remedies";

/// The condition Remediating of a policy under which remedies are planned, and carried out or not.
pub(super) fn remediating(plans: &PlansView, acts: bool) -> Condition {
    let only = if acts {
        String::new()
    } else {
        format!("; {PLANS_ONLY}")
    };
    let (unhealthy, nodes) = plans.unhealthy;
    let more = |count: usize| match count {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let others = (plans.plans.len() + plans.left).saturating_sub(1);
    if plans.storm_until.is_some() {
        let message = format!(
            "{unhealthy} of {nodes} nodes were not Ready within the window or are fenced: nothing is done to any{only}"
        );
        return Condition::new(Holds::False, Reason::Storm, message);
    }
    let free = plans.plans.iter().find(|one| one.decision != Decision::Held);
    if let Some(plan) = free {
        let word = match plan.decision {
            Decision::Suggested => "suggested",
            Decision::Planned | Decision::Held => "planned",
        };
        let message = format!("{word}: {}{}{only}", plan.message, more(others));
        return Condition::new(Holds::False, Reason::Planned, message);
    }
    match plans
        .plans
        .first()
        .and_then(|plan| Some((plan, plan.held.as_ref()?)))
    {
        Some((plan, held)) => {
            let message = format!(
                "held by {}: {} of {}: {}{}{only}",
                held.by,
                plan.remedy,
                plan.node,
                held.message,
                more(others)
            );
            Condition::new(Holds::False, Reason::Held, message)
        }
        None => Condition::new(
            Holds::False,
            Reason::NothingToDo,
            format!("no node calls for a remedy{only}"),
        ),
    }
}
