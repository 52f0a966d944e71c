//! The ledger: `Remediation` objects of the operator's own namespace, by which it knows what it has done. What they hold is read
//! by [`crate::drive`], which writes them; as a source they are watched, and fresh or not.

use super::kind::{Extent, Kind};

/// The kinds of the ledger.
pub const KINDS: [Kind; 1] = [Kind {
    group: "evenkeel.dev",
    versions: &["v1alpha1"],
    extent: Extent::Own,
    ..Kind::v1("Remediation", "remediations", "knows what it has done to Nodes")
}];
