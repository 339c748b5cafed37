//! Users, far sides and losses at random; whatever they do, every request is answered, every call ends once, and nothing of a
//! call is left on either side when its users have hung up.

use crate::far::{Asked, Heard, described, dialog_of, sdp};
use crate::gateway::Options;
use crate::world::{A, B, SERVER, TabId, World, answer, hang_up, start};
use gateway_core::Limits;
use gateway_core::sip::{Body, ClientTransaction, Dialog, Method, Peer, ServerTransaction, SipRequest};
use gateway_protocol::message::{CallState, DeadCallAction, Request};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Act {
    Join { user: u8, at: bool },
    Dial { tab: usize },
    Answer { tab: usize },
    Reject { tab: usize, busy: bool },
    HangUp { tab: usize, call: u8 },
    Hold { tab: usize, call: u8, hold: bool },
    Digit { tab: usize, call: u8 },
    Transfer { tab: usize, call: u8, other: Option<u8> },
    Cut { tab: usize },
    Return { tab: usize },
    FarAnswers { which: usize, status: u16, describes: bool },
    FarHangsUp { which: usize },
    FarChanges { which: usize, direction: &'static str },
    FarTransfers { which: usize },
    FarCalls { user: u8, offers: bool },
    FarCancels { which: usize },
    Pass { millis: u64 },
    Freeze { at: bool, millis: u64 },
    LoseInstance { at: bool, resume: bool },
    LoseServer { millis: u64 },
    DeafServer { millis: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let tab = || 0_usize..4;
    let call = || 0_u8..4;
    let status = prop_oneof![
        3 => Just(180_u16), 1 => Just(183), 8 => Just(200), 1 => Just(302), 1 => Just(407), 1 => Just(481),
        1 => Just(486), 1 => Just(491), 1 => Just(503),
    ];
    let direction = prop_oneof![Just("sendrecv"), Just("sendonly"), Just("inactive")];
    let user = || 0_u8..3;
    prop_oneof![
        2 => (user(), any::<bool>()).prop_map(|(user, at)| Act::Join { user, at }),
        6 => tab().prop_map(|tab| Act::Dial { tab }),
        4 => tab().prop_map(|tab| Act::Answer { tab }),
        1 => (tab(), any::<bool>()).prop_map(|(tab, busy)| Act::Reject { tab, busy }),
        3 => (tab(), call()).prop_map(|(tab, call)| Act::HangUp { tab, call }),
        4 => (tab(), call(), any::<bool>()).prop_map(|(tab, call, hold)| Act::Hold { tab, call, hold }),
        1 => (tab(), call()).prop_map(|(tab, call)| Act::Digit { tab, call }),
        2 => (tab(), call(), prop::option::of(call())).prop_map(|(tab, call, other)| Act::Transfer { tab, call, other }),
        1 => tab().prop_map(|tab| Act::Cut { tab }),
        2 => tab().prop_map(|tab| Act::Return { tab }),
        14 => (0_usize..4, status, any::<bool>())
            .prop_map(|(which, status, describes)| Act::FarAnswers { which, status, describes }),
        2 => (0_usize..4).prop_map(|which| Act::FarHangsUp { which }),
        2 => (0_usize..4, direction).prop_map(|(which, direction)| Act::FarChanges { which, direction }),
        1 => (0_usize..4).prop_map(|which| Act::FarTransfers { which }),
        4 => (user(), any::<bool>()).prop_map(|(user, offers)| Act::FarCalls { user, offers }),
        1 => (0_usize..4).prop_map(|which| Act::FarCancels { which }),
        3 => (0_u64..5_000).prop_map(|millis| Act::Pass { millis }),
        1 => (0_u64..200_000).prop_map(|millis| Act::Pass { millis }),
        1 => (any::<bool>(), 0_u64..40_000).prop_map(|(at, millis)| Act::Freeze { at, millis }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(at, resume)| Act::LoseInstance { at, resume }),
        1 => (0_u64..20_000).prop_map(|millis| Act::LoseServer { millis }),
        1 => (0_u64..10_000).prop_map(|millis| Act::DeafServer { millis }),
    ]
}

/// A call as the far side has it.
struct Leg {
    dialog: Dialog,
    to: Peer,
}

struct Model {
    world: World,
    /// What the far side has yet to answer.
    owed: Vec<Asked>,
    /// INVITEs of the far side without an answer yet.
    calling: Vec<(ClientTransaction, SipRequest, Peer)>,
    legs: Vec<Leg>,
    /// Answered, and not acknowledged yet.
    answered: Vec<(ServerTransaction, Leg)>,
    last_call: u32,
}

impl Model {
    fn new() -> Self {
        let limits = Limits { calls_per_minute: 10_000, sign_ins_per_minute: 10_000, ..Limits::default() };
        let options = Options {
            passwords: vec![("u0", "p"), ("u1", "p"), ("u2", "p")],
            session_expires: Duration::from_secs(180),
            limits,
            ..Options::default()
        };
        let world = World::played(2, options);
        Self { world, owed: Vec::new(), calling: Vec::new(), legs: Vec::new(), answered: Vec::new(), last_call: 0 }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Join { user, at } => {
                let user = format!("u{user}");
                if !self.world.tabs.iter().any(|tab| tab.user == user && !tab.is_replaced) {
                    self.world.join(host(at), &user);
                }
            }
            Act::Dial { tab } => {
                self.last_call += 1;
                let call = format!("k{}", self.last_call);
                self.ask(tab, start(&call, "bob"));
            }
            Act::Answer { tab } => {
                if let Some(call) = self.tab(tab).and_then(|tab| self.ringing(tab)) {
                    self.ask(tab, answer(&call));
                }
            }
            Act::Reject { tab, busy } => {
                if let Some(call) = self.tab(tab).and_then(|tab| self.ringing(tab)) {
                    self.ask(tab, Request::RejectCall { call_id: call.parse().expect("an id"), busy });
                }
            }
            Act::HangUp { tab, call } => self.about(tab, call, hang_up),
            Act::Hold { tab, call, hold: true } => self.about(tab, call, crate::either_side_holds::hold),
            Act::Hold { tab, call, hold: false } => self.about(tab, call, crate::either_side_holds::unhold),
            Act::Digit { tab, call } => self.about(tab, call, |call| Request::SendDigits {
                call_id: call.parse().expect("an id"),
                digits: "5".to_owned(),
            }),
            Act::Transfer { tab, call, other: None } => self.about(tab, call, |call| Request::Transfer {
                call_id: call.parse().expect("an id"),
                target: "carol".to_owned(),
            }),
            Act::Transfer { tab, call, other: Some(other) } => {
                let Some(other) = self.tab(tab).and_then(|tab| self.call(tab, other)) else { return };
                self.about(tab, call, |call| Request::TransferTo {
                    call_id: call.parse().expect("an id"),
                    other: other.parse().expect("an id"),
                });
            }
            Act::Cut { tab } => {
                if let Some(tab) = self.tab(tab) {
                    self.world.cut(tab);
                }
            }
            Act::Return { tab } => self.come_back(tab),
            act => self.act_outside(act),
        }
    }

    fn act_outside(&mut self, act: Act) {
        match act {
            Act::FarAnswers { which, status, describes } => self.far_answers(which, status, describes),
            Act::FarHangsUp { which } if which < self.legs.len() => {
                let mut leg = self.legs.remove(which);
                self.world.say(SERVER, leg.to, leg.dialog.request(Method::Bye));
            }
            Act::FarChanges { which, direction } => self.far_says(which, Method::Invite, |request| {
                request.body = Some(Body::sdp(described(30_000, direction, 2, true)));
            }),
            Act::FarTransfers { which } => self.far_says(which, Method::Refer, |request| {
                request.headers.push("Refer-To", "<sip:carol@example.org>");
            }),
            Act::FarCalls { user, offers } => {
                let user = format!("u{user}");
                if self.world.is_registered(&user) {
                    let sdp = offers.then(|| sdp(30_000));
                    if sdp.is_none() {
                        self.world.net.ack_sdp = Some(crate::far::sdp(30_000));
                    }
                    let (id, invite, to) = self.world.ring_from(&user, sdp.as_deref(), &[]);
                    self.calling.push((id, invite, to));
                }
            }
            Act::FarCancels { which } => {
                if let Some((id, ..)) = self.calling.get(which) {
                    self.world.cancel(SERVER, *id);
                }
            }
            Act::Pass { millis } => self.world.pass(Duration::from_millis(millis)),
            Act::Freeze { at, millis } => {
                self.world.freeze(host(at));
                self.world.pass(Duration::from_millis(millis));
                self.world.thaw(host(at));
            }
            Act::LoseInstance { at, resume } => self.lose_instance(at, resume),
            Act::LoseServer { millis } => {
                self.hear();
                self.world.kill(SERVER);
                self.owed.clear();
                self.calling.clear();
                self.world.pass(Duration::from_millis(millis));
                self.world.restart_server();
                self.world.pass(Duration::from_secs(2));
            }
            Act::DeafServer { millis } => {
                self.hear();
                self.world.hold_server(true);
                self.world.pass(Duration::from_millis(millis));
                self.world.hold_server(false);
                self.world.pass(Duration::from_secs(1));
            }
            _ => {}
        }
    }

    /// Tabs that are served, by number.
    fn tab(&self, index: usize) -> Option<TabId> {
        let live = |tab: &TabId| {
            let tab = &self.world.tabs[*tab];
            !tab.is_mute && tab.closed.is_none()
        };
        (0..self.world.tabs.len()).filter(live).nth(index)
    }

    fn ringing(&self, tab: TabId) -> Option<String> {
        let calls = &self.world.tabs[tab].calls;
        calls
            .iter()
            .find(|(id, call)| call.state == CallState::Ringing && !id.starts_with('k'))
            .map(|(id, _)| id.clone())
    }

    fn call(&self, tab: TabId, index: u8) -> Option<String> {
        self.world.tabs[tab].calls.keys().nth(usize::from(index)).cloned()
    }

    fn ask(&mut self, tab: usize, request: Request) {
        if let Some(tab) = self.tab(tab) {
            self.world.ask(tab, request);
        }
    }

    fn about(&mut self, tab: usize, call: u8, request: impl FnOnce(&str) -> Request) {
        if let Some(call) = self.tab(tab).and_then(|tab| self.call(tab, call)) {
            self.ask(tab, request(&call));
        }
    }

    /// A tab that lost its socket is back, at its session or at a new one.
    fn come_back(&mut self, index: usize) {
        let away: Vec<TabId> = (0..self.world.tabs.len())
            .filter(|tab| {
                let tab = &self.world.tabs[*tab];
                (tab.is_mute || tab.closed.is_some()) && !tab.is_replaced
            })
            .collect();
        let Some(tab) = away.get(index).copied() else { return };
        match self.world.has_session(tab) {
            true => self.world.reattach(tab),
            false => drop(self.world.take_over(tab, self.world.tabs[tab].at, DeadCallAction::HangUp)),
        }
    }

    fn come_all_back(&mut self) {
        for _ in 0..self.world.tabs.len() {
            self.come_back(0);
        }
    }

    fn lose_instance(&mut self, at: bool, resume: bool) {
        // A capsule knows nothing of what happened after the socket was lost.
        self.come_all_back();
        self.hear();
        let (dead, other) = (host(at), host(!at));
        self.world.kill(dead);
        self.world.restart_gateway(dead);
        let action = if resume { DeadCallAction::Resume } else { DeadCallAction::HangUp };
        for tab in 0..self.world.tabs.len() {
            if self.world.tabs[tab].at == dead && !self.world.tabs[tab].is_replaced {
                self.world.take_over(tab, other, action);
            }
        }
        self.world.pass(Duration::from_millis(100));
    }

    fn far_answers(&mut self, which: usize, status: u16, describes: bool) {
        if which >= self.owed.len() {
            return;
        }
        let asked = self.owed[which].clone();
        let is_invite = asked.request.method == Method::Invite;
        if status < 200 && (!is_invite || is_within_dialog(&asked)) {
            return;
        }
        if status >= 200 {
            self.owed.remove(which);
        }
        let challenge = "Digest realm=\"example.org\", nonce=\"n\"";
        let fields: &[(&str, &str)] = match status {
            302 => &[("Contact", "<sip:carol@example.org>")],
            407 => &[("Proxy-Authenticate", challenge)],
            200 if is_invite => &[("Session-Expires", "180;refresher=uac")],
            _ => &[],
        };
        let sdp = (is_invite && matches!(status, 183 | 200) && (describes || status == 200)).then(|| sdp(30_000));
        self.world.far(SERVER).respond(&asked, status, sdp.as_deref(), fields);
        if status == 200 && is_invite && !is_within_dialog(&asked) {
            self.answered.push((asked.id, Leg { dialog: dialog_of(&asked), to: asked.from }));
        }
        self.hear();
        if asked.request.method == Method::Refer && status == 200 {
            let line = if describes { "200 OK" } else { "486 Busy" };
            if let Some(leg) = self.legs.iter_mut().find(|leg| leg.dialog.owns(&asked.request)) {
                let notify = crate::our_user_transfers::notify(&mut leg.dialog, line);
                self.world.say(SERVER, leg.to, notify);
            }
        }
    }

    fn far_says(&mut self, which: usize, method: Method, change: impl FnOnce(&mut SipRequest)) {
        if let Some(leg) = self.legs.get_mut(which) {
            let mut request = leg.dialog.request(method);
            change(&mut request);
            self.world.say(SERVER, leg.to, request);
        }
    }

    /// Sorts what the far side heard.
    fn hear(&mut self) {
        while let Some(heard) = self.world.next_heard(SERVER) {
            match heard {
                Heard::Request(asked) => self.hear_request(asked),
                Heard::Cancelled(id) => {
                    if let Some(at) = self.owed.iter().position(|asked| asked.id == id) {
                        let asked = self.owed.remove(at);
                        self.world.respond(SERVER, &asked, 487, None);
                    }
                }
                Heard::Response(id, response) if response.is_final() => self.hear_answer(id, &response),
                Heard::Failed(id) => self.calling.retain(|(known, ..)| *known != id),
                Heard::Acked(id, _) => {
                    if let Some(at) = self.answered.iter().position(|(known, _)| *known == id) {
                        self.legs.push(self.answered.remove(at).1);
                    }
                }
                Heard::Response(..) => {}
            }
        }
    }

    fn hear_answer(&mut self, id: ClientTransaction, response: &gateway_core::sip::SipResponse) {
        let Some(at) = self.calling.iter().position(|(known, ..)| *known == id) else { return };
        let (_, invite, to) = self.calling.remove(at);
        if response.is_success() {
            let dialog = Dialog::of_response(&invite, response).expect("an answer with what a dialog needs");
            self.legs.push(Leg { dialog, to });
        }
    }

    fn hear_request(&mut self, asked: Asked) {
        let known = self.legs.iter().position(|leg| leg.dialog.owns(&asked.request));
        if let Some(at) = known {
            self.legs[at].to = asked.from;
        }
        match (asked.request.method.clone(), known) {
            (Method::Bye, at) => {
                at.map(|at| self.legs.remove(at));
                self.world.respond(SERVER, &asked, if at.is_some() { 200 } else { 481 }, None);
            }
            (Method::Notify | Method::Options, _) => {
                let status = if known.is_some() { 200 } else { 481 };
                self.world.respond(SERVER, &asked, status, None);
            }
            (_, None) if is_within_dialog(&asked) => self.world.respond(SERVER, &asked, 481, None),
            _ => self.owed.push(asked),
        }
    }

    fn check(&mut self) {
        self.hear();
        for host in [A, B] {
            let now = self.world.now;
            let load = self.world.gateway(host).instance.load(now);
            assert_eq!(load.calls as usize, self.world.gateway(host).live_peers().count(), "every peer has a call");
        }
    }

    /// Everybody hangs up; the far side answers whatever it is asked.
    fn finish(&mut self) {
        self.world.pass(Duration::from_secs(2));
        self.hear();
        self.come_all_back();
        for _ in 0..3 {
            self.hear();
            for asked in std::mem::take(&mut self.owed) {
                let status = if asked.request.method == Method::Invite { 486 } else { 200 };
                self.world.respond(SERVER, &asked, status, None);
            }
            for tab in 0..self.world.tabs.len() {
                while let Some(call) = self.world.tabs[tab].calls.keys().next().cloned() {
                    if self.world.tabs[tab].is_mute || self.world.tabs[tab].closed.is_some() {
                        break;
                    }
                    self.world.done(tab, hang_up(&call));
                    // A call of which no word has come yet.
                    self.world.tabs[tab].calls.remove(&call);
                }
            }
            self.hear();
            self.world.pass(Duration::from_secs(50));
        }
        self.hear();
    }
}

fn is_within_dialog(asked: &Asked) -> bool {
    asked.request.headers.get("To").is_some_and(|to| to.contains(";tag="))
}

fn host(at: bool) -> usize {
    if at { A } else { B }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(acts in prop::collection::vec(act(), 1..60)) {
        let mut model = Model::new();
        model.act(Act::Join { user: 0, at: true });
        for act in acts {
            model.act(act);
            model.check();
        }
        model.finish();
        let left: Vec<_> = model.legs.iter().map(|leg| &leg.dialog.call_id).collect();
        prop_assert!(left.is_empty(), "the far side is still in {left:?}");
        prop_assert!(model.calling.is_empty(), "the far side still hears it ring");
        for tab in &model.world.tabs {
            let open: Vec<_> = tab.asked.keys().filter(|id| !tab.outcomes.contains_key(*id)).collect();
            // Those of a tab that went elsewhere are `unknown` to its client.
            prop_assert!(open.is_empty() || tab.is_replaced, "never answered: {open:?}");
        }
        for host in [A, B] {
            let now = model.world.now;
            prop_assert_eq!(model.world.gateway(host).instance.load(now).calls, 0);
            prop_assert_eq!(model.world.net.open_requests(host), 0);
        }
    }
}
