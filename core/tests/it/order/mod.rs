//! The core's first promise: any order of inputs, judged step by step, gives what judging from nothing gives.
//!
//! A random history (objects that come, change, go, are listed anew or cannot be read, sources that are lost and
//! regained, policies that change, time that passes) is fed to one core with rounds in between, and what it left behind
//! to a second core in another order with one round at the end. Both must tell the same.
//!
//! Histories have no observers and no pages of samples (`Input::Observers`, `Input::Samples`): those are played in [`pages`],
//! in one order, as what is kept of samples follows from it.

mod bytes;
mod forged;
mod histories;
mod objects;
mod pages;
mod play;
mod policies;
mod tenant;
mod world;

use evenkeel_core::findings::Finding;
use evenkeel_core::know::Source;
use evenkeel_core::{Core, checks};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use histories::{cases, history};
use objects::object;
use play::{apply, feed, from_nothing, tell, told};
pub(crate) use play::{give_away_numbers, meaningless};
use tenant::{TENANT, of_others, write};
use world::{Health, World};

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn step_by_step_is_from_nothing(steps in history(), order in any::<u64>()) {
        let (mut core, mut world) = (Core::default(), World::default());
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        core.round(world.now());
        let other = from_nothing(&world, order);
        let (one, two) = (told(&core, &world), told(&other, &world));
        prop_assert_eq!(one.0, two.0);
        prop_assert_eq!(one.1, two.1);
    }

    #[test]
    fn texts_that_are_forgotten_are_missed_by_nothing(steps in history(), order in any::<u64>()) {
        let (mut core, mut world) = (Core::default(), World::default());
        for (at, step) in steps.iter().enumerate() {
            core.forget();
            prop_assert_eq!(meaningless(&core), Vec::<u32>::new());
            give_away_numbers(&mut core, world.now(), at);
            apply(&mut core, &mut world, step);
        }
        core.forget();
        core.round(world.now());
        let other = from_nothing(&world, order);
        let (one, two) = (told(&core, &world), told(&other, &world));
        prop_assert_eq!(one.0, two.0);
        prop_assert_eq!(one.1, two.1);
    }

    #[test]
    fn what_a_tenant_writes_changes_nothing_elsewhere(
        steps in history(),
        order in any::<u64>(),
        written in vec((select(tenant::sources()), 0..2_u8, 0..4_u8, 0..16_u8), 1..12),
    ) {
        let mut world = World::default();
        let mut core = Core::default();
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        let mut alone = from_nothing(&world, order);
        let mut beside = from_nothing(&world, order);
        // In a cluster without any Pod the first one tells that Pods were read.
        for core in [&mut alone, &mut beside] {
            write(core, world.now(), "bystander", object(Source::Pods, 0, 0, 0));
            write(core, world.now(), "bystander", object(Source::DaemonSets, 0, 1, 3));
        }
        for (source, at, name, variant) in written {
            write(&mut beside, world.now(), TENANT, object(source, at, name, variant));
        }
        beside.round(world.now());
        alone.round(world.now());
        prop_assert_eq!(of_others(&alone, world.now()), of_others(&beside, world.now()));
    }

    #[test]
    fn judging_twice_changes_nothing(steps in history()) {
        let (mut core, mut world) = (Core::default(), World::default());
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        core.round(world.now());
        let before = told(&core, &world);
        prop_assert!(core.round(world.now()).transitions.is_empty());
        prop_assert_eq!(&before, &told(&core, &world));
        // Also when everything is judged again and nothing has changed.
        for source in Source::ALL {
            for (id, thing) in world.things.iter().filter(|(id, _)| id.0 == source) {
                feed(&mut core, world.now(), id, thing);
            }
        }
        prop_assert!(core.round(world.now()).transitions.is_empty());
        prop_assert_eq!(before, told(&core, &world));
    }

    #[test]
    fn without_what_it_needs_a_finding_becomes_unknown(steps in history(), lost in select(&Source::ALL[..])) {
        let (mut core, mut world) = (Core::default(), World::default());
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        core.round(world.now());
        let before = core.findings(world.now());
        tell(&mut core, world.now(), lost, Health::Lost);
        core.round(world.now());
        let after = core.findings(world.now());
        for check in checks::ALL.iter().filter(|check| check.needs.has(lost)) {
            let mut told = after.findings.iter().filter(|one| one.check == check.id);
            prop_assert!(told.all(|one| one.verdict.name() == "Unknown"));
            // Of a Service that no policy governs what is unknown is counted, not told.
            let asked = |one: &&Finding| one.subject.kind.name() != "Service" || one.policy.is_some();
            let held = before.findings.iter().filter(|one| one.check == check.id);
            for finding in held.filter(asked) {
                // Where the objects themselves are lost, one word on the cluster stands for all of them.
                let stands = |one: &&_| -> bool {
                    let one: &Finding = one;
                    one.id == finding.id || one.subject.kind.name() == "Cluster"
                };
                let told = after.findings.iter().filter(|one| one.check == check.id);
                prop_assert!(told.filter(stands).count() > 0);
            }
        }
    }

    #[test]
    fn until_the_deadline_nothing_changes(steps in history(), share in 0..100_u64) {
        let (mut core, mut world) = (Core::default(), World::default());
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        let now = world.now();
        core.round(now);
        let told = |core: &Core, now| {
            let mut list = core.findings(now);
            // What is counted from now moves on with time.
            list.findings.iter_mut().for_each(|one| one.exception.iter_mut().for_each(|one| one.capped_at = None));
            list
        };
        let before = told(&core, now);
        let left = core.deadline(now).map_or(1_000_000, |at| (at.0 - now.mono.0) / 1_000);
        // Strictly before the deadline, wherever that is.
        world.passed += u32::try_from((left - 1) * share / 100).unwrap();
        prop_assert!(core.round(world.now()).transitions.is_empty());
        prop_assert_eq!(before, told(&core, world.now()));
    }
}
