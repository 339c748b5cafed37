//! A user who declines whoever calls, so that a call that got through shows as 603.

use crate::chain::Chain;
use crate::client::{Heard, Socket};
use serde_json::json;
use tokio::task::JoinHandle;

pub(crate) struct Decliner {
    task: JoinHandle<()>,
}

impl Decliner {
    /// Signs in and registers.
    pub(crate) async fn join(chain: &Chain, user: &str) -> Self {
        let (mut socket, _) = Socket::join(chain, user, &format!("tab-{user}-{}", chain.tap.transport)).await;
        registered(&mut socket).await;
        Self { task: tokio::spawn(decline(socket)) }
    }
}

impl Drop for Decliner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until calls are possible.
pub(crate) async fn registered(socket: &mut Socket) {
    while socket.event("service").await["service"]["available"] != true {}
}

async fn decline(mut socket: Socket) {
    for number in 0_u64.. {
        loop {
            match socket.hear().await {
                Heard::Message(message) if message["event"]["type"] == "incoming_call" => {
                    let call = &message["event"]["call"]["call_id"];
                    let request = json!({ "method": "reject_call", "call_id": call });
                    let question = json!({ "kind": "request", "id": format!("d{number}"), "request": request });
                    socket.send(&question).await;
                    break;
                }
                Heard::Message(_) => {}
                _ => return,
            }
        }
    }
}
