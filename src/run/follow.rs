//! Which policies must be looked at because of an input.

use evenkeel_core::Input;
use evenkeel_core::know::Source;
use tokio::time::Instant;

use crate::api::PolicyRef;
use crate::send::FairQueue;
use crate::status::Statuses;

/// Notes that a policy must be looked at. The older cause has waited longer: its time counts.
pub(super) fn look(look_at: &mut FairQueue<Instant>, target: PolicyRef, received: Instant) {
    if !look_at.contains(&target) {
        look_at.put(target, received);
    }
}

/// Keeps the desk in step with lists and deletions of policies.
pub(super) fn follow(desk: &mut Statuses, mut look: impl FnMut(PolicyRef), input: &Input<'_>) {
    let is_policy = |source: Source| matches!(source, Source::Policies | Source::ClusterPolicy);
    match input {
        Input::Begin(source) if is_policy(*source) => desk.begin(*source == Source::ClusterPolicy),
        Input::Synced(source) if is_policy(*source) => desk.synced(*source == Source::ClusterPolicy),
        Input::Gone(source, namespace, name) if is_policy(*source) => {
            let target = PolicyRef {
                namespace: (*namespace).into(),
                name: (*name).into(),
            };
            desk.gone(&target);
            look(target);
        }
        _ => {}
    }
}
