//! The wire before a server: everything passes, and the moments are noted at which users register.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const REGISTER: &[u8] = b"REGISTER sip:";

pub(crate) struct Tap {
    /// Where the server is reached through it.
    pub(crate) address: SocketAddr,
    registers: Arc<Mutex<Vec<Instant>>>,
    task: JoinHandle<()>,
}

impl Tap {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((crate::kamailio::free_address().ip(), 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let registers = Arc::<Mutex<Vec<Instant>>>::default();
        let noted = registers.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, server, noted.clone()));
            }
        });
        Self { address, registers, task }
    }

    /// REGISTERs since the last look.
    pub(crate) fn take(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.registers.lock().expect("not poisoned"))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until either side closes.
async fn pass(near: TcpStream, server: SocketAddr, noted: Arc<Mutex<Vec<Instant>>>) {
    let Ok(far) = TcpStream::connect(server).await else { return };
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    let out = async {
        let mut bytes = vec![0; 16 * 1024];
        // Of a start that a read cut in two.
        let mut rest = Vec::new();
        while let Ok(count @ 1..) = from_near.read(&mut bytes).await {
            rest.extend_from_slice(&bytes[..count]);
            let starts = rest.windows(REGISTER.len()).filter(|window| *window == REGISTER).count();
            noted.lock().expect("not poisoned").extend(std::iter::repeat_n(Instant::now(), starts));
            rest.drain(..rest.len().saturating_sub(REGISTER.len() - 1));
            if to_far.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = out => {}
        _ = copy(&mut from_far, &mut to_near) => {}
    }
}
