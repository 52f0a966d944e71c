//! `v1/Namespace`: its labels, which selectors of webhooks read.

use serde::Deserialize;

use super::{Meta, Row, Why};
use crate::know::Source;
use crate::names::{Key, Names, Pairs};

/// What a Namespace object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: Pairs,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

impl Row for Namespace {
    const SOURCE: Source = Source::Namespaces;

    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), Why> {
        let wire: Wire<'_> = serde_json::from_slice(json)?;
        let key = wire.metadata.key(names)?;
        Ok((
            key,
            Self {
                labels: wire.metadata.labels(names),
            },
        ))
    }
}
