//! Exit statuses: 0 completed, 1 a rule broke, 2 bad input or no run at all.

use holdfast_config::Stop;
use std::process::ExitCode;

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Bad input, or an answer to `--help`.
    #[error("stopped")]
    Stop(Stop),
    /// A rule of the product broke; the report names it.
    #[error("a rule broke: {0}")]
    Rule(String),
    /// Something the command needs failed.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Rule(_) => 1,
            Self::Broken(_) | Self::Stop(Stop::Refuse(_)) => 2,
            Self::Stop(Stop::Print(_)) => 0,
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Prints what is to be said and gives the status.
#[must_use]
pub fn code(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Stop(Stop::Print(text))) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(Failure::Stop(Stop::Refuse(line))) => {
            eprintln!("{line}");
            ExitCode::from(2)
        }
        Err(failure @ (Failure::Rule(_) | Failure::Broken(_))) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_rule_has_status_1() {
        assert_eq!(Failure::Rule("everybody comes back".to_owned()).status(), 1);
        assert_eq!(Failure::Broken(anyhow::anyhow!("no gateway at /nowhere")).status(), 2);
    }
}
