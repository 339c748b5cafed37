//! A hang-up on either side is known on the other by DTLS close_notify, at once.

use crate::support::{Scene, wait};
use gateway::media::{FarLeg, MediaEventKind};
use loadtest::peer::{PeerState, Profiles};
use std::time::{Duration, Instant};

#[tokio::test]
async fn when_the_peer_hangs_up() {
    let mut scene = Scene::new();
    let (id, peer) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    let before = Instant::now();
    peer.stop();
    assert_eq!(scene.next_event(id).await, MediaEventKind::PeerClosed);
    assert!(before.elapsed() < Duration::from_millis(500), "took {:?}", before.elapsed());
    assert_eq!(scene.plane.stats().peers, 0);
}

#[tokio::test]
async fn when_the_gateway_hangs_up() {
    let mut scene = Scene::new();
    let (id, peer) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    scene.plane.close(id);
    wait(&peer, PeerState::Closed).await;
    assert_eq!(scene.plane.stats().peers, 0);
    assert!(scene.events.try_recv().is_err(), "who closes is told nothing");
}

#[tokio::test]
async fn when_the_plane_shuts_down() {
    let mut scene = Scene::new();
    let (_, first) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    let (_, second) = scene.call(Profiles::Sha1, FarLeg::Tone).await;
    let before = Instant::now();
    scene.plane.shutdown();
    assert!(before.elapsed() < Duration::from_millis(500), "took {:?}", before.elapsed());
    wait(&first, PeerState::Closed).await;
    wait(&second, PeerState::Closed).await;
    assert!(!scene.plane.moved_within(Duration::from_secs(60)));
}
