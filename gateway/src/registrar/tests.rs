//! Phones on real sockets that call one another through a running registrar.

use super::*;
use crate::sip::SipConfig;
use clap::Parser;
use gateway_core::sip::{
    ClientTransaction, Headers, Method, Peer, ServerTransaction, SipCommand, SipRequest, SipResponse, tag_of,
};

const PATIENCE: Duration = Duration::from_secs(10);

struct Phone {
    line: SipLine,
    events: mpsc::Receiver<SipEvent>,
    user: &'static str,
    registrar: Peer,
    contact: String,
    requests: u64,
}

impl Phone {
    async fn new(server: &RegistrarServer, user: &'static str, transport: Transport, generation: u32) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = SipConfig { listen: vec![(Transport::Udp, any), (Transport::Tcp, any)], ..SipConfig::default() };
        let (line, events) = SipLine::start(config).expect("free ports");
        let registrar = Peer { transport, addr: server.local(transport).expect("it listens") };
        let at = line.local(transport).expect("it listens");
        let name = transport.to_string().to_lowercase();
        let contact = format!("sip:{user}@{at};transport={name};hf-gen={generation}");
        let mut phone = Self { line, events, user, registrar, contact, requests: 0 };
        let mut register = phone.request(Method::Register, "sip:example.org", user);
        register.headers.set("Contact", format!("<{}>;expires=60;+sip.instance=\"<urn:uuid:{user}>\"", phone.contact));
        phone.send(register);
        assert_eq!(phone.final_response().await.status, 200);
        phone
    }

    fn request(&mut self, method: Method, uri: &str, to: &str) -> SipRequest {
        self.requests += 1;
        let (transport, user, number) = (self.registrar.transport, self.user, self.requests);
        let at = self.line.local(transport).expect("it listens");
        let fields = [
            ("Via", format!("SIP/2.0/{transport} {at};branch=z9hG4bK{user}{}{number};rport", at.port())),
            ("Max-Forwards", "70".to_owned()),
            ("From", format!("<sip:{user}@example.org>;tag={user}")),
            ("To", format!("<sip:{to}@example.org>")),
            ("Call-ID", format!("of-{user}-{}", at.port())),
            ("CSeq", format!("{number} {method}")),
            ("Contact", format!("<{}>", self.contact)),
        ];
        SipRequest { method, uri: uri.to_owned(), headers: Headers::from_iter(fields), body: None }
    }

    fn send(&mut self, request: SipRequest) {
        let transaction = ClientTransaction(self.requests);
        self.line.act(SipCommand::Request { transaction, to: self.registrar, request });
    }

    async fn next(&mut self) -> SipEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a running line")
    }

    async fn response(&mut self) -> SipResponse {
        match self.next().await {
            SipEvent::Response { response, .. } => response,
            other => panic!("a response: {other:?}"),
        }
    }

    async fn final_response(&mut self) -> SipResponse {
        loop {
            let response = self.response().await;
            if response.is_final() {
                return response;
            }
        }
    }

    async fn rings(&mut self) -> (ServerTransaction, SipRequest) {
        match self.next().await {
            SipEvent::Request { transaction, request, .. } => (transaction, request),
            other => panic!("a request: {other:?}"),
        }
    }

    fn respond(&self, transaction: ServerTransaction, request: &SipRequest, status: u16) {
        let mut response = SipResponse::to(request, status, self.user);
        response.headers.push("Contact", format!("<{}>", self.contact));
        self.line.act(SipCommand::Respond { transaction, response });
    }

    fn call(&mut self, whom: &str) {
        let invite = self.request(Method::Invite, &format!("sip:{whom}@example.org"), whom);
        self.send(invite);
    }
}

fn server() -> RegistrarServer {
    let args = ["gateway registrar", "--sip-domain", "example.org"].into_iter().chain([
        "--sip-listen",
        "sip:127.0.0.1:0;transport=udp",
        "--sip-listen",
        "sip:127.0.0.1:0;transport=tcp",
    ]);
    RegistrarServer::start(&RegistrarArgs::parse_from(args)).expect("free ports")
}

/// From the first INVITE to the answer to BYE, over any two transports.
#[tokio::test]
async fn two_phones_talk() {
    for (near, far) in [
        (Transport::Udp, Transport::Udp),
        (Transport::Tcp, Transport::Tcp),
        (Transport::Udp, Transport::Tcp),
        (Transport::Tcp, Transport::Udp),
    ] {
        let server = server();
        let mut alice = Phone::new(&server, "alice", near, 1).await;
        let mut bob = Phone::new(&server, "bob", far, 1).await;
        alice.call("bob");
        let (transaction, invite) = bob.rings().await;
        assert_eq!(invite.uri, bob.contact);
        bob.respond(transaction, &invite, 180);
        bob.respond(transaction, &invite, 200);
        assert_eq!((alice.response().await.status, alice.response().await.status), (100, 180));
        let answer = alice.final_response().await;
        let SipEvent::Acked { transaction: acked, .. } = bob.next().await else { panic!("an ACK") };
        assert_eq!(acked, transaction);

        // Bob hangs up; his route set is the Record-Route as it came.
        let mut bye = bob.request(Method::Bye, &alice.contact.clone(), "alice");
        bye.headers.set("From", answer.headers.get("To").expect("a To").to_owned());
        bye.headers.set("To", answer.headers.get("From").expect("a From").to_owned());
        bye.headers.set("Call-ID", invite.headers.get("Call-ID").expect("a Call-ID").to_owned());
        invite.headers.all("Record-Route").for_each(|route| bye.headers.push("Route", route));
        bob.send(bye);
        let (transaction, bye) = alice.rings().await;
        assert_eq!((bye.method.clone(), bye.headers.get("Route")), (Method::Bye, None));
        alice.respond(transaction, &bye, 200);
        assert_eq!(bob.final_response().await.status, 200);
    }
}

#[tokio::test]
async fn a_call_placed_while_the_callee_is_gone_rings_when_he_returns() {
    let server = server();
    let mut alice = Phone::new(&server, "alice", Transport::Udp, 1).await;
    drop(Phone::new(&server, "bob", Transport::Tcp, 1).await);
    alice.call("bob");
    assert_eq!((alice.response().await.status, alice.response().await.status), (100, 182));
    let mut bob = Phone::new(&server, "bob", Transport::Tcp, 2).await;
    let (transaction, invite) = bob.rings().await;
    assert_eq!(invite.uri, bob.contact);
    bob.respond(transaction, &invite, 200);
    assert_eq!(alice.final_response().await.status, 200);
}

#[tokio::test]
async fn a_call_that_rings_on_a_dead_flow_follows_to_the_new_one() {
    let server = server();
    let mut alice = Phone::new(&server, "alice", Transport::Udp, 1).await;
    let mut frozen = Phone::new(&server, "bob", Transport::Tcp, 1).await;
    alice.call("bob");
    let (transaction, invite) = frozen.rings().await;
    frozen.respond(transaction, &invite, 180);
    assert_eq!((alice.response().await.status, alice.response().await.status), (100, 180));
    let mut bob = Phone::new(&server, "bob", Transport::Tcp, 2).await;
    let (transaction, invite) = bob.rings().await;
    bob.respond(transaction, &invite, 200);
    let answer = alice.final_response().await;
    assert_eq!((answer.status, answer.headers.get("To").and_then(tag_of).as_deref()), (200, Some("bob")));
    assert!(matches!(frozen.next().await, SipEvent::Cancelled(_)), "the first one stops to ring");
}

#[tokio::test]
async fn a_call_is_cancelled_through_the_registrar() {
    let server = server();
    let mut alice = Phone::new(&server, "alice", Transport::Tcp, 1).await;
    let mut bob = Phone::new(&server, "bob", Transport::Udp, 1).await;
    alice.call("bob");
    let (transaction, invite) = bob.rings().await;
    bob.respond(transaction, &invite, 180);
    assert_eq!((alice.response().await.status, alice.response().await.status), (100, 180));
    alice.line.act(SipCommand::Cancel(ClientTransaction(alice.requests)));
    assert_eq!(bob.next().await, SipEvent::Cancelled(transaction));
    bob.respond(transaction, &invite, 487);
    assert_eq!(alice.final_response().await.status, 487);
}
