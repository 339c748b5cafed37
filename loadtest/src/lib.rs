//! The load test: thousands of virtual users with real WebRTC media in one process, faults, measurements, reports.

pub mod exit;
pub mod http;
pub mod report;
pub mod tally;
pub mod peer;
pub mod peer_io;
pub mod user;
