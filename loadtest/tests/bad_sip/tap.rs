//! Stands between an instance and its SIP server, at the server's address: it passes everything on, keeps what the instance
//! says, and puts messages of its own in between, as if the server had sent them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Between two bytes of a message that comes slowly.
const SLOWLY: Duration = Duration::from_millis(1);

pub(crate) struct Tap {
    /// `tcp` or `udp`.
    pub(crate) transport: &'static str,
    pub(crate) address: SocketAddr,
    record: Arc<Record>,
}

/// What goes to the instance besides what the server says.
enum Inject {
    AtOnce(Vec<u8>),
    ByteByByte(Vec<u8>),
    /// Connections only.
    Hangup,
}

struct Record {
    /// In the Via of the server's own requests.
    server: String,
    /// What the instance asked, and its answers to what was put in between.
    requests: Mutex<Vec<String>>,
    answers: Mutex<Vec<String>>,
    flows: AtomicU64,
    instance: Mutex<Option<SocketAddr>>,
    inject: Mutex<Option<UnboundedSender<Inject>>>,
}

impl Tap {
    pub(crate) fn tcp(server: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let record = Record::new(server);
        let shared = record.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).expect("within the runtime");
            while let Ok((instance, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let injected = shared.renewed();
                tokio::spawn(carry(instance, server, injected, shared.clone()));
            }
        });
        Self { transport: "tcp", address, record }
    }

    pub(crate) fn udp(server: SocketAddr) -> Self {
        let bind = || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
            socket.set_nonblocking(true).expect("a socket");
            socket
        };
        let (front, back) = (bind(), bind());
        let address = front.local_addr().expect("bound");
        let record = Record::new(server);
        let injected = record.renewed();
        tokio::spawn(pass_on(front, back, server, injected, record.clone()));
        Self { transport: "udp", address, record }
    }

    /// As if the server said it.
    pub(crate) fn say(&self, bytes: impl Into<Vec<u8>>) {
        self.record.say(Inject::AtOnce(bytes.into()));
    }

    pub(crate) fn say_slowly(&self, bytes: impl Into<Vec<u8>>) {
        self.record.say(Inject::ByteByByte(bytes.into()));
    }

    /// The server closes the connection.
    pub(crate) fn hang_up(&self) {
        self.record.say(Inject::Hangup);
    }

    /// Connections so far.
    pub(crate) fn flows(&self) -> u64 {
        self.record.flows.load(Relaxed)
    }

    /// Where the instance sends its SIP from.
    pub(crate) fn instance(&self) -> SocketAddr {
        self.record.instance.lock().expect("not poisoned").expect("it has said something")
    }

    /// What the instance asked so far.
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<String>> {
        self.record.requests.lock().expect("not poisoned")
    }

    /// What the instance answered so far to what was put in between.
    pub(crate) fn answers(&self) -> MutexGuard<'_, Vec<String>> {
        self.record.answers.lock().expect("not poisoned")
    }

    /// The URI in the newest Contact of a user.
    pub(crate) fn contact_of(&self, user: &str) -> String {
        let requests = self.requests();
        let is_theirs = |request: &&String| {
            request.starts_with("REGISTER ")
                && request.contains(&format!("To: <sip:{user}@"))
                && request.contains("\r\nContact: ")
        };
        let register = requests.iter().rev().find(is_theirs).expect("registered");
        let (_, rest) = register.split_once("\r\nContact: <").expect("a Contact");
        rest.split('>').next().unwrap_or_default().to_owned()
    }
}

impl Record {
    fn new(server: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            server: server.to_string(),
            requests: Mutex::default(),
            answers: Mutex::default(),
            flows: AtomicU64::new(0),
            instance: Mutex::default(),
            inject: Mutex::default(),
        })
    }

    fn renewed(&self) -> UnboundedReceiver<Inject> {
        let (sender, injected) = unbounded_channel();
        *self.inject.lock().expect("not poisoned") = Some(sender);
        self.flows.fetch_add(1, Relaxed);
        injected
    }

    fn say(&self, what: Inject) {
        let sender = self.inject.lock().expect("not poisoned");
        // Of a connection that was just lost nothing is expected.
        let _ = sender.as_ref().expect("the instance is connected").send(what);
    }

    /// True if the server is to have it: answers to what it never asked stay here.
    fn note(&self, message: &[u8]) -> bool {
        let text = String::from_utf8_lossy(message).trim_start().to_owned();
        if text.is_empty() {
            return true;
        }
        if !text.starts_with("SIP/2.0 ") {
            // Of calls that nobody has, the server would pass them on to wherever they say.
            let is_of_nobody = text.contains("\r\nCall-ID: dead-");
            if is_of_nobody {
                self.say(Inject::AtOnce(unknown(&text).into_bytes()));
            }
            self.requests.lock().expect("not poisoned").push(text);
            return !is_of_nobody;
        }
        let via = text.lines().find(|line| line.starts_with("Via:")).unwrap_or_default();
        let is_servers = via.contains(&self.server);
        if !is_servers {
            self.answers.lock().expect("not poisoned").push(text);
        }
        is_servers
    }
}

/// 481 to a request.
fn unknown(request: &str) -> String {
    let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let fields = request.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
    let fields: String = fields.map(|line| format!("{}\r\n", line.trim_end())).collect();
    format!("SIP/2.0 481 Unknown\r\n{fields}Content-Length: 0\r\n\r\n")
}

async fn carry(instance: TcpStream, server: TcpStream, injected: UnboundedReceiver<Inject>, record: Arc<Record>) {
    *record.instance.lock().expect("not poisoned") = instance.peer_addr().ok();
    let _ = instance.set_nodelay(true);
    let ((from_instance, to_instance), (from_server, to_server)) = (instance.into_split(), server.into_split());
    tokio::select! {
        () = upwards(from_instance, to_server, &record) => {}
        () = downwards(from_server, to_instance, injected) => {}
    }
}

async fn upwards(mut instance: OwnedReadHalf, mut server: OwnedWriteHalf, record: &Record) {
    let mut bytes = Vec::new();
    while instance.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        while let Some(message) = take(&mut bytes) {
            if record.note(&message) && server.write_all(&message).await.is_err() {
                return;
            }
        }
    }
}

async fn downwards(mut server: OwnedReadHalf, mut instance: OwnedWriteHalf, mut injected: UnboundedReceiver<Inject>) {
    let mut bytes = Vec::new();
    loop {
        let sent = tokio::select! {
            read = server.read_buf(&mut bytes) => match read {
                Ok(1..) => {
                    let mut sent = Ok(());
                    while let Some(message) = take(&mut bytes) {
                        sent = sent.and(instance.write_all(&message).await);
                    }
                    sent
                }
                Ok(0) | Err(_) => return,
            },
            what = injected.recv() => match what {
                Some(Inject::AtOnce(bytes)) => instance.write_all(&bytes).await,
                Some(Inject::ByteByByte(bytes)) => slowly(&mut instance, &bytes).await,
                Some(Inject::Hangup) | None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn slowly(instance: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        instance.write_all(&[*byte]).await?;
        tokio::time::sleep(SLOWLY).await;
    }
    Ok(())
}

async fn pass_on(
    front: std::net::UdpSocket,
    back: std::net::UdpSocket,
    server: SocketAddr,
    mut injected: UnboundedReceiver<Inject>,
    record: Arc<Record>,
) {
    let [front, back] = [front, back].map(|socket| UdpSocket::from_std(socket).expect("within the runtime"));
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut instance = None;
    loop {
        tokio::select! {
            Ok((length, from)) = front.recv_from(&mut up) => {
                instance = Some(from);
                *record.instance.lock().expect("not poisoned") = instance;
                if record.note(&up[..length]) {
                    let _ = back.send_to(&up[..length], server).await;
                }
            }
            Ok((length, _)) = back.recv_from(&mut down) => {
                if let Some(instance) = instance {
                    let _ = front.send_to(&down[..length], instance).await;
                }
            }
            what = injected.recv() => match (what, instance) {
                (Some(Inject::AtOnce(bytes) | Inject::ByteByByte(bytes)), Some(instance)) => {
                    let _ = front.send_to(&bytes, instance).await;
                }
                (Some(_), _) => {}
                (None, _) => return,
            },
        }
    }
}

/// The first whole message, with the line ends before it.
pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let blank = bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    if blank == bytes.len() {
        return (blank > 0).then(|| std::mem::take(bytes));
    }
    let head = blank + bytes[blank..].windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:").or(line.strip_prefix("l:")));
    let whole = head + length.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0);
    (bytes.len() >= whole).then(|| bytes.drain(..whole).collect())
}
