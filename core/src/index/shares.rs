//! How much memory the objects of one namespace take, of the kinds that teams write: at most one share.
//!
//! The API server takes objects of up to 1.5 MiB, and any number of them, with any number of labels
//! (`maxRequestBytes` of etcd; labels have a limit of their length and none of their number,
//! `k8s.io/apimachinery`, `pkg/apis/meta/v1/validation`). All labels of a Service or a Pod are kept, as policies select by
//! them; and two thousand Services that select the same thousand Pods have two million endpoints. So rows are weighed as they
//! come, and one with which its namespace would hold more than its share is not kept: it counts as not understood, which is a gap
//! in that namespace alone, until the object changes or the kind is read anew, as it is when there is room again.
//!
//! While a kind is listed anew its old rows do not count: what the list names takes their places, and what it does not name
//! goes when it ends. For that time a namespace may take twice its share, and no more: lists may break off time and again.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::know::{Reads, Source};
use crate::names::{InUse, Key, Name, Names, Weight};

/// Kinds that teams write in their own namespaces, or that controllers write there for them.
pub(super) const TEAMS: Reads = Reads::of(&[
    Source::Services,
    Source::EndpointSlices,
    Source::Pods,
    Source::Deployments,
    Source::DaemonSets,
]);

/// Most bytes of a namespace's rows of all these kinds, as [`Weight`] counts them: 14,000 Pods with ten labels each, or 20,000
/// Services of one port. Kubernetes is tested with 3,000 Pods and 5,000 Services of a namespace (`kubernetes/community`,
/// `sig-scalability/configs-and-limits/thresholds.md`).
pub(crate) const SHARE: usize = 24 << 20;

/// What every namespace may hold, however much others do: 2,400 Pods with ten labels each.
pub(crate) const FREE: usize = 4 << 20;

/// Most bytes that all namespaces together hold beyond what each may: three at their share, or what 60,000 Pods weigh that are
/// spread over five namespaces and more.
pub(crate) const BEYOND: usize = 64 << 20;

/// What rows weigh, and the sum by namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceShares {
    rows: HashMap<(Source, Key), RowWeight>,
    by_namespace: HashMap<Name, HeldBytes>,
    /// Of all namespaces but the platform's, what is beyond [`FREE`].
    beyond: usize,
    /// Of what rows were refused, since it was last listed.
    refused: BTreeSet<(Source, Name)>,
    /// Whether it was asked of what is refused whether it has room, since there may be more.
    looked_for_room: bool,
}

/// What one row weighs.
#[derive(Debug, Clone, Copy, Default)]
struct RowWeight {
    bytes: u32,
    /// Whether a list that has begun since has not named it yet.
    unnamed: bool,
}

/// What a namespace holds, in bytes.
#[derive(Debug, Default)]
struct HeldBytes {
    /// The rows that count.
    named: usize,
    /// Those that a list under way has not named yet.
    unnamed: usize,
    /// Whether it is the platform's own, which takes no room from others.
    trusted: bool,
}

impl HeldBytes {
    /// What it has of [`BEYOND`].
    const fn beyond(&self) -> usize {
        if self.trusted {
            0
        } else {
            self.named.saturating_sub(FREE)
        }
    }
}

/// Why a row is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FullShare {
    /// Its namespace has its share.
    Namespace,
    /// Its namespace has what is free to each, and all together have what there is beyond that.
    All,
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
    /// Counts a row that weighs something in place of the one of its key. An error where it may not be kept: then nothing has
    /// changed but that this is remembered.
    pub(crate) fn admit(
        &mut self,
        source: Source,
        key: Key,
        weight: u32,
        bounded: bool,
    ) -> Result<(), FullShare> {
        let before = self.rows.get(&(source, key)).copied().unwrap_or_default();
        let [counted, replaced] = if before.unnamed {
            [0, before.bytes as usize]
        } else {
            [before.bytes as usize, 0]
        };
        let held = self.by_namespace.entry(key.namespace).or_default();
        let after = HeldBytes {
            named: held.named.saturating_sub(counted) + weight as usize,
            unnamed: held.unnamed.saturating_sub(replaced),
            trusted: !bounded,
        };
        let sum = self.beyond - held.beyond() + after.beyond();
        if bounded && after.named > held.named {
            let full = if after.named > SHARE || after.named + after.unnamed > 2 * SHARE {
                Some(FullShare::Namespace)
            } else if after.named > FREE && sum > BEYOND {
                Some(FullShare::All)
            } else {
                None
            };
            if let Some(full) = full {
                self.refused.insert((source, key.namespace));
                return Err(full);
            }
        }
        self.looked_for_room &= after.named >= held.named;
        *held = after;
        self.beyond = sum;
        let row = RowWeight {
            bytes: weight,
            unnamed: false,
        };
        self.rows.insert((source, key), row);
        Ok(())
    }

    /// A row is gone.
    pub(crate) fn release(&mut self, source: Source, key: Key) {
        let Some(row) = self.rows.remove(&(source, key)) else {
            return;
        };
        self.looked_for_room = false;
        let Some(held) = self.by_namespace.get_mut(&key.namespace) else {
            return;
        };
        self.beyond -= held.beyond();
        let part = if row.unnamed {
            &mut held.unnamed
        } else {
            &mut held.named
        };
        *part = part.saturating_sub(row.bytes as usize);
        self.beyond += held.beyond();
        if held.named == 0 && held.unnamed == 0 {
            self.by_namespace.remove(&key.namespace);
        }
    }

    /// A list of a kind begins: what it held until now counts no longer, and what was refused will be again where it must.
    pub(crate) fn begin(&mut self, source: Source) {
        if !TEAMS.has(source) {
            return;
        }
        self.refused.retain(|one| one.0 != source);
        let (by_namespace, sum) = (&mut self.by_namespace, &mut self.beyond);
        let counted = self.rows.iter_mut();
        let counted = counted.filter(|((of, _), row)| *of == source && !row.unnamed);
        // Sums, whatever the order.
        counted.for_each(|((_, key), row)| {
            row.unnamed = true;
            let held = by_namespace.entry(key.namespace).or_default();
            *sum -= held.beyond();
            held.named = held.named.saturating_sub(row.bytes as usize);
            held.unnamed += row.bytes as usize;
            *sum += held.beyond();
        });
    }

    /// A list of a kind has ended, so what was refused may have room.
    pub(crate) fn look_again(&mut self) {
        self.looked_for_room = false;
    }

    /// Other namespaces are trusted than before.
    pub(crate) fn trust(&mut self, is_trusted: impl Fn(Name) -> bool) {
        self.look_again();
        let mut sum = 0;
        // A sum, whatever the order.
        self.by_namespace.iter_mut().for_each(|(namespace, held)| {
            held.trusted = is_trusted(*namespace);
            sum += held.beyond();
        });
        self.beyond = sum;
    }

    /// The kinds, and the namespaces, of which rows were refused and that have room again: half of what there is, so that one that
    /// is about full is not read time and again. Each is said once.
    pub(crate) fn with_room(&mut self, is_trusted: impl Fn(Name) -> bool) -> Vec<(Source, Name)> {
        if std::mem::replace(&mut self.looked_for_room, true) {
            return Vec::new();
        }
        let has_room = |namespace: &Name| {
            let held = self.by_namespace.get(namespace);
            let held = held.map_or(0, |held| held.named + held.unnamed);
            let of_all = self.beyond <= BEYOND / 2 || held <= FREE / 2;
            is_trusted(*namespace) || (held <= SHARE / 2 && of_all)
        };
        let refused = self.refused.iter();
        let found: Vec<_> = refused.filter(|one| has_room(&one.1)).copied().collect();
        // Reading it anew refuses it again where it must.
        self.refused.retain(|one| !found.contains(one));
        found
    }

    /// Notes the names that it holds beside those of rows.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.all(self.refused.iter().map(|one| one.1));
    }
}

impl FullShare {
    /// Why, for people.
    pub(crate) fn why(self) -> String {
        match self {
            Self::Namespace => format!(
                "this namespace holds {} MiB of labels, endpoints and other text already, and no more is kept",
                SHARE >> 20
            ),
            Self::All => format!(
                "this namespace holds {} MiB of labels, endpoints and other text already, all namespaces hold {} MiB beyond that, and \
                 no more is kept",
                FREE >> 20,
                BEYOND >> 20
            ),
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
        let admit = |shares: &mut NamespaceShares, key, weight| {
            shares.admit(Source::Services, key, weight, true).is_ok()
        };
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
        assert_eq!(shares.beyond, 0);
    }

    #[test]
    fn a_list_replaces_what_was_held_before_it() {
        let (mut names, mut shares) = (Names::default(), NamespaceShares::default());
        let mut of = |name: &str| key(&mut names, "shop", name);
        let (old, new, late) = (of("old"), of("new"), of("late"));
        let most = SHARE as u32;
        let admit = |shares: &mut NamespaceShares, key, weight| {
            shares.admit(Source::Services, key, weight, true).is_ok()
        };
        assert!(admit(&mut shares, old, most));
        assert!(!admit(&mut shares, new, 1));
        shares.begin(Source::Services);
        assert!(admit(&mut shares, new, most - 8), "what is gone takes no room");
        assert!(!admit(&mut shares, late, 9));
        assert!(!admit(&mut shares, old, 9), "it has lost its place");
        shares.release(Source::Services, old);
        assert!(admit(&mut shares, late, 8));
        assert_eq!(shares.by_namespace.len(), 1);
        for key in [new, late] {
            shares.release(Source::Services, key);
        }
        assert!(shares.rows.is_empty() && shares.by_namespace.is_empty());
    }

    /// A list that breaks off leaves its rows to the next one.
    #[test]
    fn lists_that_never_end_hold_twice_a_share() {
        let (mut names, mut shares) = (Names::default(), NamespaceShares::default());
        let mut kept = |turn: usize| {
            shares.begin(Source::Services);
            let one = key(&mut names, "shop", &format!("{turn}"));
            shares.admit(Source::Services, one, SHARE as u32, true).is_ok()
        };
        assert_eq!([0, 1, 2, 3].map(&mut kept), [true, true, false, false]);
        // What is there and named again is no more than before.
        assert!(kept(1));
    }

    #[test]
    fn kinds_share_one_share_and_namespaces_what_is_beyond_the_free_part() {
        let (mut names, mut shares) = (Names::default(), NamespaceShares::default());
        let admit = |shares: &mut NamespaceShares, source, key, weight: usize| {
            shares.admit(source, key, u32::try_from(weight).unwrap(), true)
        };
        let mut full = 0;
        for at in 0..8 {
            let one = key(&mut names, &format!("n{at}"), "x");
            assert_eq!(admit(&mut shares, Source::Services, one, FREE), Ok(()), "{at}");
            let rest = admit(&mut shares, Source::EndpointSlices, one, SHARE - FREE);
            if rest.is_ok() {
                full += 1;
                assert_eq!(
                    admit(&mut shares, Source::Pods, one, 1),
                    Err(FullShare::Namespace)
                );
            } else {
                assert_eq!(rest, Err(FullShare::All));
            }
        }
        assert_eq!(full, BEYOND / (SHARE - FREE));
    }

    #[test]
    fn the_platform_takes_no_room_from_others() {
        let (mut names, mut shares) = (Names::default(), NamespaceShares::default());
        let [platform, team, small] =
            [("own", "a"), ("shop", "a"), ("pay", "a")].map(|(space, name)| key(&mut names, space, name));
        let source = Source::Services;
        let large = (FREE + BEYOND) as u32;
        assert!(shares.admit(source, platform, large, false).is_ok());
        assert!(shares.admit(source, team, SHARE as u32, true).is_ok());
        // Where it is the platform's no longer it counts like any other's.
        shares.trust(|_| false);
        assert_eq!(
            shares.admit(source, small, FREE as u32 + 1, true),
            Err(FullShare::All)
        );
        shares.trust(|namespace| namespace == platform.namespace);
        assert!(shares.admit(source, small, FREE as u32 + 1, true).is_ok());
        for key in [platform, team, small] {
            shares.release(source, key);
        }
        assert_eq!(shares.beyond, 0);
    }

    #[test]
    fn what_was_refused_is_read_again_when_there_is_room() {
        let (mut names, mut shares) = (Names::default(), NamespaceShares::default());
        let [a, b, more] = ["a", "b", "more"].map(|name| key(&mut names, "shop", name));
        let nobody = |_: Name| false;
        let half = (SHARE / 2) as u32;
        let mut admit = |key, weight| shares.admit(Source::Services, key, weight, true).is_ok();
        assert!(admit(a, half) && admit(b, half) && !admit(more, 1));
        assert_eq!(shares.with_room(nobody), []);
        shares.release(Source::Services, b);
        let shop = (Source::Services, a.namespace);
        assert_eq!(shares.with_room(nobody), [shop]);
        assert_eq!(shares.with_room(nobody), [], "it is said once");
        shares.begin(Source::Services);
        shares.release(Source::Services, a);
        assert_eq!(shares.with_room(nobody), [], "nothing is refused");

        assert!(shares.admit(Source::Services, b, SHARE as u32, true).is_ok());
        assert!(shares.admit(Source::Pods, more, 1, true).is_err());
        let platform = |namespace: Name| namespace == a.namespace;
        shares.trust(platform);
        assert_eq!(shares.with_room(platform), [(Source::Pods, a.namespace)]);
        shares.release(Source::Services, b);
        assert_eq!(shares.with_room(platform), [], "it is said once");
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
