//! `loadtest`: see `loadtest --help`.
fn main() {}
