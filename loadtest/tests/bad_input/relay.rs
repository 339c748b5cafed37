//! The wire between the balancer and the instance, with a meter on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// Carries every connection on, and counts what goes to the instance.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    meter: Arc<Meter>,
}

#[derive(Default)]
struct Meter {
    connections: AtomicU64,
    /// Bytes of requests. A connection that became a tunnel is no longer counted: the bystander's goes on talking.
    bytes: AtomicU64,
}

/// What the instance saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) connections: u64,
    pub(crate) bytes: u64,
}

impl Relay {
    pub(crate) fn start(instance: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let meter = Arc::<Meter>::default();
        let shared = meter.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).expect("within the runtime");
            while let Ok((client, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Relaxed);
                tokio::spawn(carry(client, instance, shared.clone()));
            }
        });
        Self { address, meter }
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen { connections: self.meter.connections.load(Relaxed), bytes: self.meter.bytes.load(Relaxed) }
    }
}

async fn carry(client: TcpStream, instance: SocketAddr, meter: Arc<Meter>) {
    let Ok(instance) = TcpStream::connect(instance).await else { return };
    let ((mut from_client, mut to_client), (mut from_instance, mut to_instance)) =
        (client.into_split(), instance.into_split());
    tokio::spawn(async move { copy(&mut from_instance, &mut to_client).await });
    let (mut buffer, mut is_tunnel) = (vec![0; 16 * 1024], false);
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        if !is_tunnel {
            meter.bytes.fetch_add(length as u64, Relaxed);
            is_tunnel = buffer[..length].windows(8).any(|word| word == b"/socket ");
        }
        if to_instance.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
