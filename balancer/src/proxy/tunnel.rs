//! One WebSocket between a browser and an instance.
//!
//! Idle, it owns two sockets and a few words: bytes pass through one buffer per thread, and only what the other side does
//! not take at once is kept. It follows the frames towards the browser, so that a lost instance is told by a close frame
//! between two of them.

use super::{
    client_io::ClientStream,
    frame::{FrameFollower, close_frame},
    quota::Place,
    serve::Worker,
    upstream::{InstanceIo, Upstream, with_buffer},
};
use crate::metrics::Count;
use balancer_core::Loss;
use bytes::Bytes;
use gateway_protocol::CloseCode;
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a browser has to take the last bytes and to close its side.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long an instance that closed a tunnel without a word may take to prove that it lives.
const PROOF: Duration = Duration::from_millis(150);

/// A tunnel that begins when the 101 is sent.
pub(crate) struct Pending {
    instance: InstanceIo,
    /// What the instance sent behind its answer.
    behind: Bytes,
    upstream: Rc<Upstream>,
    worker: Rc<Worker>,
}

impl Pending {
    pub(crate) fn new(instance: InstanceIo, behind: Bytes, upstream: Rc<Upstream>, worker: Rc<Worker>) -> Self {
        Self { instance, behind, upstream, worker }
    }

    /// Runs the tunnel to its end. `early` is what the browser sent behind its request.
    pub(crate) async fn run(self, browser: ClientStream, early: Bytes, place: Place) {
        let Self { instance, behind, upstream, worker } = self;
        let mut tunnel = Tunnel::new((browser, &early), (instance, &behind));
        drop((early, behind));
        worker.count(Count::TunnelOpened);
        let mut down = upstream.down.clone();
        let loss = match tunnel.run(pin!(down.wait())).await {
            Err(loss) => Some(loss),
            Ok(Ended::ByInstance) if !tunnel.is_closed() => proof_of_loss(&upstream, &worker).await,
            Ok(Ended::ByInstance | Ended::ByBrowser) => None,
        };
        worker.count(Count::TunnelClosed);
        loss.into_iter().for_each(|loss| worker.count(Count::TunnelCut(loss)));
        match loss {
            Some(loss) => tunnel.tell(CloseCode::InstanceLost.into(), loss.label()).await,
            None => tunnel.close().await,
        }
        drop(place);
    }
}

/// Whether an instance that closed a tunnel without a close frame is lost: it refuses, or is declared down meanwhile.
async fn proof_of_loss(upstream: &Upstream, worker: &Worker) -> Option<Loss> {
    let endpoint = upstream.instance.endpoint;
    worker.shared.doubt(endpoint);
    let mut down = upstream.down.clone();
    let refused = async {
        match TcpStream::connect(endpoint.http).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Loss::Gone,
            Ok(_) | Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        loss = down.wait() => Some(loss),
        loss = refused => Some(loss),
        () = tokio::time::sleep(PROOF) => None,
    }
}

/// Bytes on their way in one direction.
#[derive(Default)]
struct Flow {
    /// Read and not yet taken by the other side. Bounded by one read and by what came with the upgrade.
    left: Vec<u8>,
    must_flush: bool,
}

/// Which side ended a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The browser closed or reset its connection.
    ByBrowser,
    /// The instance did.
    ByInstance,
}

/// A tunnel; `I` is the connection to the instance.
pub(crate) struct Tunnel<I> {
    browser: ClientStream,
    instance: I,
    to_browser: Flow,
    to_instance: Flow,
    frames: FrameFollower,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Tunnel<I> {
    /// With the bytes that each side sent right behind its half of the handshake.
    pub(crate) fn new(browser: (ClientStream, &[u8]), instance: (I, &[u8])) -> Self {
        let mut frames = FrameFollower::default();
        frames.feed(instance.1);
        Self {
            browser: browser.0,
            instance: instance.0,
            to_browser: Flow { left: instance.1.to_vec(), must_flush: false },
            to_instance: Flow { left: browser.1.to_vec(), must_flush: false },
            frames,
        }
    }

    /// Moves bytes until a side ends it or `lost` resolves; what can be read by then has been moved.
    pub(crate) async fn run<L: Future + Unpin>(&mut self, mut lost: L) -> Result<Ended, L::Output> {
        poll_fn(|cx| {
            if let Poll::Ready(ended) = self.poll(cx) {
                return Poll::Ready(Ok(ended));
            }
            Pin::new(&mut lost).poll(cx).map(Err)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Self { browser, instance, to_browser, to_instance, frames } = self;
        if let Poll::Ready(broken) = to_browser.poll(cx, instance, browser, |bytes| frames.feed(bytes)) {
            return Poll::Ready(if broken == Broken::Source { Ended::ByInstance } else { Ended::ByBrowser });
        }
        let broken = ready!(to_instance.poll(cx, browser, instance, |_| {}));
        Poll::Ready(if broken == Broken::Source { Ended::ByBrowser } else { Ended::ByInstance })
    }

    /// True if the instance has said its own farewell.
    pub(crate) fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Tells the browser by a close frame where one may stand, and ends the connection.
    pub(crate) async fn tell(mut self, code: u16, reason: &'static str) {
        let mut last = std::mem::take(&mut self.to_browser.left);
        if self.frames.is_between_frames() && !self.frames.is_closed() {
            last.extend_from_slice(&close_frame(code, reason));
        }
        drop(self.instance);
        let _ = timeout(FAREWELL, farewell(self.browser, &last)).await;
    }

    /// Ends the connection to the browser without a word of ours.
    pub(crate) async fn close(self) {
        let Self { browser, to_browser, .. } = self;
        let _ = timeout(FAREWELL, farewell(browser, &to_browser.left)).await;
    }
}

/// Closing with bytes unread would reset the connection and could take the last frame with it, so they are read.
async fn farewell(mut browser: ClientStream, last: &[u8]) -> io::Result<()> {
    browser.write_all(last).await?;
    browser.flush().await?;
    browser.shutdown().await?;
    let mut ignored = [0; 256];
    while browser.read(&mut ignored).await? > 0 {}
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Source,
    Sink,
}

impl Flow {
    fn poll<S, T>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut T,
        mut look: impl FnMut(&[u8]),
    ) -> Poll<Broken>
    where
        S: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            if ready!(self.poll_drain(cx, sink)).is_err() {
                return Poll::Ready(Broken::Sink);
            }
            let moved = with_buffer(|fresh| {
                let read = ready!(Pin::new(&mut *source).poll_read(cx, fresh));
                if read.is_err() || fresh.filled().is_empty() {
                    return Poll::Ready(Err(Broken::Source));
                }
                look(fresh.filled());
                Poll::Ready(self.pass_on(cx, sink, fresh.filled()).map_err(|_| Broken::Sink))
            });
            if let Err(broken) = ready!(moved) {
                return Poll::Ready(broken);
            }
        }
    }

    fn poll_drain<T: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, sink: &mut T) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.left))?;
            self.must_flush = true;
            self.left.drain(..written);
            if self.left.is_empty() {
                self.left = Vec::new();
            }
        }
        if self.must_flush {
            ready!(Pin::new(sink).poll_flush(cx))?;
            self.must_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn pass_on<T: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, sink: &mut T, bytes: &[u8]) -> io::Result<()> {
        let written = match Pin::new(sink).poll_write(cx, bytes) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.must_flush |= written > 0;
        self.left.extend_from_slice(&bytes[written..]);
        Ok(())
    }
}
