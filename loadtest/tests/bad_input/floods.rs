//! 100 000 sign-ins that nobody attaches to, straight at the instance.

use crate::chain::Chain;
use crate::client::request;
use crate::table::Table;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SIGN_INS: usize = 100_000;
const CONNECTIONS: usize = 4;
/// Requests sent before their answers are read.
const PIPELINED: usize = 100;
/// The instance's default capacity; the bystander has one of the places.
const CAPACITY: u64 = 2000;

pub(crate) async fn rows(chain: &Chain, table: &mut Table) {
    let expected = format!("{} got a place, {} were told 503", CAPACITY - 1, SIGN_INS as u64 - CAPACITY + 1);
    table.row("100 000 half-open sign-ins", &expected, flood(chain)).await;
    let used = async { request(chain.gateway.private(), "GET", "/health", &[], "").await.json()["used"].clone() };
    table.row("places taken after them", &CAPACITY.to_string(), used).await;
}

async fn flood(chain: &Chain) -> String {
    let to = chain.gateway.public();
    let flows = (0..CONNECTIONS).map(|flow| tokio::task::spawn_blocking(move || sign_ins(to, flow)));
    let mut answers = BTreeMap::<u16, usize>::new();
    for flow in flows.collect::<Vec<_>>() {
        for (status, count) in flow.await.expect("it ends") {
            *answers.entry(status).or_default() += count;
        }
    }
    let (places, refused) = (answers.remove(&201).unwrap_or(0), answers.remove(&503).unwrap_or(0));
    assert!(answers.is_empty(), "{answers:?}");
    format!("{places} got a place, {refused} were told 503")
}

/// One connection's share, each of another user.
fn sign_ins(to: SocketAddr, flow: usize) -> BTreeMap<u16, usize> {
    let mut stream = TcpStream::connect(to).expect("the instance listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout above zero");
    let mut answers = BTreeMap::new();
    let mut read = Vec::new();
    for batch in 0..SIGN_INS / CONNECTIONS / PIPELINED {
        let requests: String = (0..PIPELINED).map(|number| post(&format!("{flow}-{batch}-{number}"))).collect();
        stream.write_all(requests.as_bytes()).expect("the instance reads");
        for _ in 0..PIPELINED {
            *answers.entry(next_status(&mut stream, &mut read)).or_default() += 1;
        }
    }
    answers
}

fn post(name: &str) -> String {
    let body = format!(r#"{{"client_id":"{name}","user":"{name}"}}"#);
    format!("POST /v1/sessions HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Takes the next answer off what was read.
fn next_status(stream: &mut TcpStream, read: &mut Vec<u8>) -> u16 {
    loop {
        if let Some((status, length)) = whole_answer(read) {
            read.drain(..length);
            return status;
        }
        let mut buffer = [0; 64 * 1024];
        let length = stream.read(&mut buffer).expect("an answer in time");
        assert!(length > 0, "the instance closed the connection");
        read.extend_from_slice(&buffer[..length]);
    }
}

/// Status and length of the answer at the beginning, once it is there.
fn whole_answer(read: &[u8]) -> Option<(u16, usize)> {
    let text = std::str::from_utf8(read).ok()?;
    let head = text.find("\r\n\r\n")?;
    let (_, rest) = text[..head].split_once("content-length: ")?;
    let body: usize = rest.split("\r\n").next()?.parse().ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length = head + 4 + body;
    (read.len() >= length).then_some((status, length))
}
