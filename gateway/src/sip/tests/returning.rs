//! A server's connection breaks and comes back.

use super::*;
use gateway_core::sip::SendFailure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server of which only the connections are there.
struct Server {
    listener: TcpListener,
    near: End,
    peer: Peer,
    /// Our end of the last connection.
    local: SocketAddr,
}

impl Server {
    async fn connected() -> (Self, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let peer = Peer { transport: Transport::Tcp, addr: listener.local_addr().expect("bound") };
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { listener, near: End::with(Duration::from_millis(500)), peer, local };
        let stream = server.connect().await;
        (server, stream)
    }

    async fn connect(&mut self) -> TcpStream {
        self.near.line.act(SipCommand::Open { peer: self.peer });
        let (stream, from) = self.listener.accept().await.expect("a connection");
        assert_eq!(self.near.next().await, SipEvent::Up { peer: self.peer, local: from });
        self.local = from;
        stream
    }

    async fn connect_again(&mut self, old: TcpStream) -> TcpStream {
        drop(old);
        self.is_down().await;
        self.connect().await
    }

    async fn is_down(&mut self) {
        assert_eq!(self.near.next().await, SipEvent::Down { peer: self.peer });
    }
}

/// Reads until this came.
async fn reads(stream: &mut TcpStream, what: &str) -> String {
    let mut text = String::new();
    let reading = async {
        let mut bytes = [0; 4096];
        while !text.contains(what) {
            let count = stream.read(&mut bytes).await.expect("it is open");
            assert_ne!(count, 0, "closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    assert!(read.is_ok(), "{what} did not come");
    text
}

async fn answers(stream: &mut TcpStream, status: &str) {
    let text = format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKa;rport\r\nFrom: <sip:near@h>;tag=near\r\n\
         To: <sip:far@h>;tag=far\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nContact: <sip:far@h>\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await.expect("written");
}

#[tokio::test]
async fn it_comes_back_at_the_same_port_of_ours() {
    let (mut server, mut stream) = Server::connected().await;
    let first = server.local;
    for _ in 0..3 {
        stream = server.connect_again(stream).await;
        assert_eq!(server.local, first);
    }
}

#[tokio::test]
async fn a_call_that_rings_is_answered_over_the_next_connection() {
    let (mut server, mut stream) = Server::connected().await;
    server.near.send(server.peer, request(Method::Invite, Transport::Tcp, "a"));
    reads(&mut stream, "INVITE ").await;
    answers(&mut stream, "180 Ringing").await;
    assert_eq!(server.near.response().await.status, 180);
    let mut stream = server.connect_again(stream).await;
    answers(&mut stream, "200 OK").await;
    assert_eq!(server.near.response().await.status, 200);
    reads(&mut stream, "ACK ").await;
}

#[tokio::test]
async fn a_call_that_did_not_ring_fails_at_once_and_is_not_made_later() {
    let (mut server, mut stream) = Server::connected().await;
    let transaction = server.near.send(server.peer, request(Method::Invite, Transport::Tcp, "a"));
    reads(&mut stream, "INVITE ").await;
    drop(stream);
    let mut told = [server.near.next().await, server.near.next().await];
    told.sort_by_key(|event| matches!(event, SipEvent::Failed { .. }));
    let failed = SipEvent::Failed { transaction, why: SendFailure::Unreachable };
    assert_eq!(told, [SipEvent::Down { peer: server.peer }, failed]);
    let mut stream = server.connect().await;
    server.near.send(server.peer, request(Method::Options, Transport::Tcp, "b"));
    let text = reads(&mut stream, "OPTIONS ").await;
    assert!(!text.contains("INVITE"), "{text}");
}

#[tokio::test]
async fn an_answer_given_meanwhile_goes_out() {
    let (mut server, mut stream) = Server::connected().await;
    let invite = "INVITE sip:near@h SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKc\r\nMax-Forwards: 70\r\n\
         From: <sip:far@h>;tag=far\r\nTo: <sip:near@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:far@h>\r\n\
         Content-Length: 0\r\n\r\n";
    stream.write_all(invite.as_bytes()).await.expect("written");
    let (transaction, _, received) = server.near.request().await;
    drop(stream);
    server.is_down().await;
    server.near.respond(transaction, &received, 200);
    let mut stream = server.connect().await;
    reads(&mut stream, "SIP/2.0 200").await;
}
