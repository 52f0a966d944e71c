//! Nodes that failed: when, how full they had become, and what they ran.

use std::collections::VecDeque;

use crate::know::Mono;
use crate::names::Name;
use crate::sources::node::Node;

/// Failures that are remembered, in all.
const FAILURES: usize = 8_192;
/// For how long a failure is remembered, in milliseconds: a day, the longest window that a policy can set.
const KEEP: u64 = 86_400_000;

/// What a node runs: what a change of the fleet changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// Kernel version.
    pub kernel: Name,
    /// kubelet version.
    pub kubelet: Name,
    /// Operating system image.
    pub image: Name,
    /// Container runtime and its version.
    pub runtime: Name,
}

impl Traits {
    /// What a Node object says of them.
    pub const fn of(node: &Node) -> Self {
        Self {
            kernel: node.kernel,
            kubelet: node.kubelet,
            image: node.image,
            runtime: node.runtime,
        }
    }
}

/// A node that was ready and no longer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// What it ran.
    pub traits: Traits,
}

/// Nodes that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    failures: VecDeque<Failure>,
}

impl Nodes {
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
    }
}
