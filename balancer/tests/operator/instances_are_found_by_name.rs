//! `--discover`: all addresses of a name are instances, beside the fixed ones.

use crate::{
    process::{Process, flag},
    support::{eventually, fake::Fake},
};

#[test]
fn a_named_and_a_fixed_instance_serve_together() {
    let (named, fixed) = (Fake::start("named"), Fake::start("fixed"));
    let name = format!("--discover=dns://localhost:{}?admin={}", named.http.port(), named.admin.port());
    let process = Process::spawn(&[&flag(&fixed), &name]);
    // `localhost` may have an IPv6 address too, where nothing listens.
    let up = || {
        let (ids, states) = (process.instances("instance_id"), process.states());
        ids.into_iter().zip(states).filter(|(_, state)| state == "up").map(|(id, _)| id).collect::<Vec<_>>()
    };
    eventually("both are up", || up() == ["fixed", "named"]);
}

#[test]
fn a_name_that_is_unknown_changes_nothing() {
    let fixed = Fake::start("fixed");
    let process = Process::spawn(&[&flag(&fixed), "--discover=dns://no-such-name.invalid:8180?admin=9180"]);
    eventually("the fixed one is up", || process.states() == ["up"]);
}
