//! Instances that die or stand still, for real: each is a process of its own that is killed, frozen and thawed under calls. What
//! was heard is proven as in the tests of telephony, whose browsers and phones are used here.

mod balancer;
#[path = "../telephony/browser.rs"]
#[allow(dead_code, reason = "shared with the tests of telephony")]
mod browser;
mod cluster;
#[path = "../servers/kamailio.rs"]
#[allow(dead_code, reason = "shared with the tests of servers")]
mod kamailio;
mod line;
#[path = "../telephony/phone.rs"]
#[allow(dead_code, reason = "shared with the tests of telephony")]
mod phone;
mod process;
#[path = "../telephony/tone.rs"]
mod tone;
mod user;

mod a_crash_mixes_no_calls;
mod a_killed_instance_is_missed_once;
mod a_thawed_instance_takes_nothing_back;
mod every_call_placed_in_a_takeover_rings;
