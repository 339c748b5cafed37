//! The gateway without I/O: who may sign in, what a session is, what a call is, and when each of them ends.
//!
//! Every machine here is plain data: time, wall clock and random bytes are handed in, decisions come out as
//! [`Command`]s. The shell (crate `gateway`) moves the bytes and drives the timers. Start reading at [`Instance`], which
//! owns all the rest.

pub mod answers;
pub mod call;
pub mod capsule;
pub mod command;
pub mod config_hash;
pub mod dial;
pub mod drain;
pub mod entry;
pub mod idempotency;
pub mod instance;
pub mod limits;
pub mod load;
pub mod random;
pub mod rate;
pub mod refusal;
pub mod registrar;
pub mod sdp;
pub mod seal;
pub mod secret;
pub mod session;
pub mod sip;
pub mod ticket;
pub mod timers;
pub mod token;
pub mod tombstones;
pub mod user;

pub use call::{FarLeg, MediaChange, MediaFailure, OfferRefused, PeerId};
pub use command::{Command, SocketId};
pub use dial::DialPlan;
pub use entry::{Auth, Bearer, EntryError, Identity};
pub use instance::{Instance, Reserve, Settings, SipSettings};
pub use limits::Limits;
pub use load::{Counts, Load};
pub use random::Random;
pub use refusal::Refusal;
pub use seal::{SealKey, SealRing};
pub use user::User;
