//! The servers as an operator named them: where their names lead, what their certificates must say, and what went wrong with
//! them, told once.

use super::ServerName;
use gateway_core::sip::Peer;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

/// A resolver that takes longer has found nothing.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Servers {
    names: Vec<ServerName>,
    /// Why a server could not be reached, as told last.
    trouble: HashMap<Peer, String>,
    /// Those whose name leads nowhere, as told last.
    nowhere: HashSet<usize>,
}

impl Servers {
    pub(super) fn new(names: Vec<ServerName>) -> Self {
        Self { names, trouble: HashMap::new(), nowhere: HashSet::new() }
    }

    /// Where the name of a server leads now; nothing if it leads nowhere.
    pub(super) fn look_up(&self, server: usize) -> impl Future<Output = Vec<SocketAddr>> + use<> {
        let name = self.names.get(server).map(|name| (name.host.clone(), name.port));
        async move {
            let Some(name) = name else { return Vec::new() };
            match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(name)).await {
                Ok(Ok(addrs)) => addrs.collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            }
        }
    }

    /// Where it led; leading nowhere says nothing.
    pub(super) fn note_found(&mut self, server: usize, addrs: &[SocketAddr]) {
        let Some(name) = self.names.get_mut(server) else { return };
        if !addrs.is_empty() {
            self.nowhere.remove(&server);
            addrs.clone_into(&mut name.addrs);
        } else if self.nowhere.insert(server) {
            tracing::warn!(host = %name.host, "the name of a SIP server leads nowhere; it is looked up again");
        }
    }

    /// By what the server at an address is known.
    pub(super) fn host_of(&self, peer: Peer) -> String {
        let known = self.names.iter().find(|name| name.addrs.contains(&peer.addr));
        known.map_or_else(|| peer.addr.ip().to_string(), |name| name.host.clone())
    }

    /// A server could not be reached: said once for each reason, however often it is tried.
    pub(super) fn note_failed(&mut self, peer: Peer, why: String) {
        // One that has no address yet is told of by its name.
        if peer.addr.port() != 0 && self.trouble.get(&peer) != Some(&why) {
            let host = self.host_of(peer);
            tracing::warn!(%host, addr = %peer.addr, transport = %peer.transport, "a SIP server can't be reached: {why}");
            self.trouble.insert(peer, why);
        }
    }

    pub(super) fn note_reached(&mut self, peer: Peer) {
        if self.trouble.remove(&peer).is_some() {
            tracing::info!(addr = %peer.addr, transport = %peer.transport, "the SIP server is reached again");
        }
    }

    pub(super) fn forget(&mut self, peer: Peer) {
        self.trouble.remove(&peer);
    }
}
