//! The registrar, and two instances that reach it: one over TCP, one over UDP.

use crate::chain::Chain;
use crate::client::request;
use crate::tap::Tap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use gateway::registrar::{RegistrarArgs, RegistrarServer};
use gateway_core::sip::Transport;
use gateway_core::{SealKey, SealRing};
use holdfast_config::ClusterKeys;
use std::net::SocketAddr;

pub(crate) const DOMAIN: &str = "example.org";
const CLUSTER_KEY: [u8; 32] = [7; 32];
/// Whoever has one at the SIP server.
const PASSWORDS: &str = "mallory:the secret\neve:another secret\n";

pub(crate) struct Cluster {
    pub(crate) tcp: Chain,
    pub(crate) udp: Chain,
    /// Over TCP.
    pub(crate) registrar: SocketAddr,
    pub(crate) registrar_udp: SocketAddr,
    admin: SocketAddr,
    _server: RegistrarServer,
    _files: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let files = tempfile::tempdir().expect("a folder");
        std::fs::write(files.path().join("cluster.keys"), STANDARD.encode(CLUSTER_KEY)).expect("written");
        std::fs::write(files.path().join("passwords"), PASSWORDS).expect("written");
        let listen = ["--sip-listen", "sip:127.0.0.1:0;transport=tcp", "--sip-listen", "sip:127.0.0.1:0;transport=udp"];
        let rest = ["--sip-domain", DOMAIN, "--admin-listen", "127.0.0.1:0"];
        let args = RegistrarArgs::parse_from(["registrar"].into_iter().chain(listen).chain(rest));
        let server = RegistrarServer::start(&args).expect("the registrar starts");
        let [registrar, registrar_udp] =
            [Transport::Tcp, Transport::Udp].map(|transport| server.local(transport).expect("it listens"));
        let tcp = Chain::start(Tap::tcp(registrar), files.path(), "34000-34499");
        let udp = Chain::start(Tap::udp(registrar_udp), files.path(), "34500-34999");
        let admin = server.admin().expect("it listens");
        Self { tcp, udp, registrar, registrar_udp, admin, _server: server, _files: files }
    }

    /// Where clients of an instance go.
    pub(crate) fn public(&self, instance: usize) -> SocketAddr {
        self.chains()[instance].balancer
    }

    pub(crate) fn chains(&self) -> [&Chain; 2] {
        [&self.tcp, &self.udp]
    }

    /// The registrar's metrics.
    pub(crate) async fn figures(&self) -> String {
        request(self.admin, "GET", "/metrics", &[], "").await.text
    }
}

/// What seals this cluster's capsules.
pub(crate) fn seal() -> SealRing {
    let keys = ClusterKeys::parse(&STANDARD.encode(CLUSTER_KEY)).expect("a key").derive("capsule");
    SealRing::new(keys.into_iter().map(|key| SealKey { id: key.id, key: key.key }).collect()).expect("a key")
}
