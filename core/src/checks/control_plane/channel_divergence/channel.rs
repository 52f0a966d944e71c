//! What people read of an API server that is slow with one resource.

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};
use crate::know::Unit;

/// What is wrong with a resource on one API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ChannelSign {
    /// So many percent fail, at least.
    Fails(u32),
    /// A request to etcd takes so many seconds, at least.
    Slow(u32),
    /// Its watch cache gets changes that are so many seconds old, at least.
    Behind(u32),
    FallsBack,
}

/// An API server whose channel for one resource is another than those of its siblings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Channel {
    pub(super) server: Arc<str>,
    pub(super) resource: Arc<str>,
    pub(super) sign: ChannelSign,
    pub(super) servers: usize,
}

impl Explain for Channel {
    fn cause(&self) -> &'static str {
        match self.sign {
            ChannelSign::Fails(_) => "Fails",
            ChannelSign::Slow(_) => "Slow",
            ChannelSign::Behind(_) => "Behind",
            ChannelSign::FallsBack => "FallsBack",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, resource, .. } = self;
        match self.sign {
            ChannelSign::Fails(percent) => write!(
                f,
                "API server {server} fails at least {percent} % of the requests for {resource}, and the others do not"
            ),
            ChannelSign::Slow(seconds) => write!(
                f,
                "API server {server} waits at least {seconds} s for etcd with {resource}, ten times as long as the others"
            ),
            ChannelSign::Behind(seconds) => write!(
                f,
                "API server {server} gets changes of {resource} at least {seconds} s late, and the others do not"
            ),
            ChannelSign::FallsBack => write!(
                f,
                "the watch cache for {resource} of API server {server} is behind, and those of the others are not"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let source = "etcd requests and answers of each API server";
        let number = match self.sign {
            ChannelSign::Fails(percent) => Evidence::watched("failing", Unit::Percent, percent, source),
            ChannelSign::Slow(seconds) => Evidence::watched("etcdMean", Unit::Seconds, seconds, source),
            ChannelSign::Behind(seconds) => Evidence::watched("behind", Unit::Seconds, seconds, source),
            ChannelSign::FallsBack => Evidence::watched("fallbacksFor", Unit::Seconds, 60, source),
        };
        vec![
            Evidence::name("apiServer", &self.server, "EndpointSlices of default/kubernetes"),
            Evidence::name("resource", &self.resource, source),
            number,
            Evidence::count("apiServers", self.servers, "EndpointSlices of default/kubernetes"),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let server = &self.server;
        let mut all: Vec<Advice> = Vec::new();
        if self.servers > 2 {
            all.push(
                format!("take API server {server} out of the load balancer, and see that the errors end")
                    .into(),
            );
        }
        all.push(format!("then restart API server {server} alone: it opens new connections to etcd").into());
        all.push("do not restart etcd or the other API servers: their connections work".into());
        all
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(super) fn examples() -> Vec<Verdict> {
    let of = |sign| Channel {
        server: "192.0.2.2".into(),
        resource: "apps/deployments".into(),
        sign,
        servers: 3,
    };
    vec![
        Verdict::violated(of(ChannelSign::Fails(40))),
        Verdict::violated(of(ChannelSign::Slow(20))),
        Verdict::violated(of(ChannelSign::Behind(90))),
        Verdict::at_risk(of(ChannelSign::FallsBack)),
    ]
}
