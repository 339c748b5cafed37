//! A phone with PCMU and telephone events alone, over the registrar: its own SIP, its own RTP.

use crate::browser::{PATIENCE, until};
use crate::cluster::{Cluster, DOMAIN};
use crate::line::Line;
use crate::tone::{self, Ear};
use loadtest::sip_phone::message::Message;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const EVENTS: u8 = 101;
/// Of the duration in a telephone event: 20 ms.
const STEP: u16 = 160;

pub(crate) struct Phone {
    pub(crate) user: String,
    pub(crate) line: Line,
    rtp: Rtp,
    dialog: Option<Dialog>,
    /// Calls that it made.
    made: u32,
    /// It takes digits as telephone events.
    pub(crate) events: bool,
}

/// The other side's part of the call.
struct Dialog {
    /// A request within it, but for its method, Via and CSeq.
    template: Message,
    target: String,
    cseq: u32,
}

struct Rtp {
    socket: Arc<UdpSocket>,
    sound: Arc<Mutex<Sound>>,
    tasks: [JoinHandle<()>; 2],
}

struct Sound {
    remote: Option<SocketAddr>,
    frames: Vec<Vec<u8>>,
    digits: Vec<u8>,
    ear: Ear,
    /// Packets that were sent.
    said: u64,
    /// Digits that came, by their timestamps.
    heard: Vec<(u32, char)>,
}

impl Phone {
    pub(crate) async fn start(cluster: &Cluster, user: &str, hertz: f64) -> Self {
        let mut line = Line::connect(cluster.registrar).await.expect("the registrar listens");
        line.register(user, DOMAIN).await.expect("registered");
        Self { user: user.to_owned(), line, rtp: Rtp::start(hertz).await, dialog: None, made: 0, events: true }
    }

    pub(crate) fn sdp(&self, version: u32) -> String {
        let port = self.rtp.socket.local_addr().expect("bound").port();
        let common = format!(
            "v=0\r\no=phone 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0"
        );
        if !self.events {
            return format!("{common}\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n");
        }
        format!(
            "{common} {EVENTS}\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:{EVENTS} telephone-event/8000\r\n\
             a=fmtp:{EVENTS} 0-15\r\na=sendrecv\r\n"
        )
    }

    /// The next message of a kind: a method, or a status as text; OPTIONS in between are answered.
    pub(crate) async fn hears(&mut self, what: &str) -> Message {
        let heard = async {
            loop {
                let message = self.line.next().await.expect("the line is open");
                let is_it =
                    message.method() == Some(what) || message.status().is_some_and(|status| status.to_string() == what);
                if is_it {
                    return message;
                }
                if matches!(message.method(), Some("OPTIONS" | "UPDATE" | "INFO")) {
                    self.line.out.send(Message::response(&message, 200, "phone"));
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    /// Answers what needs no thought for a while.
    pub(crate) async fn serves(&mut self, span: Duration) {
        let serve = async {
            while let Some(message) = self.line.next().await {
                if message.method() == Some("OPTIONS") {
                    self.line.out.send(Message::response(&message, 200, "phone"));
                }
            }
        };
        let _ = tokio::time::timeout(span, serve).await;
    }

    /// Answers the call, or the change of it, that comes next.
    pub(crate) async fn answers(&mut self) -> Message {
        let invite = self.rings().await;
        self.picks_up(&invite).await;
        invite
    }

    /// Rings for the call that comes next.
    pub(crate) async fn rings(&mut self) -> Message {
        let invite = self.hears("INVITE").await;
        let contact = self.line.out.contact(&self.user);
        self.line.out.send(Message::response(&invite, 180, "phone").with("Contact", contact));
        invite
    }

    /// Answers it.
    pub(crate) async fn picks_up(&mut self, invite: &Message) {
        self.take(&invite.body);
        let contact = self.line.out.contact(&self.user);
        let answer = Message::response(invite, 200, "phone").with("Contact", contact);
        let local = answer.header("To").to_owned();
        self.line.out.send(answer.with_sdp(self.sdp(1)));
        self.hears("ACK").await;
        let target = uri(invite.header("Contact"));
        // A change within the call; its route set stays (RFC 3261 §12.2).
        if let Some(dialog) = self.dialog.as_mut().filter(|_| invite.header("To").contains(";tag=")) {
            dialog.target = target;
            return;
        }
        let mut template = Message::request("", "");
        template.push("From", local);
        template.push("To", invite.header("From"));
        template.push("Call-ID", invite.header("Call-ID"));
        let routes = invite.headers.iter().filter(|(name, _)| name == "Record-Route");
        routes.for_each(|(_, route)| template.push("Route", route.clone()));
        let cseq = self.dialog.take().map_or(0, |dialog| dialog.cseq);
        self.dialog = Some(Dialog { template, target, cseq });
    }

    /// Calls a user; the 200 to it is awaited by [`Phone::is_answered`].
    pub(crate) fn calls(&mut self, user: &str) -> Message {
        let uri = format!("sip:{user}@{DOMAIN}");
        self.made += 1;
        let call = format!("{}-calls-{}", self.user, self.made);
        let invite = Message::request("INVITE", &uri)
            .with("Via", self.line.out.via(&call))
            .with("Max-Forwards", "70")
            .with("From", format!("\"Bob\" <sip:{}@{DOMAIN}>;tag={call}", self.user))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", call)
            .with("CSeq", "1 INVITE")
            .with("Contact", self.line.out.contact(&self.user))
            .with_sdp(self.sdp(1));
        self.line.out.send(invite.clone());
        invite
    }

    /// Takes the answer to the call that it made.
    pub(crate) async fn is_answered(&mut self) {
        let answer = self.hears("200").await;
        self.take(&answer.body);
        let mut template = Message::request("", "");
        template.push("From", answer.header("From"));
        template.push("To", answer.header("To"));
        template.push("Call-ID", answer.header("Call-ID"));
        let routes = answer.headers.iter().filter(|(name, _)| name == "Record-Route").rev();
        routes.for_each(|(_, route)| template.push("Route", route.clone()));
        self.dialog = Some(Dialog { template, target: uri(answer.header("Contact")), cseq: 1 });
        let ack = self.request("ACK", 1);
        self.line.out.send(ack);
    }

    pub(crate) fn request(&self, method: &str, cseq: u32) -> Message {
        let dialog = self.dialog.as_ref().expect("a call");
        let request = Message::request(method, &dialog.target)
            .with("Via", self.line.out.via(&format!("{method}{cseq}")))
            .with("Max-Forwards", "70")
            .with("CSeq", format!("{cseq} {method}"));
        let fields = dialog.template.headers.iter();
        fields.fold(request, |request, (name, value)| request.with(name, value.clone()))
    }

    /// With the next number.
    pub(crate) fn next_request(&mut self, method: &str) -> Message {
        let dialog = self.dialog.as_mut().expect("a call");
        dialog.cseq += 1;
        let cseq = dialog.cseq;
        self.request(method, cseq)
    }

    pub(crate) async fn hangs_up(&mut self) {
        let bye = self.next_request("BYE");
        self.line.out.send(bye);
        self.hears("200").await;
        self.rtp.sound().remote = None;
    }

    /// Where the other side's sound is wanted, from its description.
    fn take(&self, sdp: &str) {
        let ip = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).expect("an address").trim();
        let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("audio").split(' ').next();
        let address = format!("{ip}:{}", port.expect("a port")).parse().expect("an address");
        self.rtp.sound().remote = Some(address);
    }

    pub(crate) async fn is_told_bye(&mut self) -> Message {
        let bye = self.hears("BYE").await;
        self.line.out.send(Message::response(&bye, 200, "phone"));
        self.rtp.sound().remote = None;
        bye
    }

    pub(crate) async fn hears_tone(&self, hertz: f64) {
        until(&format!("{hertz} Hz at the phone"), || self.rtp.sound().ear.hears(hertz)).await;
    }

    /// Packets by payload type since the last time.
    pub(crate) fn forget(&self) {
        self.rtp.sound().ear.clear();
    }

    /// Where its sound goes.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.rtp.sound().remote
    }

    /// Packets that it sent.
    pub(crate) fn said(&self) -> u64 {
        self.rtp.sound().said
    }

    pub(crate) fn with_ear<T>(&self, look: impl FnOnce(&mut Ear) -> T) -> T {
        look(&mut self.rtp.sound().ear)
    }

    pub(crate) fn dials(&self, digits: &str) {
        self.rtp.sound().digits = digits.bytes().map(|digit| digit - b'0').collect();
    }

    pub(crate) async fn hears_digits(&self, digits: &str) {
        let heard = || self.rtp.sound().heard.iter().map(|(_, digit)| *digit).collect::<String>();
        until(&format!("digits {digits}"), || heard() == digits).await;
    }
}

/// Without what stands around it.
fn uri(contact: &str) -> String {
    let uri = contact.split_once('<').map_or(contact, |(_, rest)| rest);
    uri.split('>').next().unwrap_or_default().to_owned()
}

impl Rtp {
    async fn start(hertz: f64) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"));
        let sound = Sound {
            remote: None,
            frames: tone::pcmu(hertz),
            digits: Vec::new(),
            ear: Ear::new(),
            said: 0,
            heard: Vec::new(),
        };
        let sound = Arc::new(Mutex::new(sound));
        let tasks =
            [tokio::spawn(speak(socket.clone(), sound.clone())), tokio::spawn(listen(socket.clone(), sound.clone()))];
        Self { socket, sound, tasks }
    }

    fn sound(&self) -> MutexGuard<'_, Sound> {
        self.sound.lock().expect("not poisoned")
    }
}

impl Drop for Rtp {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// 50 packets a second: the tone, or in its place digits (RFC 4733), 100 ms each.
async fn speak(socket: Arc<UdpSocket>, sound: Arc<Mutex<Sound>>) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut digit: Option<(u8, u32, u16)> = None;
    for number in 0_u32.. {
        pace.tick().await;
        let timestamp = number.wrapping_mul(u32::from(STEP));
        let (remote, packet) = {
            let mut sound = sound.lock().expect("not poisoned");
            let Some(remote) = sound.remote else { continue };
            sound.said += 1;
            if digit.is_none() && !sound.digits.is_empty() {
                digit = Some((sound.digits.remove(0), timestamp, 0));
            }
            let packet = match &mut digit {
                None => packet(number, timestamp, 0, false, &sound.frames[number as usize % sound.frames.len()]),
                Some((event, since, lasted)) => {
                    *lasted += STEP;
                    let is_over = *lasted > 5 * STEP;
                    let duration = (*lasted).min(5 * STEP).to_be_bytes();
                    let payload = [*event, if is_over { 0x8a } else { 0x0a }, duration[0], duration[1]];
                    let packet = packet(number, *since, EVENTS, *lasted == STEP, &payload);
                    // The end is said three times.
                    if *lasted >= 8 * STEP {
                        digit = None;
                    }
                    packet
                }
            };
            (remote, packet)
        };
        let _ = socket.send_to(&packet, remote).await;
    }
}

fn packet(number: u32, timestamp: u32, payload_type: u8, marker: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
    packet.extend((number as u16).to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(0x1234_5678_u32.to_be_bytes());
    packet.extend(payload);
    packet
}

async fn listen(socket: Arc<UdpSocket>, sound: Arc<Mutex<Sound>>) {
    let mut buffer = vec![0; 2048];
    while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
        let packet = &buffer[..length];
        let mut sound = sound.lock().expect("not poisoned");
        let is_digit = length >= 16 && packet[1] & 0x7f == EVENTS;
        if is_digit && packet[13] & 0x80 != 0 {
            let timestamp = u32::from_be_bytes(packet[4..8].try_into().expect("four bytes"));
            let digit = b"0123456789*#ABCD".get(usize::from(packet[12])).copied().map_or('?', char::from);
            if sound.heard.last().is_none_or(|(last, _)| *last != timestamp) {
                sound.heard.push((timestamp, digit));
            }
        }
        // No phone of this kind knows Opus.
        sound.ear.hear(packet, u8::MAX);
    }
}
