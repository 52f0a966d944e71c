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
#[allow(dead_code, reason = "the tool uses more of it")]
#[path = "../../src/files/locate.rs"]
mod locate;
#[path = "../../src/files/options.rs"]
mod options;
#[path = "../../src/files/strict.rs"]
mod strict;

fuzz_target!(|data: &[u8]| {
    let Ok(bytes) = decode::utf8(data.to_vec()) else {
        return;
    };
    let mut core = Core::default();
    let mut last = (0, 0);
    document::documents(&bytes, &mut |document| {
        assert_eq!(document.number, last.0 + 1);
        assert!(document.start >= last.1 && document.start <= bytes.len());
        last = (document.number, document.start);
        let way = ["items".into(), 1.into(), "spec".into()];
        let byte = locate::locate(document.text, document.is_json, &way);
        assert!(byte.is_none_or(|byte| byte <= document.text.len()));
        match document.json {
            Ok(json) => {
                let _ = head::value(&json);
                head::each_item(&json, |_, item| drop(head::value(item)));
                for source in [Source::Services, Source::ConfigMaps, Source::DaemonSets] {
                    core.handle(Now::ONCE, Input::object(source, json.as_bytes()));
                }
            }
            Err(fault) => {
                assert!(!fault.what.is_empty());
                let _ = fault.lost;
                assert!((document.start..=bytes.len()).contains(&fault.byte));
            }
        }
    });
});
