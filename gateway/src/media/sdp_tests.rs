//! Offers as browsers make them, and what is answered.

use super::answer::{self, Agreement, AnswerFacts, Sources};
use super::ice::Generation;
use super::offer::Offer;
use super::peer::FarSetup;
use super::tone::Law;
use super::{FarLeg, MAX_OFFER_BYTES, OfferError};
use gateway_core::sdp::CodecKind;

const DIGEST: &str = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

/// Audio, video and a data channel in one bundle, every attribute in its section, as Chromium writes them.
fn chromium() -> String {
    let transport = |mid: u8| {
        format!(
            "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:4cXw\r\na=ice-pwd:by5GZGG1lw+040DWA6hXM5Bz\r\n\
             a=ice-options:trickle\r\na=fingerprint:sha-256 {DIGEST}\r\na=setup:actpass\r\na=mid:{mid}\r\n"
        )
    };
    format!(
        "v=0\r\no=- 46 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\na=msid-semantic: WMS\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 63 111 9 0 8 13 110 126\r\n{}a=sendrecv\r\na=rtcp-mux\r\n\
         a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
         a=rtpmap:126 telephone-event/8000\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 35 96 97 103\r\n{}a=recvonly\r\na=rtcp-mux\r\na=rtpmap:35 AV1/90000\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
         a=rtpmap:103 H264/90000\r\na=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{}a=sctp-port:5000\r\n",
        transport(0),
        transport(1),
        transport(2),
    )
}

fn answered(text: &str, far: FarLeg) -> Result<String, OfferError> {
    let offer = Offer::parse(text)?;
    let agreement = Agreement::reach(&offer, far, Sources { audio: 1, video: 2 })?;
    let generation =
        Generation { local_ufrag: "uuuu".into(), local_pwd: "pppp".into(), remote_ufrag: offer.ufrag.into() };
    let candidates = [([192, 0, 2, 1], 40_001).into(), ([198, 51, 100, 1], 40_001).into()];
    let facts = AnswerFacts {
        generation: &generation,
        fingerprint: "sha-256 AA",
        candidates: &candidates,
        session_id: 7,
        version: 1,
    };
    Ok(answer::write(&offer, &agreement, &facts))
}

fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn an_echo_takes_opus_and_vp8_and_refuses_the_data_channel() {
    let answer = answered(&chromium(), FarLeg::Echo).expect("an answer");
    assert_eq!(
        lines(&answer, "m="),
        [
            "m=audio 40001 UDP/TLS/RTP/SAVPF 111 110",
            "m=video 40001 UDP/TLS/RTP/SAVPF 96",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"
        ]
    );
    assert_eq!(lines(&answer, "a=group:"), ["a=group:BUNDLE 0 1"]);
    assert_eq!(lines(&answer, "a=mid:"), ["a=mid:0", "a=mid:1", "a=mid:2"]);
    assert_eq!(lines(&answer, "a=rtcp-fb:"), ["a=rtcp-fb:96 ccm fir", "a=rtcp-fb:96 nack pli"]);
    assert_eq!(lines(&answer, "a=setup:"), ["a=setup:passive"; 2]);
    assert_eq!(lines(&answer, "a=candidate:").len(), 4, "both addresses in both sections");
    assert!(answer.contains("a=ice-lite") && answer.contains("a=sendrecv") && answer.contains("a=sendonly"));
    assert!(answer.lines().all(|line| !line.contains("transport-cc") && !line.contains("goog-remb")));
}

#[test]
fn a_tone_takes_g711_and_refuses_video() {
    let answer = answered(&chromium(), FarLeg::Tone).expect("an answer");
    assert_eq!(
        lines(&answer, "m=")[..2],
        ["m=audio 40001 UDP/TLS/RTP/SAVPF 0 126", "m=video 0 UDP/TLS/RTP/SAVPF 35 96 97 103"]
    );
    let text = chromium().replace("PCMU", "GSM");
    let offer = Offer::parse(&text).expect("an offer");
    let agreement = Agreement::reach(&offer, FarLeg::Tone, Sources { audio: 1, video: 2 }).expect("PCMA");
    assert_eq!(agreement.far, FarSetup::Tone(Law::A, 8));
}

#[test]
fn attributes_of_the_session_hold_for_its_sections() {
    let fingerprint = format!("a=fingerprint:sha-256 {DIGEST}\r\n");
    let moved = chromium().replace(&fingerprint, "").replace("t=0 0\r\n", &format!("t=0 0\r\n{fingerprint}"));
    assert!(answered(&moved, FarLeg::Echo).is_ok());
}

#[test]
fn an_rtp_leg_takes_all_that_a_phone_may_have() {
    let answer = answered(&chromium(), FarLeg::Rtp { video: None }).expect("an answer");
    let sections = lines(&answer, "m=");
    assert_eq!(sections[0], "m=audio 40001 UDP/TLS/RTP/SAVPF 111 0 8 110 126", "opus first");
    assert_eq!(sections[1], "m=video 40001 UDP/TLS/RTP/SAVPF 96 103");
    assert!(["a=rtcp-fb:96 nack", "a=rtcp-fb:103 goog-remb"].iter().all(|line| !lines(&answer, line).is_empty()));
    let wanted = FarLeg::Rtp { video: Some(CodecKind::H264) };
    let answer = answered(&chromium(), wanted).expect("an answer");
    assert_eq!(lines(&answer, "m=video"), ["m=video 40001 UDP/TLS/RTP/SAVPF 103 96"]);
    let digits_alone = chromium().replace("111 9 0 8 13 110 126", "110 126");
    assert_eq!(answered(&digits_alone, wanted), Err(OfferError::NoAudio));
}

#[test]
fn h264_is_taken_when_it_stands_first() {
    let answer = answered(&chromium().replace("VP8", "VP9"), FarLeg::Echo).expect("an answer");
    assert_eq!(lines(&answer, "m=video"), ["m=video 40001 UDP/TLS/RTP/SAVPF 103"]);
    assert!(answer.contains("a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"));
}

#[test]
fn what_cannot_be_answered_is_told() {
    let good = chromium();
    let malformed = |text: &str| matches!(answered(text, FarLeg::Echo), Err(OfferError::Malformed(_)));
    assert!(malformed(""));
    assert!(malformed("v=0\r\n"));
    assert!(malformed(&good.replace("v=0", "v=1")));
    assert!(malformed(&good.replace("m=audio 9 UDP/TLS/RTP/SAVPF 63 111 9 0 8 13 110 126", "m=audio")));
    assert!(malformed(&good.replace("ice-ufrag:4cXw", "ice-ufrag:4 X")));
    assert!(malformed(&good.replace("sha-256 00", "sha-1 00")));
    assert!(malformed(&good.replace("setup:actpass", "setup:passive")));
    assert!(malformed(&(good.clone() + &"m=audio 0 X 0\r\n".repeat(16))));
    assert_eq!(answered(&"x".repeat(MAX_OFFER_BYTES + 1), FarLeg::Echo), Err(OfferError::TooLong(MAX_OFFER_BYTES + 1)));
    for without_audio in [
        good.replace("m=audio 9 ", "m=audio 0 "),
        good.replace("opus", "x").replace("PCMU", "x").replace("PCMA", "x"),
        good.replace("BUNDLE 0 1 2", "BUNDLE 1 2"),
        good.replace("a=rtcp-mux\r\n", ""),
        good.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
    ] {
        assert_eq!(answered(&without_audio, FarLeg::Echo), Err(OfferError::NoAudio));
    }
}

#[test]
fn no_cut_or_flipped_offer_panics() {
    let good = chromium();
    for end in 0..good.len() {
        let _ = answered(&good[..end], FarLeg::Echo);
    }
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b' ' { b'9' } else { b' ' };
        let _ = answered(&String::from_utf8_lossy(&bytes), FarLeg::Echo);
    }
}
