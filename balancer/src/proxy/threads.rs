//! The threads of the data path.

use super::{
    listener,
    quota::Quota,
    serve::{Rules, Worker},
};
use crate::state::Shared;
use std::{io, net::SocketAddr, rc::Rc, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::watch,
};

/// How often a thread forgets lost runs and old connections, and looks at its clients.
const SWEEP: Duration = Duration::from_secs(5);

/// Tasks that run between two questions to the kernel; a request is about two.
const EVENT_INTERVAL: u32 = 128;

/// The running data path; dropping it ends it and every connection on it.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

/// Serves `listeners` (one address, one thread each). An address may have `max_per_address` connections; 0 is no limit.
pub fn start(
    listeners: Vec<std::net::TcpListener>,
    shared: &Shared,
    rules: Rules,
    max_per_address: u32,
) -> io::Result<Proxy> {
    let address = listeners.first().ok_or(io::ErrorKind::InvalidInput)?.local_addr()?;
    let (stop, stopped) = watch::channel(());
    let (rules, quota) = (Arc::new(rules), Quota::new(max_per_address));
    let spawn = |(index, listener)| {
        let (shared, rules, quota, stopped) = (shared.clone(), Arc::clone(&rules), Arc::clone(&quota), stopped.clone());
        let thread = std::thread::Builder::new().name(format!("proxy-{index}"));
        thread.spawn(move || {
            if let Err(error) = run(listener, shared, rules, quota, stopped) {
                tracing::error!(%error, "a thread of the data path ended");
            }
        })
    };
    let threads = listeners.into_iter().enumerate().map(spawn).collect::<io::Result<_>>()?;
    Ok(Proxy { address, stop, threads })
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.send_replace(());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(
    listener: std::net::TcpListener,
    shared: Shared,
    rules: Arc<Rules>,
    quota: Arc<Quota>,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let worker = Rc::new(Worker::new(shared, rules));
        tokio::select! {
            () = listener::accept(listener, Rc::clone(&worker), quota) => {}
            () = sweep(&worker) => {}
            _ = stopped.changed() => {}
        }
        Ok(())
    })
}

async fn sweep(worker: &Worker) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        worker.sweep();
    }
}
