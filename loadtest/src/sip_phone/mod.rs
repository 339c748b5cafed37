//! Phones at the SIP server, for the load test: their own small SIP over one TCP connection, plain RTP for all of them on one
//! socket. Nothing here is shared with the product, so that a mistake of it can't hide in both.
//!
//! [`line::Line`] is the connection, [`answering`] takes every call, [`calling`] calls users, [`rtp::RtpPhones`] sends and counts their packets.

pub mod answering;
pub mod calling;
pub mod line;
pub mod message;
pub mod rtp;
pub(crate) mod sdp;
pub mod speech;
