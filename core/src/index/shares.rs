//! How much memory the objects of one namespace take, of the kinds that teams write: at most one share.
//!
//! The API server takes objects of up to 1.5 MiB, and any number of them, with any number of labels
//! (`maxRequestBytes` of etcd; labels have a limit of their length and none of their number,
//! `k8s.io/apimachinery`, `pkg/apis/meta/v1/validation`). All labels of a Service or a Pod are kept, as policies select by
//! them. So rows are weighed as they come, and one with which its namespace would hold more than its share is
//! not kept: it counts as not understood, which is a gap in that namespace alone, until the object changes or is listed anew.

use std::collections::HashMap;
use std::hash::Hash;

use crate::know::{Reads, Source};
use crate::names::{Key, Name, Names, Weight};

/// Kinds that teams write in their own namespaces.
const TEAMS: Reads = Reads::of(&[
    Source::Services,
    Source::Pods,
    Source::Deployments,
    Source::DaemonSets,
]);

/// Most bytes of a namespace's rows, as [`Weight`] counts them: 14,000 Pods with ten labels each, or 20,000 Services of one
/// port. Kubernetes is tested with 3,000 Pods and 5,000 Services of a namespace (`kubernetes/community`,
/// `sig-scalability/configs-and-limits/thresholds.md`).
pub(crate) const SHARE: usize = 24 << 20;

/// What rows weigh, and the sum by namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceShares {
    rows: HashMap<(Source, Key), u32>,
    by_namespace: HashMap<Name, usize>,
}

/// What a row weighs; nothing where it is of a kind that teams do not write.
pub(super) fn weigh(source: Source, row: &impl Hash, names: &Names) -> u32 {
    if TEAMS.has(source) {
        Weight::of(row, names)
    } else {
        0
    }
}

impl NamespaceShares {
    /// Counts a row that weighs something in place of the one of its key. `false` where it may not be kept: then nothing has
    /// changed.
    pub(crate) fn admit(&mut self, source: Source, key: Key, weight: u32, bounded: bool) -> bool {
        let before = self.rows.get(&(source, key)).copied().unwrap_or(0);
        let held = self.by_namespace.entry(key.namespace).or_default();
        let after = held.saturating_sub(before as usize) + weight as usize;
        if bounded && weight > before && after > SHARE {
            return false;
        }
        *held = after;
        self.rows.insert((source, key), weight);
        true
    }

    /// A row is gone.
    pub(crate) fn release(&mut self, source: Source, key: Key) {
        let Some(weight) = self.rows.remove(&(source, key)) else {
            return;
        };
        if let Some(held) = self.by_namespace.get_mut(&key.namespace) {
            *held = held.saturating_sub(weight as usize);
            if *held == 0 {
                self.by_namespace.remove(&key.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::know::Now;
    use crate::{Core, Input};
    use serde_json::json;

    fn key(names: &mut Names, namespace: &str, name: &str) -> Key {
        Key {
            namespace: names.intern(namespace),
            name: names.intern(name),
        }
    }

    #[test]
    fn what_goes_makes_room() {
        let (mut names, mut shares) = (Names::default(), NamespaceShares::default());
        let [a, b, other] =
            [("shop", "a"), ("shop", "b"), ("pay", "a")].map(|(space, name)| key(&mut names, space, name));
        let half = (SHARE / 2) as u32;
        let admit =
            |shares: &mut NamespaceShares, key, weight| shares.admit(Source::Services, key, weight, true);
        assert!(admit(&mut shares, a, half));
        assert!(!admit(&mut shares, b, half + 1));
        assert!(admit(&mut shares, b, half));
        assert!(
            admit(&mut shares, other, half),
            "another namespace has its own share"
        );
        assert!(!admit(&mut shares, a, half + 1));
        assert!(admit(&mut shares, a, half - 1), "less is never refused");
        shares.release(Source::Services, b);
        assert!(admit(&mut shares, a, half + 1));
        for key in [a, other] {
            shares.release(Source::Services, key);
        }
        assert!(shares.rows.is_empty() && shares.by_namespace.is_empty());
    }

    /// A Service with this much text in labels.
    fn service(namespace: &str, name: &str, labels: usize) -> String {
        let labels: serde_json::Map<_, _> = (0..labels)
            .map(|at| {
                (
                    format!("{name}-{at}"),
                    json!(format!("{name}-{at}-{}", "x".repeat(40))),
                )
            })
            .collect();
        json!({"metadata": {"namespace": namespace, "name": name, "labels": labels},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}})
        .to_string()
    }

    #[test]
    fn labels_without_end_are_the_gap_of_their_namespace() {
        let mut core = Core::live(Now::ONCE);
        let give = |core: &mut Core, text: &str| {
            core.handle(Now::ONCE, Input::object(Source::Services, text.as_bytes()));
        };
        for at in 0..40 {
            give(&mut core, &service("a-team", &format!("s{at}"), 10_000));
            give(&mut core, &service("kube-system", &format!("s{at}"), 10_000));
        }
        give(&mut core, &service("shop", "api", 3));
        let index = core.index();
        let kept = |namespace: &str| {
            let all = index.services.iter();
            all.filter(|one| index.names.text(one.0.namespace) == namespace)
                .count()
        };
        assert!((5..20).contains(&kept("a-team")), "{}", kept("a-team"));
        assert_eq!(
            (kept("kube-system"), kept("shop")),
            (40, 1),
            "the platform has no limit"
        );
        let refused = index
            .opaque
            .values()
            .filter(|one| one.why.contains("24 MiB"))
            .count();
        assert_eq!(refused, 40 - kept("a-team"));
        // What is deleted makes room for what is changed.
        let gone: Vec<String> = (0..20).map(|at| format!("s{at}")).collect();
        for name in &gone {
            core.handle(Now::ONCE, Input::Gone(Source::Services, "a-team", name));
        }
        give(&mut core, &service("a-team", "s39", 10));
        let index = core.index();
        let s39 = index.services.iter().any(|one| {
            index.names.text(one.0.name) == "s39" && index.names.text(one.0.namespace) == "a-team"
        });
        assert!(s39, "it is understood again");
    }
}
