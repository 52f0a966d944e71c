//! No bytes make the core panic: objects with random changes, as themselves and as objects of every other kind.

use std::sync::Arc;

use evenkeel_core::know::Source;
use evenkeel_core::{Core, Input};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::histories::cases;
use super::objects::object;
use super::policies::policy;
use super::world::{PLAIN, World};

/// A change of some bytes of an object.
#[derive(Debug, Clone)]
enum Mutation {
    Byte(Index, u8),
    Cut(Index, u8),
    Insert(Index, Vec<u8>),
    /// The value after the colon of that number becomes another.
    Value(Index, &'static str),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let values = [
        "null",
        "-1",
        "1e999",
        "18446744073709551616",
        "\"\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "[]",
        "{}",
        "[null]",
        "{\"\":null}",
        "true",
        "\"é\"",
        "0.5",
    ];
    prop_oneof![
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, len)| Mutation::Cut(at, len)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 0..8)).prop_map(|(at, new)| Mutation::Insert(at, new)),
        6 => (any::<Index>(), select(values.to_vec())).prop_map(|(at, value)| Mutation::Value(at, value)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let len = bytes.len();
    if len == 0 {
        return;
    }
    match mutation {
        Mutation::Byte(at, byte) => bytes
            .iter_mut()
            .skip(at.index(len))
            .take(1)
            .for_each(|old| *old = *byte),
        Mutation::Cut(at, cut) => {
            let from = at.index(len);
            bytes.drain(from..len.min(from + usize::from(*cut)));
        }
        Mutation::Insert(at, new) => {
            let at = at.index(len);
            bytes.splice(at..at, new.iter().copied());
        }
        Mutation::Value(at, value) => {
            let colons: Vec<usize> = (0..len).filter(|at| bytes.get(*at) == Some(&b':')).collect();
            let Some(from) = (!colons.is_empty())
                .then(|| colons.get(at.index(colons.len())))
                .flatten()
            else {
                return;
            };
            // As far as the value reaches, strings and brackets counted.
            let (mut depth, mut quoted, mut to) = (0_u32, false, from + 1);
            while let Some(byte) = bytes.get(to) {
                match byte {
                    b'"' => quoted = !quoted,
                    b'{' | b'[' if !quoted => depth += 1,
                    b',' | b'}' | b']' if !quoted && depth == 0 => break,
                    b'}' | b']' if !quoted => depth -= 1,
                    _ => {}
                }
                to += 1;
            }
            bytes.splice(from + 1..to, value.bytes());
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn no_bytes_panic(
        objects in prop::collection::vec(
            (select(&PLAIN[..]), 0..2_u8, 0..4_u8, 0..15_u8, prop::collection::vec(mutation(), 0..4)),
            1..12,
        ),
        garbage in prop::collection::vec(any::<u8>(), 0..40),
        body in ".{0,40}",
        policies in prop::collection::vec((0..2_u8, 0..2_u8, 0..15_u8), 0..3),
    ) {
        let mut core = Core::default();
        for source in Source::ALL {
            core.handle(World::default().now(), Input::Begin(source));
            core.handle(World::default().now(), Input::object(source, &garbage));
        }
        for (at, name, variant) in policies {
            core.handle(World::default().now(), Input::Policy(Arc::new(policy(at, name, variant))));
        }
        for (source, at, name, variant, mutations) in &objects {
            let mut bytes = object(*source, *at, *name, *variant).1.into_bytes();
            for one in mutations {
                mutate(&mut bytes, one);
            }
            core.handle(World::default().now(), Input::object(*source, &bytes));
            // And as an object of every other kind.
            for other in Source::ALL {
                core.handle(World::default().now(), Input::object(other, &bytes));
            }
        }
        core.handle(World::default().now(), Input::Configz("o1", &body));
        for source in Source::ALL {
            core.handle(World::default().now(), Input::Synced(source));
        }
        core.round(World::default().now());
        let list = core.findings(World::default().now());
        prop_assert!(serde_json::to_string(&list).is_ok());
    }
}
