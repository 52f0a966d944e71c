//! An API server in memory and an operator that watches it, in virtual time. Nothing happens unless a test says so: watch
//! events wait to be delivered, requests wait to be answered.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use evenkeel_core::history::PodQuery;
use evenkeel_core::know::{Mono, Now, Source, Wall};
use serde_json::{Value, json};

use super::super::{Effects, Event, Next, Operator, Outgoing, ReceivedAt, RemedyRequest, Watched};
use super::ledger_server::{LedgerServer, NAMESPACE};
use crate::client::{Refusal, RequestError};
use crate::lease::Claim;
use crate::lookup;
use crate::send::{Reply, Request};
use crate::watch::{self, Id, Start, Target, What};

/// When every test begins.
pub(super) const START: Now = Now {
    mono: Mono(1_000_000),
    wall: Wall(1_790_000_000),
};

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerConduct {
    /// As it should: carried out, or refused by a precondition.
    Usual,
    /// Carried out, and the answer is lost.
    LostAfter,
    /// The request is lost.
    LostBefore,
    /// An error, and nothing is done.
    Error(u16, &'static str),
}

/// Source, namespace and name.
type ObjectKey = (Source, String, String);

fn key(source: Source, object: &Value) -> ObjectKey {
    let text = |at| {
        object
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    (source, text("/metadata/namespace"), text("/metadata/name"))
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) operator: Operator,
    pub(super) now: Now,
    pub(super) next: Next,
    objects: BTreeMap<ObjectKey, Value>,
    version: u64,
    targets: BTreeMap<Id, Target>,
    pending: VecDeque<(Id, What)>,
    /// Requests that are not answered.
    pub(super) sent: VecDeque<Outgoing>,
    /// The request of a remedy that is not answered.
    pub(super) remedy: Option<RemedyRequest>,
    /// Whether requests of remedies wait for the test to answer them.
    pub(super) hold_remedies: bool,
    /// What remedies need beside objects that are watched.
    pub(super) ledger: LedgerServer,
    /// Of how many scopes something is to be measured.
    pub(super) measured: usize,
    /// Pods that are to be read.
    pub(super) lookups: VecDeque<PodQuery>,
    /// Names of the Events that were created.
    pub(super) events: Vec<String>,
    /// Statuses that were written, by policy: how often.
    pub(super) writes: BTreeMap<String, u32>,
}

impl World {
    /// An operator that has just begun.
    pub(super) fn new() -> Self {
        Self::of(Operator::new(START, "pod".into()))
    }

    /// One that acts.
    pub(super) fn acting() -> Self {
        let mut operator = Operator::new(START, "pod".into());
        operator.acts(START, NAMESPACE);
        Self::of(operator)
    }

    fn of(operator: Operator) -> Self {
        let mut world = Self {
            operator,
            now: START,
            next: Next::Never,
            objects: BTreeMap::new(),
            version: 100,
            targets: BTreeMap::new(),
            pending: VecDeque::new(),
            sent: VecDeque::new(),
            remedy: None,
            hold_remedies: false,
            ledger: LedgerServer::default(),
            measured: 0,
            lookups: VecDeque::new(),
            events: Vec::new(),
            writes: BTreeMap::new(),
        };
        world.step(Event::Tick);
        world
    }

    /// One that has read everything and leads.
    pub(super) fn leading() -> Self {
        let mut world = Self::new();
        world.deliver(usize::MAX);
        world.lead(5);
        world
    }

    /// The same server, watched by an operator that has just begun.
    pub(super) fn restarted(mut self) -> Self {
        self.operator = Operator::new(self.now, "pod".into());
        self.targets.clear();
        self.pending.clear();
        self.sent.clear();
        self.remedy = None;
        self.lookups.clear();
        self.step(Event::Tick);
        self
    }

    pub(super) fn step(&mut self, event: Event) {
        let Effects {
            send,
            remedy,
            lookups,
            watches,
            next,
            measure,
            ..
        } = self.operator.step(self.now, event);
        self.lookups.extend(lookups);
        for id in watches.stop {
            self.targets.remove(&id);
            self.pending.retain(|(of, _)| *of != id);
        }
        for Start { id, target, .. } in watches.start {
            self.targets.insert(id, target);
            self.list(id);
        }
        self.sent.extend(send);
        if let Some(request) = remedy {
            // One at a time; that of an older claim is for nobody.
            self.remedy = Some(request);
        }
        self.next = next;
        if let Some(wants) = measure {
            self.measured = wants.len();
        }
    }

    /// Lets so many milliseconds pass.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        let mono = self.now.mono.plus(milliseconds);
        let wall = START.wall.0 + i64::try_from((mono.0 - START.mono.0) / 1000).unwrap();
        self.now = Now {
            mono,
            wall: Wall(wall),
        };
    }

    /// Steps until there is nothing to do at once.
    pub(super) fn work(&mut self) {
        let mut steps = 0;
        while self.next == Next::Now {
            self.step(Event::Tick);
            steps += 1;
            assert!(steps < 10_000, "the operator never rests");
        }
    }

    /// A claim that does not end.
    pub(super) fn lead(&mut self, term: u64) {
        let until = Mono(u64::MAX);
        self.step(Event::Claim(Some(Claim { term, until })));
    }

    /// A list of everything that a target is about.
    fn list(&mut self, id: Id) {
        let about = self.about(id);
        self.pending.push_back((id, What::Begin));
        for object in about {
            self.pending.push_back((id, text(&object)));
        }
        self.pending.push_back((id, What::Synced));
    }

    fn about(&self, id: Id) -> Vec<Value> {
        let Some(target) = self.targets.get(&id) else {
            return Vec::new();
        };
        let of = |key: &ObjectKey, object: &Value| key.0 == target.source && is_of(target, object);
        let found = self.objects.iter().filter(|(key, object)| of(key, object));
        found.map(|(_, object)| object.clone()).collect()
    }

    /// Every watch of a source says this.
    pub(super) fn say(&mut self, source: Source, what: impl Fn() -> What) {
        self.say_where(source, |_| true, what);
    }

    /// The watches that are about an object say this.
    fn say_of(&mut self, source: Source, object: &Value, what: impl Fn() -> What) {
        self.say_where(source, |target| is_of(target, object), what);
    }

    fn say_where(&mut self, source: Source, wanted: impl Fn(&Target) -> bool, what: impl Fn() -> What) {
        let ids: Vec<Id> = self
            .targets
            .iter()
            .filter(|(_, target)| target.source == source && wanted(target))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.pending.push_back((id, what()));
        }
    }

    /// The source's watches break, and list anew.
    pub(super) fn relist(&mut self, source: Source) {
        let ids: Vec<Id> = self
            .targets
            .iter()
            .filter(|(_, target)| target.source == source)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.list(id);
        }
    }

    /// Delivers the next so many events of watches, in one step each chunk as the loop does.
    pub(super) fn deliver(&mut self, most: usize) {
        let mut left = most;
        while left > 0 && !self.pending.is_empty() {
            let chunk = left.min(self.pending.len()).min(64);
            left -= chunk;
            let cause = ReceivedAt(Duration::from_millis(self.now.mono.0));
            let watched = self.pending.drain(..chunk).map(|(id, what)| Watched {
                cause,
                event: watch::WatchEvent::of(id, what),
            });
            let watched = watched.collect();
            self.step(Event::Watched(watched));
        }
    }

    /// What waits to be delivered, for a test that steps by itself.
    pub(super) fn take_pending(&mut self) -> Vec<Watched> {
        let cause = ReceivedAt::of(self.now);
        let watched = self.pending.drain(..).map(|(id, what)| Watched {
            cause,
            event: watch::WatchEvent::of(id, what),
        });
        watched.collect()
    }

    /// What waits to be delivered is lost, as where a watch breaks.
    pub(super) fn lose(&mut self) {
        self.pending.clear();
    }

    /// Whether watch events wait.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Somebody applies an object; its status stays as it is.
    pub(super) fn apply(&mut self, source: Source, mut object: Value) {
        let key = key(source, &object);
        let status = self.objects.get(&key).map(|one| one["status"].clone());
        if let Some(status) = status.filter(|one| !one.is_null()) {
            object["status"] = status;
        }
        self.put(source, object);
    }

    /// Somebody writes an object with its status.
    pub(super) fn put(&mut self, source: Source, mut object: Value) {
        let key = key(source, &object);
        self.version += 1;
        let before = self.objects.get(&key);
        let uid = before.map_or_else(
            || format!("uid-{}", self.version).into(),
            |one| one["metadata"]["uid"].clone(),
        );
        let changed = before.is_none_or(|one| one["spec"] != object["spec"]);
        let generation = before.map_or(0, |one| one["metadata"]["generation"].as_i64().unwrap_or(0));
        object["metadata"]["uid"] = uid;
        object["metadata"]["generation"] = (generation + i64::from(changed)).into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key, object.clone());
        self.say_of(source, &object, || text(&object));
    }

    /// The request of a remedy that waits for an answer.
    pub(super) fn asked(&self) -> Option<&evenkeel_core::drive::Request> {
        self.remedy.as_ref().map(|one| &one.request)
    }

    /// All objects of a source.
    pub(super) fn all(&self, source: Source) -> impl Iterator<Item = &Value> {
        let own = self.objects.iter().filter(move |one| one.0.0 == source);
        own.map(|one| one.1)
    }

    /// The next version: of one counter, as in etcd.
    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Somebody deletes an object.
    pub(super) fn delete(&mut self, source: Source, namespace: &str, name: &str) {
        let key = (source, namespace.to_owned(), name.to_owned());
        if let Some(object) = self.objects.remove(&key) {
            self.version += 1;
            self.say_of(source, &object, || What::Gone(namespace.into(), name.into()));
        }
    }

    /// An object as it is stored.
    pub(super) fn stored(&self, source: Source, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(source, namespace.into(), name.into()))
    }

    /// Whether a policy has this condition with this status.
    pub(super) fn holds(&self, name: &str, kind: &str, status: &str) -> bool {
        let policy = self.stored(Source::Policies, "shop", name);
        let conditions = policy.and_then(|one| one.pointer("/status/conditions")?.as_array());
        conditions
            .into_iter()
            .flatten()
            .any(|one| one["type"] == kind && one["status"] == status)
    }

    /// Answers the oldest request.
    pub(super) fn answer(&mut self, answer: ServerConduct) {
        let Some(outgoing) = self.sent.pop_front() else {
            return;
        };
        let reply = match answer {
            ServerConduct::Usual => self.carry_out(&outgoing.request),
            ServerConduct::LostAfter => {
                self.carry_out(&outgoing.request);
                Reply::Lost(RequestError::Late(Duration::from_secs(5)))
            }
            ServerConduct::LostBefore => Reply::Lost(RequestError::Broken("reset".into())),
            ServerConduct::Error(code, message) => Reply::Refused(Refusal {
                code,
                message: message.into(),
                after: None,
            }),
        };
        let (id, reaction) = (outgoing.id, Duration::ZERO);
        self.step(Event::Reply { id, reply, reaction });
    }

    fn carry_out(&mut self, request: &Request) -> Reply {
        let (policy, precondition, status) = match request {
            Request::Event { event, .. } => {
                let name = event["metadata"]["name"].as_str().unwrap().to_owned();
                if self.events.contains(&name) {
                    return Reply::Conflict;
                }
                self.events.push(name);
                return Reply::Ok(String::new());
            }
            Request::Status {
                policy,
                precondition,
                status,
            } => (policy, precondition, status),
        };
        let source = if policy.is_cluster() {
            Source::ClusterPolicy
        } else {
            Source::Policies
        };
        let key = (source, policy.namespace.to_string(), policy.name.to_string());
        let Some(object) = self.objects.get_mut(&key) else {
            return Reply::Gone;
        };
        let metadata = &object["metadata"];
        if metadata["uid"] != *precondition.uid || metadata["resourceVersion"] != *precondition.version {
            return Reply::Conflict;
        }
        if object["status"] != *status {
            self.version += 1;
            object["status"] = status.clone();
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            let object = object.clone();
            self.say(source, || text(&object));
        }
        *self.writes.entry(policy.to_string()).or_default() += 1;
        Reply::Ok(self.version.to_string())
    }

    /// Reads the next Pod that the operator wants to see.
    fn look_up(&mut self, pod: PodQuery) {
        let found = self.stored(Source::Pods, &pod.namespace, &pod.name);
        let answer = found.map_or(lookup::LookupResult::Gone, |object| {
            lookup::LookupResult::Found(object.to_string().into())
        });
        self.step(Event::Lookup(pod, answer));
    }

    /// Delivers and answers everything until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            self.work();
            if self.is_pending() {
                self.deliver(usize::MAX);
            } else if let Some(pod) = self.lookups.pop_front() {
                self.look_up(pod);
            } else if !self.sent.is_empty() {
                self.answer(ServerConduct::Usual);
            } else if !self.hold_remedies && self.answer_remedy() {
            } else if let Next::At(at) = self.next
                && at.since(self.now.mono) <= 200
            {
                // The rate of a namespace.
                self.pass(at.since(self.now.mono).max(1));
                self.step(Event::Tick);
            } else {
                return;
            }
        }
        panic!("the operator never settles");
    }

    /// Lets time pass as the loop does: a step whenever one is due.
    pub(super) fn live(&mut self, milliseconds: u64) {
        let end = self.now.mono.plus(milliseconds);
        for _ in 0..100_000 {
            self.settle();
            let due = match self.next {
                Next::At(at) if at <= end => at,
                _ => break,
            };
            self.pass(due.since(self.now.mono).max(1));
            self.step(Event::Tick);
        }
        self.pass(end.since(self.now.mono));
        self.step(Event::Tick);
        self.settle();
    }

    /// The policies whose statuses are under way, in the order in which they were sent.
    pub(super) fn under_way(&self) -> Vec<String> {
        let policy = |request: &Request| match request {
            Request::Status { policy, .. } | Request::Event { policy, .. } => policy.to_string(),
        };
        self.sent.iter().map(|one| policy(&one.request)).collect()
    }
}

/// Whether a target is about an object of its source: kinds that share one are watched apart, and some sources by namespace,
/// by name or by labels that are equal.
fn is_of(target: &Target, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let is = |wanted: &str, field: &str| wanted.is_empty() || metadata[field] == wanted;
    let labels = target.labels.split(',').filter_map(|one| one.split_once('='));
    (target.kind.is_empty() || object["kind"] == target.kind)
        && is(&target.namespace, "namespace")
        && is(&target.name, "name")
        && labels
            .into_iter()
            .all(|(key, value)| metadata["labels"][key] == value)
}

fn text(object: &Value) -> What {
    let json = object.to_string();
    let all = 0..json.len();
    What::Object(json.into(), all)
}

/// A policy that wants so many ready backends of the Service `api`.
pub(super) fn policy(namespace: &str, name: &str, minimum: u32) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name},
        "spec": {"services": {"names": ["api"]}, "balance": {"minimumReadyBackends": minimum}}})
}

pub(super) fn service(namespace: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": "api"},
        "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "api"}, "ports": [{"port": 80, "protocol": "TCP"}]}})
}

/// A slice of the Service `api` with so many ready backends, all on node n1.
pub(super) fn slice(namespace: &str, ready: u32) -> Value {
    let endpoints: Vec<_> = (0..ready)
        .map(|at| json!({"addresses": [format!("10.1.0.{}", at + 1)], "conditions": {"ready": true}, "nodeName": "n1"}))
        .collect();
    json!({"metadata": {"namespace": namespace, "name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]})
}

/// A namespace with its Service, its slice with so many ready backends, and a policy that wants two.
pub(super) fn team(world: &mut World, namespace: &str, ready: u32) {
    world.apply(Source::Services, service(namespace));
    world.apply(Source::EndpointSlices, slice(namespace, ready));
    world.apply(Source::Policies, policy(namespace, "api", 2));
}
