//! The table itself: what is expected of a row, and what became of the bystander meanwhile.

use crate::bystander::{Bystander, Echo};
use std::fmt::Display;
use std::time::Duration;

/// The longest row; only one that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A gap is printed; one of this length fails. In a browser 600 ms count as lost, but here the senders of bad input, the
/// bystander and the instance are threads of one process, on a machine that may be busy with others.
const LONGEST_GAP: Duration = Duration::from_secs(4);

struct Row {
    item: String,
    observed: String,
    expected: String,
    echo: Echo,
}

pub(crate) struct Table {
    bystander: Bystander,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn beside(bystander: Bystander) -> Self {
        println!("{:<62} {:<52} {:>8} {:>8}", "item", "observed", "echoed", "gap ms");
        Self { bystander, rows: Vec::new() }
    }

    /// Goes on beside another one.
    pub(crate) fn sit_beside(&mut self, bystander: Bystander) {
        self.bystander = bystander;
    }

    pub(crate) fn bystander(&self) -> &Bystander {
        &self.bystander
    }

    /// Sends something bad and keeps what was observed; the bystander's echo is counted from before to after it.
    pub(crate) async fn row<O: Display>(&mut self, item: &str, expected: &str, observed: impl Future<Output = O>) {
        self.bystander.begin_row();
        let observed = match tokio::time::timeout(PATIENCE, observed).await {
            Ok(observed) => observed.to_string(),
            Err(_) => "nothing in time".to_owned(),
        };
        let echo = self.bystander.end_row().await;
        let gap = echo.longest_gap.as_millis();
        println!("{item:<62} {observed:<52} {:>8} {gap:>8}", echo.packets);
        self.rows.push(Row { item: item.to_owned(), observed, expected: expected.to_owned(), echo });
    }

    /// Fails for the rows that are not as they must be.
    pub(crate) fn judge(self) {
        println!("{} rows", self.rows.len());
        let faults: Vec<String> = self.rows.iter().flat_map(Row::faults).collect();
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

impl Row {
    fn faults(&self) -> Vec<String> {
        let Self { item, observed, expected, echo } = self;
        let mut faults = Vec::new();
        if observed != expected {
            faults.push(format!("{item}: expected {expected}, observed {observed}"));
        }
        if echo.longest_gap > LONGEST_GAP {
            faults.push(format!("{item}: the bystander heard nothing for {:?}", echo.longest_gap));
        }
        faults.extend(echo.harm.iter().map(|harm| format!("{item}: the bystander: {harm}")));
        faults
    }
}
