//! Responses that are broken at random. Whatever a server sends, there is an end, nothing panics, and
//! nothing comes through that could be read in two ways.
//!
//! `FUZZ=100` has a hundred times as many, and others.

use std::time::Duration;

use http_body_util::BodyExt as _;
use proxy::Timeouts;

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

/// Numbers that are as good as random here (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound.max(1)
    }
}

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = WHOLE[random.below(WHOLE.len())].as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let end = (at + random.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes
}

#[tokio::test]
async fn whatever_a_server_sends_there_is_an_end() {
    let rounds = std::env::var("FUZZ")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = rounds.map_or(0x9E37_79B9_7F4A_7C15, |_: usize| {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_nanos() as u64 | 1
    });
    let mut random = Random(seed);
    for round in 0..1_000 * rounds.unwrap_or(1) {
        let reply = mutated(&mut random);
        let fake = Fake::replies_once(reply.clone()).await;
        let proxy = fake.proxy_with(Timeouts {
            response: Duration::from_secs(5),
            read: Duration::from_secs(5),
            ..Timeouts::default()
        });
        let shown = String::from_utf8_lossy(&reply).into_owned();
        let Ok(response) = get(&proxy).await else {
            continue;
        };
        let (head, body) = response.into_parts();
        assert!(head.status.as_u16() >= 200, "{seed} {round}: {shown:?}");
        for name in ["transfer-encoding", "connection", "upgrade", "server"] {
            assert!(
                !head.headers.contains_key(name),
                "{seed} {round}: {name} of {shown:?}"
            );
        }
        let lengths: Vec<_> = head.headers.get_all("content-length").iter().collect();
        assert!(lengths.len() <= 1, "{seed} {round}: {shown:?}");
        for value in head.headers.values() {
            assert!(
                !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)),
                "{seed} {round}: {shown:?}"
            );
        }
        let has_content = head.status != 304 && head.status != 204;
        if let (Ok(whole), Some(length), true) =
            (within(body.collect()).await, lengths.first(), has_content)
        {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            assert_eq!(
                whole.to_bytes().len(),
                length,
                "{seed} {round}: {shown:?} looks whole"
            );
        }
    }
}
