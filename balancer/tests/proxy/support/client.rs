//! A client that says exactly the bytes it is given.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The first field with this name, or "".
    pub(crate) fn header(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or("")
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.headers.iter().filter(move |(each, _)| each.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| value.as_str()).collect::<Vec<_>>().into_iter()
    }

    /// `name=value` of a cookie that the answer sets, or "".
    pub(crate) fn cookie(&self, name: &str) -> String {
        let set = self.all("set-cookie").find(|line| line.split('=').next() == Some(name));
        set.and_then(|line| line.split(';').next()).unwrap_or("").to_owned()
    }

    /// The id of the session that a 201 made.
    pub(crate) fn session(&self) -> String {
        self.header("location").trim_start_matches("/v1/sessions/").to_owned()
    }
}

/// One connection to a balancer.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the balancer listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout above zero");
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the balancer reads");
    }

    /// False if the balancer has closed the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The next answer; `None` if the connection ends first.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let end = self.read_until(|bytes| find(bytes, b"\r\n\r\n"))? + 4;
        let head = String::from_utf8(self.read.drain(..end).collect()).expect("an ASCII head");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
        let mut answer = Answer { status: status.expect("a status"), headers: headers.collect(), body: String::new() };
        answer.body = self.body(&answer)?;
        Some(answer)
    }

    fn body(&mut self, answer: &Answer) -> Option<String> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let end = self.read_until(|bytes| find(bytes, b"\r\n"))?;
                let line = String::from_utf8(self.read.drain(..end + 2).collect()).ok()?;
                let size = usize::from_str_radix(line.trim(), 16).ok()?;
                body.extend(self.take(size + 2)?.into_iter().take(size));
                if size == 0 {
                    break;
                }
            }
        } else {
            body = self.take(answer.header("content-length").parse().unwrap_or(0))?;
        }
        String::from_utf8(body).ok()
    }

    /// So many bytes; `None` if the connection ends first.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        self.read_until(|bytes| (bytes.len() >= count).then_some(count))?;
        Some(self.read.drain(..count).collect())
    }

    /// True if the connection ends without a further byte.
    pub(crate) fn is_ended(&mut self) -> bool {
        self.read_until(|bytes| (!bytes.is_empty()).then_some(0)).is_none()
    }

    fn read_until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(at) = found(&self.read) {
                return Some(at);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.read.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing to read within 5 s: {error}"),
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The answer to one request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(address);
    client.send(request);
    client.answer().expect("an answer")
}

/// A GET.
pub(crate) fn get(path: &str, cookie: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\n\r\n")
}

/// A sign-in.
pub(crate) fn sign_in(cookie: &str, extra: &str) -> String {
    let body = r#"{"client_id":"tab","user":"ann"}"#;
    let length = body.len();
    format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\nContent-Length: {length}\r\n{extra}\r\n{body}"
    )
}

/// A WebSocket's opening.
pub(crate) fn upgrade(path: &str, cookie: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A session's WebSocket, with the instance's greeting already read.
pub(crate) fn open_socket(address: SocketAddr) -> Client {
    let signed_in = ask(address, sign_in("", ""));
    let mut socket = Client::connect(address);
    let path = format!("/v1/sessions/{}/socket", signed_in.session());
    socket.send(upgrade(&path, &signed_in.cookie("holdfast-session")));
    assert_eq!(socket.answer().expect("an answer").status, 101);
    assert_eq!(socket.take(4).expect("a frame"), b"\x81\x02hi");
    socket
}
