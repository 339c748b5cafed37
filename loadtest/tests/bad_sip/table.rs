//! The table itself: what is expected of a row, and what became of the bystanders' calls meanwhile.

use crate::bystander::{Bystanders, Going};
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// The longest row; only one that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(90);
/// Sound that stays away for so long is lost, whatever the machine. The gap of each row is printed.
const LONGEST_GAP: Duration = Duration::from_secs(5);

struct Row {
    item: String,
    observed: String,
    expected: String,
    going: Vec<Going>,
}

pub(crate) struct Table {
    bystanders: Bystanders,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn beside(bystanders: Bystanders) -> Self {
        println!(
            "{:<66} {:<66} beside: packets to the browser, to the phone, gap ms; of two calls",
            "item", "observed"
        );
        Self { bystanders, rows: Vec::new() }
    }

    /// See [`Bystanders::sound`].
    pub(crate) fn sound(&self) -> (SocketAddr, Arc<UdpSocket>) {
        self.bystanders.sound()
    }

    /// Sends something bad and keeps what was observed; the bystanders' packets are counted from before to after it.
    pub(crate) async fn row<O: Display>(&mut self, item: &str, expected: &str, observed: impl Future<Output = O>) {
        self.bystanders.begin_row();
        let observed = match tokio::time::timeout(PATIENCE, observed).await {
            Ok(observed) => observed.to_string(),
            Err(_) => "nothing in time".to_owned(),
        };
        let going = self.bystanders.end_row().await;
        let beside: Vec<_> = going.iter().map(Going::to_string).collect();
        println!("{item:<66} {observed:<66} {}", beside.join("  "));
        going.iter().flat_map(|going| &going.harm).for_each(|harm| println!("  a bystander: {harm}"));
        self.rows.push(Row { item: item.to_owned(), observed, expected: expected.to_owned(), going });
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
        let Self { item, observed, expected, going } = self;
        let mut faults = Vec::new();
        if observed != expected {
            faults.push(format!("{item}: expected {expected}, observed {observed}"));
        }
        for going in going {
            if going.longest_gap > LONGEST_GAP {
                faults.push(format!("{item}: a bystander heard nothing for {:?}", going.longest_gap));
            }
            faults.extend(going.harm.iter().map(|harm| format!("{item}: a bystander: {harm}")));
        }
        faults
    }
}
