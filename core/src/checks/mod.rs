//! The checks: one file each, and two lines in the `mod.rs` of its family.
//!
//! A check is a pure function of what is known, the policies and now. Its id is part of the API; its page, its metric
//! label and what `explain` prints come from its file.

#[cfg(test)]
mod advice_followed;
pub mod balance;
pub mod conntrack;
pub mod control_plane;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod needs;
pub mod nodes;
pub mod path;

use crate::fleet;
use crate::judge::{Check, Severities, Severity};
use crate::know::Reads;

/// Checks that look at one part of the traffic: what people see as one section.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its checks, in the order of the documentation.
    pub checks: &'static [Check],
}

/// Every check by its family. The order is that in which people see them.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "Connections",
        checks: path::CHECKS,
    },
    Family {
        name: "Connection tables",
        checks: conntrack::CHECKS,
    },
    Family {
        name: "Backends",
        checks: balance::CHECKS,
    },
    Family {
        name: "Nodes",
        checks: nodes::CHECKS,
    },
    Family {
        name: "Control plane",
        checks: control_plane::CHECKS,
    },
];

/// How many checks there are.
const COUNT: usize = {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].checks.len();
        family += 1;
    }
    count
};

/// Every check, family by family. The order is that of pages and of the documentation; no verdict depends on it.
pub static ALL: &[Check] = &{
    let mut all = [FAMILIES[0].checks[0]; COUNT];
    let (mut next, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut at = 0;
        while at < FAMILIES[family].checks.len() {
            all[next] = FAMILIES[family].checks[at];
            next += 1;
            at += 1;
        }
        family += 1;
    }
    all
};

/// The check of this id.
pub fn find(id: &str) -> Option<&'static Check> {
    ALL.iter().find(|check| check.id == id)
}

/// Sources that findings of the highest severity rest on, those of the effective data plane included.
pub fn under_critical() -> Reads {
    let critical = |check: &&Check| {
        let Severities { violated, at_risk } = check.severity;
        violated.max(at_risk) == Severity::Critical
    };
    let reads = |check: &Check| {
        let fleet = if check.profiles { fleet::READS } else { Reads::NONE };
        check.reads().with(fleet)
    };
    ALL.iter()
        .filter(critical)
        .map(reads)
        .fold(Reads::NONE, Reads::with)
}
