//! Rules that a run is held to: each is printed with its verdict, and one broken makes the command fail.

use crate::exit::Failure;
use crate::report::Report;
use std::path::Path;

/// The rules so far.
#[derive(Debug, Default)]
pub struct Rules {
    broken: Vec<String>,
}

impl Rules {
    /// Prints the rule and whether it held.
    pub fn check(&mut self, held: bool, rule: String) {
        println!("{}  {rule}", if held { "ok  " } else { "FAIL" });
        if !held {
            self.broken.push(rule);
        }
    }

    /// Publishes the report; the first broken rule is the command's failure.
    pub fn publish(self, mut report: Report, json: Option<&Path>) -> Result<(), Failure> {
        let first = self.broken.first().cloned();
        report.rules_broken = Some(self.broken);
        report.publish(json)?;
        first.map_or(Ok(()), |rule| Err(Failure::Rule(rule)))
    }
}
