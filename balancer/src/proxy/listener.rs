//! Accepts connections on one thread and serves each until it ends or becomes a tunnel.

use super::{
    client_io::{ClientIo, ClientState, ClientStream},
    quota::{Place, Quota},
    serve::{Worker, answer},
};
use crate::metrics::Count;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Pause after `accept` failed, which it does while the process has no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const TLS_LIMIT: Duration = Duration::from_secs(10);
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
                let client = Rc::new(ClientState::new(address.ip()));
                let task = tokio::task::spawn_local(connection(stream, Rc::clone(&client), Rc::clone(&worker), place));
                worker.patience.borrow_mut().watch(&client, task.abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, client: Rc<ClientState>, worker: Rc<Worker>, place: Place) {
    let _open = Open::new(&client, &worker);
    if stream.set_nodelay(true).is_ok() {
        secure(stream, client, &worker, place).await;
    }
}

/// Counts a connection, and has it watched until its task ends, for whatever reason.
struct Open(Rc<ClientState>, Rc<Worker>);

impl Open {
    fn new(client: &Rc<ClientState>, worker: &Rc<Worker>) -> Self {
        worker.count(Count::ConnectionOpened);
        Self(Rc::clone(client), Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.1.patience.borrow_mut().forget(&self.0);
        self.1.count(Count::ConnectionClosed);
    }
}

async fn secure(stream: TcpStream, client: Rc<ClientState>, worker: &Rc<Worker>, place: Place) {
    let stream = match worker.tls() {
        None => ClientStream::Plain(stream),
        Some(acceptor) => match timeout(TLS_LIMIT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => ClientStream::Tls(Box::new(stream)),
            Ok(Err(_)) | Err(_) => return,
        },
    };
    serve(stream, client, Rc::clone(worker), place).await;
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
    let Ok(parts) = connection.await else { return };
    let stream = parts.io.into_inner().into_stream();
    match state.tunnel.take() {
        // In a task of its own: this one is as large as a request needs it.
        Some(tunnel) => drop(tokio::task::spawn_local(tunnel.run(stream, parts.read_buf, place))),
        None => linger(stream).await,
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
