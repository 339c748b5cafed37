//! A far side in a call that asks too much, or the wrong things; and one that answers calls so.

use crate::browser::{Browser, Call};
use crate::caller::Caller;
use crate::chain::Chain;
use crate::cluster::Cluster;
use crate::far::{Dialog, Far, PATIENCE, sdp};
use crate::table::Table;
use loadtest::sip_phone::message::Message;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) async fn rows(cluster: &Cluster, table: &mut Table) {
    let mut talk = Talk::begin(cluster).await;
    talk.floods(table).await;
    talk.referrals(table).await;
    talk.descriptions(table).await;
    talk.out_of_order(table).await;
    let going = async { talk.one("OPTIONS", |request| request).await };
    table.row("after all that, its own call", "200", going).await;
    answers(cluster, table).await;
    redirections(cluster, table).await;
}

/// Stands for a 500 or 503 that does not say when to come again.
const WITHOUT_RETRY: u16 = 1;

struct Talk<'a> {
    chain: &'a Chain,
    browser: Browser,
    _media: Call,
    far: Far,
    dialog: Dialog,
}

impl<'a> Talk<'a> {
    async fn begin(cluster: &'a Cluster) -> Self {
        let mut far = Far::register(cluster.registrar, "far-trent").await;
        let mut browser = Browser::join(cluster, 0, "trent").await;
        let (media, dialog) = tokio::join!(browser.dial("c1", "far-trent", 440.0), far.answers(sdp(9)));
        browser.state("c1", "active").await;
        Self { chain: &cluster.tcp, browser, _media: media, far, dialog }
    }

    /// The status of the answer to one request.
    async fn one(&mut self, method: &str, change: impl FnOnce(Message) -> Message) -> String {
        let request = change(self.far.within(&mut self.dialog, method));
        let statuses = self.all(vec![request], Duration::ZERO).await;
        statuses.keys().map(u16::to_string).collect::<Vec<_>>().join(" ")
    }

    /// How often each status answers these, one each `pace`. A refusal for their number must say when to come again.
    async fn all(&mut self, requests: Vec<Message>, pace: Duration) -> BTreeMap<u16, usize> {
        // The heartbeat is answered while something is asked.
        self.browser.ask(json!({ "method": "hang_up", "call_id": "nothing" })).await;
        let (mut statuses, mut left) = (BTreeMap::new(), requests.len());
        let mut waiting = requests.into_iter();
        let mut ticks = tokio::time::interval(pace.max(Duration::from_micros(1)));
        let exchange = async {
            while left > 0 {
                tokio::select! {
                    _ = ticks.tick(), if waiting.len() > 0 => waiting.next().into_iter().for_each(|one| self.far.send(one)),
                    message = self.far.line.next() => {
                        let message = message.expect("the line is open");
                        let Some(status @ 200..) = message.status() else {
                            self.far.serves(&message);
                            continue;
                        };
                        if status == 200 && message.cseq_method() == "INVITE" {
                            let cseq = message.header("CSeq").split(' ').next().unwrap_or_default().parse().unwrap_or(0);
                            self.far.send(self.far.numbered(&self.dialog, "ACK", cseq));
                        }
                        let limited = matches!(status, 500 | 503) && message.header("Retry-After").is_empty();
                        *statuses.entry(if limited { WITHOUT_RETRY } else { status }).or_default() += 1;
                        left -= 1;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, exchange).await;
        *statuses.entry(0).or_default() += left;
        statuses.retain(|_, count| *count > 0);
        statuses
    }

    async fn flood(&mut self, method: &str, count: usize, pace: Duration, body: Option<(&str, String)>) -> String {
        let requests = (0..count).map(|_| {
            let request = self.far.within(&mut self.dialog, method);
            match &body {
                Some((kind, text)) => Message { body: text.clone(), ..request.with("Content-Type", *kind) },
                None => request,
            }
        });
        let requests = requests.collect();
        let before = self.chain.counts("holdfast_sip_refused_total").await;
        let statuses = self.all(requests, pace).await;
        let counted = self.chain.counts("holdfast_sip_refused_total").await > before;
        println!("  {count} {method}: {statuses:?}");
        let kinds: Vec<_> = statuses.keys().map(u16::to_string).collect();
        format!("{}, {}", kinds.join(" and "), if counted { "counted" } else { "not counted" })
    }

    async fn floods(&mut self, table: &mut Table) {
        let offer = Some(("application/sdp", sdp(9)));
        let digit = Some(("application/dtmf-relay", "Signal=1\r\nDuration=160\r\n".to_owned()));
        let tenth = Duration::from_millis(100);
        let item = "a re-INVITE every 100 ms";
        table.row(item, "200 and 500, counted", self.flood("INVITE", 30, tenth, offer.clone())).await;
        let room_again = || tokio::time::sleep(Duration::from_secs(1));
        room_again().await;
        let item = "100 re-INVITEs at once";
        table.row(item, "200 and 500, counted", self.flood("INVITE", 100, Duration::ZERO, offer)).await;
        room_again().await;
        let item = "100 UPDATEs at once";
        table.row(item, "200 and 500, counted", self.flood("UPDATE", 100, Duration::ZERO, None)).await;
        let item = "1000 INFOs with a digit at once";
        table.row(item, "200 and 503, counted", self.flood("INFO", 1000, Duration::ZERO, digit)).await;
        let item = "1000 OPTIONS at once";
        room_again().await;
        table.row(item, "200 and 503, counted", self.flood("OPTIONS", 1000, Duration::ZERO, None)).await;
        room_again().await;
    }

    async fn referrals(&mut self, table: &mut Table) {
        let line = "holdfast_call_refusals_total{reason=\"not-allowed\"}";
        for (item, refer_to, expected) in [
            ("a REFER outside the allow-list", "<sip:x@evil.example>", "603, 1 counted"),
            ("a REFER elsewhere", "<sip:phone@example.org;maddr=127.0.0.1>", "603, 1 counted"),
            ("a REFER by another method", "<sip:phone@example.org;method=BYE>", "603, 1 counted"),
            (
                "a REFER with CR LF in its Replaces",
                "<sip:phone@example.org?Replaces=a%0d%0aX-Evil%3a1>",
                "400, 0 counted",
            ),
            ("a REFER to two", "<sip:phone@example.org>, <sip:far@example.org>", "400, 0 counted"),
            ("a REFER to nobody", "<sip:example.org>", "400, 0 counted"),
            ("a REFER to another scheme", "<tel:+4930123>", "400, 0 counted"),
        ] {
            let observed = async {
                let before = self.chain.counts(line).await;
                let status = self.one("REFER", |refer| refer.with("Refer-To", refer_to)).await;
                format!("{status}, {} counted", self.chain.counts(line).await - before)
            };
            table.row(item, expected, observed).await;
        }
        let notify = async {
            let body = "SIP/2.0 200 OK\r\n".to_owned();
            let fields = |notify: Message| notify.with("Event", "refer").with("Content-Type", "message/sipfrag");
            self.one("NOTIFY", |notify| Message { body, ..fields(notify) }).await
        };
        table.row("a NOTIFY out of the blue", "200", notify).await;
    }

    async fn descriptions(&mut self, table: &mut Table) {
        let plain = sdp(9);
        for (item, description, expected) in [
            ("1000 m= lines", plain.clone() + &"m=audio 9 RTP/AVP 0\r\n".repeat(1000), "400"),
            ("60 KiB of attributes", plain.clone() + &"a=x:y\r\n".repeat(60 * 1024 / 7), "200"),
            ("1000 codecs", plain.replace(" 0\r\n", &format!("{}\r\n", " 0".repeat(1000))), "400"),
            ("no version", plain.replace("v=0\r\n", ""), "400"),
            ("a port beyond the range", plain.replace("audio 9", "audio 99999"), "400"),
            ("no codec of ours", plain.replace("AVP 0", "AVP 99").replace("rtpmap:0 PCMU", "rtpmap:99 X"), "488"),
            ("a host name for an address", plain.replace("c=IN IP4 127.0.0.1", "c=IN IP4 evil.example"), "488"),
            ("nothing in it", "\r\n".to_owned(), "400"),
            ("lines without an end", "v=0".repeat(1000), "400"),
        ] {
            let observed = async {
                // Changes are limited to five a second.
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.one("INVITE", |invite| invite.with_sdp(description)).await
            };
            table.row(&format!("a description with {item}"), expected, observed).await;
        }
    }

    async fn out_of_order(&mut self, table: &mut Table) {
        let old = async {
            let request = self.far.numbered(&self.dialog, "INFO", 1);
            // The registrar's fence or the instance itself, whoever is asked first.
            let statuses = self.all(vec![request], Duration::ZERO).await;
            statuses.contains_key(&500) || statuses.contains_key(&WITHOUT_RETRY)
        };
        table.row("a CSeq below the last one is refused with 500", "true", old).await;
        for (item, method, from, to) in [
            ("a BYE with another tag of ours", "BYE", None, Some("other")),
            ("a BYE with another tag of theirs", "BYE", Some("other"), None),
            ("an INVITE with another tag", "INVITE", None, Some("other")),
        ] {
            let observed = async {
                let line = "holdfast_sip_unknown_dialogs_total";
                let before = self.chain.counts(line).await;
                let status = self
                    .one(method, |mut request| {
                        for (name, value) in &mut request.headers {
                            let tag = if name == "From" {
                                from
                            } else if name == "To" {
                                to
                            } else {
                                None
                            };
                            if let (Some(tag), Some((start, _))) = (tag, value.clone().split_once(";tag=")) {
                                *value = format!("{start};tag={tag}");
                            }
                        }
                        request
                    })
                    .await;
                format!("{status}, {} counted", self.chain.counts(line).await - before)
            };
            table.row(item, "481, 1 counted", observed).await;
        }
    }
}

/// Answers to our INVITE.
async fn answers(cluster: &Cluster, table: &mut Table) {
    let mut far = Far::register(cluster.registrar, "far-tina").await;
    let mut tina = Caller::join(&cluster.tcp, "tina").await;
    let plain = sdp(9);
    for (item, description) in [
        ("1000 m= lines", plain.clone() + &"m=audio 9 RTP/AVP 0\r\n".repeat(1000)),
        ("no codec of ours", plain.replace("AVP 0", "AVP 99")),
        ("garbage", "garbage".to_owned()),
    ] {
        let observed = async {
            tina.call("far-tina").await;
            let invite = far.hears("INVITE").await;
            let answer = Message::response(&invite, 200, "far").with("Contact", far.contact()).with_sdp(description);
            far.send(answer);
            far.hears("ACK").await;
            let bye = far.hears("BYE").await;
            far.send(Message::response(&bye, 200, "far"));
            format!("ACK, BYE, {}", tina.ended().await)
        };
        table.row(&format!("an answer with {item}"), "ACK, BYE, failed", observed).await;
    }
    let observed = async {
        tina.call("far-tina").await;
        let invite = far.hears("INVITE").await;
        for number in 0..200 {
            far.send(Message::response(&invite, 180, &format!("fork{number}")).with("Contact", far.contact()));
        }
        far.send(Message::response(&invite, 486, "far"));
        far.hears("ACK").await;
        tina.ended().await
    };
    table.row("200 forks that ring, then busy", "busy", observed).await;
}

async fn redirections(cluster: &Cluster, table: &mut Table) {
    let chain = &cluster.tcp;
    let mut far = Far::register(cluster.registrar, "far-rosa").await;
    let mut rosa = Caller::join(chain, "rosa").await;
    let line = "holdfast_call_refusals_total{reason=\"not-allowed\"}";
    for (item, contacts, expected) in [
        ("outside the allow-list", vec!["<sip:x@evil.example>"], "failed, 1 counted"),
        ("elsewhere", vec!["<sip:phone@example.org;maddr=127.0.0.1>"], "failed, 1 counted"),
        ("with header fields", vec!["<sip:phone@example.org?X-Evil=1>"], "failed, 1 counted"),
        ("to 100 others", vec!["<sip:x@evil.example>"; 100], "failed, 12 counted"),
        ("to nowhere", vec![], "failed, 0 counted"),
    ] {
        let observed = async {
            let before = chain.counts(line).await;
            rosa.call("far-rosa").await;
            let invite = far.hears("INVITE").await;
            let answer = Message::response(&invite, 302, "far");
            far.send(contacts.iter().fold(answer, |answer, contact| answer.with("Contact", *contact)));
            far.hears("ACK").await;
            let ended = rosa.ended().await;
            format!("{ended}, {} counted", chain.counts(line).await - before)
        };
        table.row(&format!("a 302 {item}"), expected, observed).await;
    }
    let observed = async {
        rosa.call("far-rosa").await;
        let mut calls = 0;
        loop {
            tokio::select! {
                ended = rosa.ended() => break format!("{calls} calls, {ended}"),
                invite = far.hears("INVITE") => {
                    calls += 1;
                    far.send(Message::response(&invite, 302, "far").with("Contact", "<sip:far-rosa@example.org>"));
                    far.hears("ACK").await;
                }
            }
        }
    };
    table.row("a 302 to itself, again and again", "4 calls, failed", observed).await;
}
