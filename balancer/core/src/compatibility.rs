//! Which instances don't fit together: two with one id, or with settings that must agree.

use crate::{Report, snapshot::Flag};
use std::sync::Arc;

/// A flag or none for each report, in the order given; those known for longer come first and are believed.
#[must_use]
pub fn flags(oldest_first: &[Arc<Report>]) -> Vec<Option<Flag>> {
    let reference = most_common(oldest_first);
    oldest_first
        .iter()
        .enumerate()
        .map(|(index, report)| {
            let twin = |other: &Arc<Report>| other.run.instance == report.run.instance;
            if oldest_first[..index].iter().any(twin) {
                Some(Flag::DuplicateId)
            } else if reference.is_some_and(|reference| !compatible(reference, report)) {
                Some(Flag::Incompatible)
            } else {
                None
            }
        })
        .collect()
}

/// The report that most are compatible with; among equals the oldest.
fn most_common(reports: &[Arc<Report>]) -> Option<&Arc<Report>> {
    let followers = |each: &Report| reports.iter().filter(|other| compatible(each, other)).count();
    reports.iter().rev().max_by_key(|each| followers(each))
}

/// Same settings, and each knows the key that the other signs with. (During a key rotation the lists differ.)
fn compatible(a: &Report, b: &Report) -> bool {
    let knows = |reader: &Report, writer: &Report| {
        writer.key_ids.first().is_none_or(|signing| reader.key_ids.contains(signing))
    };
    a.config_hash == b.config_hash && knows(a, b) && knows(b, a)
}
