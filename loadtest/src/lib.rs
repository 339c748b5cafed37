//! The load test: thousands of virtual users with real WebRTC media in one process, faults, measurements, reports.

pub mod crowd;
pub mod drive;
pub mod engine;
pub mod exit;
pub mod http;
pub mod peer;
pub mod peer_io;
pub mod report;
pub mod run;
pub mod tally;
pub mod user;
pub mod webrtc_peer;
