//! What a SIP server, or somebody behind it, can do to a connection that carries all users of an instance.

use crate::chain::Chain;
use crate::cluster::Cluster;
use crate::table::Table;
use crate::torture::{Before, mark, said};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};

const COMES_BACK: &str = "the flow comes back";

pub(crate) async fn rows(cluster: &Cluster, table: &mut Table) {
    let chain = &cluster.tcp;
    slowly(chain, table).await;
    lengths(chain, table).await;
    rest(chain, table).await;
    numbers_and_sizes(chain, table).await;
    smuggled(chain, table).await;
    hung_up(chain, table).await;
    nobody_connects(chain, table).await;
    reflected(&cluster.udp, table).await;
    relayed(cluster, table).await;
}

/// OPTIONS, which is answered 200.
fn options(chain: &Chain, mark: &str, more: &str) -> String {
    format!(
        "OPTIONS {} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{mark}\r\nFrom: <sip:x@example.org>;tag={mark}\r\n\
         To: <sip:mallory@example.org>\r\nCall-ID: {mark}\r\nCSeq: 1 OPTIONS\r\n{more}\r\n",
        chain.tap.contact_of("mallory")
    )
}

/// INVITE, which rings, and which the user declines.
pub(crate) fn invite(chain: &Chain, mark: &str, more: &str, body: &str) -> String {
    format!(
        "INVITE {} SIP/2.0\r\nVia: SIP/2.0/{} 127.0.0.1:9;branch=z9hG4bK{mark}\r\nFrom: <sip:x@example.org>;tag={mark}\r\n\
         To: <sip:mallory@example.org>\r\nCall-ID: {mark}\r\nContact: <sip:x@127.0.0.1:9>\r\n{more}{}\r\n{body}",
        chain.tap.contact_of("mallory"),
        chain.tap.transport.to_uppercase(),
        match body {
            "" => String::new(),
            body => format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", body.len()),
        }
    )
}

async fn slowly(chain: &Chain, table: &mut Table) {
    let observed = async {
        let mark = mark();
        let before = Before::of(chain).await;
        chain.tap.say_slowly(options(chain, &mark, "Content-Length: 0\r\n"));
        before.outcome(chain, &mark).await
    };
    table.row("a message that comes byte by byte", "200", observed).await;
    let observed = async {
        let mark = mark();
        let before = Before::of(chain).await;
        chain.tap.say(options(chain, &mark, "").split_at(40).0);
        before.outcome(chain, &mark).await
    };
    table.row("half a head, with the next message behind it", "dropped as unreadable", observed).await;
    let observed = async {
        let (one, other) = (mark(), mark());
        let status = said(chain, invite(chain, &one, "CSeq: 1 INVITE\r\n", "").into(), &one).await;
        let before = Before::of(chain).await;
        chain.tap.say("v=0\r\no=far 1 1 IN IP4 127.0.0.1\r\n".to_owned() + &options(chain, &other, ""));
        format!("{status}, {}", before.outcome(chain, &other).await)
    };
    table.row("a body without a length", "603, dropped as unreadable", observed).await;
    let observed = async {
        let mark = mark();
        let before = Before::of(chain).await;
        chain.tap.say(options(chain, &mark, "Content-Length: 60000\r\n"));
        before.outcome(chain, &mark).await
    };
    table.row("a body that does not come within 10 s", COMES_BACK, observed).await;
}

async fn lengths(chain: &Chain, table: &mut Table) {
    for (item, length, body, expected) in [
        ("Content-Length: 999999999", "999999999", "", COMES_BACK),
        ("Content-Length: 18446744073709551617", "18446744073709551617", "", COMES_BACK),
        ("Content-Length: -1", "-1", "", COMES_BACK),
        ("Content-Length: +0", "+0", "", COMES_BACK),
        ("Content-Length: nothing", "", "", COMES_BACK),
        ("two lengths that differ", "0\r\nl: 4", "body", COMES_BACK),
        ("two lengths that are the same", "4\r\nl: 4", "body", "200"),
    ] {
        let mark = mark();
        let bytes = options(chain, &mark, &format!("Content-Length: {length}\r\n")) + body;
        table.row(&format!("over TCP: {item}"), expected, said(chain, bytes.into(), &mark)).await;
    }
}

/// What is behind it begins no message.
async fn rest(chain: &Chain, table: &mut Table) {
    let observed = async {
        let line = "holdfast_sip_dropped_total{reason=\"unreadable\"}";
        let before = chain.counts(line).await;
        let (one, other) = (mark(), mark());
        chain.tap.say(options(chain, &one, "Content-Length: 4\r\n") + "body and more of it\r\n\r\n");
        let status = said(chain, options(chain, &other, "Content-Length: 0\r\n").into(), &other);
        let status = match status.await.as_str() {
            // It was counted just now.
            "dropped as unreadable" => {
                said(chain, options(chain, &other, "Content-Length: 0\r\n").into(), &other).await
            }
            status => status.to_owned(),
        };
        let answered = chain.tap.answers().iter().any(|answer| answer.contains(&one));
        format!("answered: {answered}, {} dropped as unreadable, the next {status}", chain.counts(line).await - before)
    };
    let item = "over TCP: a body longer than it says";
    table.row(item, "answered: true, 1 dropped as unreadable, the next 200", observed).await;
}

async fn numbers_and_sizes(chain: &Chain, table: &mut Table) {
    let sdp = crate::far::sdp(9);
    for (item, more, expected) in [
        ("CSeq: -1 INVITE", "CSeq: -1 INVITE\r\n".to_owned(), "400"),
        ("CSeq: 2147483648 INVITE", "CSeq: 2147483648 INVITE\r\n".to_owned(), "400"),
        ("CSeq: 2147483647 INVITE", "CSeq: 2147483647 INVITE\r\n".to_owned(), "603"),
        ("CSeq of 100 digits", format!("CSeq: {} INVITE\r\n", "9".repeat(100)), "400"),
        (
            "100 Record-Routes",
            format!("CSeq: 1 INVITE\r\n{}", "Record-Route: <sip:p@127.0.0.1:9;lr>\r\n".repeat(100)),
            "603",
        ),
        ("100 more Contacts", format!("CSeq: 1 INVITE\r\n{}", "Contact: <sip:p@127.0.0.1:9>\r\n".repeat(100)), "603"),
        (
            "100 Vias",
            format!("CSeq: 1 INVITE\r\n{}", "Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n".repeat(100)),
            "603",
        ),
        ("a header field of 60 KiB", format!("CSeq: 1 INVITE\r\nSubject: {}\r\n", "x".repeat(60 << 10)), "603"),
        ("a header field of 64 KiB", format!("CSeq: 1 INVITE\r\nSubject: {}\r\n", "x".repeat(64 << 10)), COMES_BACK),
        ("2000 header fields", format!("CSeq: 1 INVITE\r\n{}", "X: y\r\n".repeat(2000)), "603"),
    ] {
        let mark = mark();
        let bytes = invite(chain, &mark, &more, &sdp);
        table.row(&format!("an INVITE with {item}"), expected, said(chain, bytes.into(), &mark)).await;
    }
    let mark = mark();
    let endless = [&b"INVITE sip:x SIP/2.0\r\n"[..], &[b'x'; 70_000]].concat();
    table.row("70 000 bytes without an end", COMES_BACK, said(chain, endless, &mark)).await;
}

/// A body that another reader would take for the next message.
async fn smuggled(chain: &Chain, table: &mut Table) {
    for (item, more) in [
        ("a folded line that looks like a length", "Subject: x\r\n Content-Length: 0\r\n"),
        ("a folded line with a tab", "Subject: x\r\n\tl: 0\r\n"),
        ("a quoted length", "Subject: \"Content-Length: 0\"\r\n"),
    ] {
        let (outer, inner) = (mark(), mark());
        let observed = async {
            let hidden = options(chain, &inner, "Content-Length: 0\r\n");
            let head = format!("{more}Content-Type: text/plain\r\nContent-Length: {}\r\n", hidden.len());
            let status = said(chain, (options(chain, &outer, &head) + &hidden).into(), &outer).await;
            // What comes behind it is answered after it.
            let last = mark();
            said(chain, options(chain, &last, "Content-Length: 0\r\n").into(), &last).await;
            let found = chain.tap.answers().iter().any(|answer| answer.contains(&inner));
            format!("{status}, the hidden message {}", if found { "answered" } else { "is a body" })
        };
        table.row(&format!("a message hidden behind {item}"), "200, the hidden message is a body", observed).await;
    }
}

async fn hung_up(chain: &Chain, table: &mut Table) {
    let observed = async {
        let before = Before::of(chain).await;
        chain.tap.hang_up();
        before.outcome(chain, &mark()).await
    };
    table.row("the server closes the connection", COMES_BACK, observed).await;
}

/// The registrar is nobody's way to strangers.
async fn relayed(cluster: &Cluster, table: &mut Table) {
    let (elsewhere, stranger) =
        (UdpSocket::bind("127.0.0.1:0").await.expect("a port"), UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
    let at = elsewhere.local_addr().expect("bound");
    for (item, uri, route) in [
        ("by its URI", format!("sip:x@{at}"), String::new()),
        ("by a Route", "sip:x@h".to_owned(), format!("Route: <sip:{at};lr>\r\n")),
    ] {
        let observed = async {
            let mark = mark();
            let text = format!(
                "BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{mark};rport\r\nFrom: <sip:x@h>;tag=1\r\n\
                 To: <sip:y@h>;tag=2\r\nCall-ID: {mark}\r\nCSeq: 1 BYE\r\n{route}Content-Length: 0\r\n\r\n"
            );
            stranger.send_to(text.as_bytes(), cluster.registrar_udp).await.expect("sent");
            let mut buffer = [0; 2048];
            let length = stranger.recv(&mut buffer).await.expect("loopback");
            let status = String::from_utf8_lossy(&buffer[8..11.min(length)]).into_owned();
            let strayed =
                tokio::time::timeout(Duration::from_millis(200), elsewhere.recv(&mut [0; 2048])).await.is_ok();
            format!("{status}, passed on: {strayed}")
        };
        table
            .row(
                &format!("a stranger's BYE to a stranger through the registrar, {item}"),
                "403, passed on: false",
                observed,
            )
            .await;
    }
}

/// Answers go where requests come from, whatever their Via says; so do those to requests that come again.
async fn reflected(chain: &Chain, table: &mut Table) {
    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let at = elsewhere.local_addr().expect("bound");
    for (item, via) in [
        ("another port in its Via", format!("{at}")),
        ("maddr in its Via", format!("127.0.0.1:9;maddr={at}")),
        ("received in its Via", format!("127.0.0.1:9;received=127.0.0.1;rport={}", at.port())),
    ] {
        let observed = async {
            let mark = mark();
            let text = invite(chain, &mark, "CSeq: 1 INVITE\r\n", &crate::far::sdp(9));
            let text = text.replace("127.0.0.1:9;branch", &format!("{via};branch"));
            let status = said(chain, text.clone().into(), &mark).await;
            let known = chain.tap.answers().len();
            chain.tap.say(text.clone());
            chain.tap.say(text.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"));
            let mut looks = tokio::time::interval(Duration::from_millis(10));
            while chain.tap.answers().len() < known + 2 {
                looks.tick().await;
            }
            let strayed =
                tokio::time::timeout(Duration::from_millis(200), elsewhere.recv(&mut [0; 2048])).await.is_ok();
            format!("{status}, all of it {}", if strayed { "or some of it elsewhere" } else { "to the server" })
        };
        table.row(&format!("over UDP, an INVITE twice, with {item}"), "603, all of it to the server", observed).await;
    }
}

async fn nobody_connects(chain: &Chain, table: &mut Table) {
    let at: SocketAddr = chain.tap.instance();
    let observed = async {
        match TcpStream::connect(at).await {
            Ok(_) => "connected".to_owned(),
            Err(error) => error.kind().to_string(),
        }
    };
    table.row("a stranger connects to where the instance sends from", "connection refused", observed).await;
}
