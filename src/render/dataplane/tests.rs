//! A view for the tests of all renderers.

use evenkeel_core::findings::Unreadable;
use evenkeel_core::know::Origin;

use super::{
    BalancerPort, BalancerView, DataplaneView, LookAlikes, ProfileView, Setting, TableView, ValueView,
};

/// A view in which every text that may come from an object or file is this one.
pub(in crate::render) fn view(text: &str) -> DataplaneView {
    let known = || Setting::Known {
        value: ValueView::Text(text.into()),
        unit: None,
        origin: Origin::Declared,
        source: text.into(),
    };
    let unknown = || Setting::Unknown { unknown: text.into() };
    DataplaneView {
        profiles: vec![ProfileView {
            nodes: 1,
            sample: vec![text.into()],
            os: text.into(),
            kernel: text.into(),
            proxy_mode: known(),
            scheduler: Some(known()),
            tcp_established_seconds: known(),
            tcp_close_wait_seconds: unknown(),
            ipvs_tcp_seconds: Some(unknown()),
            service_idle_seconds: Some(known()),
            udp_idle_seconds: None,
            tables: vec![TableView {
                entry: "Pod",
                protocol: "TCP",
                keeper: Some(text.into()),
                idle_seconds: known(),
            }],
            cilium: None,
        }],
        look_alikes: Some(LookAlikes {
            count: 1,
            first: vec![text.into()],
        }),
        load_balancers: vec![BalancerView {
            namespace: text.into(),
            service: text.into(),
            ports: vec![BalancerPort {
                port: 80,
                protocol: "TCP",
                idle_seconds: unknown(),
            }],
        }],
        unreadable: vec![Unreadable {
            source: text.into(),
            reason: text.into(),
        }],
        notes: vec![text.into()],
    }
}
