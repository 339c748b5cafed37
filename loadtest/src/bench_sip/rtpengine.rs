//! rtpengine as the other one: the same browsers and phones through it, set up by its ng protocol. It has no signalling of its
//! own, so its figure is that of media alone.

use super::traffic::Step;
use crate::peer::{PeerState, Profiles};
use crate::peer_io::{PeerPool, PoolPeer};
use crate::sip_phone::rtp::{RtpPhones, Voice};
use crate::sip_phone::sdp::{Theirs, ours};
use crate::usage;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::UdpSocket;

const START: Duration = Duration::from_secs(5);
/// Of one command.
const PATIENCE: Duration = Duration::from_secs(2);
const MEDIA: Duration = Duration::from_secs(10);
/// Its flags beside the addresses; no kernel module, as the product has none.
const FLAGS: [&str; 6] =
    ["--table=-1", "--interface=127.0.0.1", "--foreground", "--log-stderr", "--log-level=2", "--no-redis-required"];
/// Between the phones' and the gateway's ports.
const PORTS: (u16, u16) = (30_000, 39_998);

/// A running one; it ends with this.
pub(super) struct Rtpengine {
    child: Child,
    control: UdpSocket,
    cookie: u64,
    calls: Vec<(PoolPeer, SocketAddr)>,
}

/// Where it is, if it is installed.
pub(super) fn installed() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain(["/usr/bin", "/usr/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join("rtpengine")).find(|path| path.is_file())
}

/// Its flags for people.
pub(super) fn flags() -> String {
    FLAGS.join(" ")
}

impl Rtpengine {
    pub(super) async fn start(binary: &PathBuf) -> anyhow::Result<Self> {
        let port = std::net::UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = Command::new(binary)
            .args(FLAGS)
            .args([
                format!("--listen-ng=127.0.0.1:{port}"),
                format!("--port-min={}", PORTS.0),
                format!("--port-max={}", PORTS.1),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("rtpengine can't be started")?;
        let control = UdpSocket::bind(("127.0.0.1", 0)).await?;
        control.connect(("127.0.0.1", port)).await?;
        let mut running = Self { child, control, cookie: 0, calls: Vec::new() };
        tokio::time::timeout(START, running.ready()).await.context("rtpengine does not answer")??;
        Ok(running)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        loop {
            if self.child.try_wait()?.is_some() {
                bail!("rtpengine ended at once");
            }
            let ping = BTreeMap::from([("command", Value::text("ping"))]);
            if tokio::time::timeout(Duration::from_millis(100), self.ask(ping)).await.is_ok_and(|asked| asked.is_ok()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Adds calls until there are so many, and watches them.
    pub(super) async fn step(
        &mut self,
        pool: &PeerPool,
        phones: &RtpPhones,
        calls: usize,
        settle: Duration,
        time: Duration,
    ) -> anyhow::Result<Step> {
        while self.calls.len() < calls {
            let call = self.call(pool, phones).await?;
            self.calls.push(call);
        }
        for (peer, _) in &self.calls {
            let mut state = peer.state();
            let flowing = state.wait_for(|state| *state == PeerState::Flowing);
            tokio::time::timeout(MEDIA, flowing).await.context("a call through rtpengine has no media")??;
        }
        tokio::time::sleep(settle).await;
        let pid = self.child.id();
        let browsers: Vec<&PoolPeer> = self.calls.iter().map(|(peer, _)| peer).collect();
        Step::measure(&browsers, phones, time, || usage::cpu(pid)).await
    }

    async fn call(&mut self, pool: &PeerPool, phones: &RtpPhones) -> anyhow::Result<(PoolPeer, SocketAddr)> {
        let mut peer = pool.create(Profiles::Gcm)?;
        let call = format!("call-{}", self.calls.len());
        let list = |word: &str| Value::List(vec![Value::text(word)]);
        let to_phone = self
            .ask(BTreeMap::from([
                ("command", Value::text("offer")),
                ("call-id", Value::text(&call)),
                ("from-tag", Value::text("browser")),
                // It takes a browser's usual 0.0.0.0 for hold.
                ("sdp", Value::text(&peer.offer().replace("IP4 0.0.0.0", "IP4 127.0.0.1"))),
                ("transport-protocol", Value::text("RTP/AVP")),
                ("ICE", Value::text("remove")),
                ("rtcp-mux", list("demux")),
            ]))
            .await?;
        let theirs = Theirs::parse(&to_phone).context("rtpengine's offer")?;
        let number = theirs.opus.context("rtpengine's offer has no Opus")?;
        let to_browser = self
            .ask(BTreeMap::from([
                ("command", Value::text("answer")),
                ("call-id", Value::text(&call)),
                ("from-tag", Value::text("browser")),
                ("to-tag", Value::text("phone")),
                ("sdp", Value::text(&ours(phones.address(), Voice::Opus, number))),
                ("DTLS", Value::text("passive")),
                ("ICE", Value::text("force")),
            ]))
            .await?;
        peer.connect(&to_browser)?;
        phones.add(theirs.address, Voice::Opus, number);
        Ok((peer, theirs.address))
    }

    /// Its answer's `sdp`, empty if it has none.
    async fn ask(&mut self, command: BTreeMap<&'static str, Value>) -> anyhow::Result<String> {
        self.cookie += 1;
        let mut text = format!("{} ", self.cookie);
        Value::Map(command).write(&mut text);
        self.control.send(text.as_bytes()).await?;
        let mut bytes = vec![0; 65_536];
        let start = format!("{} ", self.cookie);
        loop {
            let length = tokio::time::timeout(PATIENCE, self.control.recv(&mut bytes)).await.context("no answer")??;
            let answer = String::from_utf8_lossy(&bytes[..length]);
            let Some(answer) = answer.strip_prefix(&start) else { continue };
            if answer.contains("5:error") {
                bail!("rtpengine: {answer}");
            }
            return Ok(entry(answer, "sdp").unwrap_or_default().to_owned());
        }
    }

    /// All calls end, for the phones' side.
    pub(super) fn finish(self, phones: &RtpPhones) {
        self.calls.iter().for_each(|(_, remote)| phones.remove(*remote));
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bencode, which the ng protocol is written in.
#[derive(Debug)]
enum Value {
    Text(String),
    List(Vec<Value>),
    /// By key, in order, as bencode wants it.
    Map(BTreeMap<&'static str, Value>),
}

impl Value {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => *out += &format!("{}:{text}", text.len()),
            Self::List(values) => {
                out.push('l');
                values.iter().for_each(|value| value.write(out));
                out.push('e');
            }
            Self::Map(values) => {
                out.push('d');
                for (key, value) in values {
                    *out += &format!("{}:{key}", key.len());
                    value.write(out);
                }
                out.push('e');
            }
        }
    }
}

/// The text under a key of a flat dictionary.
fn entry<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("{}:{key}", key.len()))?;
    let (length, rest) = rest.split_once(':')?;
    rest.get(..length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_and_answers_read() {
        let list = Value::List(vec![Value::text("demux")]);
        let mut text = String::new();
        Value::Map(BTreeMap::from([("sdp", Value::text("v=0\r\n")), ("command", Value::text("offer")), ("x", list)]))
            .write(&mut text);
        assert_eq!(text, "d7:command5:offer3:sdp5:v=0\r\n1:xl5:demuxee");
        assert_eq!(entry(&text, "sdp"), Some("v=0\r\n"));
        assert_eq!(entry("d6:result4:ponge", "sdp"), None);
    }
}
