//! HTTP/1.1 on one listener and one thread: accepting, timeouts, an end.

use crate::pulse::Pulse;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

/// From one answer to the whole head of the next request. A balancer keeps an idle connection for 10 s: closing it earlier
/// could meet a request that is on its way.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head; hyper's smallest allowed buffer is 8 KiB.
const HEAD_BYTES: usize = 16 * 1024;
/// After a failed accept (no more file descriptors, above all).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The thread shows that it moves this often.
const PULSE: Duration = Duration::from_millis(100);

/// Serves until `exit` is set, on a current-thread runtime of its own. Beyond `most` connections new ones wait in the
/// kernel.
pub async fn serve(
    listener: TcpListener,
    most: usize,
    router: Router,
    pulse: Arc<Pulse>,
    mut exit: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener can't be served"),
    };
    let room = Arc::new(Semaphore::new(most));
    let mut beat = tokio::time::interval(PULSE);
    loop {
        tokio::select! {
            _ = exit.wait_for(|exit| *exit) => return,
            _ = beat.tick() => pulse.beat(),
            accepted = accept(&listener, &room) => {
                let (stream, permit) = accepted;
                let connection = connection(stream, router.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
        }
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "accepting failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}
