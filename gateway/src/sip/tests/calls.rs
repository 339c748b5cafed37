use super::*;
use gateway_core::sip::{Body, SendFailure};

async fn a_request_is_answered(transport: Transport) {
    let (mut near, mut far) = (End::new(), End::new());
    let sent = SipRequest { body: Some(Body::sdp("v=0\r\n")), ..request(Method::Options, transport, "a") };
    near.send(far.peer(transport), sent.clone());
    let (transaction, from, received) = far.request().await;
    assert_eq!((received.method.clone(), &received.uri, &received.body), (sent.method, &sent.uri, &sent.body));
    assert!(received.headers.get("Via").is_some_and(|via| via.contains(&format!("rport={}", from.addr.port()))));
    far.respond(transaction, &received, 200);
    let response = near.response().await;
    assert_eq!((response.status, response.headers.get("Call-ID")), (200, Some("a")));
}

#[tokio::test]
async fn a_request_is_answered_over_udp() {
    a_request_is_answered(Transport::Udp).await;
}

#[tokio::test]
async fn a_request_is_answered_over_tcp() {
    a_request_is_answered(Transport::Tcp).await;
}

async fn a_call_is_set_up(transport: Transport) {
    let (mut near, mut far) = (End::new(), End::new());
    near.send(far.peer(transport), request(Method::Invite, transport, "a"));
    let (transaction, _, invite) = far.request().await;
    far.respond(transaction, &invite, 180);
    far.respond(transaction, &invite, 200);
    assert_eq!((near.response().await.status, near.response().await.status), (180, 200));
    let SipEvent::Acked { transaction: acked, request: ack } = far.next().await else { panic!("an ACK") };
    assert_eq!((acked, ack.uri.as_str()), (transaction, "sip:far@127.0.0.1:9;hf-gen=1"));
    assert_eq!(ack.headers.get("CSeq"), Some("1 ACK"));
}

#[tokio::test]
async fn a_call_is_set_up_over_udp() {
    a_call_is_set_up(Transport::Udp).await;
}

#[tokio::test]
async fn a_call_is_set_up_over_tcp() {
    a_call_is_set_up(Transport::Tcp).await;
}

/// CANCEL must wait for the first provisional response (RFC 3261 §9.1), and here it is asked for at once.
#[tokio::test]
async fn a_call_is_cancelled() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut near, mut far) = (End::new(), End::new());
        let id = near.send(far.peer(transport), request(Method::Invite, transport, "a"));
        near.line.act(SipCommand::Cancel(id));
        let (transaction, _, invite) = far.request().await;
        far.respond(transaction, &invite, 180);
        assert_eq!(far.next().await, SipEvent::Cancelled(transaction));
        far.respond(transaction, &invite, 487);
        assert_eq!((near.response().await.status, near.response().await.status), (180, 487));
    }
}

#[tokio::test]
async fn a_cancelled_call_that_nobody_ends_fails() {
    let (mut near, mut far) = (End::new(), End::new());
    let transaction = near.send(far.peer(Transport::Udp), request(Method::Invite, Transport::Udp, "a"));
    let (ringing, _, invite) = far.request().await;
    far.respond(ringing, &invite, 180);
    assert_eq!(near.response().await.status, 180);
    near.line.act(SipCommand::Cancel(transaction));
    assert_eq!(near.next().await, SipEvent::Failed { transaction, why: SendFailure::TimedOut });
}

/// An INVITE by hand, from a peer that never sends ACK.
#[tokio::test]
async fn a_2xx_is_repeated_until_nobody_can_have_heard_it() {
    let mut far = End::new();
    let caller = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let addr = far.peer(Transport::Udp).addr;
    let text = "INVITE sip:far@h SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bK1;rport\r\nFrom: <sip:near@h>;tag=1\r\n\
                To: <sip:far@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:near@h>\r\n\r\n";
    caller.send_to(text.as_bytes(), addr).await.expect("sent");
    let (transaction, _, invite) = far.request().await;
    far.respond(transaction, &invite, 200);
    let mut bytes = [0; 2048];
    for _ in 0..3 {
        let (length, _) =
            tokio::time::timeout(PATIENCE, caller.recv_from(&mut bytes)).await.expect("in time").expect("received");
        assert!(bytes[..length].starts_with(b"SIP/2.0 200 OK\r\n"));
    }
    assert_eq!(far.next().await, SipEvent::NeverAcked(transaction));
}

/// The far end, by hand, repeats its 200 and adds one of another fork: each gets an ACK, only the fork's is told.
#[tokio::test]
async fn a_2xx_that_comes_again_is_acknowledged_again() {
    let mut near = End::new();
    let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let to = Peer { transport: Transport::Udp, addr: far.local_addr().expect("bound") };
    near.send(to, request(Method::Invite, Transport::Udp, "a"));
    let mut bytes = [0; 2048];
    let (length, from) =
        tokio::time::timeout(PATIENCE, far.recv_from(&mut bytes)).await.expect("in time").expect("received");
    let head = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let via = head.lines().find(|line| line.starts_with("Via:")).expect("a Via").to_owned();
    let answer = |tag: &str| {
        format!(
            "SIP/2.0 200 OK\r\n{via}\r\nFrom: <sip:near@h>;tag=near\r\nTo: <sip:far@h>;tag={tag}\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{tag}@h>\r\nRecord-Route: <sip:p1@h;lr>, <sip:p2@h;lr>\r\nl: 0\r\n\r\n"
        )
    };
    for tag in ["one", "one", "two"] {
        far.send_to(answer(tag).as_bytes(), from).await.expect("sent");
        loop {
            let (length, _) =
                tokio::time::timeout(PATIENCE, far.recv_from(&mut bytes)).await.expect("in time").expect("received");
            let ack = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if ack.starts_with("INVITE") {
                continue;
            }
            assert!(ack.starts_with(&format!("ACK sip:{tag}@h SIP/2.0\r\n")), "{ack}");
            assert!(ack.contains("Route: <sip:p2@h;lr>\r\nRoute: <sip:p1@h;lr>\r\n"), "{ack}");
            break;
        }
    }
    let tags =
        [near.response().await, near.response().await].map(|response| response.headers.get("To").map(str::to_owned));
    assert_eq!(tags, ["<sip:far@h>;tag=one", "<sip:far@h>;tag=two"].map(|to| Some(to.to_owned())));
}

/// A proxy's leg: the response has a second Via, so its ACK is another's to send, and every 2xx goes up.
#[tokio::test]
async fn a_response_for_another_is_passed_on_unacknowledged() {
    let (mut near, mut far) = (End::new(), End::new());
    let mut invite = request(Method::Invite, Transport::Tcp, "a");
    invite.headers.remove("Via");
    invite.headers.push_front("Via", "SIP/2.0/UDP caller;branch=z9hG4bKcaller");
    invite.headers.push_front("Via", "SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKproxy");
    near.send(far.peer(Transport::Tcp), invite);
    let (transaction, _, invite) = far.request().await;
    far.respond(transaction, &invite, 200);
    for _ in 0..3 {
        assert_eq!(near.response().await.headers.all("Via").count(), 2);
    }
    let mut ack = request(Method::Ack, Transport::Tcp, "a");
    ack.headers.set("To", "<sip:far@h>;tag=far");
    near.line.act(SipCommand::Send { to: far.peer(Transport::Tcp), request: ack.clone() });
    let SipEvent::Acked { transaction: acked, .. } = far.next().await else { panic!("an ACK") };
    assert_eq!(acked, transaction);
    near.line.act(SipCommand::Send { to: far.peer(Transport::Tcp), request: ack });
    let SipEvent::Acked { transaction: again, .. } = far.next().await else { panic!("an ACK") };
    assert_eq!(again, transaction, "an ACK that comes again is told again");
}

#[tokio::test]
async fn a_refusal_for_another_gets_an_ack_with_one_via() {
    let mut near = End::new();
    let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let mut invite = request(Method::Invite, Transport::Udp, "a");
    invite.headers.push("Via", "SIP/2.0/UDP caller;branch=z9hG4bKcaller");
    near.send(Peer { transport: Transport::Udp, addr: far.local_addr().expect("bound") }, invite);
    let mut bytes = [0; 2048];
    let (length, from) =
        tokio::time::timeout(PATIENCE, far.recv_from(&mut bytes)).await.expect("in time").expect("received");
    let busy = String::from_utf8_lossy(&bytes[..length])
        .replace("INVITE sip:far@h;hf-gen=1 SIP/2.0", "SIP/2.0 603 Decline")
        .replace("To: <sip:far@h>", "To: <sip:far@h>;tag=far");
    for _ in 0..2 {
        far.send_to(busy.as_bytes(), from).await.expect("sent");
        let ack = loop {
            let (length, _) =
                tokio::time::timeout(PATIENCE, far.recv_from(&mut bytes)).await.expect("in time").expect("received");
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.starts_with("ACK") {
                break text;
            }
        };
        assert_eq!(ack.matches("Via:").count(), 1, "{ack}");
    }
    assert_eq!(near.response().await.status, 603);
}
