//! Why a description of the far side leads to no media.

use super::description::{MAX_FORMATS, MAX_MEDIA, MAX_SDP_BYTES};

/// All but [`SdpError::NoOffer`] are the far side's fault: a 488, or a 400 where it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_SDP_BYTES`].
    #[error("the description has {0} bytes, at most {MAX_SDP_BYTES} are read")]
    TooLong(usize),
    /// It does not begin with `v=0`.
    #[error("not a session description")]
    NotSdp,
    /// The line of this number, counted from 1, breaks the grammar.
    #[error("line {0} is malformed")]
    Malformed(usize),
    /// More than [`MAX_MEDIA`] media sections.
    #[error("more than {MAX_MEDIA} media sections")]
    TooManyMedia,
    /// More than [`MAX_FORMATS`] formats in one section.
    #[error("more than {MAX_FORMATS} formats in one section")]
    TooManyFormats,
    /// It has fewer sections than the one before (RFC 3264 §8).
    #[error("{found} media sections where there were {before}")]
    SectionsMissing {
        /// In this description.
        found: usize,
        /// Earlier in the call.
        before: usize,
    },
    /// No audio section that is open, is RTP and has a usable address.
    #[error("no usable audio section")]
    NoAudio,
    /// The audio section names an address that is no plain IP address.
    #[error("the connection address is no unicast IP address")]
    Address,
    /// No audio codec in common.
    #[error("no audio codec in common")]
    NoCodec,
    /// A secure profile without a key that can be used.
    #[error("no usable crypto attribute in a secure profile")]
    NoCrypto,
    /// An answer came, but there is no offer that it could answer.
    #[error("there is no offer to answer")]
    NoOffer,
}
