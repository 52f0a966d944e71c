//! What people read of nodes that went down together.

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};
use crate::know::{Unit, Val};

/// Nodes that went down within so many seconds of each other went together: half an hour.
pub(super) const TOGETHER: i64 = 1800;

/// How sure it is that a change took the nodes down, the surest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ChangeCertainty {
    OnlyTheFailed,
    MostlyChanged,
    Changed,
}

/// Nodes that are down together and share something that few others have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sync {
    pub(super) cause: ChangeCertainty,
    pub(super) down: usize,
    pub(super) nodes: usize,
    /// What they share, with its name.
    pub(super) shared: Arc<str>,
    /// Ready nodes that have it too.
    pub(super) with: usize,
    pub(super) ready: usize,
}

impl Explain for Sync {
    fn cause(&self) -> &'static str {
        match self.cause {
            ChangeCertainty::OnlyTheFailed => "OnlyTheFailed",
            ChangeCertainty::MostlyChanged => "MostlyChanged",
            ChangeCertainty::Changed => "Changed",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (down, nodes, shared) = (self.down, self.nodes, &self.shared);
        let (with, ready) = (self.with, self.ready);
        write!(f, "{down} of {nodes} nodes went down together; ")?;
        match self.cause {
            ChangeCertainty::Changed => write!(f, "all had changed to {shared} in the day before"),
            ChangeCertainty::MostlyChanged => write!(f, "most had changed to {shared} in the day before"),
            ChangeCertainty::OnlyTheFailed => write!(f, "all run {shared}"),
        }?;
        write!(f, ", which {with} of {ready} Ready nodes run")
    }

    fn evidence(&self) -> Vec<Evidence> {
        let (ready, info) = ("Node status.conditions[Ready]", "Node status.nodeInfo");
        vec![
            Evidence::count("down", self.down, ready),
            Evidence::count("nodes", self.nodes, ready),
            Evidence::name("shared", &self.shared, info),
            Evidence::count("readyWith", self.with, info),
            Evidence::count("ready", self.ready, ready),
            Evidence::number("together", Unit::Seconds, &Val::declared(TOGETHER, "this check")),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let shared = &self.shared;
        let stop = if self.cause == ChangeCertainty::OnlyTheFailed {
            format!("find out when {shared} came to these nodes, and whether it still comes to others")
        } else {
            format!("stop what brings {shared}: unattended upgrades, the rollout of a node image or pool")
        };
        vec![
            stop.into(),
            "switch automatic repair of nodes off until then: replacements would come with the same change"
                .into(),
            "repair or roll back one node first and see that it stays".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |cause, with| Sync {
        cause,
        down: 30,
        nodes: 100,
        shared: "kernelVersion 6.8.0-B".into(),
        with,
        ready: 70,
    };
    vec![
        Verdict::violated(of(ChangeCertainty::Changed, 2)),
        Verdict::at_risk(of(ChangeCertainty::MostlyChanged, 0)),
        Verdict::at_risk(of(ChangeCertainty::OnlyTheFailed, 0)),
    ]
}
