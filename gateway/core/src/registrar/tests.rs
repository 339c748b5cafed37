//! The registrar between phones that are plain values: what each of them is sent, step by step.

mod calls;
mod gap;
mod registering;

use super::*;
use crate::limits::test_clock;
use crate::sip::Headers;

/// The registrar, a clock, and what it has sent.
struct World {
    registrar: Registrar,
    now: Instant,
    next: u64,
}

/// What went out in one step.
#[derive(Debug, Default)]
struct Out {
    responses: Vec<(ServerTransaction, SipResponse)>,
    requests: Vec<(ClientTransaction, Peer, SipRequest)>,
    sent: Vec<(Peer, SipRequest)>,
    cancels: Vec<ClientTransaction>,
}

impl Out {
    fn statuses(&self) -> Vec<u16> {
        self.responses.iter().map(|(_, response)| response.status).collect()
    }

    fn only_request(&self) -> (ClientTransaction, Peer, &SipRequest) {
        let [(transaction, peer, request)] = self.requests.as_slice() else { panic!("one request: {self:?}") };
        (*transaction, *peer, request)
    }

    fn contacts(&self) -> Vec<&str> {
        self.responses.iter().flat_map(|(_, response)| response.headers.all("Contact")).collect()
    }
}

fn tcp(port: u16) -> Peer {
    Peer { transport: Transport::Tcp, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

fn udp(port: u16) -> Peer {
    Peer { transport: Transport::Udp, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

impl World {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(credentials: Option<BTreeMap<String, String>>) -> Self {
        let here = SocketAddr::from(([127, 0, 0, 1], 5060));
        let addresses = vec![(Transport::Udp, here), (Transport::Tcp, here)];
        let settings = Settings { domain: "example.org".to_owned(), addresses, credentials, digest: Algorithm::Sha256 };
        let now = test_clock();
        Self { registrar: Registrar::new(settings, now, &mut |bytes: &mut [u8]| bytes.fill(7)), now, next: 0 }
    }

    fn drain(&mut self) -> Out {
        let mut out = Out::default();
        while let Some(command) = self.registrar.next_command() {
            match command {
                SipCommand::Respond { transaction, response } => out.responses.push((transaction, response)),
                SipCommand::Request { transaction, to, request } => out.requests.push((transaction, to, request)),
                SipCommand::Send { to, request } => out.sent.push((to, request)),
                SipCommand::Cancel(transaction) => out.cancels.push(transaction),
                SipCommand::Open { .. } | SipCommand::Forget { .. } | SipCommand::LookUp { .. } => {
                    panic!("a registrar opens no flow by itself")
                }
            }
        }
        out
    }

    fn tell(&mut self, event: SipEvent) -> Out {
        self.registrar.handle(event, self.now);
        self.drain()
    }

    /// Lets time go by, stopping at every deadline.
    fn pass(&mut self, time: Duration) -> Out {
        let end = self.now + time;
        while let Some((at, _)) = self.registrar.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at;
            self.registrar.handle_timeout(at);
        }
        self.now = end;
        self.drain()
    }

    fn send(&mut self, from: Peer, request: SipRequest) -> (ServerTransaction, Out) {
        self.next += 1;
        let transaction = ServerTransaction(self.next);
        (transaction, self.tell(SipEvent::Request { transaction, from, request }))
    }

    fn register(&mut self, user: &str, from: Peer, contact: &str) -> Out {
        let mut request = register(user, contact);
        request.headers.set("CSeq", format!("{} REGISTER", self.next + 10));
        self.send(from, request).1
    }

    fn call(&mut self, from: Peer, user: &str) -> (ServerTransaction, Out) {
        self.send(from, request(Method::Invite, &format!("sip:{user}@example.org")))
    }

    fn answer(&mut self, transaction: ClientTransaction, request: &SipRequest, status: u16) -> Out {
        let response = SipResponse::to(request, status, &format!("far{}", transaction.0));
        self.tell(SipEvent::Response { transaction, response })
    }
}

fn request(method: Method, uri: &str) -> SipRequest {
    let fields = [
        ("Via", "SIP/2.0/TCP 127.0.0.1:4000;branch=z9hG4bKnear".to_owned()),
        ("Max-Forwards", "70".to_owned()),
        ("From", "<sip:near@example.org>;tag=near".to_owned()),
        ("To", format!("<{uri}>")),
        ("Call-ID", "call".to_owned()),
        ("CSeq", format!("1 {method}")),
        ("Contact", "<sip:near@127.0.0.1:4000;transport=tcp>".to_owned()),
    ];
    SipRequest { method, uri: uri.to_owned(), headers: Headers::from_iter(fields), body: None }
}

fn register(user: &str, contact: &str) -> SipRequest {
    let mut request = request(Method::Register, "sip:example.org");
    request.headers.set("To", format!("<sip:{user}@example.org>"));
    request.headers.set("Contact", contact);
    request
}

/// Within the dialog that the callee `far<n>` made.
fn in_dialog(method: Method, uri: &str, cseq: u32) -> SipRequest {
    let mut request = request(method.clone(), uri);
    request.headers.set("To", "<sip:far@example.org>;tag=far1");
    request.headers.set("CSeq", format!("{cseq} {method}"));
    request.headers.push("Route", "<sip:127.0.0.1:5060;transport=tcp;lr>");
    request
}
