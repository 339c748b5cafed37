//! Calls for real on loopback: gateways and a registrar in this process, browsers' peers with real media, phones of their own
//! small SIP and RTP. Sound is proven by tones that the other side hears, digits by those that arrive.

#[allow(dead_code, reason = "shared with the tests of servers and of takeovers")]
mod browser;
mod cluster;
#[allow(dead_code, reason = "shared with the tests of servers and of takeovers")]
mod phone;
#[allow(dead_code, reason = "shared with the tests of takeovers")]
mod tone;

use loadtest::sip_phone::line;

mod a_phone_is_called_and_calls;
mod a_stopped_instance_says_goodbye;
mod a_users_call_outlives_its_instance;
mod browsers_hear_each_other;
