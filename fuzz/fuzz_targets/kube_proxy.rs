//! kube-proxy's configuration in each of its forms.
//!
//! The first byte picks the form, the operating system and the version; the rest is the text.

#![no_main]

use evenkeel_core::dataplane::kube_proxy::{
    ConfigSource, command_line, node_args, runs_kube_proxy, settings,
};
use evenkeel_core::dataplane::version::Version;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (pick, text) = input;
    let place = "somewhere";
    let os = if pick & 0x80 == 0 { "linux" } else { "windows" };
    let version = (pick & 0x40 == 0).then(|| Version::new(1, 20 + u32::from(pick >> 2 & 15), 1));
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let args;
    let source = match pick & 3 {
        0 => {
            let (document, flags) = text.split_once('\0').unwrap_or((text, ""));
            args = flags.split('\n').map(str::to_owned).collect::<Vec<_>>();
            ConfigSource::Document { text: document, place, argv: &args }
        }
        1 => {
            if let Ok(line) = command_line(&words) {
                let _ = (line.config(), line.hostname_override(), line.without_effect());
            }
            ConfigSource::Flags { argv: &words, place }
        }
        2 => {
            args = node_args(text).unwrap_or_default();
            let _ = runs_kube_proxy(&args);
            ConfigSource::K3s { args: &args, place }
        }
        _ => ConfigSource::Configz { body: text, place },
    };
    if let Ok(settings) = settings(&source, os, version) {
        let _ = (settings.service_tcp_seconds(), settings.service_udp_seconds(), settings.is_measured());
    }
});
