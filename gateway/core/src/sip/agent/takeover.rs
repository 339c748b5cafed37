//! What a capsule carries of a leg, and what another instance does with it.
//!
//! A leg taken over counts on from [`takeover_cseq`]. That alone fences nobody: what does is that nothing leaves for a browser
//! that has not proven itself, and the check of numbers at the SIP server.

use super::leg::{Leg, LegState, Up};
use super::{Agent, LeaseId, LegId, Purpose, SipNews};
use crate::sip::command::{ClientTransaction, SipCommand};
use crate::sip::dialog::{Dialog, are_plausible};
use crate::sip::message::{Headers, Method, SipRequest, SipResponse};
use serde::{Deserialize, Serialize};

/// Early dialogs that a capsule carries of one INVITE.
const MAX_SEALED_FORKS: usize = 4;

/// A leg, as much of it as another instance needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealedLeg {
    /// Our INVITE is out.
    Calling {
        /// What CANCEL must repeat of it (RFC 3261 §9.1).
        invite: SealedInvite,
        /// Early dialogs, for a BYE in case that one was answered meanwhile.
        forks: Vec<Dialog>,
    },
    /// Answered.
    Up {
        /// The dialog.
        dialog: Dialog,
    },
}

/// Of an INVITE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedInvite {
    uri: String,
    /// The topmost Via, with the branch and the address of the instance that sent it.
    via: String,
    from: String,
    to: String,
    call_id: String,
    cseq: u32,
    routes: Vec<String>,
}

/// What a restored leg turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The far side is in the call.
    Alive,
    /// The far side knows no such call.
    Lost,
    /// Nobody said.
    Unknown,
}

/// The first number that an instance may use in a dialog of another: far enough ahead of what that one may have sent since, and
/// of any later takeover (RFC 3261 §8.1.1.5 allows Unix seconds).
#[must_use]
pub fn takeover_cseq(sealed: u32, unix: u64) -> u32 {
    sealed.saturating_add(100).max(u32::try_from(unix).unwrap_or(u32::MAX)).min(i32::MAX as u32)
}

impl Agent {
    /// What another instance would need of a leg. Nothing of a call that still rings here: its INVITE will find the user.
    #[must_use]
    pub fn seal(&self, id: LegId) -> Option<SealedLeg> {
        match &self.legs.get(&id)?.state {
            LegState::Alerting(_) => None,
            LegState::Up(up) => Some(SealedLeg::Up { dialog: up.dialog.clone() }),
            LegState::Calling(calling) => Some(SealedLeg::Calling {
                invite: SealedInvite::of(&calling.invite)?,
                forks: calling.forks.values().take(MAX_SEALED_FORKS).cloned().collect(),
            }),
        }
    }

    /// Ends a leg of an instance that is gone. False if no server can be reached.
    pub fn hang_up_sealed(&mut self, lease: LeaseId, sealed: SealedLeg, unix: u64) -> bool {
        let Some(server) = self.any_server() else { return false };
        let dialogs = match sealed {
            SealedLeg::Up { dialog } => vec![dialog],
            // As much as an instance seals.
            SealedLeg::Calling { invite, .. } if !are_plausible(&invite.routes) => Vec::new(),
            SealedLeg::Calling { invite, forks } => {
                self.last += 1;
                let (transaction, to) = (ClientTransaction(self.last), self.servers[server].peer);
                self.send(Some(lease), SipCommand::Request { transaction, to, request: invite.cancel() });
                forks
            }
        };
        for mut dialog in dialogs.into_iter().filter(Dialog::is_plausible).take(MAX_SEALED_FORKS) {
            dialog.cseq = takeover_cseq(dialog.cseq, unix);
            let mut bye = dialog.request(Method::Bye);
            bye.headers.push("Reason", "SIP;cause=410;text=\"instance lost\"");
            self.send_in_dialog(lease, server, Purpose::Notice(lease), bye);
        }
        true
    }

    /// Takes over an answered leg of an instance that is gone: asks the far side whether it is still in the call. Owes
    /// [`SipNews::Restored`]; an [`Agent::offer`] may follow.
    pub fn restore(&mut self, lease: LeaseId, mut dialog: Dialog, unix: u64) -> Option<LegId> {
        let server = self.any_server().filter(|_| dialog.is_plausible())?;
        dialog.cseq = takeover_cseq(dialog.cseq, unix);
        let probe = dialog.request(Method::Options);
        let call_id = dialog.call_id.clone();
        let id = self.add_leg(Leg { lease, server, call_id, state: LegState::Up(Box::new(Up::new(dialog))) });
        self.changed.insert(id);
        self.send_in_dialog(lease, server, Purpose::Probe(id), probe);
        Some(id)
    }

    pub(super) fn handle_probe_response(&mut self, leg: LegId, response: Option<&SipResponse>) {
        let restored = match response.map(|response| response.status) {
            // Whoever understands neither the method nor the body knows the dialog nevertheless (RFC 3261 §11.2).
            Some(200..300 | 405 | 415 | 501) => Restored::Alive,
            Some(481 | 404 | 410) => Restored::Lost,
            Some(_) | None => Restored::Unknown,
        };
        if restored != Restored::Alive {
            self.remove_leg(leg);
        }
        self.news.push_back(SipNews::Restored { leg, restored });
    }
}

impl SealedInvite {
    fn of(invite: &SipRequest) -> Option<Self> {
        let value = |name| invite.headers.get(name).map(str::to_owned);
        Some(Self {
            uri: invite.uri.clone(),
            via: value("Via")?,
            from: value("From")?,
            to: value("To")?,
            call_id: value("Call-ID")?,
            cseq: invite.cseq()?,
            routes: invite.headers.all("Route").map(str::to_owned).collect(),
        })
    }

    /// RFC 3261 §9.1: the INVITE's Via, and nothing else of its hops.
    fn cancel(self) -> SipRequest {
        let mut headers = Headers::default();
        headers.push("Via", self.via);
        self.routes.into_iter().for_each(|route| headers.push("Route", route));
        headers.push("Max-Forwards", super::MAX_FORWARDS);
        headers.push("From", self.from);
        headers.push("To", self.to);
        headers.push("Call-ID", self.call_id);
        headers.push("CSeq", format!("{} CANCEL", self.cseq));
        SipRequest { method: Method::Cancel, uri: self.uri, headers, body: None }
    }
}
