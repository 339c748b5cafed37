//! The loss of SIP servers for real: Kamailio as processes that are killed, frozen and started anew under users and calls. What
//! was heard is proven as in the tests of telephony, whose browsers and phones are used here.

#[path = "../telephony/browser.rs"]
#[allow(dead_code, reason = "shared with the tests of telephony")]
mod browser;
mod cluster;
mod crowd;
mod kamailio;
mod line;
#[path = "../telephony/phone.rs"]
#[allow(dead_code, reason = "shared with the tests of telephony")]
mod phone;
mod sipp;
mod tap;
#[path = "../telephony/tone.rs"]
mod tone;
mod verbs;

mod a_pair_has_two_addresses;
mod an_address_that_moves_keeps_calls;
mod calls_that_are_held_are_delivered;
mod five_hundred_users_return;
mod servers_that_hang_are_found;
mod the_pair_is_switched_under_calls;
mod users_return_at_a_pace;
