//! Answers that a session gave, so that a repeated request id never acts twice.

use crate::limits::{REMEMBERED_ANSWERS, REMEMBERED_SDP_BYTES};
use gateway_protocol::RequestId;
use gateway_protocol::message::{FailReason, Outcome};
use std::collections::VecDeque;

/// What is known of a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Never seen, or too long ago.
    New,
    /// Being worked on; its answer comes.
    Open,
    /// Answered so.
    Answered(Outcome),
}

/// The last [`REMEMBERED_ANSWERS`] requests of a session.
#[derive(Debug, Default)]
pub struct Answers {
    list: VecDeque<(RequestId, Option<Outcome>)>,
    sdp_bytes: usize,
}

impl Answers {
    /// What is known of `id`; a new one counts as open from now on.
    pub fn begin(&mut self, id: &RequestId) -> Known {
        match self.list.iter().rev().find(|(known, _)| known == id) {
            Some((_, Some(outcome))) => return Known::Answered(outcome.clone()),
            Some((_, None)) => return Known::Open,
            None => {}
        }
        if self.list.len() == REMEMBERED_ANSWERS
            && let Some((_, forgotten)) = self.list.pop_front()
        {
            self.sdp_bytes -= sdp_bytes(forgotten.as_ref());
        }
        self.list.push_back((id.clone(), None));
        Known::New
    }

    /// Remembers how `id` ended.
    pub fn finish(&mut self, id: &RequestId, outcome: &Outcome) {
        if let Some((_, slot)) = self.list.iter_mut().rev().find(|(known, _)| known == id) {
            self.sdp_bytes += sdp_bytes(Some(outcome));
            self.sdp_bytes -= sdp_bytes(slot.as_ref());
            *slot = Some(outcome.clone());
        }
        self.drop_oldest_sdp();
    }

    fn drop_oldest_sdp(&mut self) {
        let mut oldest = self.list.iter_mut();
        while self.sdp_bytes > REMEMBERED_SDP_BYTES {
            let Some((_, slot)) = oldest.next() else { return };
            let bytes = sdp_bytes(slot.as_ref());
            if bytes > 0 {
                self.sdp_bytes -= bytes;
                let detail = Some("done, but the answer is no longer kept".to_owned());
                *slot = Some(Outcome::Failed { reason: FailReason::Internal, detail });
            }
        }
    }
}

fn sdp_bytes(outcome: Option<&Outcome>) -> usize {
    match outcome {
        Some(Outcome::Ok { sdp: Some(sdp) }) => sdp.len(),
        Some(Outcome::Ok { sdp: None } | Outcome::Failed { .. }) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> RequestId {
        RequestId::parse(format!("r{number}")).expect("an id")
    }

    fn ok(bytes: usize) -> Outcome {
        Outcome::Ok { sdp: Some("x".repeat(bytes)) }
    }

    #[test]
    fn a_repeated_id_gets_the_same_answer() {
        let mut answers = Answers::default();
        assert_eq!(answers.begin(&id(1)), Known::New);
        assert_eq!(answers.begin(&id(1)), Known::Open);
        answers.finish(&id(1), &ok(3));
        assert_eq!(answers.begin(&id(1)), Known::Answered(ok(3)));
    }

    #[test]
    fn the_oldest_of_256_is_forgotten() {
        let mut answers = Answers::default();
        (0..=REMEMBERED_ANSWERS).for_each(|number| assert_eq!(answers.begin(&id(number)), Known::New));
        assert_eq!(answers.begin(&id(1)), Known::Open);
        assert_eq!(answers.begin(&id(0)), Known::New);
    }

    #[test]
    fn old_sdp_gives_way() {
        let mut answers = Answers::default();
        for number in 0..3 {
            answers.begin(&id(number));
            answers.finish(&id(number), &ok(REMEMBERED_SDP_BYTES / 2));
        }
        assert!(matches!(answers.begin(&id(0)), Known::Answered(Outcome::Failed { .. })));
        assert!(matches!(answers.begin(&id(1)), Known::Answered(Outcome::Ok { .. })));
    }
}
