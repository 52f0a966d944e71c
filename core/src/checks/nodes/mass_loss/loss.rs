//! The nodes that the cluster has lost: what is said of them.

use std::fmt;

use super::STORM_PERCENT;
#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain, Look, Severity};
use crate::know::{Known, Unit, Val, Wall};

/// How much is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LossExtent {
    NoneReady,
    Half,
    Storm { limit: StormShare },
}

/// The share that is a storm, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum StormShare {
    Declared(u32),
    Default,
}

impl StormShare {
    pub(super) const fn percent(self) -> u32 {
        match self {
            Self::Declared(percent) => percent,
            Self::Default => STORM_PERCENT,
        }
    }

    fn evidence(self) -> Evidence {
        let percent = i64::from(self.percent());
        let percent = match self {
            Self::Declared(_) => Val::declared(
                percent,
                "ClusterTrafficHealthPolicy spec.storm.clusterUnhealthyPercent",
            ),
            Self::Default => Val::default_of(percent, "default of storm.clusterUnhealthyPercent"),
        };
        Evidence::number("storm", Unit::Percent, &percent)
    }
}

/// When the first and the last of the nodes that are down stopped being Ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Since {
    pub(super) first: Option<Wall>,
    pub(super) last: Option<Wall>,
}

impl Since {
    pub(super) fn of(look: &Look<'_>, all: bool) -> Known<Self> {
        let now = look.now.wall;
        let down = look
            .nodes()?
            .iter()
            .filter(|(_, node)| node.excused_until().is_some_and(|until| all || until <= now))
            .filter_map(|(_, node)| node.ready_since);
        Ok(down.fold(Self::default(), |since, at| Self {
            first: since.first.map_or(Some(at), |first| Some(first.min(at))),
            last: since.last.max(Some(at)),
        }))
    }
}

/// The nodes that the cluster has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeLoss {
    pub(super) extent: LossExtent,
    pub(super) down: u32,
    pub(super) nodes: u32,
    /// Those that join or leave.
    pub(super) excused: u32,
    pub(super) since: Since,
}

impl NodeLoss {
    fn share(&self) -> i64 {
        i64::from(self.down) * 100 / i64::from(self.nodes.max(1))
    }
}

impl Explain for NodeLoss {
    fn cause(&self) -> &'static str {
        match self.extent {
            LossExtent::NoneReady => "NoneReady",
            LossExtent::Half => "HalfLost",
            LossExtent::Storm { .. } => "Storm",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (down, nodes, share) = (self.down, self.nodes, self.share());
        write!(
            f,
            "{down} of {nodes} nodes of the cluster are not Ready ({share} %"
        )?;
        if let LossExtent::Storm { limit } = self.extent {
            write!(f, ", the limit is {} %", limit.percent())?;
        }
        f.write_str(")")?;
        match (self.since.first, self.since.last) {
            (Some(first), Some(last)) if first == last => write!(f, ", since {first}"),
            (Some(first), Some(last)) => write!(f, ", the first since {first}, the last since {last}"),
            _ => Ok(()),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "Node status.conditions[Ready]";
        let mut evidence = vec![
            Evidence::count("down", self.down, place),
            Evidence::count("nodes", self.nodes, place),
            Evidence::number("share", Unit::Percent, &Val::declared(self.share(), place)),
        ];
        if let LossExtent::Storm { limit } = self.extent {
            evidence.push(limit.evidence());
        }
        if self.excused > 0 {
            evidence.push(Evidence::count("joiningOrLeaving", self.excused, place));
        }
        for (what, at) in [("first", self.since.first), ("last", self.since.last)] {
            let place = "Node status.conditions[Ready].lastTransitionTime";
            let time = at.map(|at| Evidence::text(what, &Val::declared(at.to_string().into(), place)));
            evidence.extend(time);
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "see what they share: kubectl get nodes -o wide, zones, versions, the last change, the way to the API server"
                .into(),
            "find out whether these nodes still serve traffic; if so, only their reports are missing".into(),
            "replace no node before that is known: new ones may come with the same cause".into(),
        ]
    }

    fn at_most(&self) -> Severity {
        match self.extent {
            LossExtent::NoneReady | LossExtent::Half => Severity::Critical,
            LossExtent::Storm { .. } => Severity::Warning,
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |extent, down, nodes, first: Option<i64>, last: Option<i64>| NodeLoss {
        extent,
        down,
        nodes,
        excused: 0,
        since: Since {
            first: first.map(Wall),
            last: last.map(Wall),
        },
    };
    let (seven, eight) = (Some(1_800_000_000), Some(1_800_003_600));
    vec![
        Verdict::violated(of(LossExtent::NoneReady, 3, 3, seven, seven)),
        Verdict::violated(of(LossExtent::Half, 53, 100, None, None)),
        Verdict::violated(of(
            LossExtent::Storm {
                limit: StormShare::Default,
            },
            30,
            100,
            seven,
            eight,
        )),
        Verdict::violated(of(
            LossExtent::Storm {
                limit: StormShare::Declared(10),
            },
            12,
            100,
            seven,
            eight,
        )),
    ]
}
