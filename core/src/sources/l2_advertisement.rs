//! `metallb.io/v1beta1/L2Advertisement`: that MetalLB answers for addresses on layer 2, where one node takes all the
//! traffic of a Service.

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, Named, Row};
use crate::names::{Key, Names};

/// That there is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct L2Advertisement;

/// What is read of the object.
#[derive(Deserialize)]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Named<'a>,
}

impl Row for L2Advertisement {
    const KINDS: &'static [Kind] = &[Kind {
        group: "metallb.io",
        versions: &["v1beta1"],
        ..Kind::v1(
            "L2Advertisement",
            "l2advertisements",
            "whether load balancer addresses are answered for on layer 2, by one node each",
        )
    }];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        Ok((wire.metadata.key(names)?, Self))
    }
}
