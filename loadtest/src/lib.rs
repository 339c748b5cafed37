//! The load test: thousands of virtual users with real WebRTC media in one process, faults, measurements, reports.

pub mod bench_media;
pub mod bench_proxy;
pub mod cause;
pub mod cluster;
pub mod cpu;
pub mod crowd;
pub mod drive;
pub mod engine;
pub mod exit;
pub mod failures;
pub mod fault;
pub mod http;
pub mod lag;
pub mod loss;
pub mod peer;
pub mod peer_io;
pub mod report;
pub mod rules;
pub mod run;
pub mod tally;
pub mod usage;
pub mod user;
mod watch;
pub mod way_back;
pub mod webrtc_peer;
