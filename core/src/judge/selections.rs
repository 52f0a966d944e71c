//! Which Pods a selector selects, remembered until something of the namespace changes.
//!
//! The paths of a policy have few clients, and several checks ask for the Pods of each. A namespace may have 20,000 Pods,
//! so one that declares as many paths as it may would look at a thousand million of them, each time that one changes. So
//! each selector goes through the Pods once, and what is kept of them are their kinds: of what checks of paths read, the
//! Pods of a workload have all the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::selectable::{Among, Selectable, Selection};
use crate::index::Index;
use crate::names::Name;
use crate::policy::Selector;

/// What is remembered of one namespace, in kinds and nodes of kinds; a namespace with more begins anew.
const OF_A_NAMESPACE: usize = 65_536;

/// To read and sort the rows of a namespace takes as long as going through them so often, about.
const ROWS_TO_SORT: usize = 8;

/// The same of all namespaces together.
const IN_ALL: usize = 1_048_576;

/// Selections that were asked for, by where.
#[derive(Debug, Default)]
pub(crate) struct Selections(RefCell<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    namespaces: BTreeMap<(Among, Name), OfNamespace>,
    /// The sum of what the namespaces hold.
    held: usize,
    /// Rows that were gone through since [`Selections::take_looked_at`].
    looked_at: usize,
}

#[derive(Debug, Default)]
struct OfNamespace {
    by_selector: HashMap<Selector, Selection>,
    held: usize,
    /// What was gone through; not kept any longer than units wait to be judged.
    rows: Option<Arc<Selectable>>,
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
        let mut all = self.0.borrow_mut();
        let rows = all.rows(index, at);
        let selection = rows.select(index, selector);
        all.looked_at += rows.len();
        all.keep(at, selector, &selection);
        selection
    }

    /// How many rows were gone through since this was last asked.
    pub(crate) fn take_looked_at(&mut self) -> usize {
        std::mem::take(&mut self.0.get_mut().looked_at)
    }

    /// Gives the memory back that selecting more would save time with.
    pub(crate) fn rest(&mut self) {
        for here in self.0.get_mut().namespaces.values_mut() {
            here.rows = None;
        }
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
    fn rows(&mut self, index: &Index, at: (Among, Name)) -> Arc<Selectable> {
        let here = self.namespaces.entry(at).or_default();
        let rows = here.rows.get_or_insert_with(|| {
            let rows = Selectable::of(index, at.0, at.1);
            self.looked_at += ROWS_TO_SORT * rows.len();
            Arc::new(rows)
        });
        rows.clone()
    }

    fn keep(&mut self, at: (Among, Name), selector: &Selector, selection: &Selection) {
        let kinds = selection.iter().flat_map(|kinds| kinds.iter());
        let size = 1 + kinds.map(|one| 1 + one.nodes.len()).sum::<usize>();
        if self.held + size > IN_ALL {
            self.namespaces.clear();
            self.held = 0;
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

/// Goes through the rows.
pub(crate) fn select(index: &Index, among: Among, namespace: Name, selector: &Selector) -> Selection {
    Selectable::of(index, among, namespace).select(index, selector)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Input;
    use crate::judge::KINDS;
    use crate::know::{Now, Source};
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
}
