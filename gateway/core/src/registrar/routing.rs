//! Where a request goes next, and what a proxy adds to it (RFC 3261 §16.3 to §16.6).

use super::{Aor, Registrar, addresses};
use crate::sip::{Peer, SipRequest, SipUri, Transport};
use std::net::{IpAddr, SocketAddr};

/// Hops of a request that names no limit.
const MAX_FORWARDS: u32 = 70;

/// Takes off one hop, or says with what status the request is refused.
pub(super) fn check(request: &mut SipRequest) -> Result<(), u16> {
    let has = |name| request.headers.get(name).is_some();
    if !["Via", "From", "To", "Call-ID"].into_iter().all(has) || request.cseq().is_none() {
        return Err(400);
    }
    let hops = match request.headers.get("Max-Forwards") {
        None => MAX_FORWARDS,
        Some(hops) => hops.trim().parse().map_err(|_| 400_u16)?,
    };
    let scheme = request.uri.split(':').next().unwrap_or_default();
    if !["sip", "sips"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(416);
    }
    if has("Proxy-Require") {
        return Err(420);
    }
    let left = hops.checked_sub(1).ok_or(483_u16)?;
    request.headers.set("Max-Forwards", left.min(u32::from(u8::MAX)).to_string());
    Ok(())
}

impl Registrar {
    /// The domain itself, or one of our addresses, without a user.
    pub(super) fn is_for_us(&self, uri: &str) -> bool {
        SipUri::parse(uri).is_ok_and(|uri| uri.user.is_none() && self.is_ours(&uri))
    }

    /// The user of ours whom a URI names.
    pub(super) fn user_of(&self, uri: &str) -> Option<Aor> {
        let uri = SipUri::parse(uri).ok().filter(|uri| self.is_ours(uri))?;
        uri.user.filter(|user| !user.is_empty()).map(Aor::from)
    }

    fn is_ours(&self, uri: &SipUri) -> bool {
        if uri.host.eq_ignore_ascii_case(&self.settings.domain) {
            return true;
        }
        literal(uri).is_some_and(|at| self.settings.addresses.iter().any(|(_, addr)| *addr == at))
    }

    /// Takes off the Routes that we wrote ourselves (§16.4); there are two where the transport changes (RFC 5658).
    pub(super) fn pop_own_routes(&self, request: &mut SipRequest) {
        let mut routes = addresses(request.headers.all("Route"));
        let ours = routes.iter().take_while(|route| self.is_for_us(&route.uri)).count();
        if ours == 0 {
            return;
        }
        request.headers.remove("Route");
        routes.drain(..ours);
        routes.iter().for_each(|route| request.headers.push("Route", route.to_string()));
    }

    /// Of a request within a dialog: the next Route, else the contact that the Request-URI is.
    pub(super) fn next_hop(&self, request: &SipRequest) -> Option<Peer> {
        if let Some(route) = addresses(request.headers.all("Route")).first() {
            return peer_of(&SipUri::parse(&route.uri).ok()?);
        }
        if let Some(binding) = self.bindings.by_contact(&request.uri) {
            return Some(binding.peer);
        }
        let uri = SipUri::parse(&request.uri).ok()?;
        if self.is_ours(&uri) {
            return self.bindings.of(&uri.user?).first().map(|binding| binding.peer);
        }
        self.bindings.flow_to(&uri).or_else(|| peer_of(&uri))
    }

    fn address(&self, transport: Transport) -> Option<SocketAddr> {
        self.settings.addresses.iter().find(|(served, _)| *served == transport).map(|(_, addr)| *addr)
    }

    /// With a branch of its own.
    pub(super) fn push_via(&mut self, request: &mut SipRequest, transport: Transport) {
        let branch = self.names.branch();
        let by = self.address(transport).map_or_else(|| self.settings.domain.clone(), |addr| addr.to_string());
        request.headers.push_front("Via", format!("SIP/2.0/{transport} {by};branch={branch}"));
    }

    /// Later requests of the dialog come back here: to the side that they come from.
    pub(super) fn record_route(&self, request: &mut SipRequest, from: Transport, to: Transport) {
        let mut sides = vec![from];
        if to != from {
            sides.push(to);
        }
        for transport in sides {
            let Some(addr) = self.address(transport) else { continue };
            let transport = transport.to_string().to_ascii_lowercase();
            request.headers.push_front("Record-Route", format!("<sip:{addr};transport={transport};lr>"));
        }
    }
}

/// Names are never resolved here.
fn peer_of(uri: &SipUri) -> Option<Peer> {
    let transport = match uri.param("transport") {
        Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case("tls") => Transport::Tls,
        Some(name) if name.eq_ignore_ascii_case("udp") => Transport::Udp,
        Some(_) => return None,
        None if uri.secure => Transport::Tls,
        None => Transport::Udp,
    };
    Some(Peer { transport, addr: literal(uri)? })
}

fn literal(uri: &SipUri) -> Option<SocketAddr> {
    let ip: IpAddr = uri.host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(SocketAddr::new(ip, uri.port.unwrap_or(if uri.secure { 5061 } else { 5060 })))
}
