//! The peer machine against a browser of the tests, without sockets and in stepped time.

use super::peer::FarSetup;
use super::rtcp::{self, Part};
use super::stats::Drop;
use super::test_client::{AUDIO, AUDIO_TYPE, Check, Scene, Setting, VIDEO, VIDEO_TYPE, address, generation};
use super::tone::Law;
use super::{Failure, MediaEventKind};
use bytes::BytesMut;
use rtc::dtls::config::ExtendedMasterSecretType;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile::{
    Srtp_Aead_Aes_128_Gcm as GCM_128, Srtp_Aead_Aes_256_Gcm as GCM_256, Srtp_Aes128_Cm_Hmac_Sha1_80 as SHA1,
};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn fresh(transaction: u8) -> Check {
    Check { transaction, ..Check::default() }
}

#[test]
fn every_set_of_profiles_connects_and_echoes() {
    for profiles in [vec![GCM_128], vec![GCM_256], vec![SHA1], vec![SHA1, GCM_256, GCM_128]] {
        let mut scene = Scene::connected(Setting { profiles, ..Setting::default() });
        let packet = scene.rtp(AUDIO_TYPE, 77, 5);
        scene.receive(&packet).expect("authentic");
        let (rtp, _) = scene.media();
        assert_eq!(rtp.len(), 1);
        assert_eq!(rtp[0][8..12], AUDIO.to_be_bytes());
        assert_eq!(&rtp[0][12..], b"payload");
    }
}

#[test]
fn a_client_hello_in_several_fragments_connects() {
    let profiles = vec![SHA1, GCM_128];
    let mut scene = Scene::connected(Setting { profiles, mtu: 100, ..Setting::default() });
    let packet = scene.rtp(AUDIO_TYPE, 77, 5);
    assert_eq!(packet.len(), 12 + 7 + 16, "GCM was taken");
    scene.receive(&packet).expect("authentic");
}

#[test]
fn another_certificate_than_promised_gets_no_keys() {
    let mut scene = Scene::new(Setting { right_fingerprint: false, ..Setting::default() });
    scene.check(generation("one"), Check::default()).expect("a valid check");
    scene.handshake();
    assert_eq!(scene.events(), [MediaEventKind::Failed(Failure::FingerprintMismatch)]);
    assert!(scene.peer.ended());
    assert!(scene.closed, "it is told");
}

#[test]
fn no_certificate_and_no_extended_master_secret_never_connect() {
    let settings = [
        Setting { certificate: false, ..Setting::default() },
        Setting { extended_master_secret: ExtendedMasterSecretType::Disable, ..Setting::default() },
    ];
    for setting in settings {
        let mut scene = Scene::new(setting);
        scene.check(generation("one"), Check::default()).expect("a valid check");
        scene.handshake();
        assert_eq!(scene.events(), []);
        assert_eq!(scene.outlive(31 * SECOND), Some(Failure::Timeout));
    }
}

#[test]
fn a_peer_that_does_nothing_times_out() {
    let mut scene = Scene::new(Setting::default());
    scene.step(30 * SECOND - MILLISECOND);
    assert_eq!(scene.events(), []);
    assert_eq!(scene.outlive(MILLISECOND), Some(Failure::Timeout));
}

#[test]
fn silence_suspends_a_packet_resumes_and_long_silence_ends() {
    let mut scene = Scene::connected(Setting::default());
    scene.step(15 * SECOND - MILLISECOND);
    assert_eq!(scene.events(), []);
    scene.step(MILLISECOND);
    assert_eq!(scene.events(), [MediaEventKind::Suspended]);
    scene.sent();
    scene.step(10 * SECOND);
    assert!(scene.sent().is_empty(), "nothing is sent while suspended");
    scene.check(generation("one"), fresh(2)).expect("a valid check");
    assert_eq!(scene.events(), [MediaEventKind::Resumed]);
    assert_eq!(scene.outlive(30 * SECOND), Some(Failure::ConsentLost));
    assert!(scene.peer.ended());
}

#[test]
fn a_leg_without_rtp_reports_every_200_ms_and_one_with_rtp_seldom() {
    let mut scene = Scene::connected(Setting::default());
    scene.step(10 * SECOND);
    let idle = scene.media().1.len();
    assert!((50..=51).contains(&idle), "{idle}");
    for sequence in 0..500 {
        let packet = scene.rtp(AUDIO_TYPE, 77, sequence);
        scene.receive(&packet).expect("authentic");
        scene.step(20 * MILLISECOND);
    }
    let (rtp, rtcp) = scene.media();
    assert_eq!(rtp.len(), 500);
    assert!((2..=3).contains(&rtcp.len()), "{}", rtcp.len());
    let report = rtcp.last().expect("one");
    assert!(rtcp::parts(report).any(|part| matches!(part, Part::SenderReport { source: AUDIO, .. })));
}

#[test]
fn close_notify_is_told_both_ways() {
    let mut scene = Scene::connected(Setting::default());
    scene.hang_up();
    assert_eq!(scene.events(), [MediaEventKind::PeerClosed]);
    assert!(scene.peer.ended());

    let mut scene = Scene::connected(Setting::default());
    scene.peer.close(scene.now, &mut scene.effects);
    scene.exchange();
    assert!(scene.closed);
    assert_eq!(scene.events(), [], "who closes is told nothing");
}

#[test]
fn close_notify_is_told_both_ways_after_media_and_garbage() {
    let flowing = || {
        let mut scene = Scene::connected(Setting::default());
        let packet = scene.rtp(AUDIO_TYPE, 77, 5);
        scene.receive(&packet).expect("authentic");
        for kind in 20..=23 {
            let _ = scene.receive(&[kind, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0]);
            let packet = scene.rtp(AUDIO_TYPE, 77, 6 + u16::from(kind));
            scene.receive(&packet).expect("authentic");
        }
        assert_eq!(scene.events(), []);
        scene.sent();
        scene
    };
    let mut scene = flowing();
    scene.hang_up();
    assert_eq!(scene.events(), [MediaEventKind::PeerClosed]);
    assert!(scene.peer.ended());

    let mut scene = flowing();
    scene.peer.close(scene.now, &mut scene.effects);
    scene.exchange();
    assert!(scene.closed);
}

#[test]
fn a_restart_takes_over_with_its_first_check_and_keeps_the_keys() {
    let mut scene = Scene::connected(Setting::default());
    scene.peer.restart(generation("two"), true, true);
    scene.check(generation("one"), fresh(2)).expect("the old credentials hold until then");
    scene.from = address(2);
    scene.check(generation("two"), fresh(3)).expect("a valid check");
    assert!(scene.effects.generation_changed);
    assert_eq!(scene.check(generation("one"), fresh(4)).err(), Some(Drop::StunUser));
    let packet = scene.rtp(AUDIO_TYPE, 77, 1);
    scene.receive(&packet).expect("the same keys");
    assert_eq!(scene.sent().pop().map(|(to, _)| to), Some(address(2)));
}

#[test]
fn bad_checks_get_no_answer_and_move_nothing() {
    let mut scene = Scene::connected(Setting::default());
    let stranger = address(9);
    let valid = scene.check_bytes(&generation("one"), Check { nominate: true, ..fresh(5) });
    scene.receive(&valid).expect("a valid check");
    scene.sent();
    scene.from = stranger;
    assert_eq!(scene.receive(&valid), Err(Drop::StunReplayed));
    let wrong = Check { wrong_password: true, nominate: true, ..fresh(6) };
    assert_eq!(scene.check(generation("one"), wrong).err(), Some(Drop::StunIntegrity));
    assert_eq!(scene.check(generation("two"), fresh(7)).err(), Some(Drop::StunUser));
    for end in 20..valid.len() {
        assert_eq!(scene.receive(&valid[..end]), Err(Drop::StunMalformed));
    }
    for at in 20..valid.len() {
        let mut flipped = valid.clone();
        flipped[at] ^= 1;
        assert!(scene.receive(&flipped).is_err(), "byte {at}");
    }
    assert!(scene.sent().is_empty());
    assert!(!scene.peer.addresses().any(|known| known == stranger));
}

#[test]
fn a_peer_that_thinks_itself_controlled_is_corrected() {
    let mut scene = Scene::new(Setting::default());
    let response = scene.check(generation("one"), Check { controlled: true, ..fresh(1) }).expect("an answer");
    assert_eq!(response[..2], [0x01, 0x11]);
    assert!(response.windows(4).any(|bytes| bytes == [0, 0, 4, 87]), "487");
    assert_eq!(scene.peer.addresses().count(), 0);
}

#[test]
fn nothing_but_checks_is_taken_from_an_unchecked_address() {
    let mut scene = Scene::connected(Setting::default());
    let packet = scene.rtp(AUDIO_TYPE, 77, 1);
    scene.from = address(9);
    assert_eq!(scene.receive(&packet), Err(Drop::Unchecked));
    assert_eq!(scene.receive(&[22, 0xfe, 0xfd, 0, 0]), Err(Drop::Unchecked));
    scene.from = address(1);
    scene.receive(&packet).expect("authentic");
}

#[test]
fn forged_replayed_and_foreign_media_is_dropped() {
    let mut scene = Scene::connected(Setting::default());
    let packet = scene.rtp(AUDIO_TYPE, 77, 1);
    scene.receive(&packet).expect("authentic");
    assert_eq!(scene.receive(&packet), Err(Drop::Srtp), "replayed");
    let mut forged = scene.rtp(AUDIO_TYPE, 77, 2);
    forged[20] ^= 1;
    assert_eq!(scene.receive(&forged), Err(Drop::Srtp));
    for source in 0..1000_u32 {
        forged[8..12].copy_from_slice(&source.to_be_bytes());
        assert_eq!(scene.receive(&forged), Err(Drop::Srtp), "an unknown source proves itself first");
    }
    let unknown_type = scene.rtp(50, 77, 3);
    assert_eq!(scene.receive(&unknown_type), Err(Drop::Payload));
    for garbage in [&[][..], &[0x80], &[0x80; 11], &[0x80; 12], &[0x80, 200, 0, 1], &[0xff; 40], &[70; 40]] {
        assert!(scene.receive(garbage).is_err(), "{garbage:?}");
    }
    let next = scene.rtp(AUDIO_TYPE, 77, 4);
    scene.receive(&next).expect("the peer goes on");
}

#[test]
fn a_request_for_a_keyframe_of_ours_becomes_one_for_the_source() {
    let mut scene = Scene::connected(Setting::default());
    let video = scene.rtp(VIDEO_TYPE, 88, 1);
    scene.receive(&video).expect("authentic");
    scene.media();
    let mut request = BytesMut::new();
    rtcp::put_report(&mut request, 77, None, None);
    rtcp::put_picture_loss(&mut request, 77, VIDEO);
    let request = scene.rtcp(&request);
    scene.receive(&request).expect("authentic");
    let (_, rtcp) = scene.media();
    let parts: Vec<_> = rtcp.iter().flat_map(|packet| rtcp::parts(packet)).collect();
    assert_eq!(parts, [Part::KeyframeWanted { media: 88 }]);
}

#[test]
fn a_tone_has_50_frames_a_second_from_the_start() {
    let mut scene = Scene::connected(Setting { far: FarSetup::Tone(Law::Mu, 0), ..Setting::default() });
    scene.step(SECOND);
    let (rtp, _) = scene.media();
    assert!((50..=51).contains(&rtp.len()), "{}", rtp.len());
    assert_eq!((rtp[0][1], rtp[1][1], rtp[0].len()), (0x80, 0, 172), "the first frame carries the marker");
    let packet = scene.rtp(AUDIO_TYPE, 77, 1);
    scene.receive(&packet).expect("authentic");
    assert!(scene.media().0.is_empty(), "a tone does not echo");
}

#[test]
fn endless_handshake_bytes_are_not_kept() {
    let mut scene = Scene::new(Setting::default());
    scene.check(generation("one"), Check::default()).expect("a valid check");
    // Fragments of a ClientHello that never ends.
    let mut fragment = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 4, 12, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    fragment.resize(13 + 12 + 1024, 0);
    let taken = (0..200).filter(|_| scene.receive(&fragment).is_ok()).count();
    assert!(taken <= 64, "{taken}");
    assert_eq!(scene.outlive(31 * SECOND), Some(Failure::Timeout));
}
