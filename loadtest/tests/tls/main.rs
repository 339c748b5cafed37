//! TLS towards a SIP server for real: Kamailio with a certificate of a certificate authority that openssl made. Browsers and tones
//! are those of the tests of telephony.

#[path = "../telephony/browser.rs"]
#[allow(dead_code, reason = "shared with the tests of telephony")]
mod browser;
mod certificates;
mod cluster;
mod kamailio;
mod log;
#[path = "../telephony/tone.rs"]
#[allow(dead_code, reason = "shared with the tests of telephony")]
mod tone;

mod a_certificate_decides;
