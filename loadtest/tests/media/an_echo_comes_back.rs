//! Every profile connects, packets come back to whom they belong, and the tone is heard.

use crate::support::{Scene, more_returned};
use gateway::media::FarLeg;
use loadtest::peer::Profiles;
use loadtest::peer_io::PoolPeer;
use std::time::Duration;

#[tokio::test]
async fn with_gcm_with_sha1_and_with_both() {
    let mut scene = Scene::new();
    for profiles in [Profiles::Gcm, Profiles::Sha1, Profiles::Both] {
        let (_, peer) = scene.call(profiles, FarLeg::Echo).await;
        more_returned(&peer, 5).await;
        assert_eq!((peer.counts().foreign, peer.counts().rejected), (0, 0), "{profiles:?}");
    }
    assert_eq!(scene.plane.stats().handshakes, 3);
}

#[tokio::test]
async fn to_many_at_once_and_only_their_own() {
    let scene = Scene::new();
    let peers: Vec<_> = (0..50).map(|_| scene.dial(Profiles::Gcm, FarLeg::Echo).1).collect();
    let missing = |peer: &PoolPeer| 10_u64.saturating_sub(peer.counts().returned);
    for peer in &peers {
        more_returned(peer, missing(peer)).await;
    }
    assert!(peers.iter().all(|peer| peer.counts().foreign == 0));
    assert!(scene.plane.moved_within(Duration::from_millis(500)));
    let stats = scene.plane.stats();
    assert_eq!((stats.peers, stats.connected, stats.panics, stats.events_lost), (50, 50, 0, 0));
}

#[tokio::test]
async fn and_a_tone_is_sent_without_being_asked() {
    let mut scene = Scene::new();
    let (_, peer) = scene.call(Profiles::Gcm, FarLeg::Tone).await;
    peer.send_media(false);
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while peer.counts().received < 10 {
        tick.tick().await;
    }
    assert_eq!(peer.counts().returned, 0);
}
