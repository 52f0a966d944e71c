//! Nodes that failed: when, how full they had become, and what they ran.

use std::collections::{BTreeMap, VecDeque};

use super::flips::NodeFlips;
use crate::know::Mono;
use crate::names::Name;
use crate::sources::node::{Node, Readiness};

/// Failures that are remembered, in all.
const FAILURES: usize = 8_192;
/// For how long a failure is remembered, in milliseconds: a day, the longest window that a policy can set.
const KEEP: u64 = 86_400_000;

/// What a node runs: what a change of the fleet changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NodeSoftware {
    /// Kernel version.
    pub kernel: Name,
    /// kubelet version.
    pub kubelet: Name,
    /// Operating system image.
    pub image: Name,
    /// Container runtime and its version.
    pub runtime: Name,
}

impl NodeSoftware {
    /// What a Node object says of them.
    pub const fn of(node: &Node) -> Self {
        Self {
            kernel: node.kernel,
            kubelet: node.kubelet,
            image: node.image,
            runtime: node.runtime,
        }
    }

    /// Each of them: kernel, kubelet, image, runtime.
    pub const fn each(&self) -> [Name; 4] {
        [self.kernel, self.kubelet, self.image, self.runtime]
    }
}

/// What was seen of a node that is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Past {
    /// When it joined.
    pub joined: Option<Mono>,
    /// When it stopped being Ready, while it is not.
    pub failed: Option<Mono>,
    /// When each of its parts last became another, in the order of [`NodeSoftware::each`].
    pub changed: [Option<Mono>; 4],
}

/// A node that was ready and no longer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Failure {
    /// When it was seen.
    pub at: Mono,
    /// The node.
    pub node: Name,
    /// Endpoints it had when the window before its failure began.
    pub before: u32,
    /// By how many they had grown when it failed.
    pub grown: u32,
    /// Whether slices had been seen over that whole window.
    pub seen: bool,
}

/// Nodes that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct NodeHistory {
    failures: VecDeque<Failure>,
    /// Of nodes of which anything was seen; never more than there are nodes.
    past: BTreeMap<Name, Past>,
    /// Since when Nodes are watched.
    since: Option<Mono>,
    flips: NodeFlips,
}

impl NodeHistory {
    /// The first list is complete: from now on changes are seen.
    pub(crate) fn begin(&mut self, now: Mono) {
        self.since.get_or_insert(now);
    }

    /// Since when changes of Nodes are seen. An interruption does not count: what changed meanwhile is seen by comparing.
    pub const fn since(&self) -> Option<Mono> {
        self.since
    }

    /// What was seen of a node.
    pub fn past(&self, node: Name) -> Past {
        self.past.get(&node).copied().unwrap_or_default()
    }

    /// A node came, changed or went. `happens` says whether that was seen to happen, so that its time is known.
    pub(crate) fn fold(
        &mut self,
        now: Mono,
        happens: bool,
        name: Name,
        old: Option<&Node>,
        new: Option<&Node>,
    ) {
        self.flips.fold(now, happens, name, old, new);
        let Some(new) = new else {
            self.past.remove(&name);
            return;
        };
        let mut past = self.past(name);
        let ready = |node: &Node| node.ready == Readiness::Ready;
        match old {
            None if happens => past.joined = Some(now),
            None => {}
            Some(old) => {
                if self.since.is_some() {
                    let pairs = NodeSoftware::of(old)
                        .each()
                        .into_iter()
                        .zip(NodeSoftware::of(new).each());
                    for (at, (was, is)) in past.changed.iter_mut().zip(pairs) {
                        if was != is && !was.is_empty() {
                            *at = Some(now);
                        }
                    }
                }
                if happens && ready(old) && !ready(new) {
                    past.failed = Some(now);
                }
            }
        }
        if ready(new) {
            past.failed = None;
        }
        if past == Past::default() {
            self.past.remove(&name);
        } else {
            self.past.insert(name, past);
        }
    }

    /// An endpoint of a namespace came to a node.
    pub(super) fn arrived(&mut self, node: Name, namespace: Name) {
        self.flips.arrived(node, namespace);
    }

    /// Nodes that come and go.
    pub const fn flips(&self) -> &NodeFlips {
        &self.flips
    }

    /// A node failed.
    pub(crate) fn failed(&mut self, failure: Failure) {
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(failure);
    }

    /// Failures that are at most so many milliseconds old, the oldest first.
    pub fn failures(&self, now: Mono, window: u64) -> impl Iterator<Item = &Failure> + Clone {
        let recent = self.failures.iter().rev();
        let count = recent.take_while(|one| now.since(one.at) <= window).count();
        self.failures.iter().skip(self.failures.len() - count)
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Mono) {
        while self.failures.front().is_some_and(|one| now.since(one.at) > KEEP) {
            self.failures.pop_front();
        }
        self.flips.tick(now);
    }
}
