//! Files: bytes to documents, YAML or JSON, and what they hold into the core.
//!
//! The reading is part of the command-line tool; its files are taken by path, because the tool itself would bring a
//! client for Kubernetes along.

#![no_main]

use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};
use libfuzzer_sys::fuzz_target;

#[path = "../../src/files/decode.rs"]
mod decode;
#[path = "../../src/files/document.rs"]
mod document;
#[allow(dead_code, reason = "the tool uses more of it")]
#[path = "../../src/files/head.rs"]
mod head;
#[path = "../../src/files/strict.rs"]
mod strict;

fuzz_target!(|data: &[u8]| {
    let Ok(bytes) = decode::utf8(data.to_vec()) else { return };
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let mut core = Core::default();
    let mut last = (0, 1);
    document::documents(&bytes, &mut |document| {
        assert_eq!(document.number, last.0 + 1);
        assert!(document.line >= last.1 && document.line <= lines);
        // A fault may lie in a comment above the line that a document begins in.
        let before = std::mem::replace(&mut last, (document.number, document.line)).1;
        match document.json {
            Ok(json) => {
                let _ = head::value(&json);
                head::each_item(&json, |_, item| drop(head::value(item)));
                for source in [Source::Services, Source::ConfigMaps, Source::DaemonSets] {
                    let _ = core.handle(Now::ONCE, Input::Object(source, json.as_bytes()));
                }
            }
            Err(fault) => {
                assert!(!fault.what.is_empty());
                let _ = fault.lost;
                assert!((before..=lines + 1).contains(&fault.line));
            }
        }
    });
});
