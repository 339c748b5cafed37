//! Two lines, or a line and a bare socket, over loopback.

mod calls;
mod flows;
mod garbage;
mod load;
mod mutations;
mod returning;

use super::{SipConfig, SipLine, SipPort};
use gateway_core::sip::{
    ClientTransaction, Headers, Method, Peer, ServerTransaction, SipCommand, SipEvent, SipRequest, SipResponse,
    Transport,
};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// For anything that must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// 64 of them are 640 ms.
const T1: Duration = Duration::from_millis(10);

struct End {
    line: SipLine,
    events: Receiver<SipEvent>,
    next: u64,
}

impl End {
    fn new() -> Self {
        Self::with(T1)
    }

    fn with(t1: Duration) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = vec![(Transport::Udp, any), (Transport::Tcp, any)];
        let (line, events) =
            SipLine::start(SipConfig { listen, t1: Some(t1), ..SipConfig::default() }).expect("free ports");
        Self { line, events, next: 0 }
    }

    fn peer(&self, transport: Transport) -> Peer {
        Peer { transport, addr: self.line.local(transport).expect("listening") }
    }

    async fn next(&mut self) -> SipEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a running line")
    }

    /// Starts a request with a branch and a Call-ID of its own.
    fn send(&mut self, to: Peer, request: SipRequest) -> ClientTransaction {
        self.next += 1;
        let transaction = ClientTransaction(self.next);
        self.line.act(SipCommand::Request { transaction, to, request });
        transaction
    }

    fn respond(&self, transaction: ServerTransaction, request: &SipRequest, status: u16) {
        let mut response = SipResponse::to(request, status, "far");
        response.headers.push("Contact", "<sip:far@127.0.0.1:9;hf-gen=1>");
        self.line.act(SipCommand::Respond { transaction, response });
    }

    async fn request(&mut self) -> (ServerTransaction, Peer, SipRequest) {
        match self.next().await {
            SipEvent::Request { transaction, from, request } => (transaction, from, request),
            other => panic!("a request: {other:?}"),
        }
    }

    async fn response(&mut self) -> SipResponse {
        match self.next().await {
            SipEvent::Response { response, .. } => response,
            other => panic!("a response: {other:?}"),
        }
    }
}

fn request(method: Method, via: Transport, name: &str) -> SipRequest {
    let fields = [
        ("Via", format!("SIP/2.0/{via} 127.0.0.1:5060;branch=z9hG4bK{name};rport")),
        ("Max-Forwards", "70".to_owned()),
        ("From", "<sip:near@h>;tag=near".to_owned()),
        ("To", "<sip:far@h>".to_owned()),
        ("Call-ID", name.to_owned()),
        ("CSeq", format!("1 {method}")),
        ("Contact", "<sip:near@h>".to_owned()),
    ];
    SipRequest { method, uri: "sip:far@h;hf-gen=1".to_owned(), headers: Headers::from_iter(fields), body: None }
}
