//! A client of HTTP/2 that sends frame by frame (RFC 9113, section 4.1) what no client library would.

#![expect(clippy::panic, reason = "a test may, its helpers included")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For anything that the server is waited for.
const LONG: Duration = Duration::from_secs(30);

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// Of `SETTINGS` and `PING`.
pub(crate) const ACK: u8 = 1;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// Bytes of a frame before its payload.
pub(crate) const HEADER: usize = 9;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The id of a client's stream, by its number from 0 on.
pub(crate) fn stream_id(number: u32) -> u32 {
    2 * number + 1
}

/// A request without a body.
pub(crate) fn get(stream: u32, target: &str) -> Vec<u8> {
    let flags = END_HEADERS | END_STREAM;
    frame(HEADERS, flags, stream, &fields(METHOD_GET, target))
}

/// A request whose body is still to come.
pub(crate) fn post(stream: u32, target: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields(METHOD_POST, target))
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// `:method: GET` and `:method: POST`, as they are in the static table of HPACK.
pub(crate) const METHOD_GET: u8 = 0x82;
pub(crate) const METHOD_POST: u8 = 0x83;

/// The pseudo-header fields of a request for `http://a`, none of which gets into the dynamic table.
pub(crate) fn fields(method: u8, target: &str) -> Vec<u8> {
    // `:scheme: http`, `:authority: a`, `:path`.
    let mut fields = vec![method, 0x86, 0x01, 1, b'a', 0x04];
    fields.extend(string(target));
    fields
}

/// Bytes of these fields in a header list (RFC 9113, section 6.5.2).
pub(crate) fn list_size(method: &str, target: &str) -> usize {
    let size = |name: &str, value: &str| name.len() + value.len() + 32;
    size(":method", method)
        + size(":scheme", "http")
        + size(":authority", "a")
        + size(":path", target)
}

/// A field of HPACK that does not get into the dynamic table.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// A field of HPACK that is the newest one in the dynamic table then.
pub(crate) fn indexed_literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], string(name), string(value)].concat()
}

/// The field at this index of both tables; the first of the dynamic one is 62.
pub(crate) fn indexed(index: u8) -> u8 {
    0x80 | index
}

/// A string of HPACK, without Huffman's code (RFC 7541, section 5.2).
fn string(text: &str) -> Vec<u8> {
    [integer(0, 7, text.len()), text.as_bytes().to_vec()].concat()
}

/// Has HPACK's dynamic table be so large from then on (RFC 7541, section 6.3).
pub(crate) fn table_size_update(size: usize) -> Vec<u8> {
    integer(0x20, 5, size)
}

/// An integer of HPACK with so many bits in its first byte (RFC 7541, section 5.1).
fn integer(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let mut bytes = vec![first | most as u8];
    let mut left = value - most;
    while left >= 128 {
        bytes.push(0x80 | (left % 128) as u8);
        left /= 128;
    }
    bytes.push(left as u8);
    bytes
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn is(&self, kind: u8, stream: u32) -> bool {
        (self.kind, self.stream) == (kind, stream)
    }

    /// The error code of an `RST_STREAM`.
    pub(crate) fn error_code(&self) -> u32 {
        assert_eq!(self.kind, RST_STREAM, "{self:?}");
        u32::from_be_bytes(self.payload[..].try_into().unwrap())
    }

    /// Whether these are the first header fields of a response with 431, as h2 writes them: with Huffman's code.
    pub(crate) fn is_431(&self) -> bool {
        self.kind == HEADERS && self.payload.starts_with(&[0x48, 0x83, 0x69, 0x90, 0xff])
    }

    /// Whether these are the first header fields of a response with 400.
    pub(crate) fn is_400(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x8c)
    }

    /// Whether these are the first header fields of a response with 200.
    pub(crate) fn is_200(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }
}

/// A client that sends what it is given, and reads frames.
pub(crate) struct RawClient {
    pub(crate) stream: TcpStream,
    pings: u64,
}

impl RawClient {
    /// Connects, and returns when both sides have acknowledged the settings of the other.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, pings: 0 };
        let settings = frame(SETTINGS, 0, 0, b"");
        client.send(&[PREFACE, &settings].concat()).await;
        let theirs = |frame: &Frame| frame.kind == SETTINGS && frame.flags == 0;
        client.find("settings", theirs).await;
        client.send(&frame(SETTINGS, ACK, 0, b"")).await;
        client.round_trips().await;
        client
    }

    /// Sends all of it with one write.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(LONG, self.stream.write_all(bytes)).await;
        sent.unwrap().unwrap();
    }

    /// The next frame; `None` when the connection has ended, in whatever way.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut header = [0; HEADER];
        self.fill(&mut header).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload).await?;
        Some(Frame {
            kind: header[3],
            flags: header[4],
            stream: u32::from_be_bytes(header[5..].try_into().unwrap()),
            payload,
        })
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Option<()> {
        match timeout(LONG, self.stream.read_exact(buffer)).await.unwrap() {
            Ok(_) => Some(()),
            Err(error) => {
                let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
                assert!(ends.contains(&error.kind()), "{error}");
                None
            }
        }
    }

    /// Reads up to the first such frame.
    pub(crate) async fn find(&mut self, what: &str, is_it: impl Fn(&Frame) -> bool) -> Frame {
        let mut others = Vec::new();
        loop {
            match self.next().await {
                Some(frame) if is_it(&frame) => return frame,
                Some(frame) => others.push(frame),
                None => panic!("no {what} before the end, but {others:?}"),
            }
        }
    }

    /// Returns what comes until the server has dealt with all that was sent.
    ///
    /// The answer to a ping may overtake what streams have to be sent; that to a second one does not.
    pub(crate) async fn round_trips(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..2 {
            self.pings += 1;
            let payload = self.pings.to_be_bytes();
            self.send(&frame(PING, 0, 0, &payload)).await;
            loop {
                match self.next().await {
                    Some(answer) if answer.kind == PING && answer.payload == payload => break,
                    Some(frame) => frames.push(frame),
                    None => panic!("no answer to a ping before the end, but {frames:?}"),
                }
            }
        }
        assert!(frames.iter().all(|it| it.kind != GOAWAY), "{frames:?}");
        frames
    }

    /// Reads up to the `GOAWAY` that ends the connection: its error code, and what it says.
    pub(crate) async fn goaway(&mut self) -> (u32, String) {
        let goaway = self.find("GOAWAY", |frame| frame.kind == GOAWAY).await;
        let code = u32::from_be_bytes(goaway.payload[4..8].try_into().unwrap());
        let text = String::from_utf8(goaway.payload[8..].to_vec()).unwrap();
        (code, text)
    }

    /// Checks that a request for `target` on this stream gets 200.
    pub(crate) async fn assert_served(&mut self, stream: u32, target: &str) {
        self.send(&get(stream, target)).await;
        let is_answer = |frame: &Frame| frame.is(HEADERS, stream) || frame.is(RST_STREAM, stream);
        let answer = self.find("response", is_answer).await;
        assert!(answer.is_200(), "{answer:?}");
    }
}
