//! Fair shares: a list that is cut to a length is cut by namespace in turn, so that a namespace with many
//! items does not hide those of another.

use std::collections::{BTreeMap, BTreeSet};

/// Splits items into at most `most` that stay, in their order, and those that are left out.
///
/// Each namespace keeps its first item before any keeps its second, and so on; between equals the earlier stays.
pub(crate) fn share<T, N: Ord>(items: Vec<T>, most: usize, namespace: impl Fn(&T) -> N) -> (Vec<T>, Vec<T>) {
    if items.len() <= most {
        return (items, Vec::new());
    }
    let mut counts: BTreeMap<N, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let count = counts.entry(namespace(item)).or_default();
        ranked.push((*count, at));
        *count += 1;
    }
    ranked.sort_unstable();
    let kept: BTreeSet<usize> = ranked.into_iter().take(most).map(|one| one.1).collect();
    let (mut stay, mut left) = (Vec::with_capacity(kept.len()), Vec::new());
    for (at, item) in items.into_iter().enumerate() {
        if kept.contains(&at) {
            stay.push(item);
        } else {
            left.push(item);
        }
    }
    (stay, left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_many_of_one_do_not_displace_the_few_of_another() {
        let mut items: Vec<_> = (0..604).map(|at| ("a-team", at)).collect();
        items.push(("shop", 604));
        let (stay, left) = share(items, 500, |one| one.0);
        assert_eq!((stay.len(), left.len()), (500, 105));
        assert!(stay.contains(&("shop", 604)));
        assert_eq!(stay[..499], (0..499).map(|at| ("a-team", at)).collect::<Vec<_>>());
    }

    proptest! {
        /// A namespace that is cut keeps at most one item fewer than any other.
        #[test]
        fn shares_are_fair(items in prop::collection::vec(0_u16..5, 0..60), most in 0_usize..40) {
            let (stay, left) = share(items.clone(), most, |one| *one);
            prop_assert_eq!(stay.len(), items.len().min(most));
            prop_assert_eq!(stay.len() + left.len(), items.len());
            let kept = |one: u16| stay.iter().filter(|other| **other == one).count();
            for cut in &left {
                prop_assert!((0..5).all(|one| kept(one) <= kept(*cut) + 1));
            }
        }
    }
}
