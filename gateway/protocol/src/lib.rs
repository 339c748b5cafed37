//! Every byte that a browser and a gateway instance exchange, and the health report that a balancer reads.
//!
//! Plain serde types without behaviour: no I/O, no clock, no state. The TypeScript of the JS client is generated from
//! them (`js-client/src/protocol.gen.ts`; the test `typescript` fails when it is stale, and rewrites it when
//! `HOLDFAST_BLESS=1` is set). Unknown kinds and unknown fields are ignored by every reader, so that a newer peer can speak
//! to an older one. `vectors/` holds single messages, `transcripts/` whole conversations; see their README.md.

pub mod close;
pub mod header;
pub mod health;
pub mod id;
pub mod message;
pub mod problem;
pub mod sign_in;
pub mod transcript;

#[cfg(test)]
mod typescript;
#[cfg(test)]
mod vectors;

pub use close::CloseCode;
pub use health::{Health, InstanceState};
pub use id::{BootId, CallId, ClientId, IdError, InstanceId, RequestId, SessionId};
pub use message::{ClientMessage, ServerMessage};
pub use problem::{Problem, ProblemType};
pub use sign_in::{SessionProbe, SignIn, SignedIn};
