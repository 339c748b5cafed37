use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// What may come instead of SIP, after RFC 4475 and worse. All have an end of the head, so that a stream can go on behind them.
fn bad() -> Vec<Vec<u8>> {
    let base = "INVITE sip:far@h SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKg\r\nFrom: <sip:x@h>;tag=1\r\n\
                To: <sip:far@h>\r\nCall-ID: g\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    let changed = [
        ("SIP/2.0\r\n", "SIP/7.0\r\n"),
        ("INVITE sip:far@h SIP/2.0", "INVITE <sip:far@h> SIP/2.0"),
        ("INVITE sip:far@h SIP/2.0", "INVITE  sip:far@h  SIP/2.0"),
        ("INVITE sip:far@h SIP/2.0", "INVITE sip:far@h; lr SIP/2.0"),
        ("INVITE sip:far@h SIP/2.0", "\u{1F600}"),
        ("INVITE sip:far@h SIP/2.0", "SIP/2.0 4294967301 better not break the receiver"),
        ("INVITE sip:far@h SIP/2.0", "SIP/2.0 99 low"),
        ("Via: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKg\r\n", ""),
        ("Via: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKg", "Via: ,,,"),
        ("Via: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKg", "Via: SIP/2.0/UDP \"unclosed;branch=z9"),
        ("Via: SIP/2.0/UDP 127.0.0.1:1", "Via: SIP/2.0/UDP [::1:99999999"),
        (";tag=1", ""),
        ("From: <sip:x@h>;tag=1\r\n", ""),
        ("Call-ID: g\r\n", ""),
        ("CSeq: 1 INVITE", "CSeq: 36893488147419103232 REGISTER"),
        ("CSeq: 1 INVITE", "CSeq: 36893488147419103232 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: x INVITE"),
        ("CSeq: 1 INVITE\r\n", ""),
        ("To: <sip:far@h>", "To: \"unclosed <sip:far@h>\u{0}"),
    ];
    let mut all: Vec<Vec<u8>> = changed.iter().map(|(from, to)| base.replacen(from, to, 1).into_bytes()).collect();
    all.push(b"\r\r\n\n\0\0\r\n\r\n".to_vec());
    all.push([&[0xff; 300][..], b"\r\n\r\n"].concat());
    all.push(base.replace("Contact", "X").replace("\r\nTo", "\r\nX: \u{80}\r\nTo").into_bytes());
    all
}

#[tokio::test]
async fn garbage_costs_nobody_else_a_thing() {
    let (mut near, mut far) = (End::new(), End::new());
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let mut tcp = TcpStream::connect(far.peer(Transport::Tcp).addr).await.expect("listening");
    for bytes in bad() {
        udp.send_to(&bytes, far.peer(Transport::Udp).addr).await.expect("sent");
        tcp.write_all(&bytes).await.expect("still open");
    }
    // The same connection and the same socket go on.
    for transport in [Transport::Udp, Transport::Tcp] {
        near.send(far.peer(transport), request(Method::Options, transport, &format!("good{transport}")));
        let (transaction, received) = loop {
            let (transaction, _, request) = far.request().await;
            if request.method == Method::Options {
                break (transaction, request);
            }
        };
        far.respond(transaction, &received, 200);
        assert_eq!(near.response().await.status, 200);
    }
    let good = "OPTIONS sip:far@h SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:1;branch=z9hG4bKok\r\nFrom: <sip:x@h>;tag=1\r\nTo: <sip:far@h>\r\n\
                Call-ID: ok\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    tcp.write_all(good.as_bytes()).await.expect("still open");
    let (transaction, received) = loop {
        let (transaction, _, request) = far.request().await;
        if request.headers.get("Call-ID") == Some("ok") {
            break (transaction, request);
        }
    };
    far.respond(transaction, &received, 200);
    let mut answers = Vec::new();
    while !answers.windows(15).any(|answer| answer == b"SIP/2.0 200 OK\r") {
        let read = tokio::time::timeout(PATIENCE, tcp.read_buf(&mut answers)).await.expect("in time");
        assert!(read.expect("still open") > 0, "{}", String::from_utf8_lossy(&answers));
    }
    let counts = far.line.counts();
    assert!(counts.unreadable() + counts.malformed() > 20, "{counts:?}");
}

#[tokio::test]
async fn an_unknown_method_is_refused_by_name() {
    let far = End::new();
    let mut tcp = TcpStream::connect(far.peer(Transport::Tcp).addr).await.expect("listening");
    let text = "NEWMETHOD sip:far@h SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:1;branch=z9hG4bKu\r\nFrom: <sip:x@h>;tag=1\r\nTo: <sip:far@h>\r\n\
                Call-ID: u\r\nCSeq: 7 NEWMETHOD\r\nContent-Length: 0\r\n\r\n";
    tcp.write_all(text.as_bytes()).await.expect("open");
    let mut bytes = vec![0; 1024];
    let length = tokio::time::timeout(PATIENCE, tcp.read(&mut bytes)).await.expect("in time").expect("open");
    let answer = String::from_utf8_lossy(&bytes[..length]);
    assert!(answer.starts_with("SIP/2.0 501 ") && answer.contains("CSeq: 7 NEWMETHOD\r\n"), "{answer}");
}

#[tokio::test]
async fn a_ping_is_answered() {
    let far = End::new();
    let mut tcp = TcpStream::connect(far.peer(Transport::Tcp).addr).await.expect("listening");
    tcp.write_all(b"\r\n\r\n").await.expect("open");
    let mut pong = [0; 2];
    tokio::time::timeout(PATIENCE, tcp.read_exact(&mut pong)).await.expect("in time").expect("open");
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test]
async fn a_body_that_is_no_text_is_refused() {
    let far = End::new();
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let head = "MESSAGE sip:far@h SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1;rport;branch=z9hG4bKb\r\nFrom: <sip:x@h>;tag=1\r\n\
                To: <sip:far@h>\r\nCall-ID: b\r\nCSeq: 1 MESSAGE\r\n\r\n";
    udp.send_to(&[head.as_bytes(), &[0xff, 0xfe]].concat(), far.peer(Transport::Udp).addr).await.expect("sent");
    let mut bytes = [0; 1024];
    let (length, _) = tokio::time::timeout(PATIENCE, udp.recv_from(&mut bytes)).await.expect("in time").expect("open");
    assert!(bytes[..length].starts_with(b"SIP/2.0 415 "));
}

/// Its sender never acknowledges a refusal, which keeps every one of them alive for 32 s.
#[tokio::test]
async fn a_flood_from_one_address_leaves_the_others_their_share() {
    let (mut near, mut far) = (End::with(Duration::from_millis(500)), End::with(Duration::from_millis(500)));
    let to = far.peer(Transport::Udp);
    let flood = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let flooding = tokio::spawn(async move {
        for n in 0..12_000 {
            let text = format!(
                "INVITE sip:x@h SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bK{n};rport\r\nFrom: <sip:x@h>;tag=1\r\n\
                 To: <sip:x@h>\r\nCall-ID: flood{n}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
            );
            flood.send_to(text.as_bytes(), to.addr).await.expect("sent");
        }
    });
    let mut served = 0;
    while !flooding.is_finished() || served == 0 {
        if let Ok(Some(SipEvent::Request { transaction, request, .. })) =
            tokio::time::timeout(Duration::from_millis(100), far.events.recv()).await
        {
            served += 1;
            far.respond(transaction, &request, 404);
        }
    }
    near.send(to, request(Method::Options, Transport::Udp, "other"));
    loop {
        let (transaction, _, request) = far.request().await;
        let is_other = request.method == Method::Options;
        far.respond(transaction, &request, if is_other { 200 } else { 404 });
        if is_other {
            break;
        }
    }
    assert_eq!(near.response().await.status, 200);
    let counts = far.line.counts();
    assert!(served <= 4_096, "{served} of one address at a time");
    assert!(counts.overrun() + counts.refused() > 1_000, "{counts:?}");
}
