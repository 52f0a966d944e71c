//! Objects of every kind, through the one door for facts.
//!
//! The first byte of each line says of which source the rest of the line is.

#![no_main]

use std::sync::{Arc, LazyLock};

use evenkeel_core::know::{Now, Source};
use evenkeel_core::policy::{Connection, Policy, Protocol, Remediation, Selector, Server, ServicePick};
use evenkeel_core::{Core, Input};
use libfuzzer_sys::fuzz_target;

/// Governs every Service of namespace `b`, so that what is parsed is also judged.
static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    Arc::new(Policy {
        namespace: "b".into(),
        name: "p".into(),
        services: ServicePick::Selector(Selector::default()),
        balance: None,
        connections: vec![Connection {
            name: "c".into(),
            ports: Vec::new(),
            protocol: Protocol::Tcp,
            longest_silence_seconds: Some(600),
            longest_request_seconds: None,
            clients: Vec::new(),
            server: Server::default(),
            hops: Vec::new(),
        }],
        remediation: Remediation::default(),
        exceptions: Vec::new(),
        unknown_fields: Vec::new(),
    })
});

fuzz_target!(|data: &[u8]| {
    let mut core = Core::default();
    for source in Source::ALL {
        core.handle(Now::ONCE, Input::Begin(source));
    }
    core.handle(Now::ONCE, Input::Policy(POLICY.clone()));
    for line in data.split(|byte| *byte == b'\n') {
        if let [first, json @ ..] = line {
            let source = Source::ALL[usize::from(*first) % Source::ALL.len()];
            core.handle(Now::ONCE, Input::object(source, json));
        }
    }
    for source in Source::ALL {
        core.handle(Now::ONCE, Input::Synced(source));
    }
    core.round(Now::default());
    assert!(serde_json::to_string(&core.findings(Now::default())).is_ok());
    assert!(core.round(Now::default()).transitions.is_empty());
});
