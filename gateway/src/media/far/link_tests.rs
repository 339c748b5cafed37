//! The far leg behind a whole peer: a browser of the tests on one side, plain datagrams on the other, time stepped.

use super::link::LinkSetup;
use super::{BrowserTypes, FarPort};
use crate::media::MediaEventKind;
use crate::media::far::transcode::{Coded, Transcoder};
use crate::media::peer::FarSetup;
use crate::media::rtcp;
use crate::media::rtp::{HEADER, fields};
use crate::media::stats::Drop;
use crate::media::test_client::{AUDIO, Scene, Setting, VIDEO, VIDEO_TYPE, rtp};
use bytes::{BufMut, BytesMut};
use gateway_core::sdp::{Codec, CodecKind, DtmfType, FarMedia, FarStream, Feedback, SrtpKeys, SrtpSecret, SrtpSuite};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const FRAME: Duration = Duration::from_millis(20);
/// Payload types of the browser.
const OPUS: u8 = 111;
const EVENTS: u8 = 110;
/// Our sources towards the far side.
const OUT: u32 = 900;
const OUT_VIDEO: u32 = 901;
pub(super) const FAR: u16 = 4000;
const EVENT_8K: DtmfType = DtmfType { payload_type: 101, clock: 8_000 };
const ALL: Feedback = Feedback { nack: true, pli: true, fir: true, remb: true };

fn far(port: u16) -> SocketAddr {
    ([203, 0, 113, 5], port).into()
}

pub(super) fn types() -> BrowserTypes {
    let mut types = BrowserTypes::default();
    for (kind, clock, number) in [
        (CodecKind::Opus, 48_000, OPUS),
        (CodecKind::Pcmu, 8_000, 0),
        (CodecKind::TelephoneEvent, 48_000, EVENTS),
        (CodecKind::Vp8, 90_000, VIDEO_TYPE),
    ] {
        types.add(kind, clock, number);
    }
    types
}

/// A connected browser whose far leg knows nothing yet.
pub(super) fn scene(types: BrowserTypes) -> Scene {
    let setup = LinkSetup { types, ssrcs: [OUT, OUT_VIDEO], first_sequence: 500, silence: Duration::from_secs(30) };
    let audio_types = vec![OPUS, 0, EVENTS];
    Scene::connected(Setting { far: FarSetup::Rtp(setup), audio_types, ..Setting::default() })
}

pub(super) fn stream(kind: CodecKind, payload_type: u8) -> FarStream {
    let clock = match kind {
        CodecKind::Opus => 48_000,
        CodecKind::Vp8 => 90_000,
        _ => 8_000,
    };
    let send = Codec { payload_type, ..Codec::usual(kind, clock) };
    let port = if kind == CodecKind::Vp8 { FAR + 10 } else { FAR };
    FarStream {
        rtp: far(port),
        rtcp: far(port + 1),
        send,
        receive: vec![send],
        dtmf_send: Some(EVENT_8K),
        dtmf_receive: vec![EVENT_8K],
        sends: true,
        receives: true,
        srtp: None,
        feedback: ALL,
        ptime_ms: None,
        maxptime_ms: None,
    }
}

pub(super) fn media(audio: FarStream) -> FarMedia {
    FarMedia { audio, video: None, held_by_far: false }
}

pub(super) fn connect(scene: &mut Scene, media: FarMedia) {
    scene.peer.connect_far(media, scene.now, &mut scene.effects);
}

/// A scene connected to a far side.
pub(super) fn bridged(media: FarMedia) -> Scene {
    let mut scene = scene(types());
    connect(&mut scene, media);
    scene.events();
    scene
}

/// The browser sends a packet; what goes to the far side.
pub(super) fn from_browser(scene: &mut Scene, packet: &[u8]) -> Vec<(FarPort, SocketAddr, BytesMut)> {
    let protected = scene.protect(packet);
    scene.receive(&protected).expect("taken");
    sent(scene)
}

pub(super) fn sent(scene: &mut Scene) -> Vec<(FarPort, SocketAddr, BytesMut)> {
    std::mem::take(&mut scene.effects.far).into_iter().map(|send| (send.port, send.to, send.datagram)).collect()
}

/// A datagram from the far side's port; why it was dropped.
pub(super) fn from_far(scene: &mut Scene, port: FarPort, from: u16, packet: &[u8]) -> Result<(), Drop> {
    let mut datagram = packet.to_vec();
    scene.peer.handle_far(port, &mut datagram, far(from), scene.now, &mut scene.effects)
}

pub(super) fn heard(scene: &mut Scene, packet: &[u8]) -> Vec<BytesMut> {
    from_far(scene, FarPort::AudioRtp, FAR, packet).expect("taken");
    scene.media().0
}

pub(super) fn tone(frame: usize) -> Vec<u8> {
    let sample = |at: usize| (at as f64 * std::f64::consts::TAU * 440.0 / 8_000.0).sin() * 12_000.0;
    (frame * 160..(frame + 1) * 160).map(|at| audio_codec_algorithms::encode_ulaw(sample(at) as i16)).collect()
}

/// How much of the sound is 440 Hz.
fn purity(coded: &[u8]) -> f64 {
    let (mut re, mut im, mut power) = (0.0, 0.0, f64::MIN_POSITIVE);
    for (at, byte) in coded.iter().enumerate() {
        let (sample, angle) = (
            f64::from(audio_codec_algorithms::decode_ulaw(*byte)),
            at as f64 * std::f64::consts::TAU * 440.0 / 8_000.0,
        );
        re += sample * angle.cos();
        im += sample * angle.sin();
        power += sample * sample;
    }
    2.0 * (re * re + im * im) / (coded.len() as f64 * power)
}

#[test]
fn opus_passes_both_ways_under_our_names() {
    let mut scene = bridged(media(stream(CodecKind::Opus, 96)));
    let mut packet = rtp(0x80 | OPUS, 77, 65_535, 5000, b"\xbe\xde\0\x01\x10\0\0\0opus");
    packet[0] |= 0x10;
    let out = from_browser(&mut scene, &packet);
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].0, out[0].1), (FarPort::AudioRtp, far(FAR)));
    assert_eq!(fields(&out[0].2), (501, 5000, OUT));
    assert_eq!((out[0].2[0], out[0].2[1], &out[0].2[HEADER..]), (0x80, 0xe0, &b"opus"[..]), "without its extension");
    let out = from_browser(&mut scene, &rtp(OPUS, 77, 0, 5960, b"next"));
    assert_eq!(fields(&out[0].2), (502, 5960, OUT));

    let back = heard(&mut scene, &rtp(96, 5, 9, 100, b"far"));
    assert_eq!((back[0][1] & 0x7f, fields(&back[0]).2, &back[0][HEADER..]), (OPUS, AUDIO, &b"far"[..]));
    assert_eq!(scene.events(), [MediaEventKind::FarHeard]);
    let next = heard(&mut scene, &rtp(96, 5, 10, 1060, b"far"));
    assert_eq!(fields(&next[0]).0, fields(&back[0]).0 + 1);
    assert_eq!(scene.events(), [], "told once");
}

#[test]
fn nothing_goes_out_before_the_far_side_is_known_and_on_hold() {
    let mut scene = scene(types());
    assert!(from_browser(&mut scene, &rtp(OPUS, 77, 1, 0, b"opus")).is_empty());
    assert_eq!(from_far(&mut scene, FarPort::AudioRtp, FAR, &rtp(96, 5, 9, 100, b"far")), Err(Drop::FarEarly));
    connect(&mut scene, media(stream(CodecKind::Opus, 96)));
    assert_eq!(scene.events(), [MediaEventKind::FarCodec(CodecKind::Opus)]);
    assert_eq!(from_browser(&mut scene, &rtp(OPUS, 77, 2, 960, b"opus")).len(), 1);
    connect(&mut scene, media(FarStream { sends: false, receives: false, ..stream(CodecKind::Opus, 96) }));
    assert!(from_browser(&mut scene, &rtp(OPUS, 77, 3, 1920, b"opus")).is_empty());
    assert!(heard(&mut scene, &rtp(96, 5, 9, 100, b"far")).is_empty());
    connect(&mut scene, media(stream(CodecKind::Opus, 96)));
    assert_eq!(fields(&from_browser(&mut scene, &rtp(OPUS, 77, 4, 2880, b"opus"))[0].2).2, OUT);
    assert_eq!(heard(&mut scene, &rtp(96, 5, 10, 260, b"far")).len(), 1);
}

#[test]
fn opus_becomes_pcmu_for_a_far_side_without_it_and_pcmu_passes_back() {
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    let mut encoder = Transcoder::new(CodecKind::Pcmu, CodecKind::Opus).expect("an encoder");
    let mut sound = Vec::new();
    for frame in 0..60u16 {
        let mut opus = Vec::new();
        let at = u32::from(frame) * 160;
        encoder.push(frame, at, &tone(frame.into()), &mut |coded: Coded<'_>| opus.extend_from_slice(coded.payload));
        for (port, to, packet) in from_browser(&mut scene, &rtp(OPUS, 77, frame, at * 6, &opus)) {
            assert_eq!((port, to, packet[1] & 0x7f), (FarPort::AudioRtp, far(FAR), 0));
            assert_eq!(fields(&packet), (501 + frame, at, OUT));
            sound.extend_from_slice(&packet[HEADER..]);
        }
        scene.step(FRAME);
    }
    assert_eq!(sound.len(), 60 * 160);
    assert!(purity(&sound[3200..]) > 0.9, "{}", purity(&sound[3200..]));
    let back = heard(&mut scene, &rtp(0, 5, 1, 0, &tone(0)));
    assert_eq!((back[0][1] & 0x7f, &back[0][HEADER..]), (0, &tone(0)[..]), "as it came");
    let own = from_browser(&mut scene, &rtp(0, 77, 60, 9600 * 6, &tone(1)));
    assert_eq!(
        (own[0].2[1] & 0x7f, &own[0].2[HEADER..]),
        (0, &tone(1)[..]),
        "a browser that switched is not transcoded"
    );
}

#[test]
fn a_browser_without_g711_hears_opus() {
    let mut scene = scene(BrowserTypes { pcmu: None, ..types() });
    connect(&mut scene, media(stream(CodecKind::Pcmu, 0)));
    let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcmu).expect("a decoder");
    let mut sound = Vec::new();
    for frame in 0..60u16 {
        for packet in heard(&mut scene, &rtp(0, 5, frame, u32::from(frame) * 160, &tone(frame.into()))) {
            let (sequence, timestamp, ssrc) = fields(&packet);
            assert_eq!((packet[1] & 0x7f, timestamp, ssrc), (OPUS, u32::from(frame) * 960, AUDIO));
            decoder.push(sequence, timestamp, &packet[HEADER..], &mut |coded: Coded<'_>| {
                sound.extend_from_slice(coded.payload);
            });
        }
    }
    assert_eq!(sound.len(), 60 * 160);
    assert!(purity(&sound[3200..]) > 0.9, "{}", purity(&sound[3200..]));
}

#[test]
fn a_digit_of_the_browser_goes_on_with_the_far_sides_clock() {
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    from_browser(&mut scene, &rtp(0, 77, 1, 0, &tone(0)));
    let mut packets = Vec::new();
    for (sequence, payload) in [(2, [5, 10, 3, 192]), (3, [5, 10, 7, 128]), (4, [5, 0x8a, 7, 128])] {
        packets.extend(from_browser(&mut scene, &rtp(EVENTS, 77, sequence, 960, &payload)));
        scene.step(FRAME);
    }
    let payloads: Vec<&[u8]> = packets.iter().map(|(.., packet)| &packet[HEADER..]).collect();
    assert_eq!(payloads, [&[5, 10, 0, 160][..], &[5, 10, 1, 64], &[5, 0x8a, 1, 64]]);
    assert!(packets.iter().all(|(.., packet)| packet[1] & 0x7f == 101));
    let stamps: Vec<_> = packets.iter().map(|(.., packet)| fields(packet)).collect();
    assert_eq!(stamps.iter().map(|stamp| stamp.0).collect::<Vec<_>>(), [502, 503, 504]);
    assert!(stamps.iter().all(|stamp| stamp.1 == stamps[0].1), "one event, one timestamp");
    assert_eq!(scene.events(), []);
}

#[test]
fn digits_are_told_where_rtp_carries_none_and_when_the_far_side_sends_them() {
    let mut scene = bridged(media(FarStream { dtmf_send: None, ..stream(CodecKind::Pcmu, 0) }));
    for sequence in 1..4 {
        assert!(from_browser(&mut scene, &rtp(EVENTS, 77, sequence, 960, &[11, 10, 0, 160])).is_empty());
    }
    assert_eq!(scene.events(), [MediaEventKind::BrowserDigit('#')]);
    let back = heard(&mut scene, &rtp(0x80 | 101, 5, 1, 160, &[7, 10, 0, 160]));
    assert_eq!((back[0][1], &back[0][HEADER..]), (0x80 | EVENTS, &[7, 10, 3, 192][..]));
    heard(&mut scene, &rtp(101, 5, 2, 160, &[7, 0x8a, 0, 160]));
    heard(&mut scene, &rtp(101, 5, 3, 4000, &[7, 10, 0, 160]));
    let digit = MediaEventKind::FarDigit('7');
    assert_eq!(scene.events(), [MediaEventKind::FarHeard, digit, digit]);
}

#[test]
fn digits_of_signalling_are_made_and_sound_waits_for_them() {
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    from_browser(&mut scene, &rtp(0, 77, 1, 0, &tone(0)));
    scene.peer.send_digits("4", scene.now);
    let mut packets = Vec::new();
    for sequence in 2..22u16 {
        let at = u32::from(sequence) * 160;
        packets.extend(from_browser(&mut scene, &rtp(0, 77, sequence, at, &tone(0))));
        scene.step(FRAME);
        packets.extend(sent(&mut scene));
    }
    let events: Vec<_> = packets.iter().filter(|(.., packet)| packet[1] & 0x7f == 101).collect();
    assert_eq!(events.len(), 8);
    assert!(events.iter().all(|(.., packet)| packet[HEADER] == 4));
    let numbers: Vec<u16> = packets.iter().map(|(.., packet)| fields(packet).0).collect();
    assert_eq!(numbers, (502..502 + numbers.len() as u16).collect::<Vec<_>>(), "no number is missing or twice");
    assert!(
        (11..=14).contains(&(packets.len() - events.len())),
        "{} of 20 packets of sound",
        packets.len() - events.len()
    );
}

#[test]
fn strangers_and_second_sources_are_dropped_for_their_reasons() {
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    let packet = |ssrc, sequence| rtp(0, ssrc, sequence, u32::from(sequence) * 160, &tone(0));
    assert_eq!(heard(&mut scene, &packet(5, 1)).len(), 1);
    for sequence in 2..50 {
        assert_eq!(from_far(&mut scene, FarPort::AudioRtp, FAR + 1, &packet(5, sequence)), Err(Drop::FarAddress));
        assert_eq!(from_far(&mut scene, FarPort::AudioRtp, FAR, &packet(6, sequence)), Err(Drop::FarSource));
        assert_eq!(heard(&mut scene, &packet(5, sequence)).len(), 1);
        scene.step(FRAME);
    }
    assert_eq!(from_far(&mut scene, FarPort::AudioRtp, FAR, &packet(5, 49)), Err(Drop::FarLate), "never twice");
    assert_eq!(from_far(&mut scene, FarPort::AudioRtp, FAR, &rtp(9, 5, 50, 0, b"x")), Err(Drop::FarPayload));
    assert_eq!(from_far(&mut scene, FarPort::AudioRtp, FAR, &[0x80; 4]), Err(Drop::FarPayload));
    assert_eq!(from_far(&mut scene, FarPort::VideoRtp, FAR, &packet(5, 51)), Err(Drop::FarEarly));
    assert!(scene.media().0.is_empty());
}

#[test]
fn a_far_side_behind_nat_is_learned_and_answered_there() {
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    let mut passed = 0;
    for sequence in 0..10 {
        passed += usize::from(from_far(&mut scene, FarPort::AudioRtp, 9999, &rtp(0, 5, sequence, 0, b"x")).is_ok());
        scene.step(FRAME);
    }
    assert_eq!(passed, 5, "from 100 ms on");
    assert_eq!(from_browser(&mut scene, &rtp(0, 77, 1, 0, &tone(0)))[0].1, far(9999));
}

#[test]
fn sdes_keys_protect_both_ways_and_plain_packets_are_dropped() {
    for suite in [SrtpSuite::AeadAes128Gcm, SrtpSuite::AesCm128HmacSha1_80] {
        let keys = SrtpKeys { suite, local: SrtpSecret([1; 30]), remote: SrtpSecret([2; 30]) };
        let mirrored = SrtpKeys { local: keys.remote, remote: keys.local, ..keys };
        let secured = |keys| media(FarStream { srtp: Some(keys), ..stream(CodecKind::Opus, 96) });
        let (mut ours, mut theirs) = (bridged(secured(keys)), bridged(secured(mirrored)));
        let out = from_browser(&mut ours, &rtp(OPUS, 77, 1, 0, b"opus"));
        assert!(!out[0].2.windows(4).any(|bytes| bytes == b"opus"));
        let through = heard(&mut theirs, &out[0].2);
        assert_eq!(&through[0][HEADER..], b"opus");
        assert_eq!(from_far(&mut ours, FarPort::AudioRtp, FAR, &rtp(96, 5, 1, 0, b"x")), Err(Drop::FarSrtp));
        connect(&mut ours, secured(keys));
        let again = from_browser(&mut ours, &rtp(OPUS, 77, 2, 960, b"opus"));
        assert_eq!(heard(&mut theirs, &again[0].2).len(), 1, "the same keys go on");
        let rekeyed = SrtpKeys { remote: SrtpSecret([3; 30]), ..keys };
        connect(&mut ours, secured(rekeyed));
        connect(&mut theirs, secured(SrtpKeys { local: SrtpSecret([3; 30]), ..mirrored }));
        let back = from_browser(&mut theirs, &rtp(OPUS, 78, 1, 0, b"back"));
        assert_eq!(&heard(&mut ours, &back[0].2)[0][HEADER..], b"back");
    }
}

#[test]
fn two_legs_back_to_back_carry_browser_to_browser() {
    let (mut one, mut two) = (bridged(media(stream(CodecKind::Opus, 96))), bridged(media(stream(CodecKind::Opus, 96))));
    for sequence in 0..100u16 {
        let out = from_browser(&mut one, &rtp(OPUS, 77, sequence, u32::from(sequence) * 960, b"one to two"));
        let through = heard(&mut two, &out[0].2);
        assert_eq!((through.len(), &through[0][HEADER..]), (1, &b"one to two"[..]));
    }
}

#[test]
fn silence_is_told_once_until_the_far_side_is_heard_again() {
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    assert_eq!(alive(&mut scene, 29), []);
    assert_eq!(alive(&mut scene, 2), [MediaEventKind::FarSilent]);
    assert_eq!(alive(&mut scene, 60), []);
    heard(&mut scene, &rtp(0, 5, 1, 0, &tone(0)));
    assert_eq!(alive(&mut scene, 29), [MediaEventKind::FarHeard]);
    assert_eq!(alive(&mut scene, 2), [MediaEventKind::FarSilent]);
    connect(&mut scene, media(FarStream { receives: false, ..stream(CodecKind::Pcmu, 0) }));
    assert_eq!(alive(&mut scene, 100), [], "nothing is expected on hold");
}

/// Seconds pass in which the browser alone is heard; what was told.
fn alive(scene: &mut Scene, seconds: u16) -> Vec<MediaEventKind> {
    for _ in 0..seconds {
        let report = scene.rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 77]);
        scene.receive(&report).expect("authentic");
        scene.step(Duration::from_secs(1));
    }
    scene.events()
}

#[test]
fn reports_go_to_the_far_side_and_its_own_are_taken() {
    let mut scene = bridged(media(stream(CodecKind::Opus, 96)));
    from_browser(&mut scene, &rtp(OPUS, 77, 1, 0, b"opus"));
    heard(&mut scene, &rtp(96, 5, 1, 0, b"far"));
    scene.step(Duration::from_secs(5));
    let reports = sent(&mut scene);
    assert_eq!((reports.len(), reports[0].0, reports[0].1), (1, FarPort::AudioRtcp, far(FAR + 1)));
    assert_eq!(reports[0].2[1], 200);
    assert!(rtcp::parts(&reports[0].2).any(|part| matches!(part, rtcp::Part::SenderReport { source: OUT, .. })));
    let report = [&[0x80, 200, 0, 6, 0, 0, 0, 5][..], &[0; 20]].concat();
    assert_eq!(from_far(&mut scene, FarPort::AudioRtcp, FAR + 1, &report), Ok(()));
    let mut datagram = report.clone();
    let stranger = ([198, 51, 100, 1], 5).into();
    let verdict = scene.peer.handle_far(FarPort::AudioRtcp, &mut datagram, stranger, scene.now, &mut scene.effects);
    assert_eq!(verdict, Err(Drop::FarAddress));
}

#[test]
fn video_is_relayed_and_its_feedback_translated() {
    let video = stream(CodecKind::Vp8, 99);
    let mut scene = bridged(FarMedia { video: Some(video), ..media(stream(CodecKind::Opus, 96)) });
    let out = from_browser(&mut scene, &rtp(VIDEO_TYPE, 88, 1000, 7, b"frame"));
    assert_eq!((out[0].0, out[0].1, out[0].2[1]), (FarPort::VideoRtp, far(FAR + 10), 99), "no marker is added");
    assert_eq!(fields(&out[0].2), (501, 7, OUT_VIDEO));
    let asked: Vec<_> = scene.media().1.iter().flat_map(|packet| rtcp::parts(packet).collect::<Vec<_>>()).collect();
    assert!(asked.contains(&rtcp::Part::KeyframeWanted { media: 88 }), "the far side missed the first one");
    from_browser(&mut scene, &rtp(VIDEO_TYPE, 88, 1001, 7, b"frame"));
    assert!(scene.media().1.is_empty(), "asked once");
    from_far(&mut scene, FarPort::VideoRtp, FAR + 10, &rtp(0x80 | 99, 6, 300, 9, b"far frame")).expect("taken");
    let back = scene.media().0;
    assert_eq!((back[0][1], fields(&back[0]).2), (0x80 | VIDEO_TYPE, VIDEO));

    let ours = fields(&back[0]).0.to_be_bytes();
    let mut wanted = BytesMut::new();
    rtcp::put_report(&mut wanted, 88, None, None);
    rtcp::put_picture_loss(&mut wanted, 88, VIDEO);
    wanted.put_slice(&[0x81, 205, 0, 3, 0, 0, 0, 88, 0, 0, 0, VIDEO as u8, ours[0], ours[1], 0, 0]);
    wanted.put_slice(b"\x8f\xce\0\x05\0\0\0\x58\0\0\0\0REMB\x01\x0b\x01\x02\0\0\0\x16");
    let wanted = scene.rtcp(&wanted);
    scene.receive(&wanted).expect("authentic");
    let asked = sent(&mut scene);
    assert_eq!((asked.len(), asked[0].0, asked[0].1), (1, FarPort::VideoRtcp, far(FAR + 11)));
    assert_eq!(rtcp::parts(&asked[0].2).collect::<Vec<_>>(), [rtcp::Part::KeyframeWanted { media: 6 }]);
    assert!(asked[0].2.windows(8).any(|bytes| bytes == [0, 0, 0, 6, 1, 44, 0, 0]), "NACK of the far side's 300");
    assert!(asked[0].2.windows(12).any(|bytes| bytes == b"REMB\x01\x0b\x01\x02\0\0\0\x06"));

    let mut wanted = BytesMut::new();
    rtcp::put_picture_loss(&mut wanted, 6, OUT_VIDEO);
    from_far(&mut scene, FarPort::VideoRtcp, FAR + 11, &wanted).expect("taken");
    let asked = scene.media().1;
    assert_eq!(rtcp::parts(&asked[0]).collect::<Vec<_>>(), [rtcp::Part::KeyframeWanted { media: 88 }]);
}

#[test]
fn another_codec_of_video_is_dropped() {
    let h264 = FarStream { send: Codec::usual(CodecKind::H264, 90_000), ..stream(CodecKind::Vp8, 98) };
    let mut scene = bridged(FarMedia { video: Some(h264), ..media(stream(CodecKind::Opus, 96)) });
    let packet = scene.protect(&rtp(VIDEO_TYPE, 88, 1000, 7, b"frame"));
    assert_eq!(scene.receive(&packet), Err(Drop::FarCodec));
    scene.step(MS);
}

/// A datagram that may look like RTP or RTCP, of payload types that mean something here.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![0x80_u8, 0x90, 0xa0, 0x8f, 0xb3, 0x81, 0x8f, 0x40, 0]);
    let second = prop::sample::select(vec![0_u8, 13, 96, 101, 0xe0, 99, 200, 201, 205, 206, 111, 250]);
    let rest = prop::collection::vec(any::<u8>(), 0..80);
    let like_rtp = (first, second, any::<u16>(), any::<u32>(), 0..3_u32, rest).prop_map(
        |(first, second, sequence, timestamp, ssrc, payload)| {
            let mut packet = rtp(second, ssrc, sequence, timestamp, &payload);
            packet[0] = first;
            packet
        },
    );
    prop_oneof![4 => like_rtp, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_datagrams_of_the_far_side_break_a_peer(
        datagrams in prop::collection::vec((datagram(), 0..4_usize, 0..2_u16, 0..200_u64), 1..60),
        codec in prop::sample::select(vec![CodecKind::Opus, CodecKind::Pcmu, CodecKind::Pcma]),
        g711 in any::<bool>(),
    ) {
        let mut scene = scene(BrowserTypes { pcmu: g711.then_some(0), ..types() });
        let payload_type = if codec == CodecKind::Opus { 96 } else { 0 };
        connect(&mut scene, FarMedia { video: Some(stream(CodecKind::Vp8, 99)), ..media(stream(codec, payload_type)) });
        for (packet, port, from, pause) in datagrams {
            let _ = from_far(&mut scene, FarPort::ALL[port], FAR + from, &packet);
            scene.step(MS * pause as u32);
        }
        // Whatever reached the browser is authentic, and none of its numbers came twice.
        let mut numbers: Vec<_> = scene.media().0.iter().map(|packet| (fields(packet).2, fields(packet).0)).collect();
        numbers.sort_unstable();
        let sent = numbers.len();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), sent);
        prop_assert!(!scene.peer.ended());
    }
}
