//! The decisions of the balancer, and nothing else: no socket, clock, task or global randomness. The time and the random
//! source are parameters, so every rule here runs in a test as it runs in production.
//!
//! ```text
//!  checks, answers, bytes ──> Pool (one Health each) ──> Snapshot ──> route, pick, admission, retry ──> an instance
//!        the probe thread owns it                   immutable      the data path calls these per request
//! ```
//!
//! Read in this order: what is said about an instance ([`instance`]), when it is alive ([`health`], [`silence`]), all of
//! them together ([`pool`], [`compatibility`], [`snapshot`], [`sizing`]), a browser's pin ([`pin`]), where a request goes ([`route`], [`pick`]), what happens
//! when that fails ([`retry`]), who may enter ([`admission`]), and how load comes back to a returned instance ([`failback`]).

use std::time::Duration;

pub mod instance;
pub mod traffic;

pub mod health;
pub mod silence;

mod member;
pub mod pool;

pub mod compatibility;
pub mod sizing;
pub mod snapshot;

pub mod pin;
pub mod route;

pub mod pick;
pub mod retry;

pub mod admission;
pub mod failback;
pub mod random;

pub use admission::Admission;
pub use health::{Loss, State};
pub use instance::{AdminState, BootId, Endpoint, InstanceId, Report, Run};
pub use pool::{Command, Pool};
pub use random::Random;
pub use snapshot::{Instance, Snapshot};
pub use traffic::{Reservation, Traffic};

/// A moment: how long after the start of the process, by a clock that never goes back.
pub type Time = Duration;
