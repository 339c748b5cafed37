//! TCP listeners: one per thread at one address by SO_REUSEPORT, but never beside another process.

use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, TcpListener};

/// Connections that wait to be accepted, per listener.
const BACKLOG: i32 = 4096;

/// A listener could not be made.
#[derive(Debug, thiserror::Error)]
#[error("error: --{flag} {address}: {cause}; a free local ip:port is allowed")]
pub struct ListenError {
    flag: &'static str,
    address: SocketAddr,
    cause: std::io::Error,
}

/// `count` non-blocking listeners at `address`, the value of `--flag`. Port 0 takes a free port, the same for all.
///
/// SO_REUSEPORT lets a second process of the same user bind silently; the first bind goes without it to find a port in use.
pub fn tcp(flag: &'static str, address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let wrap = |cause| ListenError { flag, address, cause };
    let probe = bind(address, false).map_err(wrap)?;
    let bound = probe.local_addr().map_err(wrap)?.as_socket().unwrap_or(address);
    drop(probe);
    (0..count.max(1)).map(|_| listen(bound).map_err(wrap)).collect()
}

fn bind(address: SocketAddr, reuse_port: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    if !reuse_port {
        // Two sockets may both bind with SO_REUSEADDR as long as neither listens.
        socket.listen(1)?;
    }
    Ok(socket)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = bind(address, true)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_listeners_share_a_port_that_nobody_else_gets() {
        let listeners = tcp("listen", "127.0.0.1:0".parse().expect("an address"), 2).expect("a free port");
        let address = listeners[0].local_addr().expect("bound");
        assert_eq!(address, listeners[1].local_addr().expect("bound"));
        let error = tcp("listen", address, 1).expect_err("in use").to_string();
        assert!(error.contains("--listen") && error.contains(&address.to_string()), "{error}");
    }
}
