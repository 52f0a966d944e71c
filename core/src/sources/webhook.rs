//! `admissionregistration.k8s.io/v1` webhook configurations, validating and mutating.

use std::sync::Arc;

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, Named, Row, SelectorWire, Text, or_default};
use crate::names::{Key, Name, Names};
use crate::policy::Selector;

/// One rule: which requests are sent to the webhook.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// API groups; `*` is all.
    pub groups: Box<[Arc<str>]>,
    /// API versions; `*` is all.
    pub versions: Box<[Arc<str>]>,
    /// Resources, with subresources as `nodes/status`; `*` is all without subresources, `*/*` all.
    pub resources: Box<[Arc<str>]>,
    /// Operations; `*` is all.
    pub operations: Box<[Arc<str>]>,
    /// `Cluster`, `Namespaced` or `*`.
    pub scope: Arc<str>,
}

/// Most match conditions that a webhook may have (`k8s.io/api/admissionregistration/v1`).
const CONDITIONS: usize = 64;
/// Most bytes of an expression that is kept.
const EXPRESSION: usize = 4096;

/// One webhook of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Webhook {
    /// Its name.
    pub name: Arc<str>,
    /// Whether a webhook that cannot be reached refuses the request (`failurePolicy: Fail`, the default).
    pub fails: bool,
    /// Its rules.
    pub rules: Box<[Rule]>,
    /// Which namespaces it is for.
    pub namespaces: Selector,
    /// Which objects it is for.
    pub objects: Selector,
    /// Its match conditions, CEL expressions: it is asked only where all of them are true. One of more than
    /// `EXPRESSION` bytes is kept as an empty text.
    pub conditions: Box<[Arc<str>]>,
    /// The Service it is reached by; `None` is a URL, which may be anywhere.
    pub service: Option<Key>,
    /// Port of that Service (default 443).
    pub port: u16,
    /// How long the API server waits for it, in seconds (default 10).
    pub timeout_seconds: u32,
}

/// What a webhook configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebhookConfiguration {
    /// Its own name; the key's namespace field holds its kind, as two kinds share this table.
    pub name: Name,
    /// Its webhooks.
    pub webhooks: Box<[Webhook]>,
}

/// What is read of the object.
#[derive(Deserialize)]
pub struct Wire<'a> {
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow)]
    metadata: Named<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    webhooks: Vec<HookWire<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HookWire<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    failure_policy: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    rules: Vec<RuleWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace_selector: SelectorWire<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    object_selector: SelectorWire<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    match_conditions: Vec<ConditionWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    client_config: ClientConfig<'a>,
    #[serde(default)]
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize)]
struct ConditionWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    expression: Text<'a>,
}

#[derive(Deserialize, Default)]
struct ClientConfig<'a> {
    #[serde(borrow, default)]
    service: Option<ServiceRef<'a>>,
}

#[derive(Deserialize)]
struct ServiceRef<'a> {
    #[serde(borrow, default)]
    namespace: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    api_groups: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    api_versions: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    resources: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    operations: Vec<Text<'a>>,
    #[serde(borrow, default)]
    scope: Option<Text<'a>>,
}

fn texts(list: &[Text<'_>]) -> Box<[Arc<str>]> {
    list.iter().map(|text| (**text).into()).collect()
}

fn webhook(wire: &HookWire<'_>, names: &mut Names) -> Result<Webhook, DecodeError> {
    let service = wire.client_config.service.as_ref();
    Ok(Webhook {
        name: (*wire.name).into(),
        fails: wire.failure_policy.as_deref() != Some("Ignore"),
        rules: wire
            .rules
            .iter()
            .map(|rule| Rule {
                groups: texts(&rule.api_groups),
                versions: texts(&rule.api_versions),
                resources: texts(&rule.resources),
                operations: texts(&rule.operations),
                scope: rule.scope.as_deref().unwrap_or("*").into(),
            })
            .collect(),
        namespaces: wire.namespace_selector.compile()?,
        objects: wire.object_selector.compile()?,
        conditions: wire
            .match_conditions
            .iter()
            .take(CONDITIONS)
            .map(|one| &*one.expression)
            .map(|text| if text.len() > EXPRESSION { "" } else { text }.into())
            .collect(),
        service: service.map(|one| Key {
            namespace: names.intern(&one.namespace),
            name: names.intern(&one.name),
        }),
        port: service.and_then(|one| one.port).unwrap_or(443),
        timeout_seconds: wire.timeout_seconds.unwrap_or(10),
    })
}

const GROUP: &str = "admissionregistration.k8s.io";
const WHY: &str = "webhooks that can block the heartbeats of nodes";

impl Row for WebhookConfiguration {
    const KINDS: &'static [Kind] = &[
        Kind {
            group: GROUP,
            namespaced: false,
            ..Kind::v1(
                "ValidatingWebhookConfiguration",
                "validatingwebhookconfigurations",
                WHY,
            )
        },
        Kind {
            group: GROUP,
            namespaced: false,
            ..Kind::v1(
                "MutatingWebhookConfiguration",
                "mutatingwebhookconfigurations",
                WHY,
            )
        },
    ];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = wire.metadata.key(names)?;
        let webhooks = wire
            .webhooks
            .iter()
            .map(|hook| webhook(hook, names))
            .collect::<Result<_, _>>()?;
        let kind = names.intern(&wire.kind);
        Ok((
            Key {
                namespace: kind,
                name: key.name,
            },
            Self {
                name: key.name,
                webhooks,
            },
        ))
    }
}
