//! One server transaction: a task that sends the machine's responses to a request, and again until they were acknowledged.

use super::convert::response_to_wire;
use super::line::{Context, Note};
use gateway_core::sip::{ServerTransaction, SipEvent, SipResponse};
use rsipstack::sip::{Method, SipMessage};
use rsipstack::transaction::Transaction;
use std::time::Duration;
use tokio::sync::mpsc;

/// A machine that rings for longer has forgotten the call.
const MAX_RINGING: Duration = Duration::from_secs(3_600);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// A 2xx to an INVITE was sent.
    Accepted,
    /// Any other final response was sent.
    Answered,
}

/// Runs one to its end.
pub(super) async fn run(
    context: Context,
    id: ServerTransaction,
    mut transaction: Transaction,
    mut responses: mpsc::Receiver<SipResponse>,
) {
    let is_invite = transaction.original.method == Method::Invite;
    let patience = if is_invite { MAX_RINGING } else { context.t1 * 128 };
    let forgotten = tokio::time::sleep(patience);
    tokio::pin!(forgotten);
    let mut stage = Stage::Waiting;
    loop {
        tokio::select! {
            biased;
            Some(response) = responses.recv() => {
                stage = respond(&mut transaction, &response, stage).await;
                if stage == Stage::Answered && !is_invite {
                    break;
                }
            }
            message = transaction.receive() => match (message, stage) {
                (Some(SipMessage::Request(request)), Stage::Waiting) if request.method == Method::Cancel => {
                    context.emit(SipEvent::Cancelled(id)).await;
                }
                (Some(SipMessage::Request(request)), Stage::Accepted) if request.method == Method::Ack => {
                    if let Ok(request) = super::convert::request_from_wire(&request) {
                        context.emit(SipEvent::Acked { transaction: id, request }).await;
                    }
                    break;
                }
                (Some(SipMessage::Request(request)), Stage::Answered) if request.method == Method::Ack => break,
                (Some(_), _) => {}
                (None, Stage::Accepted) => {
                    context.emit(SipEvent::NeverAcked(id)).await;
                    break;
                }
                (None, Stage::Waiting | Stage::Answered) => break,
            },
            () = &mut forgotten, if stage == Stage::Waiting => break,
        }
    }
    forget_answer(&transaction, is_invite);
    context.note(Note::ServerEnded(id));
}

async fn respond(transaction: &mut Transaction, response: &SipResponse, stage: Stage) -> Stage {
    let Ok(wire) = response_to_wire(response) else {
        tracing::error!(status = response.status, "a response that can't be sent");
        return stage;
    };
    if let Err(error) = transaction.respond(wire).await {
        tracing::debug!(%error, "a response could not be sent");
    }
    match (stage, response.is_final(), response.is_success() && transaction.original.method == Method::Invite) {
        (Stage::Waiting, true, true) => Stage::Accepted,
        (Stage::Waiting, true, false) => Stage::Answered,
        (stage, _, _) => stage,
    }
}

/// Nobody repeats a request over a connection, so its answer need not be kept (RFC 3261 §17.2.2, Timer J).
fn forget_answer(transaction: &Transaction, is_invite: bool) {
    if !is_invite && transaction.connection.as_ref().is_some_and(|connection| connection.is_reliable()) {
        transaction.endpoint_inner.finished_transactions.remove(&transaction.key);
    }
}
