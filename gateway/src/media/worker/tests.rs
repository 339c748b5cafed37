//! A worker without its socket: what a panic inside one peer costs.

use super::super::MediaConfig;
use super::super::answer::Sources;
use super::super::fingerprint::Fingerprint;
use super::super::peer::FarSetup;
use super::super::registry::Terms;
use super::super::rtp::Section;
use super::super::test_client::{AUDIO, AUDIO_TYPE, Check, Scene, Setting, address, generation};
use super::super::{FarLeg, MediaStats};
use super::*;
use std::sync::mpsc::{channel, sync_channel};

const BROKEN: PeerId = PeerId(1);
const OTHER: PeerId = PeerId(2);

fn worker() -> (Worker, tokio::sync::mpsc::Receiver<MediaEvent>) {
    let (events, heard) = tokio::sync::mpsc::channel(16);
    let shared = Shared {
        registry: Registry::default(),
        identity: Arc::new(Identity::generate().expect("a certificate")),
        counters: vec![Counters::default()],
        moved: vec![AtomicU64::new(0)],
        started: Instant::now(),
        stopping: AtomicBool::new(false),
        mailboxes: OnceLock::new(),
        events,
        max_peers: 10,
    };
    let (_, control) = channel();
    let (_, strays) = sync_channel(1);
    (Worker::new(0, Arc::new(shared), control, strays), heard)
}

/// Signalling accepts a peer, and its first check arrives from `from`.
fn adopt(worker: &mut Worker, id: PeerId, generation: Generation, scene: &Scene, from: SocketAddr) -> Slot {
    let (fingerprint, audio_types) = (Fingerprint::sha256(b"a certificate"), 1 << AUDIO_TYPE);
    let sources = Sources { audio: AUDIO, video: 0 };
    let terms = Terms {
        far: FarLeg::Echo,
        sources,
        fingerprint: fingerprint.clone(),
        audio_types,
        video_types: None,
        session_id: 1,
    };
    let check = scene.check_bytes(&generation, Check::default());
    let setup = PeerSetup {
        generation,
        fingerprint,
        audio: Section { payload_types: audio_types, clock: 48_000, ssrc: AUDIO, sends: true, video: false },
        video: None,
        far: FarSetup::Echo,
        first_sequence: 1,
        times: (&MediaConfig::new(from)).into(),
        created: Instant::now(),
        far_ports: None,
        far_media: None,
    };
    worker.shared.registry.insert(id, terms, setup, 10).expect("a place");
    worker.handle_datagram(&check, from, scene.now, true);
    worker.peers.find(id).expect("adopted")
}

fn stats(worker: &Worker) -> MediaStats {
    let mut sum = MediaStats::default();
    worker.counters().add_to(&mut sum);
    sum
}

#[test]
fn a_panic_costs_its_own_peer_alone() {
    let (mut worker, mut heard) = worker();
    let mut scene = Scene::connected(Setting::default());
    let connected = std::mem::replace(&mut scene.peer, Scene::new(Setting::default()).peer);
    let other = adopt(&mut worker, OTHER, generation("one"), &scene, address(1));
    let broken = adopt(&mut worker, BROKEN, generation("two"), &scene, address(2));
    worker.with_peer(other, |peer, _| {
        *peer = connected;
        Ok(())
    });
    worker.effects.send.clear();

    worker.with_peer(broken, |_, effects| {
        effects.routes_added.push(address(3));
        effects.events.push(MediaEventKind::Connected);
        panic!("the peer breaks, as this test wants");
    });

    assert_eq!(heard.try_recv(), Ok(MediaEvent { peer: BROKEN, kind: MediaEventKind::Failed(Failure::Broken) }));
    assert!(heard.try_recv().is_err(), "and nothing else is told");
    assert_eq!((stats(&worker).panics, stats(&worker).connected), (1, 1));
    assert!(worker.peers.find(BROKEN).is_none());
    assert_eq!(worker.routes.keys().collect::<Vec<_>>(), [&address(1)], "no address leads to the empty slot");
    assert_eq!(worker.shared.registry.len(), 1);
    let check = scene.check_bytes(&generation("two"), Check { transaction: 9, ..Check::default() });
    worker.handle_datagram(&check, address(2), scene.now, true);
    assert!(stats(&worker).dropped.contains(&("stun_user", 1)), "its user fragment is forgotten");

    let packet = scene.rtp(AUDIO_TYPE, 77, 5);
    worker.handle_datagram(&packet, address(1), scene.now, true);
    assert_eq!(worker.effects.send.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [address(1)], "the echo goes on");
    let next = adopt(&mut worker, PeerId(3), generation("three"), &scene, address(4));
    assert_eq!(next, broken, "the slot serves the next peer");
}
