//! One client transaction: a task that sends a request and tells what comes back.

use super::convert::{request_to_wire, response_from_wire};
use super::flow::Tether;
use super::line::{Context, Note};
use gateway_core::sip::{ClientTransaction, Headers, Method, SendFailure, SipEvent, SipRequest, SipResponse};
use rsipstack::sip::{self as wire, Header, HeadersExt, SipMessage};
use rsipstack::transaction::Transaction;
use rsipstack::transaction::endpoint::MessageInspector;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transport::{SipAddr, SipConnection};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Marks a response that rsipstack made itself. No peer can: a field of this name from outside has a value.
const LOCAL_FAILURE: &str = "Holdfast-Local-Failure";

/// Where a message goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) connection: SipConnection,
    pub(super) addr: SipAddr,
    /// Of a connection; datagrams have none.
    pub(super) tether: Option<Tether>,
}

impl Target {
    /// Sends outside any transaction; what can't be sent is lost, as on any network.
    pub(super) async fn send(&self, message: impl Into<SipMessage>) {
        if let Err(error) = self.connection.send(message.into(), Some(&self.addr)).await {
            tracing::debug!(%error, "a SIP message could not be sent");
        }
    }
}

/// An INVITE that got its 2xx, kept for those that come again (RFC 3261 §13.2.2.4).
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub(super) id: ClientTransaction,
    pub(super) invite: SipRequest,
    pub(super) to: String,
    pub(super) target: Target,
}

/// Sees every message between rsipstack's transactions and the wire.
pub(super) struct Inspector;

impl MessageInspector for Inspector {
    fn before_send(&self, message: SipMessage, _to: Option<&SipAddr>) -> SipMessage {
        match message {
            // rsipstack builds it from the response, which has a Via for each hop; RFC 3261 §17.1.1.3 wants our own alone.
            SipMessage::Request(mut ack) if ack.method == wire::Method::Ack && ack.has_multiple_vias() => {
                if let Ok(top) = ack.top_via_header() {
                    ack.headers.retain(|header| !matches!(header, Header::Via(_)));
                    ack.headers.push_front(Header::Via(top));
                }
                ack.into()
            }
            other => other,
        }
    }

    fn after_received(&self, mut message: SipMessage, from: Option<&SipAddr>) -> SipMessage {
        if let (SipMessage::Response(response), None) = (&mut message, from) {
            response.headers.push(Header::Other(LOCAL_FAILURE.to_owned(), String::new()));
        }
        message
    }
}

/// Runs one to its end.
pub(super) async fn run(
    context: Context,
    id: ClientTransaction,
    request: SipRequest,
    target: Target,
    cancel: Arc<Notify>,
) {
    let mut client = Client { context, id, request, target, is_proceeding: false, cancelling: Cancelling::No };
    if let Err(why) = client.run(&cancel).await {
        client.context.emit(SipEvent::Failed { transaction: id, why }).await;
    }
    client.context.note(Note::ClientEnded(id));
}

struct Client {
    context: Context,
    id: ClientTransaction,
    request: SipRequest,
    target: Target,
    /// A provisional response came.
    is_proceeding: bool,
    cancelling: Cancelling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelling {
    No,
    /// Asked for before any response: CANCEL must wait (RFC 3261 §9.1).
    Wanted,
    /// Sent; after this time the INVITE counts as cancelled without an answer.
    Sent {
        until: Instant,
    },
}

impl Client {
    async fn run(&mut self, cancel: &Notify) -> Result<(), SendFailure> {
        let mut transaction = self.start().await?;
        let mut tether = self.target.tether.clone();
        loop {
            // A call that rings, rings on where it is.
            let may_come_late = self.is_proceeding && self.request.method == Method::Invite;
            let deadline = match self.cancelling {
                Cancelling::Sent { until } => Some(until),
                Cancelling::No | Cancelling::Wanted => None,
            };
            let message = tokio::select! {
                biased;
                () = cancel.notified() => {
                    self.cancel().await;
                    continue;
                }
                message = transaction.receive() => message,
                () = ended(tether.as_mut(), may_come_late) => return Err(SendFailure::Unreachable),
                () = until(deadline) => return Err(SendFailure::TimedOut),
            };
            let Some(message) = message else {
                return Err(SendFailure::TimedOut);
            };
            if let SipMessage::Response(response) = message
                && self.take(response).await?
            {
                return self.absorb(transaction).await;
            }
        }
    }

    async fn start(&self) -> Result<Transaction, SendFailure> {
        let request = request_to_wire(&self.request).map_err(|_| SendFailure::Unreachable)?;
        let mut transaction = self.context.client(request, &self.target).ok_or(SendFailure::Unreachable)?;
        transaction.send().await.map_err(|_| SendFailure::Unreachable)?;
        Ok(transaction)
    }

    /// Tells a response; true if it is final.
    async fn take(&mut self, wire: wire::Response) -> Result<bool, SendFailure> {
        if wire.headers.iter().any(|header| header.name() == LOCAL_FAILURE && header.value().is_empty()) {
            let timed_out = wire.status_code == wire::StatusCode::RequestTimeout;
            return Err(if timed_out { SendFailure::TimedOut } else { SendFailure::Unreachable });
        }
        // A body that is no text is none that the machines could use.
        let response = response_from_wire(&wire).unwrap_or_else(|_| {
            response_from_wire(&wire::Response { body: Vec::new(), ..wire.clone() }).unwrap_or(SipResponse {
                status: wire.status_code.code(),
                reason: String::new(),
                headers: Headers::default(),
                body: None,
            })
        });
        let is_final = response.is_final();
        if self.request.method == Method::Invite && response.is_success() && !wire.has_multiple_vias() {
            self.acknowledge(&response).await;
        }
        self.context.emit(SipEvent::Response { transaction: self.id, response }).await;
        if !is_final && !self.is_proceeding {
            self.is_proceeding = true;
            if self.cancelling == Cancelling::Wanted {
                self.send_cancel().await;
            }
        }
        Ok(is_final)
    }

    async fn acknowledge(&self, response: &SipResponse) {
        let ack = ack(&self.request, response);
        if let Ok(ack) = request_to_wire(&ack) {
            self.target.send(ack).await;
        }
        self.context.note(Note::Acknowledged(Box::new(Acknowledged {
            id: self.id,
            invite: self.request.clone(),
            to: response.headers.get("To").unwrap_or_default().to_owned(),
            target: self.target.clone(),
        })));
    }

    /// A 2xx to an INVITE that was passed on for another may come again, and another fork may send one of its own; all go up
    /// (RFC 6026 §7.2). Everything else has ended already.
    async fn absorb(&mut self, mut transaction: Transaction) -> Result<(), SendFailure> {
        let mut tether = self.target.tether.clone();
        loop {
            let message = tokio::select! {
                message = transaction.receive() => message,
                () = ended(tether.as_mut(), false) => return Ok(()),
            };
            match message {
                Some(SipMessage::Response(response)) => {
                    let _ = self.take(response).await;
                }
                Some(SipMessage::Request(_)) => {}
                None => return Ok(()),
            }
        }
    }

    async fn cancel(&mut self) {
        match (self.cancelling, self.is_proceeding) {
            (Cancelling::No, true) => self.send_cancel().await,
            (Cancelling::No, false) => self.cancelling = Cancelling::Wanted,
            (Cancelling::Wanted | Cancelling::Sent { .. }, _) => {}
        }
    }

    /// CANCEL is a transaction of its own, whose answer tells nothing.
    async fn send_cancel(&mut self) {
        self.cancelling = Cancelling::Sent { until: Instant::now() + self.context.t1 * 64 };
        let Ok(cancel) = request_to_wire(&cancel(&self.request)) else {
            return;
        };
        let Some(mut transaction) = self.context.client(cancel, &self.target) else {
            return;
        };
        tokio::spawn(async move {
            if transaction.send().await.is_ok() {
                while let Some(SipMessage::Response(response)) = transaction.receive().await
                    && response.status_code.code() < 200
                {}
            }
        });
    }
}

impl Context {
    fn client(&self, request: wire::Request, target: &Target) -> Option<Transaction> {
        let key = TransactionKey::from_request(&request, TransactionRole::Client).ok()?;
        let mut transaction =
            Transaction::new_client(key, request, self.endpoint.clone(), Some(target.connection.clone()));
        transaction.destination = Some(target.addr.clone());
        Some(transaction)
    }
}

async fn ended(tether: Option<&mut Tether>, may_come_late: bool) {
    match tether {
        Some(tether) => tether.ended(may_come_late).await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The ACK to a 2xx (RFC 3261 §13.2.2.4): a request of its own within the dialog.
pub(super) fn ack(invite: &SipRequest, response: &SipResponse) -> SipRequest {
    use gateway_core::sip::{NameAddr, tag_of};
    let contact = NameAddr::list(response.headers.all("Contact")).into_iter().next();
    let is_within_dialog = invite.headers.get("To").and_then(tag_of).is_some();
    let mut headers = Headers::default();
    headers.push("Via", other_branch(invite.headers.get("Via").unwrap_or_default()));
    headers.push("Max-Forwards", "70");
    match is_within_dialog {
        // The route set of a dialog does not change (RFC 3261 §12.2).
        true => invite.headers.all("Route").for_each(|route| headers.push("Route", route)),
        false => {
            let mut routes = NameAddr::list(response.headers.all("Record-Route"));
            routes.reverse();
            routes.iter().for_each(|route| headers.push("Route", route.to_string()));
        }
    }
    copy(&invite.headers, &mut headers, &["From", "Call-ID", "Authorization", "Proxy-Authorization"]);
    copy(&response.headers, &mut headers, &["To"]);
    headers.push("CSeq", format!("{} ACK", invite.cseq().unwrap_or_default()));
    let uri = contact.map_or_else(|| invite.uri.clone(), |contact| contact.uri);
    SipRequest { method: Method::Ack, uri, headers, body: None }
}

/// RFC 3261 §9.1.
fn cancel(invite: &SipRequest) -> SipRequest {
    let mut headers = Headers::default();
    headers.push("Via", invite.headers.get("Via").unwrap_or_default());
    headers.push("Max-Forwards", "70");
    copy(&invite.headers, &mut headers, &["From", "To", "Call-ID", "Route", "Reason"]);
    headers.push("CSeq", format!("{} CANCEL", invite.cseq().unwrap_or_default()));
    SipRequest { method: Method::Cancel, uri: invite.uri.clone(), headers, body: None }
}

fn copy(from: &Headers, to: &mut Headers, names: &[&str]) {
    for name in names {
        from.all(name).for_each(|value| to.push(name, value));
    }
}

/// The machine's branches are unique, so one made of them is too.
fn other_branch(via: &str) -> String {
    let parts = via.split(';').map(|part| match part.trim().strip_prefix("branch=") {
        Some(branch) => format!("branch={branch}-ack"),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(";")
}
