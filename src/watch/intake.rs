//! From the pumps' words to the core's inputs. Pure: no IO, no clock.
//!
//! Some sources come from several targets: Pods by several selectors, `ConfigMaps` one by one, two kinds of webhook
//! configurations. For those the intake remembers which target holds which name, so that an object leaves the core when
//! no target holds it any more. A part of a source (all of it, or one namespace) is as fresh as the worst of the targets
//! that fill it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use evenkeel_core::Input;
use evenkeel_core::fleet::Wants;
use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::Source;

use super::echo::Echoes;
use super::line;
use super::outlet::{Event, What};
use super::target::{self, Id, Target};
use crate::api::{self, PolicyObject};

/// Where inputs go: `Core::handle`, or a test's list.
pub(super) type Sink<'a> = dyn FnMut(Input<'_>) + 'a;

/// Source, namespace and name of an object, as the core names it.
type Key = (Source, Box<str>, Box<str>);

/// Which pumps to start and which to stop.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New targets.
    pub start: Vec<(Id, Target)>,
    /// Targets that are no longer wanted.
    pub stop: Vec<Id>,
}

/// What the loop knows of the pumps.
#[derive(Debug, Default)]
pub struct Intake {
    wants: Option<Wants>,
    last: u32,
    targets: BTreeMap<Id, Held>,
    /// Which targets hold an object of a source that comes in parts, and since which of their lists.
    holders: HashMap<Key, Vec<(Id, u32)>>,
    /// Namespaces of which some Pods are not watched at all, and why.
    excess: Option<(BTreeSet<String>, String)>,
    /// Policy objects as they came, for who writes their statuses.
    policies: Vec<PolicyObject>,
    echoes: Echoes,
}

#[derive(Debug)]
struct Held {
    target: Target,
    freshness: Freshness,
    list: u32,
}

/// A part of a source, by its namespace; empty is all of it.
type SourcePart = (Source, String);

impl Intake {
    /// Takes in what the core wants to know now; the sink gets what is no longer watched.
    pub fn want(&mut self, wants: &Wants, sink: &mut Sink<'_>) -> Change {
        if self.wants.as_ref() == Some(wants) {
            return Change::default();
        }
        self.wants = Some(wants.clone());
        let mut wanted = Target::all(wants);
        let mut touched: BTreeSet<SourcePart> = BTreeSet::new();
        let excess = target::trim(&mut wanted);
        if excess != self.excess {
            // Also where nothing starts or stops for it.
            let both = [&self.excess, &excess].into_iter().flatten();
            touched.extend(
                both.flat_map(|one| &one.0)
                    .map(|name| (Source::Pods, name.clone())),
            );
            self.excess = excess;
        }
        let gone = self
            .targets
            .iter()
            .filter(|(_, held)| !wanted.contains(&held.target));
        let stop: Vec<Id> = gone.map(|(id, _)| *id).collect();
        for held in self.targets.values() {
            wanted.remove(&held.target);
        }
        for id in &stop {
            if let Some(held) = self.targets.remove(id) {
                touched.insert(place(&held.target));
                self.release(*id, held.target.source, u32::MAX, sink);
            }
        }
        let mut start = Vec::new();
        for target in wanted {
            self.last += 1;
            let id = Id(self.last);
            touched.insert(place(&target));
            start.push((id, target.clone()));
            let held = Held {
                target,
                freshness: Freshness::Missing,
                list: 0,
            };
            self.targets.insert(id, held);
        }
        for place in touched {
            self.tell(&place, sink);
        }
        Change { start, stop }
    }

    /// Takes in what a pump learned.
    pub fn take(&mut self, event: Event, sink: &mut Sink<'_>) {
        let id = event.target;
        let Some(held) = self.targets.get_mut(&id) else {
            // The last words of a pump that was stopped.
            return;
        };
        let source = held.target.source;
        let shares = held.target.shares();
        match event.what {
            What::Begin if shares => held.list += 1,
            What::Begin => {
                self.echoes.begin(source);
                sink(Input::Begin(source));
            }
            What::Object(bytes, at) => self.object(id, bytes.get(at).unwrap_or_default(), sink),
            What::Page(bytes, items) => {
                for at in items {
                    self.object(id, bytes.get(at).unwrap_or_default(), sink);
                }
            }
            What::Gone(namespace, name) => self.gone(id, namespace, name, sink),
            What::Synced => {
                held.freshness = Freshness::Complete;
                if shares {
                    let (list, place) = (held.list, place(&held.target));
                    self.release(id, source, list, sink);
                    self.tell(&place, sink);
                } else {
                    sink(Input::Synced(source));
                }
            }
            What::Freshness(freshness) => {
                held.freshness = freshness;
                let place = place(&held.target);
                self.tell(&place, sink);
            }
        }
    }

    /// The policy objects that came since this was last asked, as they came: the core keeps what they ask for, their
    /// writer has to know their uid, generation and status.
    pub fn take_policies(&mut self) -> Vec<PolicyObject> {
        std::mem::take(&mut self.policies)
    }

    /// Whether a target is being read for the first time: verdicts are about to change for reasons that are not the
    /// cluster's, so a round may wait a moment.
    pub fn is_filling(&self) -> bool {
        self.targets
            .values()
            .any(|held| held.freshness == Freshness::Missing)
    }

    /// Whether everything has been read at least once, or was refused.
    pub fn is_settled(&self) -> bool {
        !self.targets.is_empty() && !self.is_filling()
    }

    /// What is watched.
    pub fn targets(&self) -> impl Iterator<Item = (Id, &Target)> {
        self.targets.iter().map(|(id, held)| (*id, &held.target))
    }

    /// Passes an object on.
    fn object(&mut self, id: Id, object: &[u8], sink: &mut Sink<'_>) {
        let Some(held) = self.targets.get(&id) else { return };
        let Target { source, kind, .. } = held.target;
        if held.target.shares() {
            let (namespace, name) = line::key(object);
            let list = held.list;
            let key = self.key(id, source, namespace, name);
            let holders = self.holders.entry(key).or_default();
            match holders.iter_mut().find(|holder| holder.0 == id) {
                Some(holder) => holder.1 = list,
                None => holders.push((id, list)),
            }
        }
        match source {
            Source::Policies | Source::ClusterPolicy => {
                if let Some(decoded) = PolicyObject::decode(object) {
                    let is_echo = self.echoes.is_echo(source, &decoded);
                    self.policies.push(decoded);
                    if is_echo {
                        return;
                    }
                }
                api::offer(source, object, sink);
            }
            _ if kind.is_empty() || names_kind(object) => sink(Input::object(source, object)),
            _ => {
                // Items of a list do not name their kind, and two kinds share this source.
                let rest = object.strip_prefix(b"{").unwrap_or(object);
                let named = [format!("{{\"kind\":\"{kind}\",").as_bytes(), rest].concat();
                sink(Input::object(source, &named));
            }
        }
    }

    /// How the core names an object of a source that comes in parts.
    fn key(&self, id: Id, source: Source, namespace: String, name: String) -> Key {
        let kind = self.targets.get(&id).map_or("", |held| held.target.kind);
        // Two kinds of webhook configurations share a table and differ by their kind in the namespace's place.
        let place = if kind.is_empty() || name.is_empty() {
            namespace
        } else {
            kind.to_owned()
        };
        (source, place.into(), name.into())
    }

    fn gone(&mut self, id: Id, namespace: String, name: String, sink: &mut Sink<'_>) {
        let Some(held) = self.targets.get(&id) else { return };
        let source = held.target.source;
        if !held.target.shares() {
            self.echoes.gone(source, &namespace, &name);
            sink(Input::Gone(source, &namespace, &name));
            return;
        }
        let key = self.key(id, source, namespace, name);
        if let Some(holders) = self.holders.get_mut(&key) {
            holders.retain(|holder| holder.0 != id);
            if holders.is_empty() {
                self.holders.remove(&key);
                sink(Input::Gone(source, &key.1, &key.2));
            }
        }
    }

    /// Lets a target release what it held before its list of that number.
    fn release(&mut self, id: Id, source: Source, before: u32, sink: &mut Sink<'_>) {
        self.holders.retain(|key, holders| {
            if key.0 != source {
                return true;
            }
            holders.retain(|holder| holder.0 != id || holder.1 >= before);
            if holders.is_empty() {
                sink(Input::Gone(source, &key.1, &key.2));
            }
            !holders.is_empty()
        });
    }

    /// Says how fresh a part of a source is: as fresh as the worst of its targets. The core ignores repeats.
    fn tell(&self, place: &SourcePart, sink: &mut Sink<'_>) {
        let (source, namespace) = place;
        let targets = self.targets.values().filter(|held| {
            let target = &held.target;
            (target.source, &target.namespace) == (*source, namespace)
        });
        let dropped = self
            .excess
            .as_ref()
            .filter(|(namespaces, _)| *source == Source::Pods && namespaces.contains(namespace))
            .map(|(_, why)| Freshness::unreadable(why));
        let all = targets.map(|held| &held.freshness).chain(&dropped);
        let worst = all.reduce(Freshness::worse).cloned().unwrap_or_default();
        let part = match &**namespace {
            "" => Part::Whole,
            namespace => Part::Namespace(namespace),
        };
        sink(Input::Freshness(*source, part, worst));
    }
}

fn place(target: &Target) -> SourcePart {
    (target.source, target.namespace.clone())
}

/// Whether an object says its kind, as events of a watch do.
fn names_kind(object: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(default, borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
    }
    serde_json::from_slice::<Kind<'_>>(object).is_ok_and(|object| object.kind.is_some())
}
