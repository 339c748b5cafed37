//! One gateway instance: the shell around the machines of gateway-core, and the media plane.
//!
//! [`Gateway::start`] runs it all: public listeners (sign-in, socket, page) one thread each, the private listener on its
//! own thread so that it answers under load, one control thread that owns the sessions, and the media workers.

pub mod args;
pub mod assets;
pub mod auth;
pub mod control;
pub mod cors;
pub mod failure;
pub mod health;
pub mod http;
pub mod listener;
pub mod media;
pub mod metrics;
pub mod private;
pub mod pulse;
pub mod registrar;
pub mod server;
pub mod sip;
pub mod socket;
mod telephony;

pub use args::Args;
pub use server::Gateway;
