//! Cilium's keys, the merge of their sources, and Terway's document.
//!
//! Lines of `key=value`; a line without `=` begins the next of the sources.

#![no_main]

use evenkeel_core::dataplane::cilium::{Keys, MergeInputs, effective, merge};
use evenkeel_core::dataplane::terway;
use evenkeel_core::dataplane::version::Version;
use evenkeel_core::know::{Gap, Val};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &str, &str)| {
    let (pick, sources, allow, text) = input;
    let mut parts: [Keys; 4] = Default::default();
    let mut at = 0;
    for line in text.lines() {
        match line.split_once('=') {
            Some((key, value)) => drop(parts[at % 4].insert(key.to_owned(), value.to_owned())),
            None => at += 1,
        }
    }
    let [config, node, labels, annotations] = &parts;
    let version = if pick & 1 == 0 {
        Ok(Val::declared(
            Version::new(1, 11 + u32::from(pick >> 4), 9),
            "image",
        ))
    } else {
        Err(Gap::Opaque("no version".into()))
    };
    let merged = merge(&MergeInputs {
        sources,
        config_maps: &[("cilium-config", config)],
        node_configs: &[("a", node)],
        labels,
        annotations,
        allow,
        deny: if pick & 2 == 0 { "" } else { allow },
    });
    let kernel = if pick & 4 == 0 { "6.6.1" } else { sources };
    if let Ok(merged) = merged {
        let _ = effective(&version, kernel, &|key| merged.get(key));
    }
    let _ = effective(&version, kernel, &|key| {
        Some((config.get(key)?.clone(), "a".into()))
    });
    let eni = Keys::from([("10-terway.conf".to_owned(), text.to_owned())]);
    let _ = terway::read(&eni, "a", (pick & 8 == 0).then_some(allow), kernel);
    let _ = terway::read(config, "a", None, kernel);
});
