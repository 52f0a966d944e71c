//! Nodes that repeat what they have reported before: heartbeats.
//!
//! A kubelet reports every five minutes although nothing has changed (`nodeStatusReportFrequency` of
//! `KubeletConfiguration`): in a cluster of 5,000 nodes 17 objects a second, in which nothing but times is new. Such a
//! line is a sign of life and nothing else, so it ends here, unparsed.
//!
//! The last state of each node is held as a hash, with keys that are not known outside, of the object's text without
//! what a heartbeat changes. Only text in the order in which API servers write it is looked at (`ObjectMeta` and
//! `NodeCondition` in `k8s.io/apimachinery` and `k8s.io/api`); any other is a change.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use memchr::memmem;

/// How a Node begins.
const HEAD: &[u8] = b"{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"";
/// The last field of its metadata, in which every write leaves its time, and what follows. Neither can stand within a
/// string: a quote there would have a backslash before it.
const MANAGED: (&[u8], &[u8]) = (b"\"managedFields\":[", b"},\"spec\":");
/// What a heartbeat changes in each condition.
const BEAT: &[u8] = b"\"lastHeartbeatTime\":\"";

/// The last state of each node.
#[derive(Debug, Default)]
pub(super) struct NodeStates {
    keys: RandomState,
    states: HashMap<Box<[u8]>, u64>,
}

/// A node's text, taken apart.
struct NodeText<'a> {
    name: &'a [u8],
    version: &'a [u8],
    /// What identifies a state of the node: its uid, the rest of its metadata, its spec and status.
    uid: &'a [u8],
    metadata: &'a [u8],
    rest: &'a [u8],
}

impl<'a> NodeText<'a> {
    fn of(object: &'a [u8]) -> Option<Self> {
        let (name, rest) = quoted(object.strip_prefix(HEAD)?)?;
        let (uid, rest) = quoted(rest.strip_prefix(b"\",\"uid\":\"")?)?;
        let (version, rest) = quoted(rest.strip_prefix(b"\",\"resourceVersion\":\"")?)?;
        let (metadata, rest) = rest.split_at(memmem::find(rest, MANAGED.0)?);
        let rest = rest.get(memmem::find(rest, MANAGED.1)?..)?;
        Some(Self {
            name,
            version,
            uid,
            metadata,
            rest,
        })
    }
}

/// A string up to its closing quote, and what follows from there; nothing if a backslash is in the way.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr2(b'"', b'\\', text)?;
    (text.get(at) == Some(&b'"')).then(|| text.split_at(at))
}

impl NodeStates {
    /// If an object says nothing new: its version.
    pub(super) fn version(&self, object: &[u8]) -> Option<String> {
        let text = NodeText::of(object)?;
        let said = self.states.get(text.name)?;
        let version = String::from_utf8(text.version.to_vec()).ok()?;
        (*said == self.hash(&text)).then_some(version)
    }

    /// Notes what was passed on.
    pub(super) fn note(&mut self, object: &[u8]) {
        let Some(text) = NodeText::of(object) else {
            // Whose word it is was not looked for: nothing that is held can be relied on.
            return self.forget();
        };
        let hash = self.hash(&text);
        match self.states.get_mut(text.name) {
            Some(said) => *said = hash,
            None => drop(self.states.insert(text.name.into(), hash)),
        }
    }

    /// A node is gone.
    pub(super) fn gone(&mut self, name: &str) {
        self.states.remove(name.as_bytes());
    }

    /// Whatever comes next is a change.
    pub(super) fn forget(&mut self) {
        self.states.clear();
    }

    fn hash(&self, text: &NodeText<'_>) -> u64 {
        let mut hasher = self.keys.build_hasher();
        let mut add = |part: &[u8]| {
            hasher.write_usize(part.len());
            hasher.write(part);
        };
        add(text.uid);
        add(text.metadata);
        let mut rest = text.rest;
        while let Some(at) = memmem::find(rest, BEAT) {
            let (before, time) = rest.split_at(at + BEAT.len());
            let Some((_, after)) = quoted(time) else { break };
            add(before);
            rest = after;
        }
        add(rest);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_core::names::Names;
    use evenkeel_core::sources::Row;
    use evenkeel_core::sources::node::Node;
    use rstest::rstest;

    use super::*;

    /// A node as an API server writes it.
    const NODE: &str = concat!(
        r#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"a","uid":"u1","resourceVersion":"7","#,
        r#""labels":{"topology.kubernetes.io/zone":"z1"},"annotations":{"note":"\"managedFields\":[ },\"spec\":"},"#,
        r#""managedFields":[{"manager":"kubelet","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:spec":{}}}]},"#,
        r#""spec":{"providerID":"aws://z1/i-1"},"status":{"conditions":["#,
        r#"{"type":"MemoryPressure","status":"False","lastHeartbeatTime":"2026-01-01T00:00:00Z","reason":"R1"},"#,
        r#"{"type":"Ready","status":"True","lastHeartbeatTime":"2026-01-01T00:00:00Z","reason":"R2"}],"#,
        r#""nodeInfo":{"kernelVersion":"6.12","osImage":"Debian"}}}"#
    );

    fn row(object: &str) -> Node {
        Node::parse(object.as_bytes(), &mut Names::default()).unwrap().1
    }

    fn after(object: &str) -> NodeStates {
        let mut repeats = NodeStates::default();
        repeats.note(object.as_bytes());
        repeats
    }

    #[test]
    fn a_heartbeat_is_a_repeat_and_says_its_version() {
        let beat = NODE
            .replace("2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z")
            .replace(r#""resourceVersion":"7""#, r#""resourceVersion":"8""#);
        assert_eq!(after(NODE).version(beat.as_bytes()).as_deref(), Some("8"));
        assert_eq!(row(NODE), row(&beat));
    }

    /// Whatever a row is made of.
    #[rstest]
    #[case::of_another_node("\"a\"", "\"b\"")]
    #[case::made_anew("u1", "u2")]
    #[case::zone("zone\":\"z1", "zone\":\"z2")]
    #[case::annotation("note", "config.cilium.io/x")]
    #[case::provider("aws://z1", "gce://z1")]
    #[case::cordoned(r#""spec":{"#, r#""spec":{"unschedulable":true,"#)]
    #[case::not_ready(r#""Ready","status":"True""#, r#""Ready","status":"False""#)]
    #[case::reason("R2", "R3")]
    #[case::kernel("6.12", "6.13")]
    fn what_is_new_is_news(#[case] old: &str, #[case] new: &str) {
        let changed = NODE.replacen(old, new, 1);
        assert_ne!(changed, NODE);
        assert_eq!(after(NODE).version(changed.as_bytes()), None);
    }

    #[rstest]
    #[case::another_kind(r#""kind":"Node""#, r#""kind":"Pod""#)]
    #[case::another_order(r#""uid":"u1","resourceVersion":"7""#, r#""resourceVersion":"7","uid":"u1""#)]
    #[case::spaces(r#""kind":"#, r#""kind": "#)]
    #[case::escaped(r#""name":"a""#, r#""name":"\u0061""#)]
    #[case::without_managers(r#""managedFields""#, r#""others""#)]
    fn text_in_any_other_order_is_news_and_ends_what_was_held(#[case] old: &str, #[case] new: &str) {
        let other = NODE.replacen(old, new, 1);
        assert_ne!(other, NODE);
        let mut repeats = after(NODE);
        assert_eq!(repeats.version(other.as_bytes()), None);
        repeats.note(other.as_bytes());
        assert_eq!(repeats.version(NODE.as_bytes()), None);
        assert_eq!(repeats.version(other.as_bytes()), None);
    }

    #[test]
    fn only_the_last_state_counts_and_a_node_that_is_gone_has_none() {
        let cordoned = NODE.replacen(r#""spec":{"#, r#""spec":{"unschedulable":true,"#, 1);
        let mut repeats = after(NODE);
        repeats.note(cordoned.as_bytes());
        assert_eq!(repeats.version(NODE.as_bytes()), None);
        assert!(repeats.version(cordoned.as_bytes()).is_some());
        repeats.gone("a");
        assert_eq!(repeats.version(cordoned.as_bytes()), None);
    }

    #[test]
    fn text_that_breaks_off_is_no_repeat() {
        let repeats = after(NODE);
        for end in 0..NODE.len() {
            assert_eq!(repeats.version(&NODE.as_bytes()[..end]), None, "{end}");
        }
    }
}
