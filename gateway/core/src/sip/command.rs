//! Between the SIP machines and the shell that has the sockets.

use super::message::{SipRequest, SipResponse};
use std::fmt;
use std::net::SocketAddr;

/// Names a request this side sends; given by the machine, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTransaction(pub u64);

/// Names a request that came in; given by the shell, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerTransaction(pub u64);

/// How SIP messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection under TLS.
    Tls,
}

impl Transport {
    /// True if the transport itself repeats what was lost.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }
}

/// As in a Via header field.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        })
    }
}

/// The other end of a transport: for UDP an address, for TCP and TLS the connection to or from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// How.
    pub transport: Transport,
    /// Where.
    pub addr: SocketAddr,
}

/// Something to be done by the shell, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SipCommand {
    /// Have a flow to a peer; owes [`SipEvent::Up`] or [`SipEvent::Down`].
    Open {
        /// To whom.
        peer: Peer,
    },
    /// Listen no more to a peer that was opened.
    Forget {
        /// To whom.
        peer: Peer,
    },
    /// Look the name of a server up again; owes [`SipEvent::Found`].
    LookUp {
        /// Its place in the settings.
        server: usize,
    },
    /// Start a client transaction. The request is complete but for Content-Length; its topmost Via names the branch.
    /// Owes responses, ended by a final one or [`SipEvent::Failed`].
    Request {
        /// Names it.
        transaction: ClientTransaction,
        /// To whom.
        to: Peer,
        /// What.
        request: SipRequest,
    },
    /// Send a request outside any transaction: an ACK to a 2xx that a proxy passes on.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        request: SipRequest,
    },
    /// Send CANCEL for a client INVITE transaction (RFC 3261 §9.1): once a provisional response has come, or at once if one
    /// has. Without effect on one that has ended.
    Cancel(ClientTransaction),
    /// Answer a request. The response is complete but for Content-Length.
    Respond {
        /// Which request.
        transaction: ServerTransaction,
        /// With what.
        response: SipResponse,
    },
}

/// Something that happened at the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SipEvent {
    /// A flow is there.
    Up {
        /// To whom.
        peer: Peer,
        /// From where, as the peer sees it when nothing translates addresses.
        local: SocketAddr,
    },
    /// A flow could not be had, or was closed.
    Down {
        /// To whom.
        peer: Peer,
    },
    /// A server's name was looked up.
    Found {
        /// Its place in the settings.
        server: usize,
        /// Its addresses, the preferred one first; none if the name has none, or could not be looked up.
        addrs: Vec<SocketAddr>,
    },
    /// A response came. The ACK to any final response to an INVITE was sent by the shell, but for a response with a
    /// second Via, which is another's to acknowledge.
    Response {
        /// To which request.
        transaction: ClientTransaction,
        /// The response.
        response: SipResponse,
    },
    /// A client transaction ended without a final response.
    Failed {
        /// Which.
        transaction: ClientTransaction,
        /// Why.
        why: SendFailure,
    },
    /// A request came, none of CANCEL and ACK.
    Request {
        /// Names it.
        transaction: ServerTransaction,
        /// From whom.
        from: Peer,
        /// The request.
        request: SipRequest,
    },
    /// CANCEL came for an INVITE that has no final answer; the CANCEL itself was answered. Owes a 487 to the INVITE.
    Cancelled(ServerTransaction),
    /// ACK came for a 2xx.
    Acked {
        /// To which INVITE.
        transaction: ServerTransaction,
        /// The ACK.
        request: SipRequest,
    },
    /// No ACK came for a 2xx within 64 × T1 (RFC 3261 §13.3.1.4).
    NeverAcked(ServerTransaction),
}

/// Why a request brought no final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFailure {
    /// Nobody answered in time.
    TimedOut,
    /// It could not be sent.
    Unreachable,
}
