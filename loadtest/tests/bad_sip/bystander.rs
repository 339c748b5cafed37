//! Users in a call with a phone, one at each instance, whom nothing in the table may harm.

use crate::browser::{Browser, Call};
use crate::cluster::Cluster;
use crate::far::{Dialog, Far, PATIENCE, sdp, sound_of, uri};
use crate::tone::{self, Ear};
use loadtest::sip_phone::message::Message;
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Packets that must come, each way, after a row's last answer.
const PROOF: u64 = 2;
const LOOK: Duration = Duration::from_millis(5);
/// A phone asks again after an answer that is no 200, as while its registrar has lost the instance.
const AGAIN: Duration = Duration::from_millis(100);
/// The browser says something this often.
const SAY: Duration = Duration::from_secs(1);
const FRAME: Duration = Duration::from_millis(20);

/// One call during one row.
#[derive(Debug, Default)]
pub(crate) struct Going {
    to_browser: u64,
    to_phone: u64,
    pub(crate) longest_gap: Duration,
    /// What else happened.
    pub(crate) harm: Vec<String>,
}

impl fmt::Display for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4} {:>4} {:>4}", self.to_browser, self.to_phone, self.longest_gap.as_millis())
    }
}

pub(crate) struct Bystanders {
    talks: [Talk; 2],
}

impl Bystanders {
    pub(crate) async fn join(cluster: &Cluster) -> Self {
        let talks = [Talk::begin(cluster, 0, "alice", [440.0, 660.0]), Talk::begin(cluster, 1, "bert", [550.0, 880.0])];
        let [one, other] = talks;
        let (one, other) = tokio::join!(one, other);
        Self { talks: [one, other] }
    }

    /// Where the first one's instance takes the phone's sound, and what the phone sends it from.
    pub(crate) fn sound(&self) -> (SocketAddr, Arc<UdpSocket>) {
        let talk = &self.talks[0];
        (sound_of(&talk.dialog.sdp), talk.socket.clone())
    }

    pub(crate) fn begin_row(&mut self) {
        self.talks.iter_mut().for_each(Talk::begin_row);
    }

    pub(crate) async fn end_row(&mut self) -> Vec<Going> {
        let [one, other] = &mut self.talks;
        let (one, other) = tokio::join!(one.end_row(), other.end_row());
        vec![one, other]
    }
}

/// A request, and where its outcome is wanted.
type Question = (Value, oneshot::Sender<Value>);

struct Talk {
    phone: Far,
    socket: Arc<UdpSocket>,
    dialog: Dialog,
    questions: mpsc::UnboundedSender<Question>,
    media: Arc<Call>,
    rtp: Arc<Mutex<Ear>>,
    tones: [f64; 2],
    watched: Arc<Mutex<Watched>>,
    before: [u64; 2],
    tasks: Vec<JoinHandle<()>>,
}

/// What came, to the browser and to the phone.
struct Watched {
    packets: [u64; 2],
    since: [Instant; 2],
    longest: Duration,
}

impl Talk {
    /// A user calls a phone; each hears the other's tone.
    async fn begin(cluster: &Cluster, instance: usize, user: &str, tones: [f64; 2]) -> Self {
        let mut phone = Far::register(cluster.registrar, &format!("phone-{user}")).await;
        let mut browser = Browser::join(cluster, instance, user).await;
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
        let port = socket.local_addr().expect("bound").port();
        let target = phone.user.clone();
        let (media, dialog) = tokio::join!(browser.dial("c1", &target, tones[0]), phone.answers(sdp(port)));
        let (media, rtp) = (Arc::new(media), Arc::new(Mutex::new(Ear::new())));
        let watched = Watched { packets: [0; 2], since: [Instant::now(); 2], longest: Duration::ZERO };
        let watched = Arc::new(Mutex::new(watched));
        let (questions, asked) = mpsc::unbounded_channel();
        let tasks = vec![
            tokio::spawn(speak(socket.clone(), sound_of(&dialog.sdp), tone::pcmu(tones[1]))),
            tokio::spawn(listen(socket.clone(), rtp.clone())),
            tokio::spawn(watch(media.clone(), rtp.clone(), watched.clone())),
            tokio::spawn(talk(browser, asked)),
        ];
        let talk = Self { phone, socket, dialog, questions, media, rtp, tones, watched, before: [0; 2], tasks };
        talk.hears_both().await;
        talk
    }

    fn begin_row(&mut self) {
        let mut watched = self.watched();
        watched.longest = Duration::ZERO;
        let packets = watched.packets;
        drop(watched);
        self.before = packets;
    }

    /// Waits for proof that media and signalling go on.
    async fn end_row(&mut self) -> Going {
        let mut harm = Vec::new();
        if tokio::time::timeout(PATIENCE, self.go_on()).await.is_err() {
            harm.push("its sound stopped".to_owned());
        }
        if tokio::time::timeout(PATIENCE, self.hears_both()).await.is_err() {
            harm.push("its sound is not the other's tone".to_owned());
        }
        match tokio::time::timeout(PATIENCE, self.ask()).await {
            Ok(true) => {}
            Ok(false) | Err(_) => harm.push("its session does not answer".to_owned()),
        }
        if tokio::time::timeout(PATIENCE, self.options()).await.is_err() {
            harm.push("its call's signalling does not answer".to_owned());
        }
        let watched = self.watched();
        let [to_browser, to_phone] = [0, 1].map(|way| watched.packets[way] - self.before[way]);
        Going { to_browser, to_phone, longest_gap: watched.longest, harm }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().expect("not poisoned")
    }

    async fn go_on(&self) {
        let goal = self.watched().packets.map(|packets| packets + PROOF);
        let mut looks = tokio::time::interval(LOOK);
        while self.watched().packets.iter().zip(goal).any(|(packets, goal)| *packets < goal) {
            looks.tick().await;
        }
    }

    async fn hears_both(&self) {
        let mut looks = tokio::time::interval(LOOK);
        let heard = || {
            let [ours, theirs] = self.tones;
            self.media.ear().hears(theirs) && self.rtp.lock().expect("not poisoned").hears(ours)
        };
        while !heard() {
            looks.tick().await;
        }
    }

    /// A hang-up of nothing is refused.
    async fn ask(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        // A task that ended answers nothing.
        let _ = self.questions.send((nothing(), answer));
        answered.await.is_ok_and(|outcome| outcome["reason"] == "no-such-call")
    }

    /// The instance may have a new Contact after its flow was lost, and tells it.
    fn serves(&mut self, message: &Message) {
        if matches!(message.method(), Some("INVITE" | "UPDATE")) {
            self.dialog.target = uri(message.header("Contact"));
        }
        if message.method() == Some("INVITE") {
            let port = self.socket.local_addr().expect("bound").port();
            let answer = Message::response(message, 200, "far").with("Contact", self.phone.contact());
            return self.phone.send(answer.with_sdp(sdp(port)));
        }
        self.phone.serves(message);
    }

    /// The phone's words within the call reach the instance, and its answer comes back.
    async fn options(&mut self) {
        loop {
            let request = self.phone.within(&mut self.dialog, "OPTIONS");
            let cseq = request.header("CSeq").to_owned();
            self.phone.send(request);
            loop {
                let message = self.phone.line.next().await.expect("the line is open");
                match message.status() {
                    Some(200) if message.header("CSeq") == cseq => return,
                    Some(200..) if message.header("CSeq") == cseq => break,
                    Some(_) => {}
                    None => self.serves(&message),
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn nothing() -> Value {
    json!({ "method": "hang_up", "call_id": "nothing" })
}

/// Whoever asks hears the heartbeat, too.
async fn talk(mut browser: Browser, mut questions: mpsc::UnboundedReceiver<Question>) {
    loop {
        match tokio::time::timeout(SAY, questions.recv()).await {
            Ok(Some((question, answer))) => drop(answer.send(browser.ask(question).await)),
            Ok(None) => return,
            Err(_) => drop(browser.ask(nothing()).await),
        }
    }
}

/// Keeps the longest time without a packet, either way.
async fn watch(media: Arc<Call>, rtp: Arc<Mutex<Ear>>, watched: Arc<Mutex<Watched>>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let heard = [media.ear().packets.values().sum(), rtp.lock().expect("not poisoned").packets.values().sum()];
        let now = Instant::now();
        let mut watched = watched.lock().expect("not poisoned");
        for (way, packets) in heard.into_iter().enumerate() {
            watched.longest = watched.longest.max(now - watched.since[way]);
            if packets != watched.packets[way] {
                (watched.packets[way], watched.since[way]) = (packets, now);
            }
        }
    }
}

/// 50 packets of PCMU a second.
async fn speak(socket: Arc<UdpSocket>, to: SocketAddr, frames: Vec<Vec<u8>>) {
    let mut pace = tokio::time::interval(FRAME);
    for number in 0_u32.. {
        pace.tick().await;
        let packet = packet(number, 0, 0x1234_5678, &frames[number as usize % frames.len()]);
        let _ = socket.send_to(&packet, to).await;
    }
}

/// An RTP packet of 20 ms.
pub(crate) fn packet(number: u32, payload_type: u8, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend((number as u16).to_be_bytes());
    packet.extend(number.wrapping_mul(160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

async fn listen(socket: Arc<UdpSocket>, ear: Arc<Mutex<Ear>>) {
    let mut buffer = vec![0; 2048];
    while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
        // No phone of this kind knows Opus.
        ear.lock().expect("not poisoned").hear(&buffer[..length], u8::MAX);
    }
}
