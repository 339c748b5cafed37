//! What the machines ask of the shell.

use crate::call::{FarLeg, PeerId};
use crate::sdp::FarMedia;
use crate::sip::SipCommand;
use gateway_protocol::{CloseCode, ServerMessage};

/// Names a WebSocket for as long as the process lives; given by the shell, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Something to be done by the shell, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send a message.
    Send {
        /// Where.
        socket: SocketId,
        /// What.
        message: Box<ServerMessage>,
    },
    /// Close a socket after what was sent to it; the machine has forgotten it already.
    Close {
        /// Which.
        socket: SocketId,
        /// Why, for programs.
        code: CloseCode,
        /// Why, in a form that fits the code.
        reason: &'static str,
    },
    /// Have an offer answered; owes [`crate::Instance::handle_answer`].
    Accept {
        /// The peer that comes into being.
        peer: PeerId,
        /// The browser's offer.
        offer: String,
        /// What to connect it to.
        far: FarLeg,
    },
    /// Have an ICE restart answered; owes [`crate::Instance::handle_answer`].
    RestartIce {
        /// Which peer.
        peer: PeerId,
        /// The browser's offer.
        offer: String,
    },
    /// Have the media of a peer's SIP side flow like this from now on.
    ConnectFar {
        /// The peer.
        peer: PeerId,
        /// From and to where.
        media: Box<FarMedia>,
    },
    /// Send digits to a peer's SIP side, in its RTP.
    SendDigits {
        /// The peer.
        peer: PeerId,
        /// Which.
        digits: String,
    },
    /// Something for the SIP sockets.
    Sip(SipCommand),
    /// Send close_notify to a peer and forget it.
    ClosePeer(PeerId),
    /// Everything was said: end the process.
    Exit,
}
