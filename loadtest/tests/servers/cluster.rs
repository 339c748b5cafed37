//! Gateways in this process, at SIP servers that are processes of their own.

pub(crate) use crate::kamailio::DOMAIN;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use gateway::{Args, Gateway};
use std::net::SocketAddr;

pub(crate) struct Cluster {
    gateways: Vec<Gateway>,
    /// Where phones are known, the preferred one first.
    pub(crate) registrar: [SocketAddr; 2],
    _files: tempfile::TempDir,
}

impl Cluster {
    /// Instances that have these servers, the preferred one first, over TCP.
    pub(crate) fn start(instances: usize, servers: &[SocketAddr]) -> Self {
        Self::over("tcp", instances, servers)
    }

    pub(crate) fn over(transport: &str, instances: usize, servers: &[SocketAddr]) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let keys = files.path().join("cluster.keys");
        std::fs::write(&keys, STANDARD.encode([7; 32])).expect("written");
        let uris: Vec<String> = servers.iter().map(|server| format!("sip:{server};transport={transport}")).collect();
        let gateways = (0..instances).map(|index| gateway(index, &uris, &keys.display().to_string())).collect();
        let registrar = [servers[0], *servers.last().expect("a server")];
        Self { gateways, registrar, _files: files }
    }

    pub(crate) fn public(&self, index: usize) -> SocketAddr {
        self.gateways[index].public()
    }
}

fn gateway(index: usize, servers: &[String], keys: &str) -> Gateway {
    let id = format!("gw-{index}");
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let flags = ["--auth", "anonymous", "--cluster-key-file", keys, "--instance-id", &id, "--media-threads", "1"];
    let sip = ["--sip-domain", DOMAIN, "--sip-allow", "*"];
    let servers = servers.iter().flat_map(|server| ["--sip-registrar", server]);
    let all = ["gateway"].into_iter().chain(flags).chain(sip).chain(servers).chain(ports);
    Gateway::start(Args::parse_from(all)).expect("it starts")
}
