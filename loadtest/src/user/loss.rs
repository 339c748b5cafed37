//! Verdicts: what a lost socket, a close code or an answer means for session and call (DESIGN §3).

use super::{Command, Link, LinkStep, LossKind, Now, Pending, Settlement, VirtualUser};
use gateway_protocol::CallId;
use gateway_protocol::CloseCode;
use gateway_protocol::message::{EndReason, Request as Verb};
use rand::Rng;
use std::time::Duration;

impl Pending {
    pub(super) fn starts(&self, call: &CallId) -> bool {
        matches!(&self.verb, Verb::StartCall { call_id, .. } if call_id == call)
    }
}

impl<R: Rng> VirtualUser<R> {
    /// The session's socket is gone.
    pub(super) fn handle_link_closed(&mut self, close: Option<(u16, &str)>, now: Now) {
        let code = close.and_then(|(code, _)| CloseCode::try_from(code).ok());
        let reason = close.map_or("", |(_, reason)| reason);
        match code {
            Some(CloseCode::InstanceLost) if reason == "silent" => self.handle_silent(now),
            Some(CloseCode::InstanceLost | CloseCode::SessionGone) => self.leave(LossKind::InstanceLost, now),
            Some(CloseCode::Restart) => self.leave(LossKind::InstanceDraining, now),
            Some(CloseCode::Unauthorized) => self.leave(LossKind::Unauthorized, now),
            Some(CloseCode::Superseded) => self.superseded(now),
            Some(CloseCode::Overloaded) => {
                self.lost_service(LossKind::SignalingLost);
                self.forget_socket(now);
                self.retry_probe(retry_hint(reason), now);
            }
            Some(CloseCode::Normal | CloseCode::Timeout) | None => self.signaling_lost(now),
        }
    }

    fn signaling_lost(&mut self, now: Now) {
        let attaching = matches!(self.link, Some(Link { step: LinkStep::Attaching(..), .. }));
        let silent = self.link.as_ref().is_some_and(|link| link.silent_since.is_some());
        self.forget_socket(now);
        if attaching || silent {
            self.next_base();
            self.retry_probe(Duration::ZERO, now);
        } else {
            self.lost_service(LossKind::SignalingLost);
            self.probe_soon(now);
        }
    }

    /// The socket is closed: nobody closes it again.
    fn forget_socket(&mut self, now: Now) {
        if let Some(link) = &mut self.link {
            link.step = LinkStep::ProbeDue(now);
        }
    }

    /// A balancer calls the instance silent: media decides.
    pub(super) fn handle_silent(&mut self, now: Now) {
        if !self.media_lives(now) {
            return self.leave(LossKind::InstanceSilent, now);
        }
        self.lost_service(LossKind::InstanceSilent);
        self.forget_socket(now);
        self.next_base();
        let first = self.link.as_ref().is_some_and(|link| link.silent_since.is_none());
        if let Some(link) = &mut self.link {
            link.silent_since.get_or_insert(now);
        }
        if first { self.probe_soon(now) } else { self.retry_probe(Duration::ZERO, now) }
    }

    /// The session is gone: its call ends, and the user signs in elsewhere.
    pub(super) fn leave(&mut self, kind: LossKind, now: Now) {
        self.lost_service(kind);
        let reason = match kind {
            LossKind::InstanceDraining => EndReason::Drained,
            LossKind::MediaLost => EndReason::MediaLost,
            LossKind::Unauthorized => EndReason::SessionEnded,
            LossKind::SignalingLost
            | LossKind::NetworkChanged
            | LossKind::InstanceLost
            | LossKind::InstanceSilent
            | LossKind::SessionSuperseded => EndReason::InstanceLost,
        };
        if let Some(call) = self.call.as_ref().filter(|call| !call.hanging_up).map(|call| call.id.clone()) {
            self.dead_calls.push(call);
            self.end_call(reason, now);
        }
        self.abandon_session(now);
    }

    /// As [`VirtualUser::leave`], but media lives: the call is kept until it is hung up or falls silent.
    pub(super) fn leave_keeping_the_call(&mut self, now: Now) {
        if let Some(call) = &mut self.call {
            call.orphan = true;
        }
        self.abandon_session(now);
    }

    fn abandon_session(&mut self, now: Now) {
        self.drop_socket();
        for pending in std::mem::take(&mut self.pending) {
            match pending.verb {
                Verb::StartCall { call_id, .. } => self.settle("start_call", call_id, Settlement::Unknown),
                Verb::HangUp { call_id } => {
                    self.settle("hang_up", call_id, Settlement::Unknown);
                    self.end_call(EndReason::LocalHangUp, now);
                }
                // No other verb is ever sent.
                _ => {}
            }
        }
        if let Some(link) = self.link.take() {
            self.previous = Some((link.session.token, link.session.capsule));
        }
        if self.entry.is_none() {
            self.enter(None, now);
        }
    }

    fn superseded(&mut self, now: Now) {
        self.end_call(EndReason::SessionEnded, now);
        self.lost_service(LossKind::SessionSuperseded);
        self.link = None;
        self.entry = None;
        self.pending.clear();
    }

    /// Media did not come back although the instance answers: another instance may be reached.
    pub(super) fn media_lost(&mut self, now: Now) {
        let Some(link) = &self.link else { return };
        self.avoid = Some(format!("{}.{}", link.session.instance, link.session.boot));
        let session = link.session.clone();
        self.leave(LossKind::MediaLost, now);
        self.sign_off(&session);
    }

    pub(super) fn close_peer(&mut self, call: CallId) {
        self.commands.push_back(Command::ClosePeer(call));
    }
}

/// `retry=<ms>` of close code 1013, at most a minute.
fn retry_hint(reason: &str) -> Duration {
    let ms = reason.strip_prefix("retry=").and_then(|ms| ms.parse().ok()).unwrap_or(0_u64);
    Duration::from_millis(ms.min(60_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_hint_is_bounded_and_never_fails() {
        assert_eq!(retry_hint("retry=250"), Duration::from_millis(250));
        assert_eq!(retry_hint("retry=99999999"), Duration::from_secs(60));
        assert_eq!(retry_hint("retry=-1"), Duration::ZERO);
        assert_eq!(retry_hint(""), Duration::ZERO);
    }
}
