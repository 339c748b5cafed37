//! Another session with an echo call, which nothing in the table may harm.

use crate::chain::Chain;
use crate::client::{Heard, PATIENCE, Socket, start_call, text};
use loadtest::peer::{PeerState, Profiles};
use loadtest::peer_io::{PeerPool, PoolConfig, PoolPeer};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

/// Echo packets that must come back after a row's last answer.
const PROOF: u64 = 2;
const LOOK: Duration = Duration::from_millis(2);

/// The echo during one row.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) packets: u64,
    pub(crate) longest_gap: Duration,
    /// What else happened to the session.
    pub(crate) harm: Vec<String>,
}

pub(crate) struct Bystander {
    pub(crate) client_id: String,
    pub(crate) session: Value,
    /// Of its offer and its answer.
    pub(crate) ice_user: String,
    echoed: Arc<Mutex<Echoed>>,
    before: u64,
    say: mpsc::UnboundedSender<Message>,
    heard: mpsc::UnboundedReceiver<Heard>,
    questions: u32,
    tasks: [JoinHandle<()>; 2],
    _pool: PeerPool,
}

/// What its peer has heard of itself.
struct Echoed {
    packets: u64,
    since: Instant,
    longest: Duration,
}

impl Bystander {
    pub(crate) async fn join(chain: &Chain) -> Self {
        let client_id = "bystander-tab".to_owned();
        let (mut socket, signed_in) = Socket::join(chain, "bystander", &client_id).await;
        let pool = PeerPool::start(PoolConfig::default()).expect("a pool");
        let mut peer = pool.create(Profiles::Gcm).expect("a socket");
        let offer = peer.offer();
        let outcome = socket.ask(start_call("call", "echo", &offer)).await;
        let answer = text(&outcome["sdp"]);
        let ice_user = format!("{}:{}", line(answer, "a=ice-ufrag:"), line(&offer, "a=ice-ufrag:"));
        peer.connect(answer).expect("an answer");
        let mut states = peer.state();
        let flowing = states.wait_for(|state| *state == PeerState::Flowing);
        tokio::time::timeout(PATIENCE, flowing).await.expect("in time").expect("the peer lives");

        let echoed = Echoed { packets: 0, since: Instant::now(), longest: Duration::ZERO };
        let echoed = Arc::new(Mutex::new(echoed));
        let (say, heard, talk) = talk(socket);
        let tasks = [tokio::spawn(watch(peer, echoed.clone())), talk];
        let session = signed_in.json();
        Self { client_id, session, ice_user, echoed, before: 0, say, heard, questions: 0, tasks, _pool: pool }
    }

    pub(crate) fn begin_row(&mut self) {
        self.before = {
            let mut echoed = self.echoed();
            echoed.longest = Duration::ZERO;
            echoed.packets
        };
    }

    /// Waits for proof that media and signalling go on.
    pub(crate) async fn end_row(&mut self) -> Echo {
        let mut harm = Vec::new();
        let goal = self.echoed().packets + PROOF;
        if tokio::time::timeout(PATIENCE, self.returned(goal)).await.is_err() {
            harm.push("its echo stopped".to_owned());
        }
        if tokio::time::timeout(PATIENCE, self.hear_answer(&mut harm)).await.is_err() {
            harm.push("its session does not answer".to_owned());
        }
        let echoed = self.echoed();
        Echo { packets: echoed.packets - self.before, longest_gap: echoed.longest, harm }
    }

    fn echoed(&self) -> MutexGuard<'_, Echoed> {
        self.echoed.lock().expect("not poisoned")
    }

    async fn returned(&self, goal: u64) {
        let mut looks = tokio::time::interval(LOOK);
        while self.echoed().packets < goal {
            looks.tick().await;
        }
    }

    async fn hear_answer(&mut self, harm: &mut Vec<String>) {
        self.questions += 1;
        let id = format!("still-{}", self.questions);
        let request = json!({ "method": "hang_up", "call_id": "nothing" });
        let question = json!({ "kind": "request", "id": id, "request": request });
        // A task that ended says why in `heard`.
        let _ = self.say.send(Message::Text(question.to_string().into()));
        loop {
            match self.heard.recv().await {
                Some(Heard::Message(message)) if message["id"] == id.as_str() => return,
                Some(Heard::Message(message)) if message["event"]["type"] == "call_ended" => {
                    harm.push(format!("its call ended: {message}"));
                }
                Some(Heard::Message(_)) => {}
                Some(end) => return harm.push(format!("its socket: {end:?}")),
                None => return harm.push("its socket is gone".to_owned()),
            }
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Keeps the longest time without a packet that came back.
async fn watch(peer: PoolPeer, echoed: Arc<Mutex<Echoed>>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let (packets, now) = (peer.counts().returned, Instant::now());
        let mut echoed = echoed.lock().expect("not poisoned");
        echoed.longest = echoed.longest.max(now - echoed.since);
        if packets != echoed.packets {
            (echoed.packets, echoed.since) = (packets, now);
        }
    }
}

/// A task of its own keeps the heartbeat going while a row takes its time.
fn talk(mut socket: Socket) -> (mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Heard>, JoinHandle<()>) {
    let (say, mut to_say) = mpsc::unbounded_channel();
    let (tell, heard) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(message) = to_say.recv() => drop(socket.say(message).await),
                next = socket.hear() => {
                    let is_end = !matches!(next, Heard::Message(_));
                    if tell.send(next).is_err() || is_end {
                        return;
                    }
                }
            }
        }
    });
    (say, heard, task)
}

/// The rest of the SDP line that begins so.
pub(crate) fn line<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there").trim()
}
