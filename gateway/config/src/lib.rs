//! What the three binaries share at their start: flags, the cluster key file, listeners, logging, and the question that a
//! container's health check asks.
//!
//! Nothing here runs after the start. Every refusal is one line that names key, value and what is allowed.

pub mod ask;
pub mod cluster_keys;
pub mod flags;
pub mod listen;
pub mod logging;

pub use cluster_keys::{ClusterKeys, DerivedKey, KeyId};
pub use flags::{Check, ConfigFlags, Stop};
