//! `discovery.k8s.io/v1/EndpointSlice`.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::kind::Kind;
use super::service::Transport;
use super::{DecodeError, Row, Text, key, name_of, or_default};
use crate::names::{Key, Name, Names};

/// The label that names a slice's Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Address family of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Names: kube-proxy ignores such slices.
    Fqdn,
}

/// One port of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlicePort {
    /// Its name; empty when it has none.
    pub name: Name,
    /// Its number; `None` means all ports, which only headless use has.
    pub port: Option<u16>,
    /// Transport protocol.
    pub transport: Transport,
}

/// One endpoint, 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The only address that proxies use: the first.
    pub address: IpAddr,
    /// Node; empty when unknown.
    pub node: Name,
    /// Zone; empty when unknown.
    pub zone: Name,
    /// Zone that the first hint names; empty when there is no hint.
    pub hint: Name,
    /// Node that the first hint names, where traffic prefers its own node; empty when there is no such hint.
    pub node_hint: Name,
    /// A hash of the Pod behind it (`targetRef`): one Pod has an endpoint for each of its addresses in each of its
    /// Services. 0 when unknown.
    pub pod: u32,
    /// `conditions.ready`; nil counts as ready.
    pub ready: bool,
    /// `conditions.serving`; nil counts as ready does.
    pub serving: bool,
    /// `conditions.terminating`; nil counts as not.
    pub terminating: bool,
}

/// What an EndpointSlice object says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Name of its Service, from the label; empty when it has none.
    pub service: Name,
    /// Address family.
    pub family: AddressFamily,
    /// Ports that every endpoint serves.
    pub ports: Box<[SlicePort]>,
    /// Endpoints with an address, sorted by it.
    pub endpoints: Box<[Endpoint]>,
}

/// What is read of the object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default)]
    address_type: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    endpoints: Vec<EndpointWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    ports: Vec<PortWire<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    labels: Labels<'a>,
}

#[derive(Deserialize, Default)]
struct Labels<'a> {
    // The same as SERVICE_NAME.
    #[serde(borrow, default, rename = "kubernetes.io/service-name")]
    service: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointWire<'a> {
    #[serde(borrow, default, deserialize_with = "first")]
    addresses: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    conditions: Conditions,
    #[serde(borrow, default)]
    node_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    zone: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    hints: Hints<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    target_ref: Target<'a>,
}

#[derive(Deserialize, Default)]
struct Target<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    uid: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
}

impl Target<'_> {
    fn hash(&self) -> u32 {
        super::pod_hash(&self.uid, &self.name)
    }
}

#[derive(Deserialize, Default)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
    #[serde(default)]
    serving: Option<bool>,
    #[serde(default)]
    terminating: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Hints<'a> {
    #[serde(borrow, default, deserialize_with = "first")]
    for_zones: Option<Hint<'a>>,
    #[serde(borrow, default, deserialize_with = "first")]
    for_nodes: Option<Hint<'a>>,
}

#[derive(Deserialize)]
struct Hint<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct PortWire<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(borrow, default)]
    protocol: Option<Text<'a>>,
}

impl Row for Slice {
    const KINDS: &'static [Kind] = &[Kind {
        group: "discovery.k8s.io",
        evidence: true,
        ..Kind::v1(
            "EndpointSlice",
            "endpointslices",
            "which backends every Service has, and where",
        )
    }];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = key(&wire.metadata.namespace, &wire.metadata.name, names)?;
        let family = match &*wire.address_type {
            "IPv4" => AddressFamily::V4,
            "IPv6" => AddressFamily::V6,
            "FQDN" => AddressFamily::Fqdn,
            other => {
                let field = ["addressType".into()];
                return Err(DecodeError::other_than(field, other, "IPv4, IPv6 or FQDN"));
            }
        };
        let mut endpoints = Vec::with_capacity(wire.endpoints.len());
        for (at, endpoint) in wire.endpoints.iter().enumerate() {
            if let Some(endpoint) = parse_endpoint(endpoint, family, at, names)? {
                endpoints.push(endpoint);
            }
        }
        // Of one address twice the order stays: what is useful of it is decided when slices are joined.
        endpoints.sort_by_key(|one| one.address);
        let ports = wire
            .ports
            .iter()
            .enumerate()
            .map(|(at, port)| {
                let field = || ["ports".into(), at.into()];
                Ok(SlicePort {
                    name: name_of(port.name.as_ref(), names),
                    port: port.port,
                    transport: Transport::parse(port.protocol.as_deref())
                        .map_err(|why| why.inside(field()))?,
                })
            })
            .collect::<Result<_, DecodeError>>()?;
        let service = name_of(wire.metadata.labels.service.as_ref(), names);
        Ok((
            key,
            Self {
                service,
                family,
                ports,
                endpoints: endpoints.into_boxed_slice(),
            },
        ))
    }
}

/// The first of a list, without a place for the others: an endpoint has a list for each of its address and hints, and
/// nothing reads beyond the first.
fn first<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct First<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for First<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, list: D) -> Result<Self::Value, D::Error> {
            list.deserialize_seq(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let first = items.next_element()?;
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }

    from.deserialize_option(First(PhantomData))
}

/// One endpoint; `None` for names, which no proxy follows, and for endpoints without an address.
fn parse_endpoint(
    wire: &EndpointWire<'_>,
    family: AddressFamily,
    at: usize,
    names: &mut Names,
) -> Result<Option<Endpoint>, DecodeError> {
    let (AddressFamily::V4 | AddressFamily::V6, Some(address)) = (family, &wire.addresses) else {
        return Ok(None);
    };
    let address: IpAddr = address.parse().map_err(|_| {
        let field = ["endpoints".into(), at.into(), "addresses".into(), 0.into()];
        DecodeError::other_than(field, address, "an IP address")
    })?;
    let ready = wire.conditions.ready.unwrap_or(true);
    Ok(Some(Endpoint {
        address,
        node: name_of(wire.node_name.as_ref(), names),
        zone: name_of(wire.zone.as_ref(), names),
        hint: name_of(wire.hints.for_zones.as_ref().map(|zone| &zone.name), names),
        node_hint: name_of(wire.hints.for_nodes.as_ref().map(|node| &node.name), names),
        pod: wire.target_ref.hash(),
        ready,
        serving: wire.conditions.serving.unwrap_or(ready),
        terminating: wire.conditions.terminating.unwrap_or(false),
    }))
}
