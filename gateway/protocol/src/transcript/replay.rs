//! Walks through a transcript: drives what the runner plays, checks what it observes.

use super::{Act, Bindings, Step, Transcript};
use crate::transcript::step::{ClientAct, ServerAct};
use serde_json::{Value, json};
use std::fmt;

/// What a runner does with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It makes the step happen.
    Drive,
    /// It waits for the party under test to do it.
    Check,
    /// The step concerns neither.
    Ignore,
}

/// One party under test, and everybody else played for it.
pub trait Runner {
    /// What to do with this step.
    fn role(&self, step: &Step) -> Role;
    /// Makes a step happen; variables come from [`Bindings::fill`].
    fn drive(&mut self, step: &Step, vars: &mut Bindings) -> Result<(), String>;
    /// The oldest thing the party under test did that is of the step's kind and place (its tab, connection), and not
    /// taken yet: what would stand behind the actor in a file, such as `{"send": {..}}` or `{"event": ..}`.
    fn observe(&mut self, step: &Step) -> Option<Value>;
    /// What the party under test did and nobody took, apart from the optional things; as text for the failure.
    fn left_over(&mut self) -> Vec<String>;
}

/// Where a replay failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Transcript.
    pub name: String,
    /// Index of the step, those of `after` included; the number of steps at the end.
    pub step: usize,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, step {}: {}", self.name, self.step, self.what)
    }
}

impl std::error::Error for Failure {}

/// Replays the whole transcript; every step is driven, checked or ignored, and nothing may be left over.
pub fn replay(transcript: &Transcript, vars: &mut Bindings, runner: &mut impl Runner) -> Result<(), Failure> {
    let fail = |step, what| Failure { name: transcript.name.clone(), step, what };
    let mut told = Told { never: &transcript.never, unclaimed: Vec::new() };
    for (index, step) in transcript.steps.iter().enumerate() {
        let done = match (runner.role(step), &step.act) {
            (Role::Drive, _) => runner.drive(step, vars),
            (Role::Check, Act::Told(event)) => told.check(step, event, vars, runner),
            (Role::Check, _) => check(step, vars, runner),
            (Role::Ignore, _) => Ok(()),
        };
        done.map_err(|what| fail(index, format!("{what}\n  in {:?}", step.act)))?;
    }
    let end = |what| fail(transcript.steps.len(), what);
    for step in transcript.steps.iter().filter(|step| matches!(step.act, Act::Told(_))) {
        if runner.role(step) == Role::Check {
            told.collect(step, vars, runner).map_err(end)?;
        }
    }
    match runner.left_over() {
        rest if rest.is_empty() => Ok(()),
        rest => Err(end(format!("left over: {}", rest.join("; ")))),
    }
}

fn check(step: &Step, vars: &mut Bindings, runner: &mut impl Runner) -> Result<(), String> {
    let expected = expected(step);
    let actual = runner.observe(step).ok_or_else(|| format!("expected {expected}, got nothing"))?;
    vars.matches(&expected, &actual).map_err(|mismatch| mismatch.to_string())
}

/// What applications were told and no step has named so far; a step takes the first that fits.
struct Told<'a> {
    never: &'a [Value],
    unclaimed: Vec<(u8, Value)>,
}

impl Told<'_> {
    fn check(
        &mut self,
        step: &Step,
        expected: &Value,
        vars: &mut Bindings,
        runner: &mut impl Runner,
    ) -> Result<(), String> {
        self.collect(step, vars, runner)?;
        let found =
            self.unclaimed.iter().position(|(tab, told)| *tab == step.tab && vars.matches(expected, told).is_ok());
        match found {
            Some(index) => {
                self.unclaimed.remove(index);
                Ok(())
            }
            None => Err(format!("expected {expected}, told was {:?}", self.unclaimed)),
        }
    }

    fn collect(&mut self, step: &Step, vars: &Bindings, runner: &mut impl Runner) -> Result<(), String> {
        while let Some(told) = runner.observe(step) {
            if let Some(pattern) = self.never.iter().find(|never| vars.clone().matches(never, &told).is_ok()) {
                return Err(format!("{told} must never be told ({pattern})"));
            }
            self.unclaimed.push((step.tab, told));
        }
        Ok(())
    }
}

/// What the party under test must do, in the shape of [`Runner::observe`].
fn expected(step: &Step) -> Value {
    let mut expected = match &step.act {
        Act::Client(act) => json!(act),
        Act::Server(act) => json!(act),
        Act::App(_) | Act::Balancer(_) | Act::Network(_) | Act::Operator(_) | Act::Time(_) | Act::Told(_) => {
            Value::Null
        }
    };
    if let (Some(base), Some(fields)) = (&step.base, expected.as_object_mut()) {
        fields.insert("base".to_owned(), base.as_str().into());
    }
    expected
}

impl Step {
    /// True for things that a party may also do without a step that names them: a client's close, a close_notify.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(
            self.act,
            Act::Client(ClientAct::Close(_) | ClientAct::PeerClose(_)) | Act::Server(ServerAct::PeerClose(_))
        )
    }
}
