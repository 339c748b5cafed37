//! A plane and a pool of peers, and the signalling between them as function calls.

use gateway::media::{FarLeg, MediaConfig, MediaEvent, MediaEventKind, MediaPlane, PeerId};
use loadtest::peer::{PeerState, Profiles};
use loadtest::peer_io::{PeerPool, PoolConfig, PoolPeer};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Longest wait for something that must happen; only a failing test waits so long.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Scene {
    pub(crate) plane: MediaPlane,
    pub(crate) events: Receiver<MediaEvent>,
    pub(crate) pool: PeerPool,
    next: AtomicU64,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut MediaConfig)) -> Self {
        let mut config = MediaConfig::new(([127, 0, 0, 1], 0).into());
        config.threads = 2;
        change(&mut config);
        let (plane, events) = MediaPlane::start(config).expect("the plane starts");
        let pool = PeerPool::start(PoolConfig::default()).expect("the pool starts");
        Self { plane, events, pool, next: AtomicU64::new(1) }
    }

    /// A peer whose media flows, if `far` is an echo.
    pub(crate) async fn call(&mut self, profiles: Profiles, far: FarLeg) -> (PeerId, PoolPeer) {
        let (id, peer) = self.dial(profiles, far);
        wait(&peer, PeerState::Connected).await;
        assert_eq!(self.next_event(id).await, MediaEventKind::Connected);
        if far == FarLeg::Echo {
            wait(&peer, PeerState::Flowing).await;
        }
        (id, peer)
    }

    /// A peer that is about to connect.
    pub(crate) fn dial(&self, profiles: Profiles, far: FarLeg) -> (PeerId, PoolPeer) {
        let id = PeerId(self.next.fetch_add(1, Relaxed));
        let mut peer = self.pool.create(profiles).expect("a socket");
        let answer = self.plane.accept(id, &peer.offer(), far).expect("a good offer");
        peer.connect(&answer).expect("a good answer");
        (id, peer)
    }

    /// The next event, which must concern `id`.
    pub(crate) async fn next_event(&mut self, id: PeerId) -> MediaEventKind {
        let event = tokio::time::timeout(SOON, self.events.recv()).await.expect("an event").expect("open");
        assert_eq!(event.peer, id, "{event:?}");
        event.kind
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.plane.shutdown();
    }
}

/// Waits until the peer is in `state` or past it on the way to flowing.
pub(crate) async fn wait(peer: &PoolPeer, state: PeerState) {
    let mut states = peer.state();
    let reached = states.wait_for(|now| *now == state || state == PeerState::Connected && *now == PeerState::Flowing);
    tokio::time::timeout(SOON, reached).await.expect("in time").expect("the peer lives");
}

/// Waits until `count` more packets came back.
pub(crate) async fn more_returned(peer: &PoolPeer, count: u64) {
    let goal = peer.counts().returned + count;
    let reached = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while peer.counts().returned < goal {
            tick.tick().await;
        }
    };
    tokio::time::timeout(SOON, reached).await.expect("packets go on coming back");
}
