//! Proofs that prove nothing: tokens, client ids, capsules, tickets and cookies.

use crate::chain::{
    Chain, INSTANCE, bearer, foreign_pins, foreign_seal, forged_jwt, jwt, jwt_of, own_pins, own_seal, unix_now,
};
use crate::client::{Answer, Socket, request, text};
use crate::table::Table;
use balancer_core::Run;
use balancer_core::pin::{KeyRing, PinId};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway_core::SealRing;
use gateway_core::capsule::Capsule;
use gateway_core::ticket::Ticket;
use gateway_core::token::TokenHash;
use serde_json::{Value, json};

const OLD_TOKEN: &str = "the token of the session before";

pub(crate) async fn rows(chain: &Chain, table: &mut Table) {
    jwts(chain, table).await;
    session_tokens(chain, table).await;
    capsules(chain, table).await;
    tickets(chain, table).await;
    cookies(chain, table).await;
}

async fn post(chain: &Chain, token: Option<String>, body: Value) -> Answer {
    let headers: Vec<_> = token.iter().map(|token| bearer(token)).collect();
    request(chain.balancer, "POST", "/v1/sessions", &headers, &body.to_string()).await
}

async fn jwts(chain: &Chain, table: &mut Table) {
    let claims = |claims: Value| URL_SAFE_NO_PAD.encode(claims.to_string());
    let unsigned = [claims(json!({ "alg": "none" })), claims(json!({ "sub": "alice", "exp": unix_now() + 60 }))];
    for (item, token, expected) in [
        ("a JWT that has expired", jwt("alice", -3600), "the JWT has expired"),
        ("a JWT that somebody else signed", forged_jwt("alice"), "the JWT's signature is wrong"),
        ("a JWT with its last byte changed", changed(&jwt("alice", 3600)), "the JWT's signature is wrong"),
        ("a JWT with alg none", unsigned.join(".") + ".", "the JWT is malformed"),
        ("a JWT that never expires", jwt_of(&json!({ "sub": "alice" })), "the JWT lacks exp or sub"),
        ("a JWT of nobody", jwt_of(&json!({ "exp": unix_now() + 60 })), "the JWT is malformed"),
        ("a JWT of a user with a line break", jwt("a\r\nb", 3600), "the JWT's sub is no user name"),
        ("a JWT of 8 KiB", jwt(&"a".repeat(8 * 1024), 3600), "the JWT is too long"),
        ("no JWT", String::new(), "a Bearer JWT is missing"),
    ] {
        let token = Some(token).filter(|token| !token.is_empty());
        let answer = async { post(chain, token, json!({ "client_id": "tab" })).await.detail() };
        table.row(item, &format!("401 unauthorized: {expected}"), answer).await;
    }
    let foreign = json!({ "client_id": table.bystander().client_id });
    let answer = async { post(chain, Some(jwt("mallory", 3600)), foreign).await.problem() };
    table.row("the client id of another user's live session", "409 client-id-taken", answer).await;
}

/// The same text with another last byte of its signature.
fn changed(token: &str) -> String {
    // The last character holds bits that a decoder may ignore.
    let (rest, last) = token.split_at(token.len() - 2);
    format!("{rest}{}{}", if last.starts_with('A') { 'B' } else { 'A' }, &last[1..])
}

async fn session_tokens(chain: &Chain, table: &mut Table) {
    let id = text(&table.bystander().session["session_id"]).to_owned();
    let own = chain.signed_in("mallory", "token-tab").await.json();
    let path = format!("/v1/sessions/{id}");
    for (what, token) in [("a guessed", "guessed"), ("another session's", text(&own["session_token"]))] {
        for method in ["GET", "DELETE"] {
            let answer = async { request(chain.balancer, method, &path, &[bearer(token)], "").await.problem() };
            table.row(&format!("{method} of a session with {what} token"), "401 unauthorized", answer).await;
        }
        let attach = async {
            let mut socket = Socket::open(chain, &id, "").await;
            socket.send(&json!({ "kind": "attach", "token": token })).await;
            socket.close().await
        };
        table.row(&format!("an attach with {what} token"), "closed 4401 not the token of this session", attach).await;
    }
}

fn capsule(client_id: &str, expires: u64, ring: &SealRing) -> String {
    let capsule = json!({
        "user": "alice", "client_id": client_id, "instance_id": INSTANCE, "boot_id": "another-run",
        "token": TokenHash::of(OLD_TOKEN), "revision": 1, "expires": expires,
    });
    serde_json::from_value::<Capsule>(capsule).expect("a capsule").seal(ring, [5; 24])
}

/// Each once in place of a JWT, where it proves nothing, and once beside one, where it is ignored and the sign-in goes on.
async fn capsules(chain: &Chain, table: &mut Table) {
    let later = unix_now() + 600;
    let good = |client_id: &str| capsule(client_id, later, &own_seal());
    // What makes the rows below mean something: untouched it signs in.
    let control = post(chain, None, body("control", &good("control"))).await;
    assert_eq!((control.status, &control.json()["recovering"]), (201, &json!(true)));

    for (item, client_id, capsule) in [
        ("a tampered capsule", "tampered", tampered(&good("tampered"))),
        ("an expired capsule", "expired", capsule("expired", unix_now() - 1, &own_seal())),
        ("a capsule of another cluster", "foreign", capsule("foreign", later, &foreign_seal())),
        ("a capsule of another tab", "other", good("control")),
        ("a capsule of 8 KiB and more", "long", good("long").repeat(30)),
    ] {
        let alone = async { post(chain, None, body(client_id, &capsule)).await.problem() };
        table.row(&format!("{item}, alone"), "401 unauthorized", alone).await;
        let beside = async { recovering(&post(chain, Some(jwt("alice", 3600)), body(client_id, &capsule)).await) };
        table.row(&format!("{item}, beside a JWT"), "201 alice, recovering: false", beside).await;
    }
    let stolen = json!({ "client_id": "stolen", "capsule": good("stolen"), "previous_token": "guessed" });
    let answer = async { post(chain, None, stolen).await.problem() };
    table.row("a stolen capsule without its session's token", "401 unauthorized", answer).await;
    let others = body("others", &good("others"));
    let answer = async { recovering(&post(chain, Some(jwt("mallory", 3600)), others).await) };
    table.row("another user's capsule, beside a JWT", "201 mallory, recovering: false", answer).await;
}

fn body(client_id: &str, capsule: &str) -> Value {
    json!({ "client_id": client_id, "capsule": capsule, "previous_token": OLD_TOKEN })
}

fn tampered(sealed: &str) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(sealed).expect("base64url");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    URL_SAFE_NO_PAD.encode(bytes)
}

fn recovering(answer: &Answer) -> String {
    let body = answer.json();
    format!("{} {}, recovering: {}", answer.status, text(&body["user"]), body["recovering"])
}

async fn tickets(chain: &Chain, table: &mut Table) {
    let ticket = |expires: u64, ring: &SealRing| {
        let ticket = json!({
            "user": "alice", "client_id": "ticket-tab", "instance_id": INSTANCE, "boot_id": "another-run",
            "expires": expires,
        });
        serde_json::from_value::<Ticket>(ticket).expect("a ticket").seal(ring, [6; 24])
    };
    let sign_in = async |ticket: String| {
        post(chain, None, json!({ "client_id": "ticket-tab", "move_ticket": ticket })).await.problem()
    };
    assert_eq!(sign_in(ticket(unix_now() + 30, &own_seal())).await, "201 -");
    for (item, ticket) in [
        ("a move ticket that has expired", ticket(unix_now() - 1, &own_seal())),
        ("a move ticket of another cluster", ticket(unix_now() + 30, &foreign_seal())),
        ("a capsule in place of a move ticket", capsule("ticket-tab", unix_now() + 600, &own_seal())),
    ] {
        table.row(item, "401 unauthorized", sign_in(ticket)).await;
    }
}

/// A pin is placement: one that can't be read counts as absent, and no pin is ever a proof.
async fn cookies(chain: &Chain, table: &mut Table) {
    let boot = chain.gateway.boot_id().to_string();
    let pin = |ring: &KeyRing, instance: &str, boot: &str, issued: u64| {
        ring.write(&Run::parse(instance, boot).expect("ids"), PinId(7), issued, true)
    };
    let good = pin(&own_pins(), INSTANCE, &boot, unix_now());
    for (item, value, expected) in [
        ("a cookie that is no pin", "garbage".to_owned(), "201 new, ignored as malformed"),
        ("a cookie of 300 bytes", "1.".repeat(150), "201 new, ignored as malformed"),
        ("a cookie of a format to come", good.replacen('1', "2", 1), "201 new, ignored as unknown_format"),
        ("a forged cookie: another signature", changed(&good), "201 new, ignored as forged"),
        ("a forged cookie: another instance", good.replacen(INSTANCE, "gw-2", 1), "201 new, ignored as forged"),
        (
            "a cookie of another cluster",
            pin(&foreign_pins(), INSTANCE, &boot, unix_now()),
            "201 new, ignored as unknown_key",
        ),
        (
            "an old cookie: the instance runs anew",
            pin(&own_pins(), INSTANCE, "an-old-run", unix_now()),
            "201 moved; reason=restarted",
        ),
        (
            "an old cookie: the instance is no more",
            pin(&own_pins(), "gw-gone", "an-old-run", unix_now()),
            "201 moved; reason=unknown",
        ),
        ("an old cookie of a run that lives", pin(&own_pins(), INSTANCE, &boot, 0), "201 kept"),
    ] {
        table.row(item, expected, with_cookie(chain, format!("holdfast={value}"))).await;
    }
    let session = &table.bystander().session;
    let path = format!("/v1/sessions/{}", text(&session["session_id"]));
    let stolen = [("cookie", format!("holdfast-session={good}; holdfast={good}"))];
    let answer = async { request(chain.balancer, "DELETE", &path, &stolen, "").await.problem() };
    table.row("a good cookie in place of a session token", "401 unauthorized", answer).await;
}

async fn with_cookie(chain: &Chain, cookie: String) -> String {
    let ignored = |reason: &str| chain.balancer_counts(&format!("holdfast_pins_ignored_total{{reason=\"{reason}\"}}"));
    let reasons = ["malformed", "unknown_format", "unknown_key", "forged"];
    let before = reasons.map(ignored);
    let (mut headers, body) = chain.sign_in("mallory", "cookie-tab");
    headers.push(("cookie", cookie));
    let answer = request(chain.balancer, "POST", "/v1/sessions", &headers, &body.to_string()).await;
    let after = reasons.map(ignored);
    let counted = (0..reasons.len()).filter(|at| after[*at] > before[*at]).map(|at| reasons[at]).collect::<Vec<_>>();
    let ignored = if counted.is_empty() { String::new() } else { format!(", ignored as {}", counted.join(" and ")) };
    format!("{} {}{ignored}", answer.status, answer.header("holdfast-pin"))
}
