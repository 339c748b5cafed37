//! The media port: from strangers, from addresses that STUN has checked, and in a call that is up.

use crate::chain::Chain;
use crate::client::{Socket, text};
use crate::outsider::{HandDriven, check, dropped, is_dtls, is_rtp, is_stun, outsider, unanswered};
use crate::table::Table;
use tokio::net::UdpSocket;

/// A sender report's header and some bytes.
const RTCP: [u8; 28] = [0x80, 200, 0, 6, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];

pub(crate) async fn rows(chain: &Chain, table: &mut Table) {
    let (mut signalling, _) = Socket::join(chain, "mallory", "media").await;
    from_a_stranger(chain, table).await;
    before_the_handshake(chain, table, &mut signalling).await;
    in_a_call(chain, table, &mut signalling).await;
    wrong_fingerprint(chain, table, &mut signalling).await;
}

async fn row(chain: &Chain, table: &mut Table, item: &str, from: &UdpSocket, datagrams: &[Vec<u8>], reason: &str) {
    table.row(item, &format!("dropped as {reason}"), unanswered(chain, from, datagrams, reason)).await;
}

async fn from_a_stranger(chain: &Chain, table: &mut Table) {
    let stranger = outsider(chain).await;
    // The bystander's user fragments are no secret, its password is.
    let user = table.bystander().ice_user.clone();
    let whole = check(&user, "guessed", 1);
    let mut flipped = whole.clone();
    flipped[30] ^= 0xff;
    let noise = |length: usize| (0..length).map(|at| (at * 31 + length) as u8).collect::<Vec<u8>>();
    for (item, datagrams, reason) in [
        ("STUN with bad integrity", vec![check(&user, "guessed", 2)], "stun_integrity"),
        ("STUN for nobody", vec![check("nobody:x", "guessed", 3)], "stun_user"),
        ("STUN with a bit flipped", vec![flipped], "stun_malformed"),
        ("STUN cut short", vec![whole[..whole.len() - 4].to_vec()], "stun_malformed"),
        ("a STUN header alone", vec![whole[..20].to_vec()], "stun_malformed"),
        ("RTP garbage from elsewhere", vec![vec![0x80; 200]], "unchecked"),
        ("RTCP garbage from elsewhere", vec![RTCP.to_vec()], "unchecked"),
        ("noise of 1 to 1500 bytes", (1..1500).step_by(37).map(noise).collect(), "unchecked"),
    ] {
        row(chain, table, item, &stranger, &datagrams, reason).await;
    }
}

async fn before_the_handshake(chain: &Chain, table: &mut Table, signalling: &mut Socket) {
    let mut caller = HandDriven::call(chain, signalling, "early", |offer| offer).await;
    let elsewhere = outsider(chain).await;
    let first = caller.hold_back(is_stun).await.to_vec();
    caller.socket.send(&first).await.expect("sent");
    // Its ClientHello shows that the check was answered.
    let hello = caller.hold_back(is_dtls).await.to_vec();
    row(chain, table, "STUN replayed from elsewhere", &elsewhere, &[first], "stun_replayed").await;
    row(chain, table, "DTLS from an unauthenticated address", &elsewhere, &[hello], "unchecked").await;
    for (item, datagram, reason) in [
        ("RTP before the handshake", vec![0x80; 200], "early"),
        ("RTCP before the handshake", RTCP.to_vec(), "early"),
        ("DTLS garbage", vec![22; 100], "dtls"),
        ("bytes of no protocol", vec![100; 100], "unknown"),
    ] {
        row(chain, table, item, &caller.socket, &[datagram], reason).await;
    }
}

async fn in_a_call(chain: &Chain, table: &mut Table, signalling: &mut Socket) {
    let mut caller = HandDriven::call(chain, signalling, "up", |offer| offer).await;
    caller.hear_itself().await;
    let elsewhere = outsider(chain).await;
    let packet = caller.hold_back(is_rtp).await.to_vec();
    row(chain, table, "authentic RTP from elsewhere", &elsewhere, std::slice::from_ref(&packet), "unchecked").await;
    caller.socket.send(&packet).await.expect("sent");
    let changed = |at: usize| {
        let mut changed = packet.clone();
        changed[at] ^= 1;
        changed
    };
    for (item, datagrams) in [
        ("authentic RTP, replayed", vec![packet.clone()]),
        ("RTP with a bit flipped", vec![changed(40)]),
        ("RTP of a source that never was", vec![changed(9)]),
        ("RTP garbage in a call", vec![vec![0x80; 200]]),
        ("RTCP garbage in a call", vec![RTCP.to_vec()]),
    ] {
        // Reports come in a call, whatever is sent.
        table.row(item, "dropped as srtp", dropped(chain, &caller.socket, &datagrams, "srtp")).await;
    }
}

async fn wrong_fingerprint(chain: &Chain, table: &mut Table, signalling: &mut Socket) {
    let (before, after) = ("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:11:22:33:");
    let change = |offer: String| {
        let (head, rest) = offer.split_once(before).expect("a fingerprint");
        format!("{head}{after}{}", &rest["00:11:22:33:".len()..])
    };
    let sent = async {
        let mut caller = HandDriven::call(chain, signalling, "forged", change).await;
        let end = async {
            loop {
                let event = signalling.event("call_ended").await;
                if event["call_id"] == "forged" {
                    return format!("the call ended: {}", text(&event["reason"]));
                }
            }
        };
        let end = tokio::select! {
            _ = caller.hold_back(|_| false) => unreachable!("it keeps nothing back"),
            end = end => end,
        };
        format!("{end}, {} echoed", caller.echoed())
    };
    table.row("a certificate that is not the SDP's", "the call ended: fingerprint-mismatch, 0 echoed", sent).await;
}
