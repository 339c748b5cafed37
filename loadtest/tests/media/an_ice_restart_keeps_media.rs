//! After an ICE restart, from the same address or a new one, media goes on with the same DTLS and SRTP.

use crate::support::{Scene, more_returned};
use gateway::media::{FarLeg, OfferError, PeerId};
use loadtest::peer::Profiles;
use loadtest::peer_io::PoolPeer;

async fn restart(scene: &Scene, id: PeerId, peer: &PoolPeer) {
    let offer = peer.restart_offer().await.expect("a connected peer");
    let answer = scene.plane.restart_ice(id, &offer).expect("a restart offer");
    peer.restart_answer(answer).await.expect("a good answer");
}

#[tokio::test]
async fn from_the_same_address() {
    let mut scene = Scene::new();
    let (id, peer) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    for _ in 0..3 {
        restart(&scene, id, &peer).await;
        more_returned(&peer, 5).await;
    }
    assert_eq!(scene.plane.stats().handshakes, 1);
    assert_eq!(peer.counts().rejected, 0);
}

#[tokio::test]
async fn from_a_new_address() {
    let mut scene = Scene::new();
    let (id, peer) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    for _ in 0..5 {
        peer.rebind().expect("a socket");
        restart(&scene, id, &peer).await;
        more_returned(&peer, 5).await;
    }
    assert_eq!(scene.plane.stats().handshakes, 1);
}

#[tokio::test]
async fn but_another_peers_offer_is_no_restart() {
    let mut scene = Scene::new();
    let (id, _peer) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    let stranger = Scene::new();
    let offer = stranger.pool.create(Profiles::Gcm).expect("a socket").offer();
    assert_eq!(scene.plane.restart_ice(id, &offer), Err(OfferError::OtherConnection));
    assert_eq!(scene.plane.restart_ice(PeerId(999), &offer), Err(OfferError::Peer(PeerId(999), false)));
}
