//! Nodes that failed one after the other: what is said of them.

use std::fmt;

#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};
use crate::know::Unit;

/// How sure it is that it is a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum WaveCertainty {
    Wave,
    SomeFilled,
    ShortHistory,
}

/// Nodes that failed one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Domino {
    pub(super) cause: WaveCertainty,
    pub(super) failed: usize,
    pub(super) later: usize,
    pub(super) filled: usize,
    /// In percent.
    pub(super) growth: u32,
    /// The longest step, in seconds.
    pub(super) step: u32,
}

impl Explain for Domino {
    fn cause(&self) -> &'static str {
        match self.cause {
            WaveCertainty::Wave => "Wave",
            WaveCertainty::SomeFilled => "SomeFilled",
            WaveCertainty::ShortHistory => "ShortHistory",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} nodes failed within {} s of each other; {} of the {} later ones had received at least {} % more endpoints",
            self.failed, self.step, self.filled, self.later, self.growth
        )?;
        match self.cause {
            WaveCertainty::ShortHistory => write!(f, ", as far as is known"),
            WaveCertainty::Wave | WaveCertainty::SomeFilled => Ok(()),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let ready = "Node status.conditions[Ready], as watched";
        let slices = "EndpointSlices, as watched";
        vec![
            Evidence::watched("failed", Unit::Count, self.failed, ready),
            Evidence::watched("later", Unit::Count, self.later, ready),
            Evidence::watched("filled", Unit::Count, self.filled, slices),
            Evidence::watched("growth", Unit::Percent, self.growth, slices),
            Evidence::watched("window", Unit::Seconds, self.step, ready),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "pause rollouts and autoscalers of the largest workloads, so that nothing more moves".into(),
            "compare the headroom of the nodes that are left with what the failed ones carried; add nodes or take load \
             away"
                .into(),
            "do not drain the failed nodes and do not cordon many: their Pods would land on fewer".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |cause, filled| Domino {
        cause,
        failed: 4,
        later: 3,
        filled,
        growth: 33,
        step: 600,
    };
    vec![
        Verdict::violated(of(WaveCertainty::Wave, 3)),
        Verdict::at_risk(of(WaveCertainty::SomeFilled, 2)),
        Verdict::at_risk(of(WaveCertainty::ShortHistory, 3)),
    ]
}
