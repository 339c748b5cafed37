//! Whole conversations as data: reads `transcripts/*.json` and replays them against a [`Runner`].
//!
//! For tests of every party (see `transcripts/README.md`); nothing here is used while serving.

mod bindings;
mod replay;
mod step;

pub use bindings::{Bindings, Mismatch};
pub use replay::{Failure, Role, Runner, replay};
pub use step::{
    Act, Answer, AppAct, BalancerAct, ClientAct, Close, HttpRequest, MediaChange, NetworkAct, OperatorAct, ServerAct,
    Step,
};

use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// One conversation, with the steps of the one it comes `after` in front.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// File name without `.json`.
    #[serde(skip)]
    pub name: String,
    /// One sentence.
    pub title: String,
    /// Name of the transcript whose steps come first; already merged by [`Transcript::load`].
    #[serde(default)]
    pub after: Option<String>,
    /// A live gateway can replay it in real time.
    #[serde(default)]
    pub live: bool,
    /// How users prove who they are.
    #[serde(default)]
    pub auth: Auth,
    /// Settings of the instances.
    #[serde(default)]
    pub given: Given,
    /// A value for every variable.
    #[serde(default)]
    pub values: Map<String, Value>,
    /// Patterns of `told` events that must not occur.
    #[serde(default)]
    pub never: Vec<Value>,
    /// In order.
    pub steps: Vec<Step>,
}

/// See `--auth` of the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// The sign-in body names the user.
    #[default]
    Anonymous,
    /// A Bearer JWT names the user.
    Jwt,
}

/// Settings that the instances of a transcript need; absent means the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// `--capacity`.
    #[serde(default)]
    pub capacity: Option<u32>,
    /// `--call-capacity`.
    #[serde(default)]
    pub call_capacity: Option<u32>,
    /// Sign-ins allowed to one user in a minute.
    #[serde(default)]
    pub sign_ins_per_minute: Option<u32>,
}

impl Transcript {
    /// The folder of the committed transcripts.
    #[must_use]
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
    }

    /// The committed transcript `name`, merged with those it comes after.
    pub fn load(name: &str) -> Result<Self, String> {
        let path = Self::folder().join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut this: Self = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        name.clone_into(&mut this.name);
        match this.after.clone() {
            Some(before) => Ok(this.preceded_by(Self::load(&before)?)),
            None => Ok(this),
        }
    }

    /// Every committed transcript, by name.
    pub fn all() -> Result<Vec<Self>, String> {
        let entries = std::fs::read_dir(Self::folder()).map_err(|error| error.to_string())?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
            .collect();
        names.sort();
        names.iter().map(|name| Self::load(name)).collect()
    }

    fn preceded_by(mut self, before: Self) -> Self {
        for (name, value) in before.values {
            self.values.entry(name).or_insert(value);
        }
        self.never.extend(before.never);
        self.steps.splice(0..0, before.steps);
        self
    }
}

#[cfg(test)]
mod tests;
