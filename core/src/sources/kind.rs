//! The kinds of the Kubernetes API that sources are read from, as plain data: what is listed and watched, which objects
//! of a file are taken, and which rights are needed all follow from it.

/// One kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its group; empty for the core group.
    pub group: &'static str,
    /// Versions of its group that are understood, the preferred one first: later ones are for servers that do not serve
    /// the earlier.
    pub versions: &'static [&'static str],
    /// Its name: `EndpointSlice`.
    pub name: &'static str,
    /// Its plural, as in an address: `endpointslices`.
    pub plural: &'static str,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// How much of it is read.
    pub extent: Extent,
    /// Whether actions may rest on it, so that its silence has to be noticed within seconds.
    pub evidence: bool,
    /// What it is read for, as shown to the one who grants the right.
    pub why: &'static str,
}

/// How much of a kind is read from a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every object.
    Whole,
    /// Only what [`crate::fleet::Wants`] names: by label selector.
    Selected,
    /// Only what [`crate::fleet::Wants`] names, one by one, mostly in `kube-system`.
    Named,
    /// Only those of the operator's own namespace, and only by an operator that acts.
    Own,
}

impl Kind {
    /// A kind of the core group, all of whose objects are read; the other fields are set where they differ.
    pub const fn v1(name: &'static str, plural: &'static str, why: &'static str) -> Self {
        Self {
            group: "",
            versions: &["v1"],
            name,
            plural,
            namespaced: true,
            extent: Extent::Whole,
            evidence: false,
            why,
        }
    }
}
