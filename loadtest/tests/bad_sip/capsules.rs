//! Capsules under the cluster's own key that say what they should not. Nobody else can make one; what is in it came from far
//! sides all the same.

use crate::caller::calls_of;
use crate::chain::Chain;
use crate::client::{Answer, Heard, PATIENCE, Socket, request};
use crate::cluster::{Cluster, seal};
use crate::table::Table;
use gateway_core::capsule::Capsule;
use gateway_core::sdp::{FarLocal, FarSdp, Security, SrtpSecret};
use gateway_core::token::TokenHash;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, UdpSocket};

const OLD_TOKEN: &str = "the token of the session before";
/// For what should not come.
const MOMENT: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(10);

pub(crate) async fn rows(cluster: &Cluster, table: &mut Table) {
    let chain = &cluster.tcp;
    let elsewhere = Elsewhere::listen().await;
    let at = elsewhere.port;
    let dialog = |user: &str, target: &str, routes: Value| {
        json!({
            "call_id": format!("dead-{user}"), "local": format!("<sip:{user}@example.org>;tag=ours"),
            "remote": "<sip:x@evil.example>;tag=theirs", "target": target, "routes": routes, "cseq": 1, "remote_cseq": null,
        })
    };
    let up = |user: &str, target: &str, routes: Value| json!({ "up": { "dialog": dialog(user, target, routes) } });
    let (udp, tcp) = (format!("sip:x@127.0.0.1:{at}"), format!("sip:x@127.0.0.1:{at};transport=tcp"));
    let route = json!([format!("<sip:127.0.0.1:{at};lr>")]);
    let calling = |user: &str, forks: usize| {
        let invite = json!({
            "uri": udp, "via": format!("SIP/2.0/UDP 127.0.0.1:{at};branch=z9hG4bKdead"), "to": "<sip:x@evil.example>",
            "from": format!("<sip:{user}@example.org>;tag=ours"), "call_id": format!("dead-{user}"), "cseq": 1, "routes": route,
        });
        json!({ "calling": { "invite": invite, "forks": vec![dialog(user, &udp, json!([])); forks] } })
    };
    let crlf = json!({ "up": { "dialog": dialog("cora", "sip:x@h\r\nX-Evil: 1", json!(["<sip:h>\r\nX-Evil: 1"])) } });
    for (item, user, action, leg, expected) in [
        ("another address as target", "cain", "hang_up", up("cain", &udp, json!([])), "1 to the server, 0 elsewhere"),
        ("another address over TCP", "carl", "hang_up", up("carl", &tcp, json!([])), "1 to the server, 0 elsewhere"),
        (
            "another address as route",
            "cleo",
            "hang_up",
            up("cleo", &udp, route.clone()),
            "1 to the server, 0 elsewhere",
        ),
        (
            "another address, to resume",
            "cody",
            "resume",
            up("cody", &udp, route.clone()),
            "1 to the server, 0 elsewhere",
        ),
        ("another sender of its INVITE", "cate", "hang_up", calling("cate", 0), "1 to the server, 0 elsewhere"),
        ("20 forks", "cyra", "hang_up", calling("cyra", 20), "5 to the server, 0 elsewhere"),
        ("CR LF in target and route", "cora", "hang_up", crlf, "0 to the server, 0 elsewhere"),
    ] {
        let observed = async {
            let capsule = capsule(user, user, leg);
            let signed_in = sign_in(chain, user, &capsule).await;
            assert_eq!(signed_in.json()["recovering"], true, "{signed_in:?}");
            attach(chain, &signed_in, action).await;
            let wanted = expected.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
            until_sent(chain, user, wanted).await;
            let elsewhere = elsewhere.heard().await;
            format!("{} to the server, {elsewhere} elsewhere", calls_of(chain, user))
        };
        table.row(&format!("a capsule with {item}"), expected, observed).await;
    }
    let observed = async {
        let signed_in = sign_in(chain, "dora", &capsule("cain", "dora", up("cain", &udp, json!([])))).await;
        attach(chain, &signed_in, "hang_up").await;
        tokio::time::sleep(MOMENT).await;
        format!("recovering: {}, {} to the server", signed_in.json()["recovering"], calls_of(chain, "dora"))
    };
    table.row("a capsule of another user", "recovering: false, 0 to the server", observed).await;
    let observed = async {
        let routes = json!(vec![format!("<sip:{}@127.0.0.1;lr>", "r".repeat(100)); 200]);
        let signed_in = sign_in(chain, "dick", &capsule("dick", "dick", up("dick", &udp, routes))).await;
        attach(chain, &signed_in, "hang_up").await;
        tokio::time::sleep(MOMENT).await;
        format!("recovering: {}, {} to the server", signed_in.json()["recovering"], calls_of(chain, "dick"))
    };
    table.row("a capsule with 200 routes", "recovering: true, 0 to the server", observed).await;
}

async fn until_sent(chain: &Chain, user: &str, count: usize) {
    let sent = async {
        while calls_of(chain, user) < count {
            tokio::time::sleep(LOOK).await;
        }
    };
    // What is missing shows in the row.
    let _ = tokio::time::timeout(PATIENCE, sent).await;
}

fn capsule(user: &str, client: &str, leg: Value) -> String {
    let local = FarLocal { ip: [127, 0, 0, 1].into(), audio: 9, video: None };
    let sdp = FarSdp::new(1, local, [SrtpSecret([1; 30]), SrtpSecret([2; 30])], Security::Plain);
    let expires = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() + 600;
    let call = json!({ "call_id": "c1", "target": "sip:x@evil.example", "leg": leg, "sdp": sdp });
    let capsule = json!({
        "user": user, "client_id": format!("tab-{client}"), "instance_id": "gw-dead", "boot_id": "another-run",
        "token": TokenHash::of(OLD_TOKEN), "revision": 1, "expires": expires, "generation": 1, "calls": [call],
    });
    serde_json::from_value::<Capsule>(capsule).expect("a capsule").seal(&seal(), [5; 24])
}

async fn sign_in(chain: &Chain, user: &str, capsule: &str) -> Answer {
    let body =
        json!({ "user": user, "client_id": format!("tab-{user}"), "capsule": capsule, "previous_token": OLD_TOKEN });
    request(chain.balancer, "POST", "/v1/sessions", &[], &body.to_string()).await
}

/// Names the call as dead, and waits until it was told what became of it.
async fn attach(chain: &Chain, signed_in: &Answer, action: &str) {
    let session = signed_in.json();
    let mut socket = Socket::open(chain, session["session_id"].as_str().expect("an id"), "").await;
    let dead = json!([{ "call_id": "c1", "action": action }]);
    socket.send(&json!({ "kind": "attach", "token": session["session_token"], "dead_calls": dead })).await;
    if session["recovering"] != true {
        return;
    }
    loop {
        match socket.hear().await {
            Heard::Message(message) if message["event"]["type"] == "session_recovered" => return,
            Heard::Message(_) => {}
            end => panic!("{end:?}"),
        }
    }
}

/// An address that no instance has a reason to speak to.
struct Elsewhere {
    port: u16,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Elsewhere {
    async fn listen() -> Self {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let port = udp.local_addr().expect("bound").port();
            if let Ok(tcp) = TcpListener::bind(("127.0.0.1", port)).await {
                return Self { port, udp, tcp };
            }
        }
    }

    /// Datagrams and connections.
    async fn heard(&self) -> usize {
        let datagram = async { self.udp.recv(&mut [0; 2048]).await.is_ok() };
        let connection = async { self.tcp.accept().await.is_ok() };
        let (datagram, connection) =
            tokio::join!(tokio::time::timeout(MOMENT, datagram), tokio::time::timeout(MOMENT, connection));
        usize::from(datagram.is_ok()) + usize::from(connection.is_ok())
    }
}
