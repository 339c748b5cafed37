//! Gateways and the registrar that they share, in this process.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use gateway::registrar::{RegistrarArgs, RegistrarServer};
use gateway::{Args, Gateway};
use gateway_core::sip::Transport;
use std::net::SocketAddr;

pub(crate) const DOMAIN: &str = "example.org";

pub(crate) struct Cluster {
    pub(crate) gateways: Vec<Option<Gateway>>,
    pub(crate) registrar: SocketAddr,
    _server: RegistrarServer,
    _files: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start(instances: usize) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let keys = files.path().join("cluster.keys");
        std::fs::write(&keys, STANDARD.encode([7; 32])).expect("written");
        let listen = ["--sip-listen", "sip:127.0.0.1:0;transport=tcp", "--sip-domain", DOMAIN];
        let args = RegistrarArgs::parse_from(["registrar"].into_iter().chain(listen));
        let server = RegistrarServer::start(&args).expect("the registrar starts");
        let registrar = server.local(Transport::Tcp).expect("it listens");
        let gateways =
            (0..instances).map(|index| Some(gateway(index, registrar, &keys.display().to_string()))).collect();
        Self { gateways, registrar, _server: server, _files: files }
    }

    pub(crate) fn public(&self, index: usize) -> SocketAddr {
        self.gateways[index].as_ref().expect("it lives").public()
    }

    /// It is gone at once and says nothing to anybody.
    pub(crate) fn kill(&mut self, index: usize) {
        self.gateways[index] = None;
    }
}

fn gateway(index: usize, registrar: SocketAddr, keys: &str) -> Gateway {
    let (id, server) = (format!("gw-{index}"), format!("sip:{registrar};transport=tcp"));
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let flags = ["--auth", "anonymous", "--cluster-key-file", keys, "--instance-id", &id, "--media-threads", "1"];
    let sip = ["--sip-registrar", &server, "--sip-domain", DOMAIN, "--sip-allow", "*"];
    Gateway::start(Args::parse_from(["gateway"].into_iter().chain(flags).chain(sip).chain(ports))).expect("it starts")
}
