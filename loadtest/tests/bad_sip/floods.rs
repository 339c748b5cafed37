//! More than anybody can want: 10 000 INVITEs a second for two seconds, from strangers and from the server.

use crate::chain::{Chain, value};
use crate::cluster::Cluster;
use crate::streams::invite;
use crate::table::Table;
use crate::torture::mark;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;

const INVITES: usize = 20_000;
/// Each of them lasts 10 ms.
const BATCH: usize = 100;
const PACE: Duration = Duration::from_millis(10);
/// When nothing came for so long, nothing more is expected.
const QUIET: Duration = Duration::from_secs(1);

pub(crate) async fn rows(cluster: &Cluster, table: &mut Table) {
    let expected = "0 answered, dropped as stranger";
    for chain in cluster.chains() {
        // Over TCP there is no port for it; the instance has one for datagrams nevertheless.
        if chain.tap.transport == "udp" {
            let item = "10 000 INVITEs a second from a stranger, to the instance";
            table.row(item, expected, from_a_stranger(chain)).await;
        }
    }
    let item = "10 000 INVITEs a second from a stranger, to the registrar";
    let expected = "some 404, the rest dropped as overrun or no_room";
    table.row(item, expected, to_the_registrar(cluster)).await;
    for chain in cluster.chains() {
        let item = format!("10 000 INVITEs a second from the server, over {}", chain.tap.transport);
        let expected = "some rang, the rest 503 with Retry-After or dropped";
        table.row(&item, expected, from_the_server(chain)).await;
    }
}

/// Sends them; on a slow machine it takes longer.
async fn flood(mut send: impl AsyncFnMut(usize)) {
    let mut pace = tokio::time::interval(PACE);
    for batch in 0..INVITES / BATCH {
        pace.tick().await;
        for number in batch * BATCH..(batch + 1) * BATCH {
            send(number).await;
        }
    }
}

fn stray(number: usize, mark: &str, to: SocketAddr) -> String {
    format!(
        "INVITE sip:nobody-here@{to} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{mark}{number};rport\r\n\
         From: <sip:x@h>;tag=1\r\nTo: <sip:nobody-here@h>\r\nCall-ID: {mark}{number}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
}

async fn from_a_stranger(chain: &Chain) -> String {
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (to, mark) = (chain.tap.instance(), mark());
    let line = "holdfast_sip_dropped_total{reason=\"stranger\"}";
    let before = chain.counts(line).await;
    flood(async |number| drop(stranger.send_to(stray(number, &mark, to).as_bytes(), to).await)).await;
    let dropped = chain.counts(line).await - before;
    let answered = answers_at(&stranger).await.values().sum::<usize>();
    println!("  {INVITES} INVITEs: {dropped} dropped, what is missing was lost in the kernel");
    match dropped {
        0 => format!("{answered} answered, none dropped"),
        _ => format!("{answered} answered, dropped as stranger"),
    }
}

async fn answers_at(socket: &UdpSocket) -> BTreeMap<String, usize> {
    let mut statuses = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(Ok(length)) = tokio::time::timeout(QUIET, socket.recv(&mut buffer)).await {
        let status = String::from_utf8_lossy(&buffer[..length]).chars().skip(8).take(3).collect::<String>();
        *statuses.entry(status).or_default() += 1;
        if statuses.values().sum::<usize>() > INVITES {
            break;
        }
    }
    statuses
}

async fn to_the_registrar(cluster: &Cluster) -> String {
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (to, mark) = (cluster.registrar_udp, mark());
    let before = cluster.figures().await;
    flood(async |number| drop(stranger.send_to(stray(number, &mark, to).as_bytes(), to).await)).await;
    let now = cluster.figures().await;
    let grown = |reason: &str| {
        let line = format!("holdfast_registrar_dropped_total{{reason=\"{reason}\"}}");
        value(&now, &line) - value(&before, &line)
    };
    let (overrun, no_room) = (grown("overrun"), grown("no_room"));
    println!(
        "  {INVITES} INVITEs: {overrun} dropped as overrun, {no_room} as no_room; the first of their answers are 404"
    );
    let mut buffer = [0; 2048];
    let first = tokio::time::timeout(QUIET, stranger.recv(&mut buffer)).await;
    let is_404 = first.is_ok_and(|read| read.is_ok()) && buffer.starts_with(b"SIP/2.0 404");
    match (is_404, overrun + no_room) {
        (true, 1..) => "some 404, the rest dropped as overrun or no_room".to_owned(),
        other => format!("{other:?}"),
    }
}

/// As a server does, every refusal is acknowledged.
async fn from_the_server(chain: &Chain) -> String {
    let mark = mark();
    let before = chain.figures().await;
    let mut tally = Tally { acknowledged: chain.tap.answers().len(), ..Tally::default() };
    flood(async |number| {
        chain.tap.say(invite(chain, &format!("{mark}-{number}-"), "CSeq: 1 INVITE\r\nContent-Length: 0\r\n", ""));
        if number % BATCH == 0 {
            tally.acknowledge(chain, &mark);
        }
    })
    .await;
    let mut last = 0;
    while tally.answered() != last {
        last = tally.answered();
        tokio::time::sleep(QUIET).await;
        tally.acknowledge(chain, &mark);
    }
    let now = chain.figures().await;
    let grown = |line: &str| value(&now, line) - value(&before, line);
    let refused = grown("holdfast_sip_refused_total");
    let dropped =
        ["no_room", "overrun"].map(|reason| grown(&format!("holdfast_sip_dropped_total{{reason=\"{reason}\"}}")));
    println!(
        "  {INVITES} INVITEs: {:?}, {refused} counted as refused, {dropped:?} dropped without room",
        tally.statuses
    );
    let is_bounded = tally.statuses.keys().all(|status| ["503", "486", "603"].contains(&status.as_str()));
    let rang = tally.statuses.get("603").copied().unwrap_or(0);
    match (is_bounded, rang, refused, tally.without_retry) {
        (true, 1..=1000, 1.., 0) => "some rang, the rest 503 with Retry-After or dropped".to_owned(),
        other => format!("{other:?} {:?}", tally.statuses),
    }
}

#[derive(Default)]
struct Tally {
    /// Answers that were looked at.
    acknowledged: usize,
    statuses: BTreeMap<String, usize>,
    without_retry: usize,
}

impl Tally {
    fn answered(&self) -> usize {
        self.statuses.values().sum()
    }

    fn acknowledge(&mut self, chain: &Chain, mark: &str) {
        let news: Vec<String> = chain.tap.answers()[self.acknowledged..].to_vec();
        self.acknowledged += news.len();
        for answer in news.iter().filter(|answer| answer.contains(mark) && !answer.starts_with("SIP/2.0 1")) {
            let status = answer[8..11].to_owned();
            self.without_retry += usize::from(status == "503" && !answer.contains("\r\nRetry-After:"));
            *self.statuses.entry(status).or_default() += 1;
            chain.tap.say(ack(answer));
        }
    }
}

/// To a refusal (RFC 3261 §17.1.1.3).
fn ack(answer: &str) -> String {
    let field = |name: &str| answer.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let [via, from, to, call] = ["Via:", "From:", "To:", "Call-ID:"].map(field);
    format!(
        "ACK sip:x SIP/2.0\r\n{via}\r\n{from}\r\n{to}\r\n{call}\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}
