use super::*;
use crate::{ClientMessage, CloseCode, Problem, ServerMessage, SessionProbe, SignIn, SignedIn};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// The value is of type `T`, and `T` writes it as it was.
fn is_exactly<T: DeserializeOwned + Serialize>(value: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(value.clone()).map_err(|error| format!("{error} in {value}"))?;
    let again = serde_json::to_value(&typed).map_err(|error| error.to_string())?;
    if again == *value { Ok(()) } else { Err(format!("{value} came back as {again}")) }
}

fn check_client(act: &ClientAct, vars: &mut Bindings) -> Result<(), String> {
    match act {
        ClientAct::Request(request) if request.method == "POST" => is_exactly::<SignIn>(&vars.fill(&request.body)),
        ClientAct::Request(request) => {
            if request.body.is_null() {
                Ok(())
            } else {
                Err(format!("{} has no body", request.method))
            }
        }
        ClientAct::Send(message) => is_exactly::<ClientMessage>(&vars.fill(message)),
        ClientAct::Close(close) => known_code(close),
        ClientAct::Open(_) | ClientAct::PeerClose(_) => Ok(()),
    }
}

fn check_server(act: &ServerAct, vars: &mut Bindings) -> Result<(), String> {
    match act {
        ServerAct::Answer(answer) => check_answer(answer, vars),
        ServerAct::Send(message) => is_exactly::<ServerMessage>(&vars.fill(message)),
        ServerAct::Close(close) => known_code(close),
        ServerAct::PeerClose(_) => Ok(()),
    }
}

fn check_answer(answer: &Answer, vars: &mut Bindings) -> Result<(), String> {
    let body = vars.fill(&answer.body);
    match answer.status {
        201 => is_exactly::<SignedIn>(&body),
        200 => is_exactly::<SessionProbe>(&body),
        204 => Ok(()),
        status => {
            is_exactly::<Problem>(&body)?;
            if body["status"] == json!(status) { Ok(()) } else { Err(format!("status {status} and {body} differ")) }
        }
    }
}

fn known_code(close: &Close) -> Result<(), String> {
    CloseCode::try_from(close.code).map(drop).map_err(|error| error.to_string())
}

fn check_step(step: &Step, vars: &mut Bindings) -> Result<(), String> {
    match &step.act {
        Act::Client(act) => check_client(act, vars),
        Act::Server(act) => check_server(act, vars),
        Act::Balancer(BalancerAct::Answer(answer)) => check_answer(answer, vars),
        Act::Balancer(BalancerAct::Close(close)) => known_code(close),
        Act::Network(NetworkAct::ToClient(message)) => is_exactly::<ServerMessage>(&vars.fill(message)),
        Act::Network(NetworkAct::ToServer(message)) => is_exactly::<ClientMessage>(&vars.fill(message)),
        Act::Told(event) if event["event"].is_string() => Ok(()),
        Act::Told(event) => Err(format!("{event} has no name")),
        Act::App(_) | Act::Balancer(_) | Act::Network(_) | Act::Operator(_) | Act::Time(_) => Ok(()),
    }
}

#[test]
fn every_step_speaks_the_real_types() {
    for transcript in Transcript::all().expect("the transcripts are well-formed") {
        let mut vars = Bindings::new(transcript.values.clone());
        for (index, step) in transcript.steps.iter().enumerate() {
            if let Err(what) = check_step(step, &mut vars) {
                panic!("{}, step {index}: {what}", transcript.name);
            }
        }
    }
}

#[test]
fn a_step_has_one_actor_and_known_keys() {
    const ACTORS: [&str; 8] = ["app", "client", "server", "balancer", "network", "operator", "time", "told"];
    const OTHERS: [&str; 6] = ["tab", "at", "socket", "lost", "base", "note"];
    for transcript in Transcript::all().expect("the transcripts are well-formed") {
        let path = Transcript::folder().join(format!("{}.json", transcript.name));
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("it was read")).expect("JSON");
        for step in file["steps"].as_array().expect("steps") {
            let keys: Vec<&str> = step.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(keys.iter().filter(|key| ACTORS.contains(key)).count(), 1, "{}: {step}", transcript.name);
            assert!(keys.iter().all(|key| ACTORS.contains(key) || OTHERS.contains(key)), "{}: {step}", transcript.name);
        }
    }
}

#[test]
fn a_live_transcript_needs_no_long_time() {
    for transcript in Transcript::all().expect("the transcripts are well-formed").iter().filter(|t| t.live) {
        let longest = transcript.steps.iter().map(|step| match step.act {
            Act::Time(ms) | Act::Network(NetworkAct::DarkMs(ms)) => ms,
            _ => 0,
        });
        assert!(longest.max().unwrap_or(0) <= 100, "{}", transcript.name);
    }
}

/// Plays a server that answers with what the file says, but can forget or add something.
struct Parrot {
    said: Vec<Value>,
    extra: Vec<String>,
}

impl Runner for Parrot {
    fn role(&self, step: &Step) -> Role {
        match step.act {
            Act::Server(_) => Role::Check,
            Act::Told(_) => Role::Ignore,
            _ => Role::Drive,
        }
    }
    fn drive(&mut self, _: &Step, _: &mut Bindings) -> Result<(), String> {
        Ok(())
    }
    fn observe(&mut self, _: &Step) -> Option<Value> {
        if self.said.is_empty() { None } else { Some(self.said.remove(0)) }
    }
    fn left_over(&mut self) -> Vec<String> {
        self.extra.clone()
    }
}

fn signed_in() -> (Transcript, Parrot) {
    let transcript = Transcript::load("signed_in").expect("committed");
    let mut vars = Bindings::new(transcript.values.clone());
    let said = transcript.steps.iter().filter_map(|step| match &step.act {
        Act::Server(act) => Some(vars.fill(&json!(act))),
        _ => None,
    });
    (transcript.clone(), Parrot { said: said.collect(), extra: Vec::new() })
}

#[test]
fn a_replay_fails_when_a_step_is_missing_or_something_is_left_over() {
    let (transcript, mut faithful) = signed_in();
    assert_eq!(replay(&transcript, &mut Bindings::default(), &mut faithful), Ok(()));
    let (_, mut silent) = signed_in();
    silent.said.pop();
    assert!(replay(&transcript, &mut Bindings::default(), &mut silent).is_err());
    let (_, mut talkative) = signed_in();
    talkative.extra.push("an event".to_owned());
    let failure = replay(&transcript, &mut Bindings::default(), &mut talkative).expect_err("left over");
    assert_eq!((failure.step, failure.what.contains("an event")), (transcript.steps.len(), true));
}
