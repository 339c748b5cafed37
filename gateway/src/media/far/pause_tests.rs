//! Pauses of either side behind a whole peer: DTX, a microphone that is gone, comfort noise, time stepped.

use super::link_tests::{
    FAR, bridged, connect, from_browser, from_far, heard, media, scene, sent, stream, tone, types,
};
use super::{BrowserTypes, FarPort};
use crate::media::far::transcode::{Coded, Transcoder};
use crate::media::rtp::{HEADER, fields};
use crate::media::stats::Drop;
use crate::media::test_client::{Scene, rtp};
use audio_codec_algorithms::{decode_ulaw, encode_ulaw};
use bytes::BytesMut;
use gateway_core::sdp::{CodecKind, FarStream};
use opus::{Application, Channels, Encoder};
use std::time::{Duration, Instant};

const OPUS: u8 = 111;
const MS: Duration = Duration::from_millis(1);
const FRAME: Duration = Duration::from_millis(20);

/// A browser as Chromium is: in DTX it sends the first empty packet, and one with sound every 400 ms.
struct Speaker {
    encoder: Encoder,
    silent: bool,
    sequence: u16,
    timestamp: u32,
}

impl Speaker {
    fn new() -> Self {
        let mut encoder = Encoder::new(8_000, Channels::Mono, Application::Voip).expect("an encoder");
        encoder.set_dtx(true).expect("DTX");
        Self { encoder, silent: false, sequence: 65_530, timestamp: u32::MAX - 4_000 }
    }

    /// The packet for the next 20 ms, if it sends one.
    fn packet(&mut self, frame: usize, speaks: bool) -> Option<Vec<u8>> {
        let samples: Vec<i16> =
            if speaks { tone(frame).iter().map(|byte| decode_ulaw(*byte)).collect() } else { vec![0; 160] };
        let coded = self.encoder.encode_vec(&samples, 400).expect("coded");
        self.timestamp = self.timestamp.wrapping_add(960);
        let was_silent = std::mem::replace(&mut self.silent, coded.len() <= 2);
        if was_silent && self.silent {
            return None;
        }
        self.sequence = self.sequence.wrapping_add(1);
        Some(rtp(OPUS, 77, self.sequence, self.timestamp, &coded))
    }
}

/// What reached the far side, and when.
type Heard = Vec<(Instant, BytesMut)>;

fn note(heard: &mut Heard, scene: &mut Scene) {
    let now = scene.now;
    let audio = sent(scene).into_iter().filter(|(port, ..)| *port == FarPort::AudioRtp);
    heard.extend(audio.map(|(.., packet)| (now, packet)));
}

/// Time passes; nobody sends.
fn pass(heard: &mut Heard, scene: &mut Scene, span: Duration) {
    for _ in 0..span.as_millis() {
        scene.step(MS);
        note(heard, scene);
    }
}

/// The browser speaks, or is silent, for some frames; how many packets it sent.
fn speak(heard: &mut Heard, scene: &mut Scene, speaker: &mut Speaker, frames: usize, speaks: bool) -> usize {
    let mut count = 0;
    for frame in 0..frames {
        if let Some(packet) = speaker.packet(frame, speaks) {
            let protected = scene.protect(&packet);
            scene.receive(&protected).expect("taken");
            note(heard, scene);
            count += 1;
        }
        pass(heard, scene, FRAME);
    }
    count
}

/// Every packet follows the one before it, 20 ms each, without a marker but for the first.
fn assert_steady(heard: &Heard) {
    for (at, pair) in heard.windows(2).enumerate() {
        let (before, after) = (fields(&pair[0].1), fields(&pair[1].1));
        assert_eq!(after.0, before.0.wrapping_add(1), "packet {at}");
        assert_eq!(after.1, before.1.wrapping_add(160), "packet {at}");
        assert_eq!(pair[1].1[1], 0, "packet {at}");
        assert_eq!(pair[1].1.len(), HEADER + 160);
        assert!(pair[1].0 - pair[0].0 <= MS * 61, "packet {at} came {:?} later", pair[1].0 - pair[0].0);
    }
}

fn power(packet: &[u8]) -> f64 {
    packet[HEADER..].iter().map(|byte| f64::from(decode_ulaw(*byte)).powi(2)).sum::<f64>() / 160.0
}

#[test]
fn a_telephone_hears_every_frame_while_the_browser_is_in_dtx() {
    let (mut scene, mut speaker, mut heard) = (bridged(media(stream(CodecKind::Pcmu, 0))), Speaker::new(), Vec::new());
    for _ in 0..3 {
        assert_eq!(speak(&mut heard, &mut scene, &mut speaker, 50, true), 50);
        let sent = speak(&mut heard, &mut scene, &mut speaker, 200, false);
        assert!(sent < 60, "{sent} packets of 200: that is no DTX");
    }
    assert_steady(&heard);
    assert!((747..=750).contains(&heard.len()), "{} frames of 750", heard.len());
    let quiet = &heard[150..240];
    assert!(quiet.iter().all(|(_, packet)| power(packet) < 100.0), "silence is no noise");
}

#[test]
fn a_telephone_hears_silence_before_the_browser_speaks_and_when_its_microphone_is_gone() {
    for browser in [OPUS, 0] {
        let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
        let (mut heard, mut speaker) = (Vec::new(), Speaker::new());
        pass(&mut heard, &mut scene, FRAME * 100);
        assert!((88..=92).contains(&heard.len()), "{} frames in 2 s, from 200 ms on", heard.len());
        assert!(heard[0].1[1] & 0x80 != 0);
        assert_steady(&heard);
        assert!(heard.iter().all(|(_, packet)| packet[HEADER..] == [0xff; 160]));
        heard.clear();
        for frame in 0..10u16 {
            let own = || rtp(0, 77, frame, 8_000 + u32::from(frame) * 160, &tone(frame.into()));
            let packet = if browser == OPUS { speaker.packet(frame.into(), true) } else { Some(own()) };
            let packet = scene.protect(&packet.expect("speech"));
            scene.receive(&packet).expect("taken");
            note(&mut heard, &mut scene);
            pass(&mut heard, &mut scene, FRAME);
        }
        assert_eq!(heard.len(), 10, "and no silence in between");
        pass(&mut heard, &mut scene, FRAME * 50);
        assert!((50..=52).contains(&heard.len()), "{}", heard.len());
        let again = fields(&heard[10].1).1.wrapping_sub(fields(&heard[9].1).1);
        assert!(again >= 160 * 9, "what was lost is left out: {again}");
        assert!(heard[10].1[1] & 0x80 != 0, "and marked");
        let last = &heard[heard.len() - 1].1;
        assert_eq!(last[HEADER..], [0xff; 160]);
    }
}

#[test]
fn an_opus_far_side_and_one_on_hold_hear_nothing_made_up() {
    let mut heard = Vec::new();
    let mut scene = bridged(media(stream(CodecKind::Opus, 96)));
    pass(&mut heard, &mut scene, FRAME * 50);
    assert!(heard.is_empty(), "Opus has a DTX of its own");
    let mut scene = bridged(media(FarStream { sends: false, ..stream(CodecKind::Pcmu, 0) }));
    pass(&mut heard, &mut scene, FRAME * 50);
    assert!(heard.is_empty(), "on hold");
    connect(&mut scene, media(stream(CodecKind::Pcmu, 0)));
    pass(&mut heard, &mut scene, FRAME * 50);
    assert!(heard.len() > 35, "taken back");
    connect(&mut scene, media(FarStream { sends: false, ..stream(CodecKind::Pcmu, 0) }));
    heard.clear();
    pass(&mut heard, &mut scene, FRAME * 50);
    assert!(heard.is_empty(), "on hold again");
}

#[test]
fn digits_are_not_filled_over() {
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    let mut heard = Vec::new();
    pass(&mut heard, &mut scene, FRAME * 20);
    scene.peer.send_digits("12", scene.now);
    heard.clear();
    pass(&mut heard, &mut scene, FRAME * 30);
    let numbers: Vec<u16> = heard.iter().map(|(_, packet)| fields(packet).0).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    let types: Vec<u8> = heard.iter().map(|(_, packet)| packet[1] & 0x7f).collect();
    let digits: Vec<usize> = (0..types.len()).filter(|at| types[*at] == 101).collect();
    assert_eq!(digits.len(), 16);
    assert!(digits[7] - digits[0] == 7 && digits[15] - digits[8] == 7, "{types:?}");
    assert!(digits[8] > digits[7] + 1, "there is silence between them");
    for pair in heard.windows(2).filter(|pair| pair[0].1[1] & 0x7f == 0 && pair[1].1[1] & 0x7f == 0) {
        assert!(fields(&pair[1].1).1.wrapping_sub(fields(&pair[0].1).1) >= 160);
    }
}

#[test]
fn a_late_browser_is_not_overtaken_for_good() {
    let (mut scene, mut speaker, mut heard) = (bridged(media(stream(CodecKind::Pcmu, 0))), Speaker::new(), Vec::new());
    speak(&mut heard, &mut scene, &mut speaker, 50, true);
    speak(&mut heard, &mut scene, &mut speaker, 40, false);
    // 100 ms later than they should.
    pass(&mut heard, &mut scene, FRAME * 5);
    speak(&mut heard, &mut scene, &mut speaker, 50, true);
    speak(&mut heard, &mut scene, &mut speaker, 200, false);
    assert_steady(&heard);
    assert!((340..=345).contains(&heard.len()), "{}", heard.len());
}

/// The far side's packets with comfort noise in between; what the browser heard.
fn comfort(types: BrowserTypes, decode: &mut impl FnMut(&BytesMut) -> Vec<u8>) -> Vec<(u16, Vec<u8>)> {
    let mut scene = scene(types);
    connect(&mut scene, media(stream(CodecKind::Pcmu, 0)));
    let mut out = Vec::new();
    let note = |scene: &mut Scene, out: &mut Vec<(u16, Vec<u8>)>, decode: &mut dyn FnMut(&BytesMut) -> Vec<u8>| {
        out.extend(scene.media().0.iter().map(|packet| (fields(packet).0, decode(packet))));
    };
    for n in 0..25u16 {
        from_far(&mut scene, FarPort::AudioRtp, FAR, &rtp(0, 5, n, u32::from(n) * 160, &tone(n.into())))
            .expect("taken");
        note(&mut scene, &mut out, decode);
        scene.step(FRAME);
    }
    for (n, level) in [(25u16, 50), (26, 60)] {
        let at = 25 * 160 + u32::from(n - 25) * 8_000;
        from_far(&mut scene, FarPort::AudioRtp, FAR, &rtp(13, 5, n, at, &[level, 7, 7])).expect("taken");
        for _ in 0..50 {
            scene.step(FRAME);
            note(&mut scene, &mut out, decode);
        }
    }
    for n in 27..40u16 {
        let at = 25 * 160 + 16_000 + u32::from(n - 27) * 160;
        from_far(&mut scene, FarPort::AudioRtp, FAR, &rtp(0, 5, n, at, &tone(n.into()))).expect("taken");
        note(&mut scene, &mut out, decode);
        scene.step(FRAME);
    }
    out
}

/// The level of these packets, in -dBov.
fn level(packets: &[(u16, Vec<u8>)]) -> f64 {
    let samples: Vec<f64> =
        packets.iter().flat_map(|(_, law)| law.iter().map(|byte| f64::from(decode_ulaw(*byte)))).collect();
    let mean = samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64;
    -20.0 * (mean.sqrt() / 32_768.0).log10()
}

#[test]
fn comfort_noise_of_the_far_side_is_heard_at_its_level() {
    let as_it_is = comfort(types(), &mut |packet| packet[HEADER..].to_vec());
    let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcmu).expect("a decoder");
    let transcoded = comfort(BrowserTypes { pcmu: None, ..types() }, &mut |packet| {
        let (sequence, timestamp, _) = fields(packet);
        let mut law = Vec::new();
        decoder
            .push(sequence, timestamp, &packet[HEADER..], &mut |coded: Coded<'_>| law.extend_from_slice(coded.payload));
        law
    });
    for heard in [as_it_is, transcoded] {
        assert!((134..=138).contains(&heard.len()), "{} frames of 138", heard.len());
        assert!(heard.windows(2).all(|pair| pair[1].0 == pair[0].0.wrapping_add(1)), "no number is missing");
        let (first, second) = (level(&heard[30..70]), level(&heard[85..115]));
        assert!((45.0..56.0).contains(&first), "-{first:.1} dBov for -50");
        assert!((54.0..67.0).contains(&second), "-{second:.1} dBov for -60");
        assert!(level(&heard[5..20]) < 15.0 && level(&heard[heard.len() - 8..]) < 15.0, "speech before and after");
    }
}

#[test]
fn comfort_noise_is_only_for_who_speaks_g711_and_ends_with_hold() {
    let mut scene = bridged(media(stream(CodecKind::Opus, 96)));
    let verdict = from_far(&mut scene, FarPort::AudioRtp, FAR, &rtp(13, 5, 1, 0, &[50]));
    assert_eq!(verdict, Err(Drop::FarPayload));
    let mut scene = bridged(media(stream(CodecKind::Pcmu, 0)));
    heard(&mut scene, &rtp(13, 5, 1, 0, &[]));
    scene.step(FRAME * 10);
    assert!(scene.media().0.is_empty(), "without a level it says nothing");
    heard(&mut scene, &rtp(13, 5, 2, 0, &[50]));
    scene.step(FRAME * 10);
    assert!(scene.media().0.len() >= 8);
    connect(&mut scene, media(FarStream { receives: false, ..stream(CodecKind::Pcmu, 0) }));
    scene.step(FRAME * 10);
    assert!(scene.media().0.is_empty());
}

#[test]
fn a_far_side_gets_no_longer_packets_than_it_takes() {
    for (ptime_ms, maxptime_ms, bytes) in [(Some(30), None, 240), (None, Some(10), 80), (Some(20), Some(20), 160)] {
        let far = FarStream { ptime_ms, maxptime_ms, ..stream(CodecKind::Pcmu, 0) };
        let (mut scene, mut speaker, mut heard) = (bridged(media(far)), Speaker::new(), Vec::new());
        speak(&mut heard, &mut scene, &mut speaker, 60, true);
        speak(&mut heard, &mut scene, &mut speaker, 60, false);
        assert!(heard.iter().all(|(_, packet)| packet.len() == HEADER + bytes), "{bytes}");
        let ticks = heard.windows(2).map(|pair| fields(&pair[1].1).1.wrapping_sub(fields(&pair[0].1).1));
        assert!(ticks.into_iter().all(|ticks| ticks as usize == bytes));
        let total = heard.len() * bytes;
        assert!((118 * 160..=120 * 160).contains(&total), "{total} bytes of 120 frames");
    }
    let mut scene = bridged(media(FarStream { maxptime_ms: Some(10), ..stream(CodecKind::Pcmu, 0) }));
    let out = from_browser(&mut scene, &rtp(0, 77, 1, 0, &[encode_ulaw(99); 160]));
    assert_eq!(
        out.iter().map(|(.., packet)| packet.len() - HEADER).collect::<Vec<_>>(),
        [80, 80],
        "of one that passes"
    );
}
