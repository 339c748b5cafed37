//! Addresses that others must reach us at, in places where nobody knows them beforehand (containers).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Reserved for documentation (RFC 5737): only the default route leads there.
const FAR_AWAY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), 9);

/// `IP:PORT`, or `auto:PORT` for the address that this machine has towards its default route.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    const ALLOWED: &str = "IP:PORT or auto:PORT is allowed";
    match text.strip_prefix("auto:") {
        Some(port) => {
            let port = port.parse().map_err(|_| ALLOWED)?;
            let ip = towards(FAR_AWAY).map_err(|error| format!("there is no default route: {error}"))?;
            Ok(SocketAddr::new(ip, port))
        }
        None => text.parse().map_err(|_| ALLOWED.to_owned()),
    }
}

/// Connecting a UDP socket sends nothing; it only chooses the route.
fn towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_said_or_found() {
        assert_eq!(parse("192.0.2.1:40000"), Ok(SocketAddr::from(([192, 0, 2, 1], 40_000))));
        for wrong in ["auto", "auto:", "auto:x", "host:1", "192.0.2.1"] {
            assert!(parse(wrong).is_err_and(|error| error.contains("auto:PORT")), "{wrong}");
        }
    }

    #[test]
    fn the_own_address_is_that_of_the_route() {
        assert_eq!(towards(SocketAddr::from(([127, 0, 0, 1], 9))).expect("loopback"), IpAddr::from([127, 0, 0, 1]));
    }
}
