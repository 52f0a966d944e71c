//! The test bed: a real control plane on this machine, without containers.
//!
//! etcd, API servers, the built-in controllers, the scheduler and kwok are built
//! from published Go modules (see [`binaries`]) and started on free ports of the
//! loopback address (see [`control_plane`]). A test takes
//! [`ControlPlane::shared`] and a namespace of its own, or starts a
//! [`ControlPlane`] when it needs one of a certain shape. What needs real kubelets
//! starts a [`NodeBed`]; what needs an image of its own packs one with [`image`].

pub mod account;
mod address;
pub mod api_servers;
pub mod apply;
pub mod audit;
pub mod backends;
mod balancer;
pub mod binaries;
pub mod chaos;
mod client;
pub mod cluster;
mod components;
pub mod control_plane;
mod credentials;
mod debian;
pub mod demo;
mod folder;
mod go_module;
pub mod http;
pub mod image;
pub mod invariants;
pub mod kind_bed;
pub mod load;
pub mod monitoring;
pub mod node_bed;
pub mod operator;
mod options;
mod ports;
pub mod process;
mod proxy;
pub mod repository;
pub mod standing;
mod traffic;
pub mod under_test;

pub use address::Address;
pub use balancer::Balancer;
pub use client::client_of;
pub use control_plane::ControlPlane;
pub use folder::KEEP_ENV;
pub use go_module::{cilium_crds, kubernetes_version};
pub use node_bed::{NodeBed, NodeOptions};
pub use options::Options;
pub use proxy::Proxy;
pub use traffic::Traffic;
