//! Media for virtual users: one interface over the two stacks that can carry a call.

use crate::lag::Lag;
use crate::peer::{PeerCounts, PeerState, Profiles};
use crate::peer_io::{PeerPool, PoolConfig, PoolPeer};
use crate::webrtc_peer::WebrtcPeer;
use std::sync::Arc;
use tokio::sync::watch;

/// Which stack carries the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Sans-IO peers, thousands in one process
    #[default]
    Own,
    /// The `webrtc` crate's PeerConnection, a stack that shares no media code with the gateway
    Webrtc,
}

/// Makes peers.
#[derive(Clone)]
pub enum Engine {
    /// See [`EngineKind::Own`].
    Own(PeerPool),
    /// See [`EngineKind::Webrtc`].
    Webrtc,
}

/// One call's peer connection. Dropped without [`AnyPeer::close`] it is a browser that vanished.
pub enum AnyPeer {
    /// See [`EngineKind::Own`].
    Own(Box<PoolPeer>),
    /// See [`EngineKind::Webrtc`].
    Webrtc(WebrtcPeer),
}

impl Engine {
    /// Starts the stack.
    pub fn start(kind: EngineKind, config: PoolConfig) -> anyhow::Result<Self> {
        Ok(match kind {
            EngineKind::Own => Self::Own(PeerPool::start(config)?),
            EngineKind::Webrtc => Self::Webrtc,
        })
    }

    /// How late its own threads act.
    #[must_use]
    pub fn lags(&self) -> &[Arc<Lag>] {
        match self {
            Self::Own(pool) => pool.lags(),
            Self::Webrtc => &[],
        }
    }

    /// A peer and its offer.
    pub async fn open(&self) -> anyhow::Result<(AnyPeer, String)> {
        match self {
            Self::Own(pool) => {
                let mut peer = pool.create(Profiles::Gcm)?;
                let offer = peer.offer();
                Ok((AnyPeer::Own(Box::new(peer)), offer))
            }
            Self::Webrtc => {
                let (peer, offer) = WebrtcPeer::open().await?;
                Ok((AnyPeer::Webrtc(peer), offer))
            }
        }
    }
}

impl AnyPeer {
    /// Offer of an ICE restart.
    pub async fn restart(&self) -> anyhow::Result<String> {
        match self {
            Self::Own(peer) => peer.restart_offer().await.ok_or_else(|| anyhow::anyhow!("the peer is not connected")),
            Self::Webrtc(peer) => peer.restart().await,
        }
    }

    /// Takes the answer of the first offer or, after [`AnyPeer::restart`], of that one.
    pub async fn accept(&mut self, sdp: String, restarted: bool) -> anyhow::Result<()> {
        match self {
            Self::Own(peer) if restarted => Ok(peer.restart_answer(sdp).await?),
            Self::Own(peer) => Ok(peer.connect(&sdp)?),
            Self::Webrtc(peer) => peer.accept(sdp).await,
        }
    }

    /// Follows its state.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<PeerState> {
        match self {
            Self::Own(peer) => peer.state(),
            Self::Webrtc(peer) => peer.state(),
        }
    }

    /// What it has counted so far.
    #[must_use]
    pub fn counts(&self) -> PeerCounts {
        match self {
            Self::Own(peer) => peer.counts(),
            Self::Webrtc(peer) => peer.counts(),
        }
    }

    /// DTLS close_notify.
    pub async fn close(self) {
        match self {
            Self::Own(peer) => peer.stop(),
            Self::Webrtc(peer) => peer.close().await,
        }
    }
}
