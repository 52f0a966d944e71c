//! Nodes that come and go: when each stopped being Ready, who said so, when it was Ready again, and what filled it then.

use std::collections::BTreeMap;

use crate::know::Mono;
use crate::names::Name;
use crate::sources::node::{Node, Readiness};

/// Flips that are remembered, in all. Beyond, nothing more is noted and [`NodeFlips::is_full`] says so.
const MOST: usize = 8_192;
/// Flips of one node that are remembered: the most that `nodes.flap.transitions` can ask for. Of more, the oldest go.
const OF_A_NODE: usize = 100;
/// For how long a flip is remembered, in milliseconds: a day, the longest window that a policy can set.
const KEEP: u64 = 86_400_000;
/// How often what is older is forgotten, in milliseconds.
const SWEEP: u64 = 60_000;
/// Namespaces that are told apart in what fills a node.
const NAMESPACES: usize = 4;

/// Who said that a node is no longer Ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlipAuthor {
    /// The kubelet: `Ready=False`. Its way to the API works.
    Kubelet,
    /// The node controller, as the kubelet was silent: `Ready=Unknown`. It may be the node or its way to the API.
    NodeController,
}

/// What came to a node after it was Ready again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Refill {
    /// How many endpoints.
    pub endpoints: u32,
    /// Of which namespaces; at most four are told apart.
    pub namespaces: Vec<Name>,
}

/// A node that stopped being Ready, and came back or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flip {
    /// When it stopped.
    pub down: Mono,
    /// Who said so.
    pub author: FlipAuthor,
    /// When it was Ready again.
    pub up: Option<Mono>,
    /// What came to it since then, until the next flip.
    pub refill: Refill,
}

impl Flip {
    /// Whether the node was not Ready at some time in the last so many milliseconds.
    pub fn touches(&self, now: Mono, window: u64) -> bool {
        self.up.is_none_or(|up| now.since(up) <= window)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
struct OfNode {
    flips: Vec<Flip>,
    /// Whether the node was removed since: a later one of this name is another machine.
    gone: bool,
}

/// Nodes that come and go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct NodeFlips {
    nodes: BTreeMap<Name, OfNode>,
    count: usize,
    full: bool,
    swept: Mono,
    /// When the last one was seen.
    last: Option<Mono>,
}

impl NodeFlips {
    /// A node came, changed or went. `happens` says whether that was seen to happen, so that its time is known.
    pub(super) fn fold(
        &mut self,
        now: Mono,
        happens: bool,
        name: Name,
        old: Option<&Node>,
        new: Option<&Node>,
    ) {
        let ready = |node: &Node| node.ready == Readiness::Ready;
        let Some(new) = new else {
            if let Some(held) = self.nodes.get_mut(&name) {
                held.gone = true;
                held.flips
                    .iter_mut()
                    .for_each(|one| one.up = one.up.or(Some(now)));
            }
            return;
        };
        let Some(old) = old else {
            if self.nodes.get(&name).is_some_and(|held| held.gone) {
                self.forget(name);
            }
            return;
        };
        match (ready(old), ready(new)) {
            (true, false) if happens => self.went_down(now, name, new.ready),
            (false, true) => {
                let last = self.nodes.get_mut(&name).and_then(|held| held.flips.last_mut());
                if let Some(last) = last
                    && last.up.is_none()
                {
                    last.up = Some(now);
                }
            }
            _ => {}
        }
    }

    fn went_down(&mut self, now: Mono, name: Name, ready: Readiness) {
        self.last = Some(now);
        if self.count >= MOST {
            self.full = true;
            return;
        }
        let held = self.nodes.entry(name).or_default();
        if held.flips.len() >= OF_A_NODE {
            held.flips.remove(0);
        } else {
            self.count += 1;
        }
        held.flips.push(Flip {
            down: now,
            author: if ready == Readiness::NotReady {
                FlipAuthor::Kubelet
            } else {
                FlipAuthor::NodeController
            },
            up: None,
            refill: Refill::default(),
        });
    }

    fn forget(&mut self, name: Name) {
        if let Some(held) = self.nodes.remove(&name) {
            self.count -= held.flips.len();
        }
    }

    /// An endpoint of a namespace came to a node.
    pub(super) fn arrived(&mut self, node: Name, namespace: Name) {
        let last = self.nodes.get_mut(&node).and_then(|held| held.flips.last_mut());
        let Some(last) = last.filter(|last| last.up.is_some()) else {
            return;
        };
        let refill = &mut last.refill;
        refill.endpoints = refill.endpoints.saturating_add(1);
        if refill.namespaces.len() < NAMESPACES && !refill.namespaces.contains(&namespace) {
            refill.namespaces.push(namespace);
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Mono) {
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.nodes.retain(|_, held| {
            held.flips.retain(|one| one.touches(now, KEEP));
            !held.flips.is_empty()
        });
        self.count = self.nodes.values().map(|held| held.flips.len()).sum();
        self.full = self.full && self.count >= MOST / 2;
    }

    /// The flips of a node that is still there, the oldest first.
    pub fn of(&self, node: Name) -> &[Flip] {
        let held = self.nodes.get(&node).filter(|held| !held.gone);
        held.map_or(&[], |held| &held.flips)
    }

    /// Nodes that flipped within a day, also those that were removed since; with their flips, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = (Name, &[Flip])> {
        self.nodes.iter().map(|(name, held)| (*name, &*held.flips))
    }

    /// When the last flip was seen.
    pub const fn last(&self) -> Option<Mono> {
        self.last
    }

    /// Whether there were more than are remembered.
    pub const fn is_full(&self) -> bool {
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::know::Source;
    use crate::names::Key;
    use crate::world::{World, node_ready, slice_in};

    fn watched() -> World {
        World::watched(&[(Source::Nodes, node_ready("n1", "z", "True"))])
    }

    fn ready(world: &mut World, status: &str) {
        world.put(Source::Nodes, &node_ready("n1", "z", status));
    }

    fn flips(world: &World) -> Vec<Flip> {
        world.core.history().nodes().flips().of(world.name("n1")).to_vec()
    }

    #[test]
    fn a_flip_has_an_author_and_an_end() {
        let mut world = watched();
        ready(&mut world, "False");
        world.wait(60);
        ready(&mut world, "Unknown");
        assert_eq!(flips(&world).len(), 1, "it was down before");
        ready(&mut world, "True");
        world.wait(60);
        ready(&mut world, "Unknown");
        let flips = flips(&world);
        let authors: Vec<_> = flips.iter().map(|one| one.author).collect();
        assert_eq!(authors, [FlipAuthor::Kubelet, FlipAuthor::NodeController]);
        assert_eq!(flips[0].up.unwrap().since(flips[0].down), 60_000);
        assert!(flips[1].up.is_none());
    }

    #[test]
    fn what_fills_it_is_counted_from_its_return_by_namespace() {
        let mut world = watched();
        let slice = |namespace: &str, addresses: &[&str]| {
            let endpoints: Vec<_> = addresses.iter().map(|at| (*at, "n1", true)).collect();
            slice_in(namespace, "app", &endpoints)
        };
        world.put(Source::EndpointSlices, &slice("a", &["10.0.0.1"]));
        ready(&mut world, "Unknown");
        world.put(Source::EndpointSlices, &slice("b", &["10.0.0.2"]));
        ready(&mut world, "True");
        world.put(
            Source::EndpointSlices,
            &slice("a", &["10.0.0.1", "10.0.0.3", "10.0.0.4"]),
        );
        world.put(Source::EndpointSlices, &slice("c", &["10.0.0.5"]));
        let refill = flips(&world)[0].refill.clone();
        assert_eq!((refill.endpoints, refill.namespaces.len()), (3, 2));
    }

    #[test]
    fn another_machine_of_the_same_name_has_not_flipped() {
        let mut world = watched();
        ready(&mut world, "Unknown");
        world.input(crate::handle::Input::Gone(Source::Nodes, "", "n1"));
        assert!(flips(&world).is_empty());
        let all = world.core.history().nodes().flips().all().count();
        assert_eq!(all, 1, "it was down nevertheless");
        ready(&mut world, "True");
        assert_eq!(world.core.history().nodes().flips().all().count(), 0);
    }

    #[test]
    fn it_is_bounded_and_forgets() {
        let node = |ready| {
            let json = node_ready("n", "", ready).to_string();
            let mut names = crate::names::Names::default();
            <Node as crate::sources::Row>::parse(json.as_bytes(), &mut names)
                .unwrap()
                .1
        };
        let (up, down) = (node("True"), node("False"));
        let mut names = crate::names::Names::default();
        let mut flips = NodeFlips::default();
        for at in 0..MOST + 10 {
            let name = names.intern(&at.to_string());
            flips.fold(Mono(1), true, name, Some(&up), Some(&down));
            flips.fold(Mono(2), true, name, Some(&down), Some(&up));
        }
        assert!(flips.is_full() && flips.count == MOST);
        flips.tick(Mono(KEEP + 100_000));
        assert!(!flips.is_full() && flips.count == 0);
        let key = Key::default().name;
        for at in 0..200 {
            flips.fold(Mono(at), true, key, Some(&up), Some(&down));
            flips.fold(Mono(at), true, key, Some(&down), Some(&up));
        }
        assert_eq!(flips.of(key).len(), OF_A_NODE);
    }
}
