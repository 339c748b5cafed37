//! A load client that costs little: requests as bytes made once, answers read only as far as their length.

use crate::http::{Ask, Base, Browser};
use anyhow::{Context, bail};
use gateway_protocol::SignedIn;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection with its request, cookies of a sign-in included.
pub(super) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

/// A browser that is signed in through a proxy.
pub(super) struct SignedInBrowser {
    browser: Browser,
    path: String,
}

impl SignedInBrowser {
    pub(super) async fn new(proxy: SocketAddr) -> anyhow::Result<Self> {
        let browser = Browser::new();
        let base = Base::parse(&format!("http://{proxy}")).map_err(anyhow::Error::msg)?;
        let body = br#"{"client_id":"bench","user":"bench"}"#.to_vec();
        let ask = Ask { method: "POST", path: "/v1/sessions".to_owned(), headers: Vec::new(), body };
        let answer = browser.ask(&base, &ask).await?;
        if answer.status() != 201 {
            bail!("sign-in through the proxy: {}", answer.status());
        }
        let session: SignedIn = serde_json::from_slice(answer.body())?;
        Ok(Self { browser, path: format!("/v1/sessions/{}", session.session_id) })
    }

    /// A connection that asks after the session.
    pub(super) async fn connect(&self, address: SocketAddr) -> anyhow::Result<Connection> {
        let cookies = self.browser.cookies(&self.path).unwrap_or_default();
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer token\r\ncookie: {cookies}\r\n\r\n",
            self.path
        );
        Connection::open(address, request.into_bytes()).await
    }

    /// An idle WebSocket.
    pub(super) async fn websocket(&self, address: SocketAddr) -> anyhow::Result<TcpStream> {
        let path = format!("{}/socket", self.path);
        let cookies = self.browser.cookies(&path).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookies}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut connection = Connection::open(address, request.into_bytes()).await?;
        connection.ask(101).await?;
        Ok(connection.stream)
    }
}

impl Connection {
    async fn open(address: SocketAddr, request: Vec<u8>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request, buffer: Vec::with_capacity(2048) })
    }

    /// One request and its answer, which must have this status.
    pub(super) async fn ask(&mut self, status: u16) -> anyhow::Result<()> {
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("closed in the middle");
            }
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                if head.get(9..12) != Some(&status.to_string()) {
                    bail!("status {status} was expected, got `{}`", head.lines().next().unwrap_or_default());
                }
                if self.buffer.len() >= end + 4 + content_length(head)? {
                    return Ok(());
                }
            }
        }
    }
}

fn content_length(head: &str) -> anyhow::Result<usize> {
    let value = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    value.map_or(Ok(0), |(_, value)| value.trim().parse().context("content-length"))
}

/// As many requests as all connections manage together until the time is up.
pub(super) async fn flood(connections: &mut [Connection], time: Duration) -> anyhow::Result<u64> {
    let until = Instant::now() + time;
    let floods = connections.iter_mut().map(|connection| async move {
        let mut done = 0_u64;
        while Instant::now() < until {
            connection.ask(200).await?;
            done += 1;
        }
        anyhow::Ok(done)
    });
    Ok(futures_util::future::try_join_all(floods).await?.into_iter().sum())
}

/// Median time of requests at a steady rate, one after the other over the connections.
pub(super) async fn median_latency(
    connections: &mut [Connection],
    rate: u32,
    time: Duration,
) -> anyhow::Result<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    let (mut times, end, count) = (Vec::new(), Instant::now() + time, connections.len());
    let mut turn = 0;
    while Instant::now() < end {
        ticks.tick().await;
        let start = Instant::now();
        connections[turn % count].ask(200).await?;
        times.push(start.elapsed());
        turn += 1;
    }
    times.sort();
    times.get(times.len() / 2).copied().context("no request was made")
}
