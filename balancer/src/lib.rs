//! The balancer: the shell around `balancer-core`, which holds every decision.
//!
//! Probes (`probe`) run on a thread of their own and publish what they find ([`state`]); the data path (`proxy`) runs on one
//! current-thread runtime per core and only reads it.

pub mod proxy;
pub mod state;
