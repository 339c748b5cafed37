//! Torture messages with bytes changed at random, through everything that reads them: no panic, nothing that grows, and what
//! was read can be written and read again.

use crate::sip::convert::{request_from_wire, request_to_wire, response_from_wire};
use crate::sip::frame::{Frame, Framer, MAX_MESSAGE_BYTES, Parsed, parse};
use gateway_core::sip::{Authorization, Challenge, Headers, NameAddr, SipUri};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rsipstack::sip::SipMessage;

#[allow(dead_code, reason = "what a message is about matters to the table of bad SIP")]
#[path = "../../../../loadtest/tests/bad_sip/torture_messages.rs"]
mod torture_messages;

/// Changed messages for each whole one: some seconds in all, in an unoptimised build.
const ROUNDS: u64 = 40;
/// Where bytes are cut, and what is put in between.
const SPICE: [&[u8]; 14] = [
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"\"",
    b"<",
    b">",
    b";",
    b",",
    b"\\",
    b":",
    b"\0",
    b"%00",
    b"\xff\xfe",
    b"99999999999",
];

#[test]
fn no_change_of_bytes_makes_a_reader_panic() {
    let mut read = 0;
    for (number, whole) in whole_messages().into_iter().enumerate() {
        for round in 0..ROUNDS {
            let seed = number as u64 * ROUNDS + round;
            let random = &mut SmallRng::seed_from_u64(seed);
            let changed = change(&whole, random);
            let reading = std::panic::catch_unwind(|| {
                from_a_stream(&changed, &mut SmallRng::seed_from_u64(seed));
                from_a_datagram(&changed)
            });
            read += u32::from(reading.unwrap_or_else(|_| panic!("seed {seed}: {}", String::from_utf8_lossy(&changed))));
        }
    }
    assert!(read > 500, "only {read} messages could still be read");
}

fn whole_messages() -> Vec<Vec<u8>> {
    let all = torture_messages::VALID.iter().chain(&torture_messages::INVALID).chain(&torture_messages::MEANING);
    all.map(|torture| torture.bytes("sip:a@127.0.0.1:9;hf-gen=1", "udp", "mark")).collect()
}

fn change(whole: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        let until = (at + random.random_range(0..40)).min(bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] = random.random(),
            1 => drop(bytes.drain(at..until)),
            2 => {
                let part = bytes[at..until].repeat(random.random_range(1..20));
                bytes.splice(at..at, part);
            }
            _ => {
                let spice = SPICE[random.random_range(0..SPICE.len())];
                bytes.splice(at..at, spice.iter().copied());
            }
        }
    }
    bytes
}

fn from_a_stream(bytes: &[u8], random: &mut SmallRng) {
    let (mut framer, mut rest, mut taken) = (Framer::default(), bytes, 0);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.random_range(1..=rest.len()));
        framer.push(piece);
        rest = after;
        while let Ok(Some(frame)) = framer.next() {
            if let Frame::Message(message) = frame {
                taken += message.len();
                from_a_datagram(&message);
            }
        }
    }
    assert!(taken <= bytes.len());
}

/// True if it is a message.
fn from_a_datagram(bytes: &[u8]) -> bool {
    match parse(bytes) {
        Ok(Parsed::Message(SipMessage::Request(request)) | Parsed::Refused(request, _)) => {
            let Ok(read) = request_from_wire(&request) else { return true };
            look_into(&read.headers);
            let _ = SipUri::parse(&read.uri);
            if let Ok(wire) = request_to_wire(&read) {
                let written = wire.to_bytes();
                // Short names become long ones, and each hop has a field.
                assert!(written.len() <= bytes.len() * 4 + MAX_MESSAGE_BYTES / 8);
                let again = match parse(&written) {
                    Ok(Parsed::Message(SipMessage::Request(again)) | Parsed::Refused(again, _)) => again,
                    other => panic!("it can't be read again: {other:?}"),
                };
                assert_eq!(request_from_wire(&again).map(|again| again.body), Ok(read.body));
            }
            true
        }
        Ok(Parsed::Message(SipMessage::Response(response))) => {
            response_from_wire(&response).into_iter().for_each(|read| look_into(&read.headers));
            true
        }
        Err(_) => false,
    }
}

fn look_into(headers: &Headers) {
    for (name, value) in headers.iter() {
        let _ = (Challenge::parse(value), Authorization::parse(value));
        for address in NameAddr::list(headers.all(name)) {
            let _ = (SipUri::parse(&address.uri), NameAddr::parse(&address.to_string()));
        }
    }
}
