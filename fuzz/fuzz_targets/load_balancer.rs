//! Annotations, class and hostname of a Service in front of which a cloud load balancer may stand.

#![no_main]

use std::collections::BTreeMap;

use evenkeel_core::dataplane::load_balancer::{LbPort, LbService, device, idle};
use libfuzzer_sys::fuzz_target;

/// Short words for the annotations' long names, so that mutation finds them.
const KNOWN: [&str; 8] = [
    "service.beta.kubernetes.io/aws-load-balancer-type",
    "service.beta.kubernetes.io/aws-load-balancer-attributes",
    "service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout",
    "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout",
    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-established-timeout",
    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-protocol-port",
    "kubernetes.io/elb.keepalive_timeout",
    "networking.gke.io/load-balancer-type",
];

fuzz_target!(|input: (
    u16,
    bool,
    bool,
    Option<&str>,
    &str,
    &str,
    Vec<&str>,
    Vec<(u8, &str)>
)| {
    let (number, udp, auto_mode, class, name, hostname, providers, lines) = input;
    let mut annotations = BTreeMap::new();
    for (pick, text) in lines {
        match (
            KNOWN.get(usize::from(pick) % (KNOWN.len() + 1)),
            text.split_once('='),
        ) {
            (Some(key), _) => drop(annotations.insert(*key, text)),
            (None, Some((key, value))) => drop(annotations.insert(key, value)),
            (None, None) => {}
        }
    }
    let annotation = |name: &str| annotations.get(name).map(|text| (*text).to_owned());
    let keys: Vec<&str> = annotations.keys().copied().collect();
    let service = LbService {
        subject: "Service a/b",
        class,
        keys: &keys,
        annotation: &annotation,
        provider_ids: &providers,
        hostnames: &[hostname],
        auto_mode,
    };
    let _ = device(&service);
    if let Ok(seconds) = idle(&service, LbPort { number, name, udp }) {
        assert!(seconds.value >= 0);
    }
});
