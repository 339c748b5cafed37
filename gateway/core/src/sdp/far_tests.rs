//! The far side's descriptions as phones and servers write them, hold, keys, forks, and garbage.

use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

fn local(video: bool) -> FarLocal {
    let video = video.then(|| FarVideo { port: 30_002, codecs: vec![CodecKind::Vp8, CodecKind::H264] });
    FarLocal { ip: OURS, audio: 30_000, video }
}

fn secrets() -> [SrtpSecret; 2] {
    [SrtpSecret([1; 30]), SrtpSecret([2; 30])]
}

fn call(video: bool, security: Security) -> FarSdp {
    FarSdp::new(42, local(video), secrets(), security)
}

fn far(port: u16) -> SocketAddr {
    ([192, 0, 2, 9], port).into()
}

/// A description with this body behind the session lines.
fn sdp(media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{media}")
}

fn version(text: &str) -> u64 {
    text.lines().nth(1).and_then(|line| line.split(' ').nth(2)?.parse().ok()).expect("an o= line")
}

fn has(text: &str, line: &str) -> bool {
    text.split("\r\n").any(|one| one == line)
}

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

const ASTERISK_ANSWER: &str = "v=0\r\no=- 1542 3 IN IP4 192.0.2.9\r\ns=Asterisk\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio \
    17236 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 \
    0-16\r\na=ptime:20\r\na=maxptime:150\r\na=sendrecv\r\n";

const SIPP_OFFER: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio \
    6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

const BARESIP_OFFER: &str = "v=0\r\no=- 3489205236 3489205236 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 \
    0\r\na=tool:baresip 1.0.0\r\nm=audio 21394 RTP/AVP 96 97 0 8 101\r\nb=AS:125\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 \
    stereo=1;sprop-stereo=1;maxaveragebitrate=28000\r\na=rtpmap:97 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 \
    PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 \
    0-15\r\na=rtcp:21395\r\na=sendrecv\r\na=label:1\r\na=rtcp-rsize\r\na=ssrc:2864566310 cname:sip:b@x\r\na=ptime:20\r\nm=video \
    21500 RTP/AVP 99 100\r\nb=AS:512\r\na=rtpmap:99 H264/90000\r\na=fmtp:99 \
    packetization-mode=0;profile-level-id=42e01f\r\na=rtpmap:100 H264/90000\r\na=fmtp:100 \
    profile-level-id=42801f;packetization-mode=1\r\na=rtcp-fb:* nack pli\r\n";

const LINPHONE_OFFER: &str = "v=0\no=anna 2437 2437 IN IP4 192.0.2.9\ns=Talk\nc=IN IP4 192.0.2.9\nt=0 0\na=rtcp-xr:rcvr-rtt=all:10000 \
    stat-summary=loss,dup,jitt,TTL voip-metrics\nm=audio 7078 RTP/SAVPF 96 97 98 0 8 99 100\na=rtpmap:96 \
    opus/48000/2\na=fmtp:96 useinbandfec=1\na=rtpmap:97 speex/16000\na=fmtp:97 vbr=on\na=rtpmap:98 speex/8000\na=rtpmap:99 \
    telephone-event/48000\na=rtpmap:100 telephone-event/8000\na=rtcp:7079 IN IP4 192.0.2.10\na=crypto:1 AES_CM_128_HMAC_SHA1_80 \
    inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\na=crypto:2 AES_CM_128_HMAC_SHA1_32 \
    inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\na=rtcp-fb:* trr-int 1000\na=rtcp-fb:* ccm tmmbr\n";

#[test]
fn our_offer_lists_all_and_an_answer_picks_g711() {
    let mut call = call(false, Security::Plain);
    let offer = call.offer();
    assert!(has(&offer, "m=audio 30000 RTP/AVP 111 0 8 101 110"), "{offer}");
    assert!(has(&offer, "c=IN IP4 198.51.100.7") && has(&offer, "a=rtpmap:111 opus/48000/2"));
    assert!(has(&offer, "a=sendrecv") && !offer.contains("crypto") && !offer.contains("video"));
    assert!(call.is_offering());
    let media = call.handle_answer(ASTERISK_ANSWER).expect("an answer");
    assert_eq!((media.audio.rtp, media.audio.rtcp), (far(17_236), far(17_237)));
    assert_eq!(media.audio.send, Codec::usual(CodecKind::Pcmu, 8_000));
    assert_eq!(media.audio.receive, [Codec::usual(CodecKind::Pcmu, 8_000)]);
    assert_eq!(media.audio.dtmf_send, Some(DtmfType { payload_type: 101, clock: 8_000 }));
    assert_eq!((media.audio.ptime_ms, media.audio.maxptime_ms), (Some(20), Some(150)));
    assert!(media.audio.sends && media.audio.receives && !media.held_by_far && media.video.is_none());
    assert!(!call.is_offering());
}

#[test]
fn the_answerers_numbers_are_for_sending_and_ours_for_receiving() {
    let mut call = call(false, Security::Plain);
    call.offer();
    let answer =
        sdp("m=audio 4000 RTP/AVP 107 8 97 98\r\na=rtpmap:107 OPUS/48000/2\r\na=rtpmap:97 telephone-event/8000\r\n\
        a=rtpmap:98 telephone-event/48000\r\n");
    let audio = call.handle_answer(&answer).expect("an answer").audio;
    assert_eq!((audio.send.payload_type, audio.send.kind), (107, CodecKind::Opus));
    assert_eq!(audio.receive.iter().map(|codec| codec.payload_type).collect::<Vec<_>>(), [111, 8]);
    assert_eq!(audio.dtmf_send, Some(DtmfType { payload_type: 98, clock: 48_000 }));
    assert_eq!(audio.dtmf_receive.iter().map(|dtmf| dtmf.payload_type).collect::<Vec<_>>(), [101, 110]);
}

#[test]
fn a_fork_or_a_200_may_answer_again_but_nobody_answers_an_answer() {
    let mut call = call(false, Security::Plain);
    assert_eq!(call.handle_answer(ASTERISK_ANSWER), Err(SdpError::NoOffer));
    call.offer();
    let first = call.handle_answer(ASTERISK_ANSWER).expect("an answer");
    assert_eq!(call.handle_answer(ASTERISK_ANSWER), Ok(first));
    let other = call.handle_answer(&sdp("m=audio 4000 RTP/AVP 111\r\na=rtpmap:111 opus/48000\r\n")).expect("a fork");
    assert_eq!(other.audio.send.kind, CodecKind::Opus);
    call.handle_offer(SIPP_OFFER).expect("an offer");
    assert_eq!(call.handle_answer(ASTERISK_ANSWER), Err(SdpError::NoOffer));
}

#[test]
fn sipp_and_baresip_are_answered_with_one_codec_in_their_numbers() {
    let mut sipp = call(true, Security::Plain);
    let (answer, media) = sipp.handle_offer(SIPP_OFFER).expect("an offer");
    assert!(has(&answer, "m=audio 30000 RTP/AVP 0") && !answer.contains("m=video"), "{answer}");
    assert_eq!((media.audio.send.kind, media.audio.dtmf_send), (CodecKind::Pcmu, None));

    let (answer, media) = call(true, Security::Plain).handle_offer(BARESIP_OFFER).expect("an offer");
    assert!(has(&answer, "m=audio 30000 RTP/AVP 96 101"), "{answer}");
    assert!(has(&answer, "m=video 30002 RTP/AVP 100"), "{answer}");
    assert!(has(&answer, "a=rtcp-fb:100 nack pli") && !answer.contains("goog-remb"), "{answer}");
    assert!(has(&answer, "a=fmtp:100 profile-level-id=42801f;packetization-mode=1;level-asymmetry-allowed=1"));
    let video = media.video.expect("video");
    assert_eq!((video.rtp, video.send.payload_type, video.feedback.pli), (far(21_500), 100, true));
    assert_eq!(media.audio.dtmf_send, Some(DtmfType { payload_type: 101, clock: 8_000 }));

    let (answer, media) = call(false, Security::Plain).handle_offer(BARESIP_OFFER).expect("an offer");
    assert!(has(&answer, "m=video 0 RTP/AVP 99") && media.video.is_none(), "{answer}");
}

#[test]
fn linphones_keys_are_answered_in_kind() {
    let (answer, media) = call(false, Security::Plain).handle_offer(LINPHONE_OFFER).expect("an offer");
    assert!(has(&answer, "m=audio 30000 RTP/SAVPF 96 99"), "{answer}");
    let ours = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    assert!(has(&answer, &format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{ours}")), "{answer}");
    assert_eq!(answer.matches("a=crypto").count(), 1);
    let keys = media.audio.srtp.expect("keys");
    assert_eq!((keys.suite, keys.local), (SrtpSuite::AesCm128HmacSha1_80, SrtpSecret([1; 30])));
    assert_eq!(keys.remote.0[..3], *b"YS_");
    assert_eq!(media.audio.rtcp, SocketAddr::from(([192, 0, 2, 10], 7079)));
}

#[test]
fn keys_under_the_plain_profile_are_taken_and_a_secure_profile_without_one_is_refused() {
    let plain = sdp(&format!("m=audio 4000 RTP/AVP 0\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"));
    let (answer, media) = call(false, Security::Plain).handle_offer(&plain).expect("an offer");
    assert!(has(&answer, "m=audio 30000 RTP/AVP 0") && answer.contains("a=crypto:3 "), "{answer}");
    assert!(media.audio.srtp.is_some());
    let bare = sdp("m=audio 4000 RTP/SAVP 0\r\n");
    assert_eq!(call(false, Security::Plain).handle_offer(&bare), Err(SdpError::NoCrypto));
    let dtls = sdp("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-256 AA\r\n");
    assert_eq!(call(false, Security::Plain).handle_offer(&dtls), Err(SdpError::NoAudio));
}

#[test]
fn offered_keys_are_optional_or_required() {
    let mut optional = call(false, Security::Optional);
    let offer = optional.offer();
    assert!(offer.contains("m=audio 30000 RTP/AVP ") && offer.contains("a=crypto:1 AEAD_AES_128_GCM inline:"));
    assert_eq!(optional.handle_answer(ASTERISK_ANSWER).expect("an answer").audio.srtp, None);
    let secure = sdp(&format!("m=audio 4000 RTP/AVP 0\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"));
    let keys = optional.handle_answer(&secure).expect("an answer").audio.srtp.expect("keys");
    assert_eq!(keys.suite, SrtpSuite::AesCm128HmacSha1_80);
    let wrong = sdp(&format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"));

    let mut required = call(false, Security::Required);
    assert!(required.offer().contains("m=audio 30000 RTP/SAVP "));
    assert_eq!(required.handle_answer(ASTERISK_ANSWER), Err(SdpError::NoCrypto));
    assert_eq!(required.handle_answer(&wrong), Err(SdpError::NoCrypto), "tag 1 was GCM");
    assert!(required.is_offering(), "a bad answer changes nothing");
}

#[test]
fn hold_and_unhold_count_the_version_and_a_refresh_does_not() {
    let mut call = call(false, Security::Plain);
    let first = call.offer();
    call.handle_answer(ASTERISK_ANSWER).expect("an answer");
    let held = call.hold(true);
    assert!(has(&held, "a=sendonly") && has(&held, "m=audio 30000 RTP/AVP 0 101"), "{held}");
    assert_eq!(version(&held), version(&first) + 1);
    let answer = ASTERISK_ANSWER.replace("sendrecv", "recvonly");
    let media = call.handle_answer(&answer).expect("an answer");
    assert!(!media.audio.sends && !media.audio.receives && !media.held_by_far);
    assert_eq!(call.reoffer(), held, "a refresh repeats the description");
    call.handle_answer(&answer).expect("an answer");
    let back = call.hold(false);
    assert!(has(&back, "a=sendrecv"));
    assert_eq!(version(&back), version(&held) + 1);
    call.offer_refused();
    assert!(call.is_held(), "who was refused holds on");
    assert!(!call.is_offering());
}

#[test]
fn the_far_side_holds_in_every_way() {
    let lines = [("sendonly", "recvonly", true), ("inactive", "inactive", false), ("recvonly", "sendonly", false)];
    for (theirs, ours, receives) in lines {
        let mut call = call(false, Security::Plain);
        call.handle_offer(SIPP_OFFER).expect("an offer");
        let (answer, media) = call.handle_offer(&format!("{SIPP_OFFER}a={theirs}\r\n")).expect("an offer");
        assert!(has(&answer, &format!("a={ours}")), "{answer}");
        assert_eq!(media.audio.receives, receives);
        assert_eq!(media.held_by_far, theirs != "recvonly");
        assert_eq!(media.audio.sends, theirs == "recvonly");
        let (answer, media) = call.handle_offer(SIPP_OFFER).expect("an offer");
        assert!(has(&answer, "a=sendrecv") && media.audio.sends && media.audio.receives && !media.held_by_far);
        assert_eq!(version(&answer), 3);
    }
    let mut call = call(false, Security::Plain);
    let old_way = SIPP_OFFER.replace("c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0");
    let (_, media) = call.handle_offer(&old_way).expect("an offer");
    assert!(media.held_by_far && !media.audio.sends && media.audio.receives);
    call.handle_offer(SIPP_OFFER).expect("an offer");
    call.hold(true);
    call.offer_refused();
    let session_level =
        format!("{}a=sendonly\r\n{}", &SIPP_OFFER[..SIPP_OFFER.find("m=").expect("one")], "m=audio 6000 RTP/AVP 0\r\n");
    assert!(call.handle_offer(&session_level).expect("an offer").1.held_by_far);
}

#[test]
fn an_offer_on_a_call_that_we_hold_does_not_release_it() {
    let mut call = call(false, Security::Plain);
    call.offer();
    call.handle_answer(ASTERISK_ANSWER).expect("an answer");
    call.hold(true);
    call.handle_answer(ASTERISK_ANSWER).expect("an answer");
    let (answer, media) = call.handle_offer(SIPP_OFFER).expect("an offer");
    assert!(has(&answer, "a=sendonly") && !media.audio.sends && !media.audio.receives);
}

#[test]
fn sections_keep_their_places() {
    let offer = sdp("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nm=audio 4000 RTP/AVP 8 100\r\n\
        a=rtpmap:100 opus/48000/2\r\nm=audio 4002 RTP/AVP 8\r\nm=video 0 RTP/AVP 31\r\n");
    let mut call = call(true, Security::Plain);
    let (answer, media) = call.handle_offer(&offer).expect("an offer");
    let lines = |text: &str| text.lines().filter(|line| line.starts_with("m=")).map(str::to_owned).collect::<Vec<_>>();
    let expected = [
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 30000 RTP/AVP 100",
        "m=audio 0 RTP/AVP 8",
        "m=video 0 RTP/AVP 31",
    ];
    assert_eq!(lines(&answer), expected);
    assert_eq!(media.audio.rtp, far(4000));
    let full = lines(&call.offer());
    assert_eq!(full.len(), 4);
    assert_eq!(full[1], "m=audio 30000 RTP/AVP 100 0 8 101 110", "numbers stay");
    assert_eq!(full[3], "m=video 30002 RTP/AVP 96 98");
    assert_eq!(call.handle_offer(SIPP_OFFER), Err(SdpError::SectionsMissing { found: 1, before: 4 }));
}

#[test]
fn a_number_in_use_is_not_given_twice() {
    let mut call = call(false, Security::Plain);
    call.handle_offer(&sdp("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 opus/48000/2\r\n")).expect("an offer");
    let offer = call.offer();
    assert!(has(&offer, "m=audio 30000 RTP/AVP 101 0 8 127 110"), "{offer}");
    assert!(has(&offer, "a=rtpmap:127 telephone-event/8000"));
}

#[test]
fn multiplexed_rtcp_is_answered_and_used() {
    let offer = sdp("m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\na=rtcp:4000\r\n");
    let (answer, media) = call(false, Security::Plain).handle_offer(&offer).expect("an offer");
    assert!(has(&answer, "a=rtcp-mux"));
    assert_eq!(media.audio.rtcp, media.audio.rtp);
}

#[test]
fn another_instance_goes_on_with_new_ports_and_keys() {
    let mut call = call(false, Security::Required);
    call.offer();
    let answer = format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    call.handle_answer(&sdp(&answer)).expect("an answer");
    let kept = serde_json::to_string(&call).expect("plain data");
    let mut call: FarSdp = serde_json::from_str(&kept).expect("plain data");
    let place = FarLocal { ip: [203, 0, 113, 1].into(), audio: 31_000, video: None };
    call.move_to(place, [SrtpSecret([9; 30]), SrtpSecret([8; 30])]);
    let offer = call.reoffer();
    assert_eq!(version(&offer), 2);
    assert!(has(&offer, "c=IN IP4 203.0.113.1") && has(&offer, "m=audio 31000 RTP/SAVP 0"), "{offer}");
    let keys = call.handle_answer(&sdp(&answer)).expect("an answer").audio.srtp.expect("keys");
    assert_eq!(keys.local, SrtpSecret([9; 30]));
}

#[test]
fn what_cannot_be_a_path_is_refused() {
    let cases = [
        (String::new(), SdpError::NotSdp),
        ("hello".to_owned(), SdpError::NotSdp),
        (sdp(""), SdpError::NoAudio),
        (sdp("m=audio 4000\r\n"), SdpError::Malformed(6)),
        (sdp("m=audio 70000 RTP/AVP 0\r\n"), SdpError::Malformed(6)),
        (sdp("m=audio 0 RTP/AVP 0\r\n"), SdpError::NoAudio),
        (sdp("m=image 4000 udptl t38\r\n"), SdpError::NoAudio),
        (sdp("m=audio 4000 RTP/AVP 9 18\r\n"), SdpError::NoCodec),
        (sdp("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n"), SdpError::NoCodec),
        (sdp("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 phone.example\r\n"), SdpError::Address),
        (sdp("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n"), SdpError::Address),
        (sdp(&"m=audio 4000 RTP/AVP 0\r\n".repeat(9)), SdpError::TooManyMedia),
        (sdp(&format!("m=audio 4000 RTP/AVP{}\r\n", " 0".repeat(65))), SdpError::TooManyFormats),
        (sdp(&format!("m=x{} 4000 RTP/AVP 0\r\n", "y".repeat(64))), SdpError::Malformed(6)),
        ("v=0\r\n".to_owned() + &"a".repeat(MAX_SDP_BYTES), SdpError::TooLong(MAX_SDP_BYTES + 5)),
    ];
    for (text, expected) in cases {
        let mut call = call(true, Security::Plain);
        let before = call.clone();
        assert_eq!(call.handle_offer(&text), Err(expected), "{text:.200}");
        assert_eq!(call, before);
    }
}

fn line() -> impl Strategy<Value = String> {
    let media = prop::sample::select(vec!["audio", "video", "image"]);
    let profile = prop::sample::select(vec!["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "x"]);
    let formats = prop::collection::vec(any::<u8>(), 0..8);
    let m_line = (media, any::<u16>(), profile, formats).prop_map(|(media, port, profile, formats)| {
        let formats: Vec<_> = formats.iter().map(u8::to_string).collect();
        format!("m={media} {port} {profile} {}", formats.join(" "))
    });
    let names =
        prop::sample::select(vec!["opus/48000/2", "PCMU/8000", "telephone-event/8000", "VP8/90000", "H264/90000", "x"]);
    let map = (any::<u8>(), names).prop_map(|(number, name)| format!("a=rtpmap:{number} {name}"));
    let known = prop::sample::select(vec![
        "a=sendonly",
        "a=inactive",
        "a=rtcp-mux",
        "a=rtcp:1",
        "a=rtcp:0 IN IP6 ::",
        "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::1",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
        "a=ptime:x",
        "v=0",
    ]);
    prop_oneof![m_line, map, known.prop_map(str::to_owned), "[ -~]{0,40}", any::<String>()]
}

proptest! {
    #[test]
    fn garbage_never_breaks_a_call_and_every_answer_can_be_read(
        lines in prop::collection::vec(line(), 0..24), ours_first in any::<bool>(), video in any::<bool>(),
    ) {
        let text = sdp(&lines.join("\r\n"));
        let mut call = call(video, Security::Optional);
        if ours_first {
            call.offer();
            let _ = call.handle_answer(&text);
        }
        if let Ok((answer, media)) = call.handle_offer(&text) {
            let offered = Description::parse(&text).expect("it was read");
            let answered = Description::parse(&answer).expect("an answer of ours");
            prop_assert_eq!(answered.media.len(), offered.media.len());
            prop_assert!(media.audio.rtp.port() != 0);
            prop_assert!(call.handle_answer(&text).is_err());
        }
        let again = call.offer();
        prop_assert!(Description::parse(&again).is_ok());
        let kept = serde_json::to_string(&call).expect("plain data");
        prop_assert_eq!(serde_json::from_str::<FarSdp>(&kept).expect("plain data"), call);
    }
}
