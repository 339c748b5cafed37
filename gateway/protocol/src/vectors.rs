//! Test only: every committed vector is understood and written back.

use crate::{ClientMessage, CloseCode, Health, Problem, ServerMessage, SessionProbe, SignIn, SignedIn};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    json: Value,
    reads_as: Option<Value>,
    #[serde(default)]
    refused: bool,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn vectors(file: &str) -> Vec<Vector> {
    let text = std::fs::read_to_string(folder().join(file)).expect("the file is committed");
    serde_json::from_str(&text).expect("a list of vectors")
}

fn round_trip<T: DeserializeOwned + Serialize>(file: &str) {
    for Vector { name, json, reads_as, refused } in vectors(file) {
        match serde_json::from_value::<T>(json.clone()) {
            Ok(typed) => {
                assert!(!refused, "{file}: `{name}` must be refused");
                let again = serde_json::to_value(&typed).expect("it was read from JSON");
                assert_eq!(again, reads_as.unwrap_or(json), "{file}: `{name}`");
            }
            Err(error) => assert!(refused, "{file}: `{name}`: {error}"),
        }
    }
}

/// The texts at `pointer` in the file's vectors.
fn found(file: &str, pointer: &str) -> BTreeSet<String> {
    vectors(file).iter().filter_map(|vector| vector.json.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

/// The literals that a generated TypeScript type gives to `field`.
fn declared(type_name: &str, field: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../js-client/src/protocol.gen.ts");
    let text = std::fs::read_to_string(path).expect("the TypeScript is committed");
    let (_, rest) = text.split_once(&format!("export type {type_name} ")).expect("the type is declared");
    let body = rest.split("export type ").next().unwrap_or(rest);
    let needle = format!("\"{field}\": \"");
    body.split(&needle).skip(1).filter_map(|piece| piece.split('"').next().map(str::to_owned)).collect()
}

#[test]
fn vectors_round_trip() {
    round_trip::<ClientMessage>("client_message.json");
    round_trip::<ServerMessage>("server_message.json");
    round_trip::<SignIn>("sign_in.json");
    round_trip::<SignedIn>("signed_in.json");
    round_trip::<SessionProbe>("session_probe.json");
    round_trip::<Problem>("problem.json");
    round_trip::<Health>("health.json");
    round_trip::<CloseCode>("close_code.json");
}

#[test]
fn every_file_is_read() {
    let files = std::fs::read_dir(folder()).expect("the folder is committed");
    let names =
        files.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| name.ends_with(".json"));
    assert_eq!(names.count(), 8, "a new file needs a line in `vectors_round_trip`");
}

#[test]
fn every_kind_has_a_vector() {
    for (type_name, field, file, pointer) in [
        ("ClientMessage", "kind", "client_message.json", "/kind"),
        ("Request", "method", "client_message.json", "/request/method"),
        ("ServerMessage", "kind", "server_message.json", "/kind"),
        ("Outcome", "status", "server_message.json", "/outcome/status"),
        ("Event", "type", "server_message.json", "/event/type"),
    ] {
        let declared = declared(type_name, field);
        let missing: Vec<_> = declared.difference(&found(file, pointer)).cloned().collect();
        assert!(!declared.is_empty() && missing.is_empty(), "{file} lacks {type_name} {missing:?}");
    }
}
