//! What an audit log says, parsed, in the order in which the store committed it.

use std::collections::BTreeMap;

use evenkeel_core::sources::claim::FENCE;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AuditedRequest {
    pub(super) user: String,
    pub(super) verb: String,
    /// Plural of the resource, with its subresource: `nodes`, `nodes/status`.
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uri: String,
    pub(super) code: u64,
    /// When it came and when it was answered, in milliseconds.
    pub(super) came: i64,
    pub(super) answered: i64,
    pub(super) body: Value,
    pub(super) answer: Value,
}

impl AuditedRequest {
    /// `None` of a line that is no answered request.
    fn parse(event: &Value) -> Option<Self> {
        if event["stage"] != "ResponseComplete" {
            return None;
        }
        let text = |at: &str| {
            event
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let time = |at: &str| Some(text(at).parse::<Timestamp>().ok()?.as_millisecond());
        let mut resource = text("/objectRef/resource");
        let part = text("/objectRef/subresource");
        if !part.is_empty() {
            resource = resource + "/" + &part;
        }
        let asked_as = text("/impersonatedUser/username");
        Some(Self {
            user: if asked_as.is_empty() {
                text("/user/username")
            } else {
                asked_as
            },
            verb: text("/verb"),
            resource,
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            uri: text("/requestURI"),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64)?,
            came: time("/requestReceivedTimestamp")?,
            answered: time("/stageTimestamp")?,
            body: event["requestObject"].clone(),
            answer: event["responseObject"].clone(),
        })
    }

    pub(super) fn writes(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&&*self.verb)
    }

    /// Whether it changed something.
    pub(super) fn is_committed(&self) -> bool {
        self.writes() && (200..300).contains(&self.code) && !self.uri.contains("dryRun=All")
    }

    /// The version that it gave its object; 0 where the answer has none, as that of a deletion.
    pub(super) fn version(&self) -> u64 {
        let version = self.answer.pointer("/metadata/resourceVersion");
        version
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// The value of the first step of a JSON patch with this operation and path.
    pub(super) fn step(&self, operation: &str, path: &str) -> Option<&Value> {
        let steps = self.body.as_array()?.iter();
        let mut found = steps.filter(|one| one["op"] == operation && one["path"] == path);
        found.next().map(|one| &one["value"])
    }

    /// Whether it is a patch of a Node that adds evenkeel's taint.
    pub(super) fn adds_fence(&self) -> bool {
        let has = |list: Option<&Value>| list.is_some_and(|list| taints(list).any(|one| one["key"] == FENCE));
        self.resource == "nodes"
            && has(self.step("add", "/spec/taints"))
            && !has(self.step("test", "/spec/taints"))
    }
}

/// The members of a list of taints.
pub(super) fn taints(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Whether a Node carries evenkeel's taint.
pub(super) fn is_fenced(node: &Value) -> bool {
    taints(&node["spec"]["taints"]).any(|one| one["key"] == FENCE)
}

/// The record that an annotation of a Node names.
pub(super) fn record_of(node: &Value) -> &str {
    node["metadata"]["annotations"][evenkeel_core::drive::RECORD]
        .as_str()
        .unwrap_or_default()
}

/// All requests of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// In the order of their beginning.
    pub(super) requests: Vec<AuditedRequest>,
    /// Places of those that changed something and gave it a version, by version: the order of commits.
    commits: Vec<usize>,
    /// Places of deletions, by when they were answered: their answers have no version.
    deletions: Vec<usize>,
}

impl History {
    pub(super) fn parse(events: &[Value]) -> Self {
        let mut requests: Vec<_> = events.iter().filter_map(AuditedRequest::parse).collect();
        requests.sort_by_key(|one| (one.came, one.answered));
        let mut commits: Vec<_> = (0..requests.len())
            .filter(|&at| {
                requests
                    .get(at)
                    .is_some_and(|one| one.is_committed() && one.version() > 0)
            })
            .collect();
        commits.sort_by_key(|&at| requests.get(at).map(AuditedRequest::version));
        let mut deletions: Vec<_> = (0..requests.len())
            .filter(|&at| {
                requests
                    .get(at)
                    .is_some_and(|one| one.verb == "delete" && one.is_committed())
            })
            .collect();
        deletions.sort_by_key(|&at| requests.get(at).map(|one| one.answered));
        Self {
            requests,
            commits,
            deletions,
        }
    }

    pub(super) fn by<'h>(&'h self, user: &'h str) -> impl Iterator<Item = &'h AuditedRequest> {
        self.requests.iter().filter(move |one| one.user == user)
    }

    /// Each commit in order, with what was stored before it. A deletion comes before what began after its answer.
    pub(super) fn walk<'h>(&'h self, mut look: impl FnMut(&Stored<'h>, &'h AuditedRequest)) -> Stored<'h> {
        let at = |place: &usize| self.requests.get(*place);
        let mut stored = Stored::default();
        let mut deletions = self.deletions.iter().filter_map(at).peekable();
        for request in self.commits.iter().filter_map(at) {
            if request.verb == "delete" {
                continue;
            }
            while let Some(deletion) = deletions.next_if(|one| one.answered <= request.came) {
                stored.forget(deletion);
            }
            look(&stored, request);
            stored.take(request);
        }
        deletions.for_each(|deletion| stored.forget(deletion));
        stored
    }
}

/// What was stored at one moment, as far as the log shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored<'h> {
    pub(super) nodes: BTreeMap<&'h str, &'h Value>,
    pub(super) records: BTreeMap<&'h str, &'h Value>,
    /// The Lease by which acts take turns.
    pub(super) slot: Option<&'h Value>,
}

impl<'h> Stored<'h> {
    /// Drops what was deleted, where it is the same object by what the answer says of its uid.
    fn forget(&mut self, deletion: &AuditedRequest) {
        let answer = &deletion.answer;
        let uids = [&answer["details"]["uid"], &answer["metadata"]["uid"]];
        let uid = uids.into_iter().find(|uid| !uid.is_null());
        let same = |object: &&Value| uid.is_none_or(|uid| object["metadata"]["uid"] == *uid);
        let name = &*deletion.name;
        let objects = match &*deletion.resource {
            "nodes" => &mut self.nodes,
            "remediations" => &mut self.records,
            _ => return,
        };
        if objects.get(name).is_some_and(same) {
            objects.remove(name);
        }
    }

    fn take(&mut self, request: &'h AuditedRequest) {
        let answer = &request.answer;
        let name = answer["metadata"]["name"].as_str().unwrap_or_default();
        match &*request.resource {
            "nodes" => {
                self.nodes.insert(name, answer);
            }
            "remediations" | "remediations/status" => {
                self.records.insert(name, answer);
            }
            "leases" if name == evenkeel_core::drive::SLOT => self.slot = Some(answer),
            _ => {}
        }
    }
}
