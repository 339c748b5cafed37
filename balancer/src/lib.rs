//! The balancer: the shell around `balancer-core`, which holds every decision.
//!
//! [`probe`] runs on a thread of its own and publishes what it finds ([`state`]); the data path ([`proxy`]) runs on one
//! current-thread runtime per core and only reads that; [`admin`] shows it to operators.

pub mod admin;
pub mod args;
mod check;
pub mod discover;
pub mod files;
pub mod metrics;
pub mod probe;
pub mod proxy;
pub mod state;
