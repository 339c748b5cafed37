use super::super::{ServerName, SipTls};
use super::*;
use gateway_core::sip::SendFailure;
use std::time::Instant;

#[tokio::test]
async fn a_flow_is_opened_once_and_used_both_ways() {
    let (mut near, mut far) = (End::new(), End::new());
    let to = far.peer(Transport::Tcp);
    near.line.act(SipCommand::Open { peer: to });
    let SipEvent::Up { peer, local } = near.next().await else { panic!("a flow") };
    assert_eq!(peer, to);
    near.send(to, request(Method::Register, Transport::Tcp, "a"));
    let (_, from, _) = far.request().await;
    assert_eq!(from.addr, local, "the request came over the flow that was opened");
    far.send(from, request(Method::Invite, Transport::Tcp, "b"));
    let (_, back, _) = near.request().await;
    assert_eq!(back, to, "the connection of a REGISTER is where INVITEs go back");
}

#[tokio::test]
async fn udp_is_up_at_once() {
    let (mut near, far) = (End::new(), End::new());
    let peer = far.peer(Transport::Udp);
    near.line.act(SipCommand::Open { peer });
    assert_eq!(near.next().await, SipEvent::Up { peer, local: near.peer(Transport::Udp).addr });
}

#[tokio::test]
async fn a_lost_flow_is_told_on_both_sides_and_fails_what_it_carried() {
    let (mut near, mut far) = (End::new(), End::new());
    let to = far.peer(Transport::Tcp);
    let transaction = near.send(to, request(Method::Register, Transport::Tcp, "a"));
    let (_, from, _) = far.request().await;
    drop(far);
    let mut told = [near.next().await, near.next().await];
    told.sort_by_key(|event| matches!(event, SipEvent::Failed { .. }));
    let failed = SipEvent::Failed { transaction, why: SendFailure::Unreachable };
    assert_eq!(told, [SipEvent::Down { peer: to }, failed]);

    let (mut near, far) = (End::new(), End::new());
    far.line.act(SipCommand::Open { peer: near.peer(Transport::Tcp) });
    far.line.act(SipCommand::Request {
        transaction: ClientTransaction(1),
        to: near.peer(Transport::Tcp),
        request: request(Method::Register, Transport::Tcp, "a"),
    });
    let (_, from_far, _) = near.request().await;
    assert_ne!(from_far, from);
    drop(far);
    assert_eq!(near.next().await, SipEvent::Down { peer: from_far });
}

#[tokio::test]
async fn a_peer_that_refuses_is_known_at_once() {
    let mut near = End::with(Duration::from_millis(500));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = Peer { transport: Transport::Tcp, addr: listener.local_addr().expect("bound") };
    drop(listener);
    let start = Instant::now();
    near.line.act(SipCommand::Open { peer });
    let transaction = near.send(peer, request(Method::Register, Transport::Tcp, "a"));
    assert_eq!(near.next().await, SipEvent::Failed { transaction, why: SendFailure::Unreachable });
    assert_eq!(near.next().await, SipEvent::Down { peer });
    assert!(start.elapsed() < Duration::from_secs(2), "Timer F would take 32 s: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_silent_peer_times_out() {
    let mut near = End::new();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let peer = Peer { transport: Transport::Udp, addr: silent.local_addr().expect("bound") };
    let transaction = near.send(peer, request(Method::Register, Transport::Udp, "a"));
    assert_eq!(near.next().await, SipEvent::Failed { transaction, why: SendFailure::TimedOut });
}

#[tokio::test]
async fn what_can_not_be_sent_fails() {
    let mut near = End::new();
    let peer = near.peer(Transport::Udp);
    let mut bad = request(Method::Register, Transport::Udp, "a");
    bad.headers.push("Subject", "x\r\nRoute: <sip:evil>");
    let transaction = near.send(peer, bad);
    assert_eq!(near.next().await, SipEvent::Failed { transaction, why: SendFailure::Unreachable });
}

/// Nobody's key: it is only ever used here.
const CERTIFICATE: &[u8] = include_bytes!("tls/certificate.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");

fn under_tls(tls: SipTls, servers: Vec<ServerName>) -> End {
    let listen = vec![(Transport::Tls, SocketAddr::from(([127, 0, 0, 1], 0)))];
    let config = SipConfig { listen, tls: Some(tls), servers, t1: Some(T1), ..SipConfig::default() };
    let (line, events) = SipLine::start(config).expect("a free port");
    End { line, events, next: 0 }
}

#[tokio::test]
async fn tls_goes_to_who_shows_the_right_certificate() {
    let server = || SipTls::default().with_certificate(CERTIFICATE, KEY).expect("a certificate");
    let mut far = under_tls(server(), Vec::new());
    let peer = far.peer(Transport::Tls);
    // What the domain is called counts for a server without a name.
    let cases = [("sip.test", "x.test", true), ("other.test", "sip.test", false), ("127.0.0.1", "sip.test", true)];
    for (host, domain, is_right) in cases {
        let name = ServerName { host: host.to_owned(), port: peer.addr.port(), addrs: vec![peer.addr] };
        let tls = server().with_authorities(CERTIFICATE, domain).expect("a certificate");
        let mut near = under_tls(tls, vec![name]);
        near.line.act(SipCommand::Open { peer });
        if !is_right {
            assert_eq!(near.next().await, SipEvent::Down { peer });
            continue;
        }
        assert!(matches!(near.next().await, SipEvent::Up { .. }));
        near.send(peer, request(Method::Register, Transport::Tls, "a"));
        let (transaction, from, received) = far.request().await;
        far.respond(transaction, &received, 200);
        assert_eq!(near.response().await.status, 200);
        let transaction = far.send(from, request(Method::Invite, Transport::Tls, "b"));
        assert_eq!(near.request().await.1, peer);
        drop(near);
        assert_eq!(far.next().await, SipEvent::Failed { transaction, why: SendFailure::Unreachable });
        assert_eq!(far.next().await, SipEvent::Down { peer: from });
    }
}

#[tokio::test]
async fn a_name_is_looked_up_when_the_machine_asks() {
    let localhost = ServerName { host: "localhost".to_owned(), port: 5_070, addrs: Vec::new() };
    let nowhere = ServerName { host: "nowhere.invalid".to_owned(), port: 5_070, addrs: Vec::new() };
    let config = SipConfig { servers: vec![localhost, nowhere], ..SipConfig::default() };
    let (line, events) = SipLine::start(config).expect("no port is needed");
    let mut near = End { line, events, next: 0 };
    near.line.act(SipCommand::LookUp { server: 0 });
    let SipEvent::Found { server: 0, addrs } = near.next().await else { panic!("the name was looked up") };
    assert!(addrs.contains(&SocketAddr::from(([127, 0, 0, 1], 5_070))), "{addrs:?}");
    for server in [1, 2] {
        near.line.act(SipCommand::LookUp { server });
        assert_eq!(near.next().await, SipEvent::Found { server, addrs: Vec::new() });
    }
}

#[tokio::test]
async fn only_who_was_opened_is_heard_until_it_is_forgotten() {
    let listen = vec![(Transport::Udp, SocketAddr::from(([127, 0, 0, 1], 0)))];
    let config = SipConfig { listen, only_from: Some(Vec::new()), t1: Some(T1), ..SipConfig::default() };
    let (line, events) = SipLine::start(config).expect("a free port");
    let (mut near, mut far) = (End { line, events, next: 0 }, End::new());
    let (here, there) = (near.peer(Transport::Udp), far.peer(Transport::Udp));
    near.line.act(SipCommand::Open { peer: there });
    assert!(matches!(near.next().await, SipEvent::Up { .. }));
    far.send(here, request(Method::Options, Transport::Udp, "a"));
    let (transaction, _, received) = near.request().await;
    near.respond(transaction, &received, 200);
    assert_eq!(far.response().await.status, 200);
    near.line.act(SipCommand::Forget { peer: there });
    let asked = far.send(here, request(Method::Options, Transport::Udp, "b"));
    assert_eq!(far.next().await, SipEvent::Failed { transaction: asked, why: SendFailure::TimedOut });
    assert!(near.line.counts().strangers() > 0);
}

#[tokio::test]
async fn a_server_without_an_address_is_down_at_once() {
    let mut near = End::new();
    for transport in [Transport::Udp, Transport::Tcp] {
        let peer = Peer { transport, addr: SocketAddr::from(([0, 0, 0, 0], 0)) };
        near.line.act(SipCommand::Open { peer });
        assert_eq!(near.next().await, SipEvent::Down { peer });
    }
}
