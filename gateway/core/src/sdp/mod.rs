//! The session descriptions of the SIP side: what is offered to a far end, what it answers, and the media path that follows.
//!
//! [`FarSdp`] is the machine of one call (RFC 3264); [`FarMedia`] is what it agrees on, for the media plane. Browser SDP is
//! none of this module's business.

mod codec;
mod crypto;
mod description;
mod error;
mod far;
#[cfg(test)]
mod far_tests;
mod media;
mod section;

pub use codec::{Codec, CodecKind};
pub use crypto::{SrtpKeys, SrtpSecret, SrtpSuite};
pub use description::{Description, Direction, MAX_SDP_BYTES};
pub use error::SdpError;
pub use far::{FarLocal, FarSdp, FarVideo, Security};
pub use media::{DtmfType, FarMedia, FarStream, Feedback};
