//! Which Pods a selector selects, remembered until something of the namespace changes.
//!
//! The paths of a policy have few clients, and several checks ask for the Pods of each. A namespace may have 20,000 Pods,
//! so one that declares as many paths as it may would look at a thousand million of them, each time that one changes. So
//! each selector goes through the Pods once, and what is kept of them are their kinds: of what checks of paths read, the
//! Pods of a workload have all the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::index::Index;
use crate::names::{Key, Name, Names, Pairs};
use crate::policy::{Operator, Requirement, Selector};
use crate::sources::placement::Placement;
use crate::sources::workload::Template;

/// Kinds of Pods of one selection that are told apart. The Pods of one workload are of one kind, two while it is rolled
/// out, and a client is seldom more than one workload.
pub const KINDS: usize = 64;

/// What is remembered of one namespace, in kinds and nodes of kinds; a namespace with more begins anew.
const OF_A_NAMESPACE: usize = 65_536;

/// The same of all namespaces together.
const IN_ALL: usize = 1_048_576;

/// Pods, or Pod templates, that are alike in what checks of paths read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike {
    /// `Pod`, or the kind of the object that makes some.
    pub kind: &'static str,
    /// The first by name.
    pub first: Key,
    /// How many there are.
    pub count: usize,
    /// The nodes that they are on, and how many on each.
    pub nodes: Arc<[(Name, usize)]>,
}

/// The kinds of what is selected, by the name of their first; `None` where there are more than [`KINDS`].
pub type Selection = Option<Arc<[Alike]>>;

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Among {
    /// Living Pods.
    Pods,
    /// Deployments.
    Deployments,
    /// `DaemonSet`s.
    DaemonSets,
}

/// Selections that were asked for, by where.
#[derive(Debug, Default)]
pub(crate) struct Selections(RefCell<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    namespaces: BTreeMap<(Among, Name), OfNamespace>,
    /// The sum of what the namespaces hold.
    held: usize,
}

#[derive(Debug, Default)]
struct OfNamespace {
    by_selector: HashMap<Selector, Selection>,
    held: usize,
}

impl Selections {
    /// What a selector selects in a namespace, by the rows as they are now.
    pub(crate) fn get(&self, index: &Index, among: Among, namespace: Name, selector: &Selector) -> Selection {
        let at = (among, namespace);
        let known = {
            let all = self.0.borrow();
            let here = all.namespaces.get(&at);
            here.and_then(|here| here.by_selector.get(selector)).cloned()
        };
        if let Some(known) = known {
            return known;
        }
        let selection = select(index, among, namespace, selector);
        self.0.borrow_mut().keep(at, selector, &selection);
        selection
    }

    /// Forgets what was said of the Pods of a namespace, and of what makes them.
    pub(crate) fn pods_changed(&mut self, namespace: Name) {
        for among in [Among::Pods, Among::Deployments, Among::DaemonSets] {
            self.0.get_mut().forget((among, namespace));
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self.0.get_mut() = Remembered::default();
    }
}

impl Remembered {
    fn keep(&mut self, at: (Among, Name), selector: &Selector, selection: &Selection) {
        let kinds = selection.iter().flat_map(|kinds| kinds.iter());
        let size = 1 + kinds.map(|one| 1 + one.nodes.len()).sum::<usize>();
        if self.held + size > IN_ALL {
            *self = Self::default();
        }
        if self
            .namespaces
            .get(&at)
            .is_some_and(|here| here.held + size > OF_A_NAMESPACE)
        {
            self.forget(at);
        }
        let here = self.namespaces.entry(at).or_default();
        here.by_selector.insert(selector.clone(), selection.clone());
        here.held += size;
        self.held += size;
    }

    fn forget(&mut self, at: (Among, Name)) {
        if let Some(gone) = self.namespaces.remove(&at) {
            self.held -= gone.held;
        }
    }
}

/// What tells kinds apart.
type Traits<'a> = (&'static str, bool, &'a Pairs, &'a Pairs, &'a Placement);

/// A kind while it is counted.
struct KindCount {
    first: Key,
    count: usize,
    nodes: BTreeMap<Name, usize>,
}

/// Goes through the rows.
pub(crate) fn select(index: &Index, among: Among, namespace: Name, selector: &Selector) -> Selection {
    let names = &index.names;
    let Some(wanted) = Interned::of(selector, names) else {
        return Some(Arc::from([]));
    };
    let mut kinds: HashMap<Traits<'_>, KindCount> = HashMap::new();
    let mut add = |kind, key: Key, template, node: Name| {
        let counted = kinds.entry(traits(kind, template)).or_insert_with(|| KindCount {
            first: key,
            count: 0,
            nodes: BTreeMap::new(),
        });
        counted.count += 1;
        if names.text(key.name) < names.text(counted.first.name) {
            counted.first = key;
        }
        if !node.is_empty() {
            *counted.nodes.entry(node).or_default() += 1;
        }
        kinds.len() <= KINDS
    };
    let few = match among {
        Among::Pods => index
            .pods_in
            .of(namespace)
            .filter_map(|key| Some((key, index.pods.get(key)?)))
            .filter(|(_, pod)| !pod.ended && wanted.takes(&pod.template.labels))
            .all(|(key, pod)| add("Pod", key, &pod.template, pod.node)),
        Among::Deployments => index
            .deployments
            .iter()
            .filter(|(key, one)| key.namespace == namespace && wanted.takes(&one.template.labels))
            .all(|(key, one)| add("Deployment", key, &one.template, Name::EMPTY)),
        Among::DaemonSets => index
            .daemon_sets
            .iter()
            .filter(|(key, one)| key.namespace == namespace && wanted.takes(&one.template.labels))
            .all(|(key, one)| add("DaemonSet", key, &one.template, Name::EMPTY)),
    };
    if !few {
        return None;
    }
    let mut alike: Vec<Alike> = kinds
        .into_iter()
        .map(|(traits, counted)| Alike {
            kind: traits.0,
            first: counted.first,
            count: counted.count,
            nodes: counted.nodes.into_iter().collect(),
        })
        .collect();
    alike.sort_by_key(|one| (names.text(one.first.name), one.kind));
    Some(alike.into())
}

fn traits<'a>(kind: &'static str, template: &'a Template) -> Traits<'a> {
    let Template {
        host_network,
        sysctls,
        set_by_command,
        placement,
        // These say which Pods they are, and what the data plane's own do.
        labels: _,
        containers: _,
        volumes: _,
        priority_class: _,
    } = template;
    (kind, *host_network, sysctls, set_by_command, placement)
}

/// A selector of which the texts were looked up once, instead of for each Pod.
struct Interned<'a> {
    labels: Vec<(Name, Name)>,
    /// Key, what is asked of it, and values; a key that no object has is `None`.
    lines: Vec<(Option<Name>, &'a Requirement, BTreeSet<Name>)>,
}

impl<'a> Interned<'a> {
    /// `None` where it asks for a label that no object has.
    fn of(selector: &'a Selector, names: &Names) -> Option<Self> {
        let labels = selector.labels.iter();
        let labels = labels.map(|(key, value)| Some((names.find(key)?, names.find(value)?)));
        let lines = selector.expressions.iter().map(|line| {
            let values = line.values.iter().filter_map(|value| names.find(value));
            (names.find(&line.key), line, values.collect())
        });
        Some(Self {
            labels: labels.collect::<Option<_>>()?,
            lines: lines.collect(),
        })
    }

    fn takes(&self, labels: &Pairs) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| labels.get(*key) == Some(*value))
            && self.lines.iter().all(|(key, line, values)| {
                let value = key.and_then(|key| labels.get(key));
                let among = value.is_some_and(|value| values.contains(&value));
                match line.operator {
                    Operator::In => among,
                    Operator::NotIn => !among,
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use serde_json::json;

    use super::*;
    use crate::Input;
    use crate::know::{Now, Source};
    use crate::sources::selects;
    use crate::world::World;

    /// Pods of two nodes, of which every second has a sysctl of its own; so many ways in all.
    fn pods(count: usize, ways: usize) -> World {
        let mut world = World::complete();
        for at in 0..count {
            let sysctl = json!([{"name": "net.ipv4.tcp_keepalive_time", "value": (at % ways).to_string()}]);
            let pod = json!({
                "metadata": {"name": format!("web-{at:03}"), "namespace": "shop", "labels": {"app": "web"}},
                "spec": {"nodeName": format!("n{}", at % 2), "securityContext": {"sysctls": sysctl}, "containers": []},
            });
            let text = pod.to_string();
            world
                .core
                .handle(Now::ONCE, Input::object(Source::Pods, text.as_bytes()));
        }
        world
    }

    fn web() -> Selector {
        Selector {
            labels: vec![("app".into(), "web".into())],
            expressions: Vec::new(),
        }
    }

    #[test]
    fn pods_are_kept_by_kind_and_not_one_by_one() {
        let world = pods(90, 3);
        let index = &world.core.index;
        let shop = index.names.find("shop").expect("a name in use");
        let kinds = select(index, Among::Pods, shop, &web()).expect("few kinds");
        let shown = kinds.iter().map(|one| {
            (
                index.show(one.first),
                one.count,
                one.nodes.iter().map(|one| one.1).sum::<usize>(),
            )
        });
        let expected = ["web-000", "web-001", "web-002"].map(|name| (format!("shop/{name}"), 30, 30));
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        let world = pods(KINDS + 1, KINDS + 1);
        assert_eq!(select(&world.core.index, Among::Pods, shop, &web()), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_when_pods_change() {
        let mut world = pods(4, 2);
        let mut known = Selections::default();
        let shop = world.core.index.names.find("shop").expect("a name in use");
        let count = |known: &Selections, world: &World| {
            let kinds = known
                .get(&world.core.index, Among::Pods, shop, &web())
                .expect("few kinds");
            kinds.iter().map(|one| one.count).sum::<usize>()
        };
        assert_eq!(count(&known, &world), 4);
        world
            .core
            .handle(Now::ONCE, Input::Gone(Source::Pods, "shop", "web-003"));
        assert_eq!(
            count(&known, &world),
            4,
            "the engine says when something has changed"
        );
        known.pods_changed(shop);
        assert_eq!(count(&known, &world), 3);
        for at in 0..OF_A_NAMESPACE + 10 {
            let other = Selector {
                labels: vec![("app".into(), format!("a{at}").into())],
                expressions: Vec::new(),
            };
            known.get(&world.core.index, Among::Pods, shop, &other);
        }
        let held = known.0.get_mut();
        assert!(held.held <= OF_A_NAMESPACE, "{}", held.held);
        assert_eq!(
            held.held,
            held.namespaces.values().map(|one| one.held).sum::<usize>()
        );
    }

    proptest! {
        /// Interned, a selector takes what it takes by text.
        #[test]
        fn a_selector_takes_the_same_when_interned(
            labels in prop::collection::vec(("[ab]", "[xy]{0,1}"), 0..4),
            equal in prop::collection::vec(("[abc]", "[xyz]{0,1}"), 0..3),
            lines in prop::collection::vec(("[abc]", 0..4_usize, prop::collection::vec("[xyz]{0,1}", 0..3)), 0..3),
        ) {
            let operators = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];
            let selector = Selector {
                labels: equal.iter().map(|(key, value)| ((**key).into(), (**value).into())).collect(),
                expressions: lines
                    .iter()
                    .map(|(key, operator, values)| Requirement {
                        key: (**key).into(),
                        operator: operators[*operator],
                        values: values.iter().map(|one| (**one).into()).collect(),
                    })
                    .collect(),
            };
            let mut names = Names::default();
            let mut pair = |(key, value): &(String, String)| (names.intern(key), names.intern(value));
            let labels = Pairs::new(labels.iter().map(&mut pair).collect());
            let taken = Interned::of(&selector, &names).is_some_and(|wanted| wanted.takes(&labels));
            prop_assert_eq!(taken, selects(&selector, &labels, &names));
        }
    }
}
