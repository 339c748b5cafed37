//! SIP without a socket: what this instance says to SIP servers, and what it makes of what they say.
//!
//! The shell owns transports and transactions (RFC 3261 §17 and §18: retransmissions, the ACK to a refusal, matching); the
//! machines here own everything above. A machine is handed [`SipEvent`]s and asks for [`SipCommand`]s; the embedded registrar
//! is a second machine over the same pair.

mod address;
mod agent;
mod command;
mod dialog;
mod digest;
mod message;
mod names;
mod registration;

pub use address::{AddressError, MAX_URI_BYTES, NameAddr, SipUri, tag_of};
pub use agent::{
    Agent, AgentError, AgentSettings, Identity, LeaseId, LegEnd, LegId, Referral, Restored, SealedInvite, SealedLeg,
    SipCounts, SipNews, takeover_cseq,
};
pub use command::{ClientTransaction, Peer, SendFailure, ServerTransaction, SipCommand, SipEvent, Transport};
pub use dialog::{Dialog, OutOfOrder};
pub use digest::{Algorithm, Authorization, Challenge, Credentials};
pub use message::{Body, Headers, Method, SipRequest, SipResponse};
pub use names::Names;
pub use registration::{Ask, Registered, Registration};
