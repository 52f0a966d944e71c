//! How the Pods of each namespace are watched: by selector, or all of the namespace in one watch.
//!
//! kube's client speaks HTTP/1.1 (kube-rs/kube issue 1923), so a watch is a connection. A few selectors of a namespace have a watch each, which
//! carries nothing that is not wanted. Where a namespace has more, one watch of its Pods takes over, and what no selector
//! selects is dropped as it comes. No watch is wider than a namespace, and no namespace is left out: what one of them
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
/// about 50 KiB here and more on the server.
const CROWD: usize = 512;

/// Each namespace may have several again when there would be so few.
const CROWD_OVER: usize = 256;

/// Which Pods of a target count.
pub(super) type Selected = Arc<BTreeSet<Selector>>;

/// What was decided so far.
#[derive(Debug, Default)]
pub(super) struct PodWatches {
    /// Namespaces of which all Pods are watched together.
    joined: BTreeSet<Arc<str>>,
    /// Whether there are too many watches by selector.
    crowded: bool,
}

impl PodWatches {
    /// What to watch, and which of the Pods that it brings are wanted.
    pub(super) fn choose(&mut self, wants: &Wants) -> BTreeMap<Target, Selected> {
        let is_platform = |namespace: &Arc<str>| wants.config_maps.contains_key(namespace);
        let mut joined = BTreeSet::new();
        for (namespace, selectors) in &wants.pods {
            let most = if self.joined.contains(namespace) {
                APART_AGAIN
            } else {
                APART
            };
            if selectors.len() > most {
                joined.insert(namespace.clone());
            }
        }
        self.joined = joined;
        let tenants = wants.pods.iter().filter(|one| !is_platform(one.0));
        let apart = tenants
            .filter(|one| !self.joined.contains(one.0))
            .map(|one| one.1.len())
            .sum::<usize>();
        self.crowded = apart > if self.crowded { CROWD_OVER } else { CROWD };
        let targets = wants.pods.iter().flat_map(|(namespace, selectors)| {
            let together = selectors.len() > 1
                && (self.joined.contains(namespace) || self.crowded && !is_platform(namespace));
            of_namespace(namespace, selectors, together)
        });
        targets.collect()
    }
}

fn of_namespace(namespace: &str, selectors: &BTreeSet<Selector>, together: bool) -> Vec<(Target, Selected)> {
    if together {
        let all = Target::pods(namespace, &Selector::default());
        return all
            .map(|target| (target, Arc::new(selectors.clone())))
            .into_iter()
            .collect();
    }
    let each = selectors.iter().filter_map(|selector| {
        let target = Target::pods(namespace, selector)?;
        Some((target, Arc::new(BTreeSet::from([selector.clone()]))))
    });
    each.collect()
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
        let pods = spaces
            .iter()
            .map(|(namespace, count)| (Arc::from(*namespace), (0..*count).map(selector).collect()));
        Wants {
            pods: pods.collect(),
            ..Wants::default()
        }
    }

    /// How many watches there are, and of how many of them all Pods of the namespace come.
    fn counts(watches: &mut PodWatches, wants: &Wants) -> (usize, usize) {
        let targets = watches.choose(wants);
        let wide = targets.keys().filter(|target| target.labels.is_empty()).count();
        assert!(targets.keys().all(|target| !target.namespace.is_empty()));
        (targets.len(), wide)
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
        let targets = PodWatches::default().choose(&wants);
        let system = targets.keys().filter(|target| target.namespace == "kube-system");
        assert!(system.clone().all(|target| !target.labels.is_empty()));
        assert_eq!((system.count(), targets.len()), (3, 303));
    }
}
