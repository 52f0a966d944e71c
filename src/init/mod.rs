//! First policies, written from what is seen: each field with a comment that says what was seen and what was assumed.
//!
//! What a cluster cannot show (how long a client is silent, what its library does) stands as a field behind `#`, beside the
//! numbers that it will be compared with. Nothing is invented: a draft declares what is there now, so that judging with it
//! finds what is wrong, and later what has become worse.
//!
//! - [`team`]: policies for the Services of a namespace that none governs yet, one for those that are alike.
//! - [`platform`]: the policy of the platform.
//! - [`wanted`]: what has to be read for it beyond what an audit reads.

mod backends;
mod connections;
mod page;
mod platform;
mod protocol;
mod team;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use evenkeel_core::know::{Now, Source};
use evenkeel_core::policy::{
    Beat, Client, Connection, Door, Policy, Protocol, Remediation, Selector, Server, ServicePick,
};
use evenkeel_core::{Core, Input};

pub(crate) use platform::platform;
pub(crate) use team::team;

use page::CommentedYaml;

/// A draft.
#[derive(Debug)]
pub(crate) struct WrittenPolicies {
    /// YAML, with one document for each policy.
    pub(crate) text: String,
    /// How many policies it holds.
    pub(crate) policies: usize,
    /// Of how many Services they speak; of the platform's policy none.
    pub(crate) services: usize,
}

/// What stands at the head of a draft.
#[derive(Debug)]
pub(crate) struct Heading<'a> {
    /// Where it was seen: in a cluster at a moment, or in files.
    pub(crate) seen: &'a str,
    /// The command that judges with the draft.
    pub(crate) next: &'a str,
}

impl Heading<'_> {
    /// Begins a page.
    fn page(&self, what: &str) -> CommentedYaml {
        let mut page = CommentedYaml::default();
        let version = env!("CARGO_PKG_VERSION");
        page.say(
            0,
            &format!(
                "{what}, written by evenkeel {version} from what it saw {}.",
                self.seen
            ),
        );
        page.say(
            0,
            "Seen: read there. Assumed: a guess or a default; correct it. Yours: nothing there shows it.",
        );
        page.say(0, "A line with `#` and no space after it is a field to fill in: correct its value and remove the `#`.");
        page.command(&format!("Next: {}", self.next));
        page
    }
}

/// The name of the policy that exists only while a draft is made. No object can have it.
const SCAFFOLD: &str = "";

/// Asks for the Pods behind every Service of a namespace, as a policy does that rests on them. [`unwanted`] takes it back.
pub(crate) fn wanted(core: &mut Core, namespace: &str) {
    core.handle(Now::ONCE, Input::Policy(Arc::new(scaffold(namespace))));
}

/// Takes back what [`wanted`] asked for: nothing is to be judged by it.
pub(crate) fn unwanted(core: &mut Core, namespace: &str) {
    core.handle(Now::ONCE, Input::Gone(Source::Policies, namespace, SCAFFOLD));
}

/// A policy of which nothing is declared but that servers arm keepalive.
fn scaffold(namespace: &str) -> Policy {
    Policy {
        namespace: namespace.into(),
        name: SCAFFOLD.into(),
        services: ServicePick::Selector(Selector::default()),
        balance: None,
        connections: vec![connection(Protocol::Tcp)],
        remediation: Remediation::default(),
        exceptions: Vec::new(),
        unknown_fields: Vec::new(),
    }
}

/// A connection of this protocol of which nothing else is declared.
fn connection(protocol: Protocol) -> Connection {
    Connection {
        name: "any".into(),
        ports: Vec::new(),
        protocol,
        longest_silence_seconds: None,
        longest_request_seconds: None,
        clients: vec![Client::undeclared("any".into(), Door::Cluster)],
        server: Server {
            tcp_keepalive: Some(Beat::Enabled(None)),
            ..Server::default()
        },
        hops: Vec::new(),
    }
}
