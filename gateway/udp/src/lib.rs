//! Many datagrams per system call: sockets that share a port, batches in and out, and the pause that lets batches grow.
//!
//! The media plane, the load test's peers and the benches' floors all move their packets through this one crate, so
//! that what is compared differs in work and not in system calls.

mod batch;
mod pace;
mod socket;

pub use batch::{BATCH, Inbox, MAX_DATAGRAM, Outbox};
pub use pace::Pace;
pub use socket::{UdpPort, Waker, bind, wait_any};
