//! Where one request goes: to the instance that its pin names, or, in the same request, to another with the reason why.

use crate::{
    Instance, Loss, Random, Run, Snapshot, State,
    instance::{AdminState, Stage},
    pick::{self, Avoid},
    pin::Pin,
};
use std::sync::Arc;

/// What a request is about; the data path tells it by method and path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `POST /v1/sessions`: takes a place.
    SignIn,
    /// Anything under `/v1/sessions/{id}`: only the instance that has the session can help.
    Session,
    /// Everything else: pages and bundles, the same everywhere.
    Page,
}

/// A request, as far as its way is concerned.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// What it is about.
    pub kind: Kind,
    /// The `holdfast-session` cookie; it alone decides for its session.
    pub session_pin: Option<Pin<'a>>,
    /// The `holdfast` cookie; places new sessions.
    pub browser_pin: Option<Pin<'a>>,
    /// Where not to.
    pub avoid: Avoid,
}

impl<'a> Ask<'a> {
    /// The pin that decides.
    #[must_use]
    pub fn pin(&self) -> Option<Pin<'a>> {
        match self.kind {
            Kind::Session => self.session_pin.or(self.browser_pin),
            Kind::SignIn | Kind::Page => self.browser_pin,
        }
    }
}

/// Where a request goes, and what the answer says about it.
#[derive(Debug, Clone)]
pub struct Route<'a> {
    /// There.
    pub instance: &'a Arc<Instance>,
    /// The value of `holdfast-pin`.
    pub told: Told,
}

/// The value of `holdfast-pin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// The pinned instance answers.
    Kept,
    /// There was no pin.
    New,
    /// Another than the pinned one answers.
    Moved(Reason),
}

/// Why a request left its pinned instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It refused or reset.
    Gone,
    /// No byte came from it. It may still live.
    Silent,
    /// It runs again under another boot id.
    Restarted,
    /// It had no place.
    Full,
    /// It takes nothing new.
    Draining,
    /// The client asked for another (`holdfast-avoid`).
    Avoided,
    /// It answers late, or has not proven itself again, so it gets no new sessions.
    Suspect,
    /// This balancer does not know it.
    Unknown,
}

impl Reason {
    /// All, for metrics.
    pub const ALL: [Self; 8] = [
        Self::Gone,
        Self::Silent,
        Self::Restarted,
        Self::Full,
        Self::Draining,
        Self::Avoided,
        Self::Suspect,
        Self::Unknown,
    ];

    /// The word in the header and in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Restarted => "restarted",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Avoided => "avoided",
            Self::Suspect => "suspect",
            Self::Unknown => "unknown",
        }
    }

    /// True if the pinned run is known to be over, so that nobody needs the pin any more.
    #[must_use]
    pub fn is_proof_of_death(self) -> bool {
        matches!(self, Self::Gone | Self::Restarted)
    }
}

impl From<Loss> for Reason {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Gone => Self::Gone,
            Loss::Silent => Self::Silent,
        }
    }
}

/// Why a request goes nowhere now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoRoute {
    /// No instance lives, or all were tried.
    #[error("no instance is up")]
    NoneAlive,
    /// No instance has a place for a new session.
    #[error("no instance is free")]
    NoneFree,
    /// The pinned instance fell silent, and so did more than may at once: this balancer does not judge.
    #[error("too many instances are silent to judge from here")]
    Blind,
}

/// Where the request goes. To be asked again, with the last instance in `ask.avoid.tried`, when a try failed.
pub fn route<'a>(snapshot: &'a Snapshot, ask: &Ask<'_>, random: &mut impl Random) -> Result<Route<'a>, NoRoute> {
    let pin = ask.pin();
    let told = match pin.map(|pin| follow(snapshot, &pin, ask)) {
        None => Told::New,
        Some(Ok(instance)) => return Ok(Route { instance, told: Told::Kept }),
        Some(Err(Reason::Silent)) if snapshot.blind => return Err(NoRoute::Blind),
        Some(Err(reason)) => Told::Moved(reason),
    };
    let instance = match (ask.kind, pin) {
        (Kind::SignIn, _) => pick::pick(snapshot, &ask.avoid, random).ok_or(none_free(snapshot))?,
        (Kind::Session, Some(pin)) if told == Told::Moved(Reason::Restarted) => next_run(snapshot, &pin, ask)
            .or_else(|| pick::any(snapshot, &ask.avoid, random))
            .ok_or(NoRoute::NoneAlive)?,
        (Kind::Session | Kind::Page, _) => pick::any(snapshot, &ask.avoid, random).ok_or(NoRoute::NoneAlive)?,
    };
    Ok(Route { instance, told })
}

/// The instance that the pin names, in another run. It says best that the session is over; and should the pin be newer than
/// what is known here, because another balancer saw the restart first, it has the session.
fn next_run<'a>(snapshot: &'a Snapshot, pin: &Pin<'_>, ask: &Ask<'_>) -> Option<&'a Arc<Instance>> {
    snapshot.with_id(pin.instance).find(|each| each.alive() && ask.avoid.allows(each))
}

/// What to tell once it is known who answered: the run that was asked may have ended meanwhile, and the pinned run may answer
/// before this balancer has heard of it.
#[must_use]
pub fn told_by(told: Told, pin: Option<&Pin<'_>>, asked: &Run, answered: &Run) -> Told {
    match told {
        Told::Kept if asked != answered => Told::Moved(Reason::Restarted),
        Told::Moved(_) if pin.is_some_and(|pin| answered.is(pin.instance, pin.boot)) => Told::Kept,
        Told::Kept | Told::New | Told::Moved(_) => told,
    }
}

fn none_free(snapshot: &Snapshot) -> NoRoute {
    if snapshot.any_alive() { NoRoute::NoneFree } else { NoRoute::NoneAlive }
}

/// The pinned instance, or why not that one.
fn follow<'a>(snapshot: &'a Snapshot, pin: &Pin<'_>, ask: &Ask<'_>) -> Result<&'a Arc<Instance>, Reason> {
    if let Some(tried) = ask.avoid.tried.iter().find(|tried| tried.run.is(pin.instance, pin.boot)) {
        return Err(tried.reason);
    }
    let Some(instance) = snapshot.run(pin.instance, pin.boot) else {
        let restarted = snapshot.with_id(pin.instance).any(|each| each.alive());
        return Err(if restarted { Reason::Restarted } else { Reason::Unknown });
    };
    if let State::Down(loss) = instance.state {
        return Err(loss.into());
    }
    match ask.kind {
        Kind::Session | Kind::Page => Ok(instance),
        Kind::SignIn => place(instance, &ask.avoid).map(|()| instance),
    }
}

/// Whether the pinned instance, alive, gets one more session.
fn place(instance: &Instance, avoid: &Avoid) -> Result<(), Reason> {
    if avoid.unwanted.as_ref() == Some(&instance.run) {
        return Err(Reason::Avoided);
    }
    if instance.admin_state != AdminState::None || instance.report.stage == Stage::Draining {
        return Err(Reason::Draining);
    }
    if !instance.placeable {
        return Err(Reason::Suspect);
    }
    if instance.free_as_reported() == 0 {
        return Err(Reason::Full);
    }
    Ok(())
}

/// What an answer does to one of the two cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Set it to the run that answered.
    Set {
        /// The `member` flag.
        member: bool,
    },
    /// Expire it.
    Expire,
}

/// An answer, as far as the cookies are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// What the request was about.
    pub kind: Kind,
    /// What the answer says of the pin.
    pub told: Told,
    /// The status.
    pub status: u16,
    /// True for DELETE.
    pub sign_off: bool,
    /// The `holdfast` cookie of the request.
    pub browser_pin: Option<Pin<'a>>,
}

/// What the answer does to the `holdfast` cookie. Only a 201 or proof that the instance is gone rewrites one; that of a member
/// stays until the next 201, because it lets its bearer back in first.
#[must_use]
pub fn browser_cookie(answer: &Answer<'_>) -> Change {
    let absent_or_dead = match answer.told {
        Told::New => true,
        Told::Moved(reason) => reason.is_proof_of_death() && answer.browser_pin.is_some_and(|pin| !pin.member),
        Told::Kept => false,
    };
    match answer.kind {
        Kind::SignIn if answer.status == 201 => Change::Set { member: true },
        Kind::Page if absent_or_dead && answer.status < 400 => Change::Set { member: false },
        Kind::SignIn | Kind::Page | Kind::Session => Change::Keep,
    }
}

/// What the answer does to the `holdfast-session` cookie of its session. A 404 from elsewhere, while the pinned instance is
/// only silent or unknown here, proves nothing: another balancer may still reach the session by this very cookie.
#[must_use]
pub fn session_cookie(answer: &Answer<'_>) -> Change {
    let authoritative = match answer.told {
        Told::Kept | Told::New => true,
        Told::Moved(reason) => reason.is_proof_of_death(),
    };
    match (answer.kind, answer.status) {
        (Kind::SignIn, 201) => Change::Set { member: true },
        (Kind::Session, 404 | 410) if authoritative => Change::Expire,
        (Kind::Session, 200..=299) if answer.sign_off => Change::Expire,
        (Kind::Session, 200) if answer.told == Told::Kept => Change::Set { member: true },
        _ => Change::Keep,
    }
}

/// An instance that a request was tried at in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Which.
    pub run: Run,
    /// Why it did not serve the request.
    pub reason: Reason,
}
