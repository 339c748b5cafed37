//! A user who says what it is told to on its session socket.

use crate::chain::Chain;
use crate::client::{Heard, Socket, start_call, text};
use crate::decliner::registered;
use loadtest::peer::{Peer, PeerIdentity, Profiles};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use std::time::Instant;

pub(crate) struct Caller {
    pub(crate) socket: Socket,
    calls: u32,
}

impl Caller {
    /// Signed in, attached and registered.
    pub(crate) async fn join(chain: &Chain, user: &str) -> Self {
        let (mut socket, _) = Socket::join(chain, user, &format!("tab-{user}")).await;
        registered(&mut socket).await;
        Self::with(socket)
    }

    pub(crate) fn with(socket: Socket) -> Self {
        Self { socket, calls: 0 }
    }

    /// Whatever is called; its peer never connects.
    pub(crate) async fn call(&mut self, target: &str) -> Value {
        self.calls += 1;
        let call = format!("call-{}", self.calls);
        self.socket.ask(start_call(&call, target, &offer())).await
    }

    /// How its last call ended.
    pub(crate) async fn ended(&mut self) -> String {
        let call = format!("call-{}", self.calls);
        loop {
            match self.socket.hear().await {
                Heard::Message(message) if message["event"]["type"] == "call_ended" => {
                    if message["event"]["call_id"] == call.as_str() {
                        return text(&message["event"]["reason"]).to_owned();
                    }
                }
                Heard::Message(_) => {}
                end => return format!("{end:?}"),
            }
        }
    }
}

/// What the server got of a user besides its registration.
pub(crate) fn calls_of(chain: &Chain, user: &str) -> usize {
    let from = format!("\r\nFrom: <sip:{user}@");
    let is_one = |request: &&String| !request.starts_with("REGISTER ") && request.contains(&from);
    chain.tap.requests().iter().filter(is_one).count()
}

pub(crate) fn offer() -> String {
    let identity = PeerIdentity::generate().expect("a certificate");
    Peer::new(identity, Profiles::Gcm, 1, &mut SmallRng::seed_from_u64(1), Instant::now()).offer()
}

/// `ok`, or why not.
pub(crate) fn told(outcome: &Value) -> String {
    match text(&outcome["status"]) {
        "failed" => text(&outcome["reason"]).to_owned(),
        status => status.to_owned(),
    }
}
