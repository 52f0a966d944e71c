//! Endpoints that are still starting: they were seen to come not ready, and have not been ready since.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::know::Mono;
use crate::names::{InUse, Key};

/// Most endpoints that are remembered, in all. One beyond that is none that is starting: a Service that lacks it is
/// judged at once.
const MOST: usize = 32_768;

/// Longest time that one is remembered, in milliseconds: the largest `newcomerGraceSeconds` that a policy can declare.
const LONGEST: u64 = 86_400_000;

/// The endpoints of each Service that are still starting, and when each came.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Newcomers {
    came: HashMap<Key, HashMap<IpAddr, Mono>>,
    count: usize,
}

/// How many of a Service's endpoints are still starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Starting {
    /// How many of those asked about.
    pub count: usize,
    /// When the first of them has taken too long.
    pub until: Option<Mono>,
}

impl Newcomers {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.came.keys());
    }

    /// An endpoint came not ready.
    pub(super) fn came(&mut self, now: Mono, service: Key, address: IpAddr) {
        if self.count < MOST {
            let held = self.came.entry(service).or_default().insert(address, now);
            self.count += usize::from(held.is_none());
        }
    }

    /// An endpoint is gone, ready, or on its way out.
    pub(super) fn left(&mut self, service: Key, address: IpAddr) {
        let Some(held) = self.came.get_mut(&service) else {
            return;
        };
        self.count -= usize::from(held.remove(&address).is_some());
        if held.is_empty() {
            self.came.remove(&service);
        }
    }

    /// How many of these endpoints of a Service came within the last so many milliseconds and are still starting.
    pub(super) fn starting(
        &self,
        now: Mono,
        service: Key,
        endpoints: impl Iterator<Item = IpAddr>,
        grace: u64,
    ) -> Starting {
        let Some(held) = self.came.get(&service) else {
            return Starting::default();
        };
        let ends = endpoints.filter_map(|address| Some(held.get(&address)?.plus(grace)));
        ends.filter(|end| *end > now)
            .fold(Starting::default(), |sum, end| Starting {
                count: sum.count + 1,
                until: Some(sum.until.map_or(end, |until| until.min(end))),
            })
    }

    /// Forgets what no policy can ask for.
    pub(super) fn sweep(&mut self, now: Mono) {
        self.came.retain(|_, held| {
            held.retain(|_, came| now.since(*came) < LONGEST);
            !held.is_empty()
        });
        self.count = self.came.values().map(HashMap::len).sum();
    }
}
