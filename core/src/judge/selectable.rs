//! What selectors can select in one namespace, side by side in memory: thousands of Pods are gone through for each of
//! hundreds of selectors.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::index::Index;
use crate::names::{Key, Name, Names, Pairs};
use crate::policy::{Operator, Requirement, Selector};
use crate::sources::placement::Placement;
use crate::sources::workload::Template;

/// Kinds of Pods of one selection that are told apart. The Pods of one workload are of one kind, two while it is rolled
/// out, and a client is seldom more than one workload.
pub const KINDS: usize = 64;

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

/// What can be selected, by its name.
#[derive(Debug, Default)]
pub(super) struct Selectable {
    rows: Vec<Candidate>,
    /// The labels of all rows, one after the other, those of each by key.
    labels: Vec<(Name, Name)>,
    /// The nodes of all rows, in their order.
    nodes: Vec<Name>,
}

/// One Pod, or one object that makes some.
#[derive(Debug)]
struct Candidate {
    what: &'static str,
    key: Key,
    /// Rows of one kind have the same number.
    kind: u32,
    /// Which of the nodes it is on.
    node: Option<u32>,
    /// Where its labels end; they begin where those of the row before end.
    labels_end: usize,
}

/// What tells kinds apart.
type Traits<'a> = (&'static str, bool, &'a Pairs, &'a Pairs, &'a Placement);

/// A kind while it is counted.
struct KindCount {
    /// The first row of it.
    first: usize,
    count: usize,
    /// By the number of the node.
    nodes: Vec<usize>,
}

impl Selectable {
    /// Of the rows of the index as they are now.
    pub(super) fn of(index: &Index, among: Among, namespace: Name) -> Self {
        let mut found: Vec<(&'static str, Key, &Template, Name)> = match among {
            Among::Pods => index
                .pods_in
                .of(namespace)
                .filter_map(|key| Some((key, index.pods.get(key)?)))
                .filter(|(_, pod)| !pod.ended)
                .map(|(key, pod)| ("Pod", key, &pod.template, pod.node))
                .collect(),
            Among::Deployments => {
                let all = index.deployments.iter();
                let here = all.filter(|(key, _)| key.namespace == namespace);
                here.map(|(key, one)| ("Deployment", key, &one.template, Name::EMPTY))
                    .collect()
            }
            Among::DaemonSets => {
                let all = index.daemon_sets.iter();
                let here = all.filter(|(key, _)| key.namespace == namespace);
                here.map(|(key, one)| ("DaemonSet", key, &one.template, Name::EMPTY))
                    .collect()
            }
        };
        found.sort_by_cached_key(|(_, key, ..)| index.names.shared(key.name));
        let nodes: BTreeSet<Name> = found
            .iter()
            .map(|one| one.3)
            .filter(|node| !node.is_empty())
            .collect();
        let nodes: Vec<Name> = nodes.into_iter().collect();
        let mut kinds: HashMap<Traits<'_>, u32> = HashMap::new();
        let mut labels = Vec::new();
        let mut rows = Vec::with_capacity(found.len());
        for (what, key, template, node) in found {
            let next = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
            labels.extend(template.labels.iter());
            rows.push(Candidate {
                what,
                key,
                kind: *kinds.entry(traits(what, template)).or_insert(next),
                node: nodes
                    .binary_search(&node)
                    .ok()
                    .and_then(|at| u32::try_from(at).ok()),
                labels_end: labels.len(),
            });
        }
        Self { rows, labels, nodes }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// What a selector selects of them.
    pub(super) fn select(&self, index: &Index, selector: &Selector) -> Selection {
        let Some(wanted) = Interned::of(selector, &index.names) else {
            return Some([].into());
        };
        let mut kinds: Vec<(u32, KindCount)> = Vec::new();
        let mut begin = 0;
        for (at, row) in self.rows.iter().enumerate() {
            let labels = self.labels.get(begin..row.labels_end).unwrap_or_default();
            begin = row.labels_end;
            if !wanted.takes(labels) {
                continue;
            }
            let known = kinds.iter().position(|(kind, _)| *kind == row.kind);
            let known = known.unwrap_or_else(|| {
                kinds.push((row.kind, KindCount::beginning(at, self.nodes.len())));
                kinds.len() - 1
            });
            if kinds.len() > KINDS {
                return None;
            }
            if let Some((_, counted)) = kinds.get_mut(known) {
                counted.add(row.node);
            }
        }
        // In the order of their first rows, and so by name.
        let alike = kinds.into_iter().filter_map(|(_, counted)| {
            let first = self.rows.get(counted.first)?;
            let nodes = self.nodes.iter().copied().zip(counted.nodes);
            Some(Alike {
                kind: first.what,
                first: first.key,
                count: counted.count,
                nodes: nodes.filter(|one| one.1 > 0).collect(),
            })
        });
        Some(alike.collect())
    }
}

impl KindCount {
    fn beginning(first: usize, nodes: usize) -> Self {
        Self {
            first,
            count: 0,
            nodes: vec![0; nodes],
        }
    }

    fn add(&mut self, node: Option<u32>) {
        self.count += 1;
        if let Some(count) = node.and_then(|node| self.nodes.get_mut(node as usize)) {
            *count += 1;
        }
    }
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

    fn takes(&self, labels: &[(Name, Name)]) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| value_of(labels, *key) == Some(*value))
            && self.lines.iter().all(|(key, line, values)| {
                let value = key.and_then(|key| value_of(labels, key));
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

/// The value of a key in labels that are sorted by key.
fn value_of(labels: &[(Name, Name)], key: Name) -> Option<Name> {
    let at = labels.binary_search_by_key(&key, |pair| pair.0).ok()?;
    labels.get(at).map(|pair| pair.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sources::selects;

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
            let flat: Vec<_> = labels.iter().collect();
            let taken = Interned::of(&selector, &names).is_some_and(|wanted| wanted.takes(&flat));
            prop_assert_eq!(taken, selects(&selector, &labels, &names));
        }
    }
}
