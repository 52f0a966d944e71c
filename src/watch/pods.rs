//! How the Pods of each namespace are watched: by selector, or all of the namespace in one watch.
//!
//! kube's client speaks HTTP/1.1 (kube-rs/kube issue 1923), so a watch is a connection. A few selectors of a namespace have
//! a watch each, which carries nothing that is not wanted. Where a namespace has more, one watch of its Pods takes over, and
//! what no selector selects is dropped as it comes. No watch is wider than a namespace, and no namespace is left out: what one of them
//! asks for costs at most [`APART`] connections, however many others there are.
//!
//! Both decisions stay until there is clearly less to watch, so that a policy that comes and goes does not make Pods be
//! read over and over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_core::fleet::Wants;
use evenkeel_core::policy::Selector;

use super::target::Target;

/// Selectors of one namespace that are watched apart.
const APART: usize = 4;

/// A namespace whose Pods are watched together goes back to watches by selector when so few are left.
const APART_AGAIN: usize = 2;

/// Watches by selector in all, beside those of the platform, above which each namespace gets one watch. A connection costs
/// about 60 KiB here and more on the server.
const CROWD: usize = 512;

/// Each namespace may have several again when there would be so few.
const CROWD_OVER: usize = 256;

/// Which Pods of a target count.
pub(super) type Selected = Arc<BTreeSet<Selector>>;

/// What was decided so far.
#[derive(Debug, Default)]
pub(super) struct PodWatches {
    chosen: BTreeMap<Arc<str>, Choice>,
    /// Whether there are too many watches by selector.
    crowded: bool,
}

/// How one namespace's Pods are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    selectors: Selected,
    /// Whether it is a tenant's.
    tenant: bool,
    /// Whether it has too many selectors for watches of their own.
    many: bool,
    /// Whether all are watched together, for that reason or because it is crowded.
    together: bool,
}

impl PodWatches {
    /// The namespaces of which the Pods are to be watched in another way than before: by what, and which of the Pods that
    /// it brings are wanted.
    pub(super) fn choose(&mut self, wants: &Wants) -> Vec<(Arc<str>, BTreeMap<Target, Selected>)> {
        let is_platform = |namespace: &Arc<str>| wants.config_maps.contains_key(namespace);
        let many = |namespace: &Arc<str>, selectors: &Selected| {
            let was = self.chosen.get(namespace).is_some_and(|choice| choice.many);
            selectors.len() > if was { APART_AGAIN } else { APART }
        };
        let apart: usize = wants
            .pods
            .iter()
            .filter(|(namespace, selectors)| !is_platform(namespace) && !many(namespace, selectors))
            .map(|one| one.1.len())
            .sum();
        let crowded = apart > if self.crowded { CROWD_OVER } else { CROWD };
        let choose = |(namespace, selectors): (&Arc<str>, &Selected)| {
            let many = many(namespace, selectors);
            let crowd = crowded && selectors.len() > 1 && !is_platform(namespace);
            let choice = Choice {
                selectors: selectors.clone(),
                tenant: !is_platform(namespace),
                many,
                together: many || crowd,
            };
            (namespace.clone(), choice)
        };
        let chosen: BTreeMap<Arc<str>, Choice> = wants.pods.iter().map(choose).collect();
        let gone = self
            .chosen
            .keys()
            .filter(|namespace| !chosen.contains_key(*namespace));
        let mut changed: Vec<_> = gone
            .map(|namespace| (namespace.clone(), BTreeMap::new()))
            .collect();
        let others = chosen
            .iter()
            .filter(|(namespace, choice)| self.chosen.get(*namespace) != Some(*choice));
        changed.extend(others.map(|(namespace, choice)| (namespace.clone(), choice.targets(namespace))));
        self.chosen = chosen;
        self.crowded = crowded;
        changed
    }
}

impl Choice {
    fn targets(&self, namespace: &str) -> BTreeMap<Target, Selected> {
        if self.together {
            let all = Target::pods(namespace, &Selector::default(), self.tenant);
            return all
                .map(|target| (target, self.selectors.clone()))
                .into_iter()
                .collect();
        }
        let each = self.selectors.iter().filter_map(|selector| {
            let target = Target::pods(namespace, selector, self.tenant)?;
            Some((target, Arc::new(BTreeSet::from([selector.clone()]))))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_core::fleet::NamedWants;
    use rstest::rstest;

    use super::*;

    fn selector(value: usize) -> Selector {
        Selector {
            labels: vec![("app".into(), format!("a{value}").into())],
            expressions: Vec::new(),
        }
    }

    fn wants(spaces: &[(&str, usize)]) -> Wants {
        let pods = spaces.iter().map(|(namespace, count)| {
            (
                Arc::from(*namespace),
                Arc::new((0..*count).map(selector).collect()),
            )
        });
        Wants {
            pods: pods.collect(),
            ..Wants::default()
        }
    }

    /// How many watches there are, and of how many of them all Pods of the namespace come.
    fn counts(watches: &mut PodWatches, wants: &Wants) -> (usize, usize) {
        watches.choose(wants);
        assert!(watches.choose(wants).is_empty(), "it is decided");
        let targets: Vec<_> = all(watches).collect();
        let wide = targets.iter().filter(|target| target.labels.is_empty()).count();
        (targets.len(), wide)
    }

    fn all(watches: &PodWatches) -> impl Iterator<Item = Target> {
        let chosen = watches.chosen.iter();
        chosen.flat_map(|(namespace, choice)| choice.targets(namespace).into_keys())
    }

    #[rstest]
    #[case::few(&[4], (4, 0))]
    #[case::many(&[4, 5], (1, 1))]
    #[case::it_stays_with_four(&[5, 4, 3], (1, 1))]
    #[case::and_goes_back_with_two(&[5, 2], (2, 0))]
    #[case::and_stays_there(&[5, 2, 4], (4, 0))]
    fn a_namespace_changes_over_and_back_without_flapping(
        #[case] history: &[usize],
        #[case] then: (usize, usize),
    ) {
        let mut watches = PodWatches::default();
        let mut last = (0, 0);
        for count in history {
            last = counts(&mut watches, &wants(&[("shop", *count)]));
        }
        assert_eq!(last, then);
    }

    #[test]
    fn only_the_namespaces_that_change_are_looked_at_again() {
        let mut watches = PodWatches::default();
        watches.choose(&wants(&[("shop", 1), ("pay", 1)]));
        let changed = |watches: &mut PodWatches, spaces: &[(&str, usize)]| {
            let changed = watches.choose(&wants(spaces)).into_iter();
            changed
                .map(|(namespace, targets)| (namespace.to_string(), targets.len()))
                .collect::<Vec<_>>()
        };
        let one = |name: &str, count| [(name.to_owned(), count)];
        assert_eq!(changed(&mut watches, &[("shop", 2), ("pay", 1)]), one("shop", 2));
        assert_eq!(changed(&mut watches, &[("shop", 2)]), one("pay", 0));
    }

    #[test]
    fn in_a_crowd_each_namespace_has_one_watch_and_none_is_left_out() {
        let names: Vec<String> = (0..1_000).map(|at| format!("n{at}")).collect();
        let each = |count: usize, namespaces: usize| {
            let spaces: Vec<_> = names.iter().take(namespaces).map(|one| (&**one, count)).collect();
            wants(&spaces)
        };
        let mut watches = PodWatches::default();
        assert_eq!(counts(&mut watches, &each(1, 1_000)), (1_000, 0));
        assert_eq!(counts(&mut watches, &each(2, 1_000)), (1_000, 1_000));
        assert_eq!(
            counts(&mut watches, &each(3, 100)),
            (100, 100),
            "as long as it is not clearly less"
        );
        assert_eq!(counts(&mut watches, &each(3, 80)), (240, 0));
    }

    #[test]
    fn the_platform_is_not_crowded_out_by_tenants() {
        let names: Vec<String> = (0..300).map(|at| format!("n{at}")).collect();
        let mut spaces: Vec<_> = names.iter().map(|one| (&**one, 4)).collect();
        spaces.push(("kube-system", 3));
        let mut wants = wants(&spaces);
        wants
            .config_maps
            .insert("kube-system".into(), NamedWants::default());
        let mut watches = PodWatches::default();
        watches.choose(&wants);
        let targets: Vec<_> = all(&watches).collect();
        let system = targets.iter().filter(|target| target.namespace == "kube-system");
        assert!(system.clone().all(|target| !target.labels.is_empty()));
        assert_eq!((system.count(), targets.len()), (3, 303));
    }
}
