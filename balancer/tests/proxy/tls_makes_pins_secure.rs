//! Over TLS pins are `Secure`, and the browser's cookie has the `__Host-` name.

use crate::support::{
    balancer::{Balancer, Options},
    client::upgrade,
    fake::Fake,
};
use balancer::proxy::Tls;
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

const CERTIFICATE: &str = "tests/proxy/support/localhost.pem";
const KEY: &str = "tests/proxy/support/localhost.key.pem";

fn client() -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERTIFICATE).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().expect("a name")).expect("a client")
}

fn balancer(fakes: &[Fake]) -> Balancer {
    let tls = Arc::new(Tls::load(Path::new(CERTIFICATE), Path::new(KEY)).expect("a certificate and its key"));
    tls.reload().expect("still there");
    Balancer::with(fakes, Options { tls: Some(tls), ..Options::default() })
}

#[test]
fn the_cookie_has_the_host_prefix() {
    let fakes = [Fake::start("a")];
    let balancer = balancer(&fakes);
    let (mut client, mut socket) = (client(), TcpStream::connect(balancer.http).expect("the balancer listens"));
    let mut stream = Stream::new(&mut client, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and an orderly end");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let set = answer.lines().find(|line| line.starts_with("set-cookie: __Host-holdfast=")).expect("a pin");
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"), "{set}");
}

#[test]
fn a_tunnel_over_tls_is_told_of_its_instances_death() {
    let mut fakes = [Fake::start("a")];
    let balancer = balancer(&fakes);
    let (mut client, mut socket) = (client(), TcpStream::connect(balancer.http).expect("the balancer listens"));
    let mut stream = Stream::new(&mut client, &mut socket);
    stream.write_all(upgrade("/v1/sessions/none/socket", "").as_bytes()).expect("sent");
    let mut bytes = [0; 1];
    let mut seen = Vec::new();
    // The fake closes a session that it does not know with a close frame, so another frame follows here.
    while !seen.ends_with(b"\r\n\r\n\x88\x02\x11\x3a") {
        stream.read_exact(&mut bytes).expect("the answer and the greeting");
        seen.extend(bytes);
    }
    fakes[0].say(&[b"\x82\x7e\xff\xff".as_slice(), &[7; 0xffff]].concat());
    let mut frame = vec![0; 4 + 0xffff];
    stream.read_exact(&mut frame).expect("a large frame");
    fakes[0].kill();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(rest, b"", "behind a close frame nothing may follow");
}
