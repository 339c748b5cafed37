//! Accepts connections on one thread and serves each until it ends or becomes a tunnel.

use super::{
    client_io::{ClientIo, ClientState, ClientStream},
    quota::{Place, Quota},
    serve::{Worker, answer},
};
use crate::metrics::Count;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{net::IpAddr, pin::pin, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, interval_at, timeout},
};

/// Pause after `accept` failed, which it does while the process has no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const TLS_LIMIT: Duration = Duration::from_secs(10);
/// How often a connection is looked at.
const WATCH: Duration = Duration::from_secs(5);
/// Looks in which a head must be completed (10 s to 15 s).
const HEAD_LOOKS: u32 = 2;
/// Looks without a byte in either direction after which a connection is closed (60 s to 65 s).
const IDLE_LOOKS: u32 = 12;
/// Longest head and smallest buffer of hyper.
const MAX_HEAD: usize = 16 * 1024;
/// What is still read of a refused request, so that the refusal is not lost with a reset.
const LINGER_BYTES: usize = 512 * 1024;
const LINGER_LIMIT: Duration = Duration::from_secs(1);

/// Accepts for ever.
pub(crate) async fn accept(listener: TcpListener, worker: Rc<Worker>, quota: std::sync::Arc<Quota>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // A proxy in front brings many clients.
                let is_one_client = !worker.is_trusted(address.ip());
                let place = if is_one_client { quota.enter(address.ip()) } else { Some(Place::default()) };
                let Some(place) = place else { continue };
                tokio::task::spawn_local(connection(stream, address.ip(), Rc::clone(&worker), place));
            }
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, worker: Rc<Worker>, place: Place) {
    worker.count(Count::ConnectionOpened);
    if stream.set_nodelay(true).is_ok() {
        secure(stream, peer, &worker, place).await;
    }
    worker.count(Count::ConnectionClosed);
}

async fn secure(stream: TcpStream, peer: IpAddr, worker: &Rc<Worker>, place: Place) {
    let stream = match worker.tls() {
        None => ClientStream::Plain(stream),
        Some(acceptor) => match timeout(TLS_LIMIT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => ClientStream::Tls(Box::new(stream)),
            Ok(Err(_)) | Err(_) => return,
        },
    };
    serve(stream, Rc::new(ClientState::new(peer)), Rc::clone(worker), place).await;
}

async fn serve(stream: ClientStream, state: Rc<ClientState>, worker: Rc<Worker>, place: Place) {
    let io = TokioIo::new(ClientIo::new(stream, Rc::clone(&state)));
    let service = service_fn(|request| answer(Rc::clone(&worker), Rc::clone(&state), request));
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .auto_date_header(false)
        // One copy of a small answer is cheaper than a vector of two buffers.
        .writev(false)
        .serve_connection(io, service)
        .without_shutdown();
    let done = tokio::select! {
        done = pin!(connection) => done,
        () = watch(&state) => return,
    };
    let Ok(parts) = done else { return };
    let stream = parts.io.into_inner().into_stream();
    match state.tunnel.take() {
        // In a task of its own: this one is as large as a request needs it.
        Some(tunnel) => drop(tokio::task::spawn_local(tunnel.run(stream, parts.read_buf, place))),
        None => linger(stream).await,
    }
}

/// Resolves when the client is too slow or silent.
async fn watch(state: &ClientState) {
    let mut ticks = interval_at(Instant::now() + WATCH, WATCH);
    let (mut moved, mut heads, mut idle_looks, mut head_looks) = (0, 0, 0, 0);
    while idle_looks < IDLE_LOOKS && head_looks < HEAD_LOOKS {
        ticks.tick().await;
        let guard = state.guard.borrow();
        let is_late = guard.heads() == heads && (guard.is_in_head() || heads == 0);
        head_looks = if is_late { head_looks + 1 } else { 0 };
        idle_looks = if state.moved.get() == moved { idle_looks + 1 } else { 0 };
        (moved, heads) = (state.moved.get(), guard.heads());
    }
}

async fn linger(mut stream: ClientStream) {
    let drain = async {
        stream.shutdown().await?;
        let (mut ignored, mut left) = ([0; 1024], LINGER_BYTES);
        while left > 0 {
            match stream.read(&mut ignored).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let _ = timeout(LINGER_LIMIT, drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientState {
        ClientState::new(IpAddr::from([127, 0, 0, 1]))
    }

    async fn seconds_until_given_up(client: &ClientState) -> u64 {
        let begun = Instant::now();
        watch(client).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_given_up_however_it_trickles() {
        let client = client();
        let trickle = async {
            loop {
                client.guard.borrow_mut().feed(b"x");
                client.moved.set(client.moved.get() + 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            seconds = seconds_until_given_up(&client) => assert_eq!(seconds, 10),
            () = trickle => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_asks_is_given_up_as_early() {
        assert_eq!(seconds_until_given_up(&client()).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_asked_may_be_idle_for_a_minute() {
        let client = client();
        client.guard.borrow_mut().feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        client.moved.set(99);
        assert_eq!(seconds_until_given_up(&client).await, 65);
    }
}
