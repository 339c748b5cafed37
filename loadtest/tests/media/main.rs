//! The media plane and the load test's peers against each other, over real sockets on loopback.

mod support;
mod talker;
#[path = "../telephony/tone.rs"]
#[allow(dead_code, reason = "shared with the tests of telephony")]
mod tone;

mod a_far_side_is_bridged;
mod a_foreign_stack_talks_to_the_echo;
mod a_telephone_hears_every_frame;
mod an_echo_comes_back;
mod an_ice_restart_keeps_media;
mod close_notify_ends_the_other_side;
mod rtpengine_is_a_peer;
