//! The media plane and the load test's peers against each other, over real sockets on loopback.

mod support;

mod a_far_side_is_bridged;
mod a_foreign_stack_talks_to_the_echo;
mod an_echo_comes_back;
mod an_ice_restart_keeps_media;
mod close_notify_ends_the_other_side;
