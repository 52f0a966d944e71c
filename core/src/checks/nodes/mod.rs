//! Checks of nodes, zones and what every node depends on.

pub mod cascade;
pub mod churn_storm;
pub mod cordon_lb;
pub mod dns_headroom;
pub mod evict_loop;
pub mod fleet_change;
pub mod mass_loss;
pub mod preemption;
pub mod pressure;
#[cfg(test)]
mod tests;
pub mod zone_disruption;

use crate::judge::Check;

/// The checks of this family, in the order of their pages.
pub(super) const CHECKS: &[Check] = &[
    cordon_lb::CHECK,
    zone_disruption::CHECK,
    mass_loss::CHECK,
    dns_headroom::CHECK,
    churn_storm::CHECK,
    cascade::CHECK,
    fleet_change::CHECK,
    evict_loop::CHECK,
    preemption::CHECK,
    pressure::CHECK,
];

/// The greatest of 2, 5, 10, 20, 50 and so on that a count reaches; below 2 the count itself. A message with the exact
/// count would be another with every event.
fn at_least(count: usize) -> usize {
    let mut reached = count.min(1);
    let mut decade = 1;
    while decade <= count {
        for step in [decade, 2 * decade, 5 * decade] {
            if step <= count {
                reached = step;
            }
        }
        decade = decade.saturating_mul(10);
    }
    reached
}
