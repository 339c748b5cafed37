//! The media plane and the load test's peers against each other, over real sockets on loopback.

mod support;

mod an_echo_comes_back;
mod an_ice_restart_keeps_media;
mod close_notify_ends_the_other_side;
