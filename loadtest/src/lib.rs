//! The load test: thousands of virtual users with real WebRTC media in one process, faults, measurements, reports.

pub mod bench_media;
pub mod bench_proxy;
pub mod cluster;
pub mod crowd;
pub mod drive;
pub mod engine;
pub mod exit;
pub mod fault;
pub mod http;
pub mod loss;
pub mod peer;
pub mod peer_io;
pub mod report;
pub mod rules;
pub mod run;
pub mod tally;
pub mod usage;
pub mod user;
pub mod webrtc_peer;
