//! From the pumps' words to the core's inputs. Pure: no IO, no clock.
//!
//! Some sources come from several targets: Pods by several selectors, `ConfigMaps` one by one, two kinds of webhook
//! configurations. For those the intake remembers which target holds which name, so that an object leaves the core when
//! no target holds it any more. A part of a source (all of it, or one namespace) is as fresh as the worst of the targets
//! that fill it.
//!
//! Where other targets take over what some have watched, what those held stays until the new ones have been read: the
//! core sees no object go that is still there.

mod again;
mod ceiling;
mod held;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::Input;
use evenkeel_core::fleet::Wants;
use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::Source;
use evenkeel_core::policy::Selector;

use super::echo::Echoes;
use super::holders::{Holders, ObjectName, Sink, SourcePart};
use super::line;
use super::outlet::{WatchEvent, What};
use super::pods::{PodWatches, Selected};
use super::target::{Id, Target};
use crate::api::{self, PolicyObject};
use again::ReadAgain;
use held::{Held, covers};

/// Which pumps to start and which to stop.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TargetChange {
    /// New targets.
    pub start: Vec<Start>,
    /// Targets that are no longer wanted.
    pub stop: Vec<Id>,
}

/// A target to be watched from now on.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// Its number.
    pub id: Id,
    /// What it is.
    pub target: Target,
    /// Whether others have watched all of it until now: it is known, as long as this one is read soon.
    pub known: bool,
}

/// What the loop knows of the pumps.
#[derive(Debug, Default)]
pub struct Intake {
    wants: Option<Wants>,
    /// The namespace of the ledger, where it is watched.
    ledger: Option<String>,
    last: u32,
    pods: PodWatches,
    targets: BTreeMap<Id, Held>,
    /// The targets that fill each part of a source.
    fills: BTreeMap<SourcePart, BTreeSet<Id>>,
    /// Targets that are not watched any more, and that hold objects until those that took over have been read.
    replaced: BTreeMap<SourcePart, BTreeSet<Id>>,
    holders: Holders,
    /// Whether there may be targets of which objects were left out.
    leaves_out: bool,
    /// What is to be read anew, as there is room for what was refused.
    again: ReadAgain,
    /// Policy objects as they came, for who writes their statuses.
    policies: Vec<PolicyObject>,
    echoes: Echoes,
}

impl Intake {
    /// Says that the ledger is watched as well, in this namespace: from the next change of what is wanted on.
    pub fn watch_ledger(&mut self, namespace: &str) {
        self.ledger = Some(namespace.to_owned());
    }

    /// Takes in what the core wants to know now; the sink gets what is no longer watched.
    pub fn want(&mut self, wants: &Wants, sink: &mut Sink<'_>) -> TargetChange {
        if self.wants.as_ref() == Some(wants) {
            return TargetChange::default();
        }
        let mut touched = self.touched_by_excess(wants);
        self.wants = Some(wants.clone());
        let mut change = TargetChange::default();
        let others = self
            .targets
            .iter()
            .filter(|one| one.1.target.source != Source::Pods);
        let others = others.map(|one| *one.0).collect();
        let ledger = self.ledger.as_deref().and_then(Target::ledger);
        let wanted = Target::but_pods(wants).into_iter().chain(ledger);
        let wanted = wanted.map(|target| (target, None));
        touched.extend(self.exchange(others, wanted.collect(), &mut change, sink));
        for (namespace, targets) in self.pods.choose(wants) {
            let before = self.fills.get(&(Source::Pods, namespace.to_string()));
            let before = before.cloned().unwrap_or_default();
            let wanted = targets
                .into_iter()
                .map(|(target, selected)| (target, Some(selected)));
            touched.extend(self.exchange(before, wanted.collect(), &mut change, sink));
        }
        for place in touched {
            self.drop_replaced(&place, sink);
            self.tell(&place, sink);
        }
        change
    }

    /// Watches these instead of those, as far as they differ; returns the parts that are concerned.
    fn exchange(
        &mut self,
        before: BTreeSet<Id>,
        mut wanted: BTreeMap<Target, Option<Selected>>,
        change: &mut TargetChange,
        sink: &mut Sink<'_>,
    ) -> BTreeSet<SourcePart> {
        let mut touched = BTreeSet::new();
        let mut stop = Vec::new();
        for id in before {
            let Some(held) = self.targets.get_mut(&id) else {
                continue;
            };
            match wanted.get(&held.target) {
                // With another selection there may be room for what was left out.
                Some(selected) if held.overfull.is_none() && held.covers(&held.target, selected.as_ref()) => {
                    held.selected = wanted.remove(&held.target).flatten();
                }
                _ => stop.push(id),
            }
        }
        for (target, selected) in wanted {
            touched.insert(place(&target));
            change.start.push(self.start(target, selected));
        }
        touched.extend(stop.iter().filter_map(|id| self.stop(*id, sink)));
        change.stop.extend(stop);
        touched
    }

    /// Takes up a target.
    fn start(&mut self, target: Target, selected: Option<Selected>) -> Start {
        self.last += 1;
        let id = Id(self.last);
        let known = selected
            .as_ref()
            .is_some_and(|wanted| self.is_known(&place(&target), wanted));
        let held = Held {
            target: target.clone(),
            selected,
            freshness: if known {
                Freshness::Complete
            } else {
                Freshness::Missing
            },
            is_read: false,
            list: 0,
            overfull: None,
        };
        self.fills.entry(place(&target)).or_default().insert(id);
        self.targets.insert(id, held);
        Start { id, target, known }
    }

    /// Whether all of these Pods are known by targets that are, or were until now, watched.
    fn is_known(&self, place: &SourcePart, wanted: &BTreeSet<Selector>) -> bool {
        let fills = self.fills.get(place).into_iter().flatten();
        let before: Vec<&Held> = fills.filter_map(|id| self.targets.get(id)).collect();
        let known: BTreeSet<Selector> = before
            .iter()
            .filter(|held| held.is_read && held.freshness == Freshness::Complete && held.overfull.is_none())
            .filter_map(|held| held.selected.as_deref())
            .flatten()
            .cloned()
            .collect();
        covers(&known, wanted)
    }

    /// Gives up a target, and says which part it filled. What it holds stays for now; where objects were left out it goes at
    /// once, to make room.
    fn stop(&mut self, id: Id, sink: &mut Sink<'_>) -> Option<SourcePart> {
        let Held { target, overfull, .. } = self.targets.remove(&id)?;
        let place = place(&target);
        if let Some(fills) = self.fills.get_mut(&place) {
            fills.remove(&id);
            if fills.is_empty() {
                self.fills.remove(&place);
            }
        }
        if !target.name.is_empty() {
            let part = Part::Object(&*target.namespace, &*target.name);
            sink(Input::Freshness(target.source, part, Freshness::Missing));
        }
        if overfull.is_some() {
            self.holders.release(&place, id, u32::MAX, sink);
        } else if target.shares() {
            self.replaced.entry(place.clone()).or_default().insert(id);
        }
        Some(place)
    }

    /// Lets go of what targets hold that others have replaced, where these have been read.
    fn drop_replaced(&mut self, place: &SourcePart, sink: &mut Sink<'_>) {
        let fills = self.fills.get(place).into_iter().flatten();
        let mut fills = fills.filter_map(|id| self.targets.get(id));
        if !self.replaced.contains_key(place) || !fills.all(|held| held.is_read) {
            return;
        }
        for id in self.replaced.remove(place).into_iter().flatten() {
            self.holders.release(place, id, u32::MAX, sink);
        }
    }

    /// Parts of which more or fewer objects are beyond the budget than before: also where nothing starts or stops for it.
    fn touched_by_excess(&self, wants: &Wants) -> BTreeSet<SourcePart> {
        let beyond = |wants: &Wants| -> BTreeMap<SourcePart, usize> {
            let maps = wants.config_maps.iter().filter(|one| one.1.beyond > 0);
            maps.map(|(namespace, maps)| ((Source::ConfigMaps, namespace.to_string()), maps.beyond))
                .collect()
        };
        let before = self.wants.as_ref().map(beyond).unwrap_or_default();
        let now = beyond(wants);
        let all = before.keys().chain(now.keys());
        all.filter(|place| before.get(*place) != now.get(*place))
            .cloned()
            .collect()
    }

    /// Takes in what a pump learned.
    pub fn take(&mut self, event: WatchEvent, sink: &mut Sink<'_>) {
        let id = event.target;
        let Some(held) = self.targets.get_mut(&id) else {
            // The last words of a pump that was stopped.
            return;
        };
        let source = held.target.source;
        let shares = held.target.shares();
        match event.what {
            What::Begin if shares => {
                held.list += 1;
                if held.overfull.take().is_some() {
                    // It is a gap until the list is complete.
                    held.freshness = Freshness::Missing;
                }
            }
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
            What::Refused(namespace, name, why) => self.refused(id, namespace, name, &why, sink),
            What::Synced => {
                held.freshness = Freshness::Complete;
                held.is_read = true;
                if shares {
                    let (list, place) = (held.list, place(&held.target));
                    self.holders.release(&place, id, list, sink);
                    self.drop_replaced(&place, sink);
                    self.tell(&place, sink);
                } else {
                    sink(Input::Synced(source));
                }
            }
            What::Freshness(freshness) => {
                held.is_read |= matches!(freshness, Freshness::Unreadable(_));
                held.freshness = freshness;
                let place = place(&held.target);
                self.drop_replaced(&place, sink);
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
            let (list, place, is_wanted) = (held.list, place(&held.target), held.wants(object));
            let key = self.key(id, namespace, name);
            if !is_wanted {
                self.holders.remove(&place, &key, id, sink);
                return;
            }
            if !self.holders.has(&place, &key)
                && let Some(why) = self.overfull(id, &place, sink)
            {
                self.overfill(id, &place, why, sink);
                return;
            }
            self.holders.add(&place, key, id, list);
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
    fn key(&self, id: Id, namespace: String, name: String) -> ObjectName {
        let kind = self.targets.get(&id).map_or("", |held| held.target.kind);
        // Two kinds of webhook configurations share a table and differ by their kind in the namespace's place.
        let place = if kind.is_empty() || name.is_empty() {
            namespace
        } else {
            kind.to_owned()
        };
        (place.into(), name.into())
    }

    fn gone(&mut self, id: Id, namespace: String, name: String, sink: &mut Sink<'_>) {
        let Some(held) = self.targets.get(&id) else { return };
        let source = held.target.source;
        if !held.target.shares() {
            self.echoes.gone(source, &namespace, &name);
            sink(Input::Gone(source, &namespace, &name));
            return;
        }
        let place = place(&held.target);
        let key = self.key(id, namespace, name);
        self.holders.remove(&place, &key, id, sink);
    }

    /// An object cannot be read. One of which the labels are not known may be wanted.
    fn refused(&mut self, id: Id, namespace: String, name: String, why: &str, sink: &mut Sink<'_>) {
        let Some(held) = self.targets.get(&id) else { return };
        let (source, list, place) = (held.target.source, held.list, place(&held.target));
        let shares = held.target.shares();
        let key = self.key(id, namespace, name);
        sink(Input::Refused(source, &key.0, &key.1, why));
        if shares {
            self.holders.add(&place, key, id, list);
        }
    }

    /// Says how fresh a part of a source is: as fresh as the worst of its targets. The core ignores repeats.
    fn tell(&self, place: &SourcePart, sink: &mut Sink<'_>) {
        let (source, namespace) = place;
        let fills = self.fills.get(place).into_iter().flatten();
        let targets: Vec<&Held> = fills.filter_map(|id| self.targets.get(id)).collect();
        for held in &targets {
            if !held.target.name.is_empty() {
                let part = Part::Object(namespace.as_str(), held.target.name.as_str());
                sink(Input::Freshness(*source, part, held.freshness.clone()));
            }
        }
        let excess = self.excess(place, &targets);
        let all = targets.iter().map(|held| &held.freshness).chain(&excess);
        let worst = all.reduce(Freshness::worse).cloned().unwrap_or_default();
        let part = match &**namespace {
            "" => Part::Whole,
            namespace => Part::Namespace(namespace),
        };
        sink(Input::Freshness(*source, part, worst));
    }

    /// What is not known of a part because it has more objects than its budget.
    fn excess(&self, place: &SourcePart, targets: &[&Held]) -> Option<Freshness> {
        let (source, namespace) = place;
        let why = if *source == Source::ConfigMaps {
            self.wants.as_ref()?.config_maps.get(&**namespace)?.excess()?
        } else {
            targets.iter().find_map(|held| held.overfull)?.why()
        };
        Some(Freshness::unreadable(&why))
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
