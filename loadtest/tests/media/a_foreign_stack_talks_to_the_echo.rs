//! The `webrtc` crate's PeerConnection, which shares neither our ICE nor our SDP, hears its own audio.

use crate::support::{SOON, Scene};
use gateway::media::{FarLeg, MediaEventKind, PeerId};
use loadtest::peer::PeerState;
use loadtest::webrtc_peer::WebrtcPeer;

#[tokio::test]
async fn through_connect_restart_and_hang_up() {
    let mut scene = Scene::new();
    let id = PeerId(1);
    let (mut peer, offer) = WebrtcPeer::open().await.expect("a peer connection");
    let answer = scene.plane.accept(id, &offer, FarLeg::Echo).expect("a good offer");
    peer.accept(answer).await.expect("a good answer");
    assert_eq!(scene.next_event(id).await, MediaEventKind::Connected);
    let mut states = peer.state();
    let flowing = states.wait_for(|state| *state == PeerState::Flowing);
    tokio::time::timeout(SOON, flowing).await.expect("in time").expect("the peer lives");
    assert!(peer.counts().returned > 0);
    peer.close().await;
    assert_eq!(scene.next_event(id).await, MediaEventKind::PeerClosed);
}
