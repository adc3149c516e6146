//! Mutated responses of a server. For each of them the proxy ends the request in time, does not panic, and
//! passes on nothing that a client could read in two ways (response smuggling).

use std::time::Duration;

use http_body_util::BodyExt as _;
use proxy::Timeouts;
use test_mutations::Mutations;

use crate::support::{Fake, Proxied as _, get, within};

const WHOLE: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nserver: a\r\nconnection: x-a, close\r\nx-a: 1\r\ncontent-length: 11\r\n\r\nhello world",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\nhello",
    "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
    "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello",
];

const PIECES: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "0",
    "5",
    "f",
    "-",
    "\r\n ",
    "\r\n\r\n",
    "content-length: 5\r\n",
    "content-length: 6\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip\r\n",
    "connection: close\r\n",
    "HTTP/1.1 200 OK\r\n",
    "0\r\n\r\n",
    "FFFFFFFFFFFFFFFF\r\n",
];

#[tokio::test]
async fn mutated_responses_end_and_cannot_smuggle_a_second_one() {
    let mutations = Mutations::of(WHOLE).with_pieces(PIECES);
    let mut answered = 0;
    for reply in mutations.texts(1_000) {
        let fake = Fake::replies_once(reply.to_vec()).await;
        let proxy = fake.proxy_with(Timeouts {
            response: Duration::from_secs(5),
            read: Duration::from_secs(5),
            ..Timeouts::default()
        });
        let shown = String::from_utf8_lossy(&reply).into_owned();
        let Ok(response) = get(&proxy).await else {
            continue;
        };
        answered += 1;
        let (head, body) = response.into_parts();
        assert!(head.status.as_u16() >= 200, "{shown:?}");
        for name in ["transfer-encoding", "connection", "upgrade", "server"] {
            assert!(!head.headers.contains_key(name), "{name} of {shown:?}");
        }
        let lengths: Vec<_> = head.headers.get_all("content-length").iter().collect();
        assert!(lengths.len() <= 1, "{shown:?}");
        for value in head.headers.values() {
            assert!(
                !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)),
                "{shown:?}"
            );
        }
        let has_content = head.status != 304 && head.status != 204;
        if let (Ok(whole), Some(length), true) =
            (within(body.collect()).await, lengths.first(), has_content)
        {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            assert_eq!(whole.to_bytes().len(), length, "{shown:?} looks whole");
        }
    }
    assert!(answered > 100, "only {answered} were passed on");
}
