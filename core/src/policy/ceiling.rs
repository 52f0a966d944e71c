//! How much of a cluster's policies is judged: ceilings, so that one policy, one namespace or all of them together cost a
//! bounded time and memory, whatever they declare.
//!
//! What is counted is subjects: a Service that a policy governs is one, and so is each path to it (one connection, one port,
//! one client). The usual case is far below: 10 Services of one port with 4 connections of 5 clients
//! each are 210.

/// Most subjects of one policy that are judged. Judging them takes some 30 ms, 15 for 1,000 (release build on two busy cores,
/// every path with findings), in units of at most 32 paths between which other namespaces have their turns.
pub const OF_A_POLICY: u64 = 2_000;

/// Most subjects in one namespace that are judged, over all of its policies.
pub const OF_A_NAMESPACE: u64 = 10_000;

/// Most subjects in the cluster that are judged. Where there are more, namespaces have fair shares: those that declare less
/// than an equal share keep all of it, and the others share the rest equally, in steps ([`in_steps`]).
pub const OF_THE_CLUSTER: u64 = 100_000;

/// Which of them a policy is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// [`OF_A_POLICY`].
    Policy,
    /// [`OF_A_NAMESPACE`].
    Namespace,
    /// [`OF_THE_CLUSTER`], of which the namespace has so much.
    Cluster(u64),
}

/// What each of these may have of so much, when all that they want is more: those that want less than an equal share get all
/// of it, and the others get what this returns.
pub fn fair_share(of: u64, wants: impl IntoIterator<Item = u64>) -> u64 {
    let mut wants: Vec<u64> = wants.into_iter().collect();
    wants.sort_unstable();
    let mut left = of;
    for (at, want) in wants.iter().enumerate() {
        let share = left / (wants.len() - at) as u64;
        if *want > share {
            return share;
        }
        left -= want;
    }
    u64::MAX
}

/// A share in steps of at most an eighth of it, rounded down. In a full cluster each Service that comes or goes moves the
/// fair share a little; without steps, each would judge policies of all large namespaces anew.
pub const fn in_steps(share: u64) -> u64 {
    // Four binary digits are kept.
    let Some(digits) = share.checked_ilog2() else {
        return 0;
    };
    let rest = digits.saturating_sub(3);
    share >> rest << rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nobody_wants(10, &[], u64::MAX)]
    #[case::enough(10, &[5, 5], u64::MAX)]
    #[case::one_wants_much(10, &[2, 20], 8)]
    #[case::all_want_much(10, &[20, 20, 20], 3)]
    #[case::the_small_keep_theirs(100, &[90, 5, 90, 5], 45)]
    fn the_small_are_not_cut(#[case] of: u64, #[case] wants: &[u64], #[case] expected: u64) {
        assert_eq!(fair_share(of, wants.iter().copied()), expected);
    }

    #[rstest]
    #[case::none(0, 0)]
    #[case::small_ones_are_exact(15, 15)]
    #[case::rounded_down(8_333, 8_192)]
    #[case::the_next_step(9_215, 8_192)]
    #[case::a_step_further(9_216, 9_216)]
    fn shares_move_in_steps(#[case] share: u64, #[case] expected: u64) {
        assert_eq!(in_steps(share), expected);
    }

    proptest! {
        #[test]
        fn a_step_is_small(share in 1..u64::MAX) {
            let step = in_steps(share);
            prop_assert!(step <= share && share - step <= share / 8);
        }

        #[test]
        fn it_fits_and_leaves_nothing_but_a_rest(of in 0..1_000_u64, wants in prop::collection::vec(0..200_u64, 0..20)) {
            let share = fair_share(of, wants.iter().copied());
            let given: u64 = wants.iter().map(|want| want.min(&share)).sum();
            prop_assert!(given <= of);
            let cut = wants.iter().filter(|want| **want > share).count() as u64;
            prop_assert!(cut == 0 || of - given < cut, "{given} of {of} by {share}");
        }
    }
}
