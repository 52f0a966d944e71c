//! How YAML is read, once for its values and once for where they stand.

use serde_saphyr::options::DuplicateKeyPolicy;

/// How YAML is read: what a text may hold and grow into.
pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // The size of a file is bounded before; these bound what its text may grow into.
        budget: serde_saphyr::budget! {
            max_events: 200_000_000,
            max_nodes: 100_000_000,
            max_total_scalar_bytes: usize::MAX,
            max_depth: DEPTH,
            max_documents: 2,
            max_aliases: 10_000,
            max_anchors: ANCHORS,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // As the API server's own decoder reads them.
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
    }
}

/// How many lists and mappings may stand inside of each other: far more than any object of Kubernetes has.
pub(super) const DEPTH: usize = 100;

/// How many values of a document may have a name.
pub(super) const ANCHORS: usize = 10_000;
