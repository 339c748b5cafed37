//! What a page of another site could send changes nothing and reads nothing.

use crate::{
    process::Process,
    support::{client::ask, fake::Fake},
};
use std::io::Write;

#[test]
fn a_form_or_a_rebound_name_is_refused() {
    let fakes = [Fake::start("a")];
    let process = Process::start(&fakes, &[]);
    let host = format!("Host: {}\r\n", process.admin);
    assert_eq!(process.put("a", "drain", &host).status, 403);
    assert_eq!(process.put("a", "drain", "Host: evil.example\r\nholdfast-admin: 1\r\n").status, 403);
    assert_eq!(ask(process.admin, "GET /instances HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403);
    assert_eq!(ask(process.admin, "GET /instances HTTP/1.1\r\nHost: localhost:9\r\n\r\n").status, 200);
    assert!(!fakes[0].is_draining());
}

#[test]
fn what_is_no_state_or_no_instance_is_told_apart() {
    let fakes = [Fake::start("a")];
    let process = Process::start(&fakes, &[]);
    let answer = process.put("a", "sideways", &process.change_headers());
    assert_eq!((answer.status, answer.header("content-type")), (400, "application/problem+json"));
    assert_eq!(process.put("nobody", "drain", &process.change_headers()).status, 404);
}

#[test]
fn the_bare_word_changes_the_state_too() {
    let fakes = [Fake::start("a")];
    let process = Process::start(&fakes, &[]);
    for body in ["drain", "\"drain\"", "drain\n"] {
        let head = format!("PUT /instances/a/state HTTP/1.1\r\n{}", process.change_headers());
        let answer = ask(process.admin, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(answer.status, 200, "{body}");
    }
    assert_eq!(process.get("/nothing").header("content-type"), "application/problem+json");
}

#[test]
fn where_there_is_a_token_it_is_needed() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "secret").expect("written");
    let path = file.path().to_str().expect("utf-8");
    let fakes = [Fake::start("a")];
    let process = Process::start(&fakes, &["--admin-token-file", path]);
    let headers = process.change_headers();
    assert_eq!(process.put("a", "drain", &headers).status, 401);
    assert_eq!(process.put("a", "drain", &format!("{headers}Authorization: Bearer wrong\r\n")).status, 401);
    assert_eq!(process.put("a", "drain", &format!("{headers}Authorization: Bearer secret\r\n")).status, 200);
    let named = "Host: balancer\r\nholdfast-admin: 1\r\nAuthorization: Bearer secret\r\n";
    assert_eq!(process.put("a", "up", named).status, 200, "no foreign page knows the token");
}
