//! Requests that two HTTP implementations may read differently, each with another request hidden behind it: refused
//! before the instance sees a byte.

use crate::chain::Chain;
use crate::client::{raw, upgrade};
use crate::table::Table;

/// Stands behind each of them.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

const TABLE: &[(&str, u16, &str)] = &[
    (
        "length and encoding",
        400,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "encoding and length",
        400,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    ("a length that is none", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nabcd"),
    ("a list of lengths", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\nabcd"),
    ("another encoding", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "encoding twice",
        400,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("chunked twice", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("an unknown encoding", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("encoding with a tab", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 4\r\n\r\nabcd"),
    ("encoding in HTTP/1.0", 400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("no Host", 400, "GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", 400, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    ("an empty Host", 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a Host that is none", 400, "GET / HTTP/1.1\r\nHost: h/x@y\r\n\r\n"),
    ("an absolute form that disagrees", 400, "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("an asterisk", 400, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT", 405, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    ("TRACE", 405, "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n"),
    (
        "h2c",
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    ),
    ("a list of upgrades", 400, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n"),
    (
        "an upgrade with a body",
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("an upgrade by POST", 400, "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("a bare line feed after the request line", 400, "GET / HTTP/1.1\nHost: h\r\n\r\n"),
    ("a bare line feed after a field", 400, "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
    ("a bare line feed at the end", 400, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
    ("a folded line", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
    ("a bare carriage return", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"),
    ("a NUL", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
    ("two spaces in the request line", 400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("an HTTP version that is none", 400, "GET / HTTP/1.9\r\nHost: h\r\n\r\n"),
];

pub(crate) async fn rows(chain: &Chain, table: &mut Table) {
    for (what, status, request) in TABLE {
        let expected = format!("{status}, the instance saw 0 bytes");
        table.row(&format!("smuggling: {what}"), &expected, refused(chain, request)).await;
    }
    let item = "bytes after an Upgrade that is refused";
    table.row(item, "404, the instance saw 1 request", behind_an_upgrade(chain)).await;
}

async fn refused(chain: &Chain, bad: &str) -> String {
    let before = chain.relay.seen();
    let answer = raw(chain.balancer, format!("{bad}{HIDDEN}").as_bytes()).await;
    let seen = chain.relay.seen();
    let bytes = seen.bytes - before.bytes + (seen.connections - before.connections);
    format!("{}, the instance saw {bytes} bytes", answer.statuses.join(" and "))
}

/// An upgrade of a path that has no socket: the instance answers it as a page, and what came behind it is nothing.
async fn behind_an_upgrade(chain: &Chain) -> String {
    let line = "holdfast_http_answers_total{route=\"page\",status=\"404\"}";
    let before = chain.instance_counts(line).await;
    let upgrade = upgrade("/no-socket-here");
    let answer = raw(chain.balancer, format!("{upgrade}{HIDDEN}").as_bytes()).await;
    let requests = chain.instance_counts(line).await - before;
    format!("{}, the instance saw {requests} request", answer.statuses.join(" and "))
}
