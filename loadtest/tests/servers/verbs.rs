//! What a phone does in a call beside ending it.

use crate::phone::Phone;
use loadtest::sip_phone::message::Message;

impl Phone {
    /// Answers changes up to the one that says this; our new address may be told first, where the old one could not be had.
    pub(crate) async fn answers_until(&mut self, what: &str) -> Message {
        loop {
            let invite = self.answers().await;
            if invite.body.contains(what) {
                return invite;
            }
        }
    }

    /// Its own change of the call.
    pub(crate) async fn holds(&mut self) {
        let contact = self.line.out.contact(&self.user);
        let description = self.sdp(2).replace("a=sendrecv", "a=sendonly");
        let invite = self.next_request("INVITE").with("Contact", contact).with_sdp(description);
        let cseq = invite.header("CSeq").split(' ').next().and_then(|cseq| cseq.parse().ok()).expect("a number");
        self.line.out.send(invite);
        self.hears("200").await;
        let ack = self.request("ACK", cseq);
        self.line.out.send(ack);
    }

    /// A digit by INFO.
    pub(crate) async fn says(&mut self, digit: char) {
        let mut info = self.next_request("INFO").with("Content-Type", "application/dtmf-relay");
        info.body = format!("Signal={digit}\r\nDuration=160\r\n");
        self.line.out.send(info);
        self.hears("200").await;
    }

    /// Takes a digit by INFO.
    pub(crate) async fn is_told_digit(&mut self, digit: char) -> Message {
        let info = self.hears("INFO").await;
        assert!(info.body.contains(&format!("Signal={digit}")), "{info:?}");
        self.line.out.send(Message::response(&info, 200, "phone"));
        info
    }

    /// Goes along with every change until it is told BYE.
    pub(crate) async fn keeps(mut self) -> Self {
        loop {
            let message = self.line.next().await.expect("the line is open");
            match message.method() {
                Some("INVITE") => self.picks_up(&message).await,
                Some("ACK") | None => {}
                Some(method) => {
                    let ends = method == "BYE";
                    self.line.out.send(Message::response(&message, 200, "phone"));
                    if ends {
                        return self;
                    }
                }
            }
        }
    }

    /// Its part of the call is lost.
    pub(crate) async fn knows_nothing(&mut self) {
        let change = self.hears("INVITE").await;
        self.line.out.send(Message::response(&change, 481, "phone"));
        self.hears("ACK").await;
    }
}
