//! A client of HTTP/1 over any socket. It sends bytes exactly as given, and checks the framing of responses.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::DEADLINE;
use crate::response::{End, Framing, Head, Response, field};

/// A socket with timeouts.
pub trait Socket: Read + Write {
    /// Sets the timeout of each later read and write.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    fn bound(&self, limit: Duration) -> Result<()>;
}

impl Socket for TcpStream {
    fn bound(&self, limit: Duration) -> Result<()> {
        self.set_read_timeout(Some(limit))?;
        self.set_write_timeout(Some(limit))
    }
}

impl Socket for UnixStream {
    fn bound(&self, limit: Duration) -> Result<()> {
        self.set_read_timeout(Some(limit))?;
        self.set_write_timeout(Some(limit))
    }
}

/// A client of HTTP/1. Each wait for the server ends in a panic after [`DEADLINE`].
pub struct Client<S = TcpStream> {
    socket: S,
    received: Vec<u8>,
    deadline: Duration,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The server closed the connection in order.
    Closed,
    /// The server reset the connection.
    Reset,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When no server is listening.
    #[must_use]
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(connected(address).unwrap())
    }

    /// The same, if a server accepts the connection already.
    #[must_use]
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        connected(address).ok().map(Self::over)
    }
}

fn connected(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl<S: Socket> Client<S> {
    /// A client on a connection that is open.
    #[must_use]
    pub fn over(socket: S) -> Self {
        Self {
            socket,
            received: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Changes how long each wait may take; the default is [`DEADLINE`].
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The connection itself.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// # Panics
    ///
    /// When the connection has ended, or the server does not read in time.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes that the server may refuse.
    ///
    /// # Errors
    ///
    /// When the connection has ended, or the server does not read in time.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.socket.bound(self.deadline)?;
        self.socket.write_all(bytes.as_ref())
    }

    /// Sends a `GET` request and reads the response.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        self.response()
    }

    /// Sends `body` with its length and reads the response.
    #[track_caller]
    pub fn post(&mut self, target: &str, body: &str) -> Response {
        self.send(format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        self.response()
    }

    /// Reads the response to a request other than `HEAD`.
    ///
    /// # Panics
    ///
    /// When the connection ends before the head, or the response is malformed.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads the response to a request of this method.
    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Response {
        match self.try_response_to(method) {
            Ok(response) => response,
            Err(no_answer) => panic!("no response: {no_answer:?}"),
        }
    }

    /// Reads the response to a request that the server may leave unanswered.
    ///
    /// # Errors
    ///
    /// When the connection ends before the response has a head.
    #[track_caller]
    pub fn try_response(&mut self) -> std::result::Result<Response, NoAnswer> {
        self.try_response_to("GET")
    }

    #[track_caller]
    fn try_response_to(&mut self, method: &str) -> std::result::Result<Response, NoAnswer> {
        let mut reader = Reader::new(self);
        let head = reader.head()?;
        let mut body = Vec::new();
        let mut trailers = Vec::new();
        let end = match head.framing(method) {
            Framing::None => End::Complete,
            Framing::Length(length) => reader.exactly(length, &mut body),
            Framing::Chunked => reader.chunks(&mut body, &mut trailers),
            Framing::UntilClose => reader.until_close(&mut body),
        };
        let raw = reader.finish();
        Ok(Response {
            head,
            body,
            trailers,
            end,
            raw,
        })
    }

    /// Reads a head and leaves the body.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        let mut reader = Reader::new(self);
        match reader.head() {
            Ok(head) => {
                reader.finish();
                head
            }
            Err(no_answer) => panic!("no response: {no_answer:?}"),
        }
    }

    /// Reads chunks until their content has `length` bytes.
    ///
    /// # Panics
    ///
    /// When the body ends before, or has more in the same chunk.
    #[track_caller]
    pub fn pieces(&mut self, length: usize) -> Vec<u8> {
        let mut content = Vec::new();
        let mut reader = Reader::new(self);
        while content.len() < length {
            let more = reader.chunk(&mut content);
            assert_eq!(
                more,
                Ok(true),
                "the body ended after {} bytes",
                content.len()
            );
        }
        reader.finish();
        assert_eq!(content.len(), length);
        content
    }

    /// Reads the rest of a chunked body.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, Vec<(String, String)>, End) {
        let (mut body, mut trailers) = (Vec::new(), Vec::new());
        let mut reader = Reader::new(self);
        let end = reader.chunks(&mut body, &mut trailers);
        reader.finish();
        (body, trailers, end)
    }

    /// Reads until the connection ends.
    #[track_caller]
    pub fn everything(&mut self) -> (Vec<u8>, NoAnswer) {
        loop {
            if let Err(end) = self.receive() {
                return (std::mem::take(&mut self.received), end);
            }
        }
    }

    /// Waits for the end of the connection.
    ///
    /// # Panics
    ///
    /// When the server sends anything.
    #[track_caller]
    pub fn closed(&mut self) -> NoAnswer {
        let more = self.receive();
        assert!(
            self.received.is_empty(),
            "{:?}",
            String::from_utf8_lossy(&self.received)
        );
        more.unwrap_err()
    }

    /// Reads more, or returns how the connection has ended.
    #[track_caller]
    fn receive(&mut self) -> std::result::Result<(), NoAnswer> {
        let end = Instant::now() + self.deadline;
        let mut buffer = [0; 16 * 1024];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "nothing received within {:?}",
                self.deadline
            );
            // Not zero: as a timeout of a socket, that is no limit.
            self.socket.bound(left).unwrap();
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(NoAnswer::Closed),
                Ok(length) => {
                    self.received.extend_from_slice(&buffer[..length]);
                    return Ok(());
                }
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                        return Err(NoAnswer::Reset);
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => panic!("reading failed: {error}"),
                },
            }
        }
    }
}

/// Parses one message, and counts its bytes.
struct Reader<'a, S> {
    client: &'a mut Client<S>,
    position: usize,
}

impl<'a, S: Socket> Reader<'a, S> {
    fn new(client: &'a mut Client<S>) -> Self {
        Self {
            client,
            position: 0,
        }
    }

    /// The bytes of the message. Later ones stay with the client.
    fn finish(self) -> Vec<u8> {
        self.client.received.drain(..self.position).collect()
    }

    #[track_caller]
    fn head(&mut self) -> std::result::Result<Head, NoAnswer> {
        loop {
            let received = &self.client.received[self.position..];
            let end = received.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = Head::parse(&received[..end]);
                self.position += end + 4;
                return Ok(head);
            }
            let begun = !received.is_empty();
            if let Err(no_answer) = self.client.receive() {
                assert!(!begun, "half a head, then {no_answer:?}");
                return Err(no_answer);
            }
        }
    }

    #[track_caller]
    fn exactly(&mut self, length: usize, body: &mut Vec<u8>) -> End {
        let goal = body.len() + length;
        loop {
            let received = &self.client.received[self.position..];
            let now = received.len().min(goal - body.len());
            body.extend_from_slice(&received[..now]);
            self.position += now;
            if body.len() == goal {
                return End::Complete;
            }
            if let Err(no_answer) = self.client.receive() {
                return no_answer.into();
            }
        }
    }

    #[track_caller]
    fn until_close(&mut self, body: &mut Vec<u8>) -> End {
        match self.exactly(usize::MAX - body.len(), body) {
            End::CutOff => End::Complete,
            other => other,
        }
    }

    #[track_caller]
    fn chunks(&mut self, body: &mut Vec<u8>, trailers: &mut Vec<(String, String)>) -> End {
        loop {
            match self.chunk(body) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => return end,
            }
        }
        loop {
            match self.line() {
                Ok(line) if line.is_empty() => return End::Complete,
                Ok(line) => trailers.push(field(&line)),
                Err(end) => return end,
            }
        }
    }

    /// Reads one chunk; `false` if it is the last.
    #[track_caller]
    fn chunk(&mut self, body: &mut Vec<u8>) -> std::result::Result<bool, End> {
        let line = self.line()?;
        let Ok(length) = usize::from_str_radix(&line, 16) else {
            panic!("no chunk size: {line:?}");
        };
        if length == 0 {
            return Ok(false);
        }
        match self.exactly(length, body) {
            End::Complete => {}
            end => return Err(end),
        }
        let line = self.line()?;
        assert_eq!(line, "", "no end of a chunk");
        Ok(true)
    }

    #[track_caller]
    fn line(&mut self) -> std::result::Result<String, End> {
        loop {
            let received = &self.client.received[self.position..];
            if let Some(end) = received.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&received[..end]).into_owned();
                self.position += end + 2;
                return Ok(line);
            }
            self.client.receive()?;
        }
    }
}

impl From<NoAnswer> for End {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Closed => Self::CutOff,
            NoAnswer::Reset => Self::Reset,
        }
    }
}
