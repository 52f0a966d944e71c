//! What is planned, as people and programs see it: texts in place of names, wall time in place of monotonic time.

use std::collections::BTreeMap;

use crate::findings::{self, EvidenceView};
use crate::know::{Mono, Now};
use crate::plan::{Decision, HeldView, Plan, PlanView, PlansView};
use crate::program::Core;
use crate::sources::claim::FENCE;

impl Core {
    /// What is planned, as of the last round; `None` where the platform's policy asks for none (mode Observe).
    pub fn plans(&self, now: Now) -> Option<PlansView> {
        let planner = &self.planner;
        if !planner.is_on() {
            return None;
        }
        let plans = planner.plans();
        let cluster = planner.shares().cluster;
        Some(PlansView {
            planning: true,
            plans: plans.plans.iter().map(|plan| self.plan_view(now, plan)).collect(),
            left: plans.left,
            storm_until: planner.storm_until().map(|at| wall(now, at)),
            unhealthy: (cluster.unhealthy, cluster.nodes),
        })
    }

    /// How many plans there are, by remedy and by the guard that holds them; the empty text for those that nothing holds.
    pub fn planned(&self) -> BTreeMap<(&'static str, &'static str), u32> {
        let mut counts = BTreeMap::new();
        for plan in &self.planner.plans().plans {
            let by = plan.held.as_ref().map_or("", |held| held.by);
            *counts.entry((plan.change.remedy, by)).or_default() += 1;
        }
        counts
    }

    fn plan_view(&self, now: Now, plan: &Plan) -> PlanView {
        let change = &plan.change;
        let node = self.index.names.text(change.node).to_owned();
        let count = |what: &str| {
            let found = change.evidence.iter().find(|one| one.what == what);
            found.map_or_else(|| "?".to_owned(), |one| one.value.to_string())
        };
        let key = FENCE.rsplit('/').next().unwrap_or(FENCE);
        let message = format!(
            "taint {node} with {key}:{}: it failed {} times within {} s, and {} endpoints of {} namespaces filled it between",
            change.effect.name(),
            count("flips"),
            count("window"),
            count("refilled"),
            count("refilledFromNamespaces")
        );
        PlanView {
            id: findings::id_of(change.remedy, &node, change.cause),
            remedy: change.remedy,
            cause: change.cause,
            message,
            evidence: change.evidence.iter().map(EvidenceView::of).collect(),
            decision: Decision::of(plan),
            held: plan.held.as_ref().map(|held| HeldView {
                by: held.by,
                message: held.message.clone(),
                evidence: held.evidence.iter().map(EvidenceView::of).collect(),
                again_at: held.again.or(self.planner.again()).map(|at| wall(now, at)),
            }),
            since: self.planner.since(plan).map_or(now.wall.0, |since| since.0),
            node,
        }
    }
}

/// A moment on the wall clock, as far as it runs like the other one.
fn wall(now: Now, at: Mono) -> i64 {
    let ahead = i64::try_from(at.since(now.mono) / 1000).unwrap_or(i64::MAX);
    now.wall.0.saturating_add(ahead)
}
