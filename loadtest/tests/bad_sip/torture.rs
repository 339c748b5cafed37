//! The torture messages, to both instances as their SIP server's, and to the registrar as a stranger's.

use crate::chain::{Chain, value};
use crate::cluster::Cluster;
use crate::far::PATIENCE;
use crate::table::Table;
use crate::torture_messages::{INVALID, MEANING, Torture, VALID};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const LOOK: Duration = Duration::from_millis(10);
/// Why the sockets drop something.
const REASONS: [&str; 5] = ["unreadable", "no_room", "overrun", "stranger", "unmatched"];

pub(crate) async fn rows(cluster: &Cluster, table: &mut Table) {
    for torture in VALID.iter().chain(&INVALID).chain(&MEANING) {
        let item = format!("RFC 4475 {} {}: {}", torture.section, torture.name, torture.what);
        table.row(&item, expected(torture.name), everywhere(cluster, torture)).await;
    }
}

/// What must come of it. 603: it rang at our user, who declines whoever calls. An instance is a user agent, the registrar a
/// registrar and proxy; whatever can be told without a transaction gets its status from the sockets of either.
fn expected(name: &str) -> &'static str {
    match name {
        // Valid, and taken for what they are.
        "wsinv" | "esc01" | "longreq" => "instance: 603; registrar: 603",
        // Raw control characters are refused wherever they stand, also where a quoted string may have them.
        "intmeth" => "instance: dropped as unreadable; registrar: dropped as unreadable",
        "esc02" => "instance: 501; registrar: 501",
        // An instance registers nobody.
        "escnull" | "regaut01" | "cparam01" | "cparam02" => "instance: 405; registrar: 200",
        "lwsdisp" | "dblreq" | "transports" => "instance: 200; registrar: 200",
        // Nobody of that name is registered.
        "semiuri" => "instance: 200; registrar: 404",
        // A body that is no text.
        "mpart01" => "instance: 415; registrar: 415",
        "unreason" | "noreason" | "scalarlg" | "bcast" => {
            "instance: dropped as unmatched; registrar: dropped as unmatched"
        }
        // Separators too many say nothing, a wrong Date is nobody's concern.
        "badinv01" | "baddate" => "instance: 603; registrar: 603",
        // Read leniently, as the RFC allows.
        "badaspec" | "baddn" | "badbranch" => "instance: 200; registrar: 200",
        "clerr" => "instance: dropped as unreadable; registrar: dropped as unreadable",
        // Where the next message begins can't be known.
        "ncl" | "mcl01" => {
            "instance: the flow comes back (TCP), dropped as unreadable (UDP); registrar: the flow ends (TCP), dropped as unreadable (UDP)"
        }
        "scalar02" | "quotbal" | "ltgtruri" | "lwsruri" | "lwsstart" | "trws" | "mismatch01" | "mismatch02"
        | "insuf" | "multi01" | "inv2543" => "instance: 400; registrar: 400",
        // No contact of ours has header fields in it.
        "escruri" => "instance: 404; registrar: 404",
        "regbadct" | "regescrt" => "instance: 405; registrar: 400",
        "badvers" => "instance: 505; registrar: 505",
        "bigcode" => "instance: dropped as unreadable; registrar: dropped as unreadable",
        "unkscm" | "novelsc" => "instance: 416; registrar: 416",
        "unksm2" => "instance: 405; registrar: 404",
        "bext01" => "instance: 420; registrar: 420",
        "invut" => "instance: 415; registrar: 415",
        // Hops are counted by those who pass on.
        "zeromf" => "instance: 200; registrar: 483",
        "sdp01" => "instance: 406; registrar: 406",
        unknown => panic!("{unknown} has no rule"),
    }
}

/// Over TCP their ends are not known, so that the message behind them goes with them; see the rows of streams.
const DATAGRAMS_ONLY: [&str; 2] = ["clerr", "inv2543"];

async fn everywhere(cluster: &Cluster, torture: &Torture) -> String {
    let [tcp, udp] = cluster.chains();
    let (two, four) = (at_instance(udp, torture), at_registrar(cluster, torture, "udp"));
    if DATAGRAMS_ONLY.contains(&torture.name) {
        let (two, four) = tokio::join!(two, four);
        return format!("instance: {two}; registrar: {four}");
    }
    let (one, three) = (at_instance(tcp, torture), at_registrar(cluster, torture, "tcp"));
    let (one, two, three, four) = tokio::join!(one, two, three, four);
    let pair = |tcp: String, udp: String| if tcp == udp { tcp } else { format!("{tcp} (TCP), {udp} (UDP)") };
    format!("instance: {}; registrar: {}", pair(one, two), pair(three, four))
}

pub(crate) fn mark() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("m{}m", NEXT.fetch_add(1, Relaxed))
}

async fn at_instance(chain: &Chain, torture: &Torture) -> String {
    let mark = mark();
    let bytes = torture.bytes(&chain.tap.contact_of("mallory"), chain.tap.transport, &mark);
    said(chain, bytes, &mark).await
}

/// What becomes of something that the SIP server says: the answer that has this mark, or how it was counted.
pub(crate) async fn said(chain: &Chain, bytes: Vec<u8>, mark: &str) -> String {
    let before = Before::of(chain).await;
    chain.tap.say(bytes);
    before.outcome(chain, mark).await
}

/// What was counted.
pub(crate) struct Before {
    figures: String,
    flows: u64,
}

impl Before {
    pub(crate) async fn of(chain: &Chain) -> Self {
        Self { figures: chain.figures().await, flows: chain.tap.flows() }
    }

    pub(crate) async fn outcome(&self, chain: &Chain, mark: &str) -> String {
        let looked = async {
            let mut looks = tokio::time::interval(LOOK);
            loop {
                looks.tick().await;
                let answer = final_answer(&chain.tap.answers(), mark);
                if let Some(status) = answer {
                    let is_ours = status.as_str() >= "400" && status != "603";
                    let is_counted = !is_ours || refusals(&chain.figures().await) > refusals(&self.figures);
                    return if is_counted { status } else { status + " uncounted" };
                }
                if chain.tap.flows() != self.flows {
                    return "the flow comes back".to_owned();
                }
                let now = chain.figures().await;
                if let Some(reason) = dropped(&self.figures, &now, "holdfast_sip_dropped_total") {
                    return reason;
                }
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| "nothing".to_owned())
    }
}

/// Answers of the instance itself, those of users left out.
fn refusals(figures: &str) -> u64 {
    let is_one = |line: &&str| {
        line.starts_with("holdfast_sip_refusals_total")
            || line.starts_with("holdfast_sip_dropped_total{reason=\"malformed\"}")
    };
    figures.lines().filter(is_one).filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum()
}

fn dropped(before: &str, now: &str, name: &str) -> Option<String> {
    let line = |reason: &str| format!("{name}{{reason=\"{reason}\"}}");
    let grown = |reason: &&&str| value(now, &line(reason)) > value(before, &line(reason));
    REASONS.iter().find(grown).map(|reason| format!("dropped as {reason}"))
}

/// The status of a final answer with a mark.
fn final_answer(answers: &[String], mark: &str) -> Option<String> {
    let answers = answers.iter().rev().filter(|answer| answer.contains(mark));
    let mut statuses = answers.filter_map(|answer| answer.strip_prefix("SIP/2.0 ")?.get(..3));
    statuses.find(|status| *status >= "200").map(str::to_owned)
}

async fn at_registrar(cluster: &Cluster, torture: &Torture, transport: &str) -> String {
    let mark = mark();
    let bytes = torture.bytes("sip:mallory@example.org", transport, &mark);
    let before = cluster.figures().await;
    let counted = async {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let now = cluster.figures().await;
            if let Some(reason) = dropped(&before, &now, "holdfast_registrar_dropped_total") {
                return reason;
            }
        }
    };
    let answered = async {
        match transport {
            "tcp" => over_tcp(cluster, &bytes, &mark).await,
            _ => over_udp(cluster, &bytes, &mark).await,
        }
    };
    let outcome = async {
        tokio::select! {
            biased;
            answer = answered => answer,
            reason = counted => reason,
        }
    };
    tokio::time::timeout(PATIENCE, outcome).await.unwrap_or_else(|_| "nothing".to_owned())
}

async fn over_tcp(cluster: &Cluster, bytes: &[u8], mark: &str) -> String {
    let mut stream = TcpStream::connect(cluster.registrar).await.expect("it listens");
    stream.write_all(bytes).await.expect("written");
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
        while let Some(message) = crate::tap::take(&mut read) {
            let text = String::from_utf8_lossy(&message).trim_start().to_owned();
            if let Some(status) = final_answer(&[text], mark) {
                return status;
            }
        }
    }
    "the flow ends".to_owned()
}

async fn over_udp(cluster: &Cluster, bytes: &[u8], mark: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.send_to(bytes, cluster.registrar_udp).await.expect("sent");
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).await.expect("loopback");
        if let Some(status) = final_answer(&[String::from_utf8_lossy(&buffer[..length]).into_owned()], mark) {
            return status;
        }
    }
}
