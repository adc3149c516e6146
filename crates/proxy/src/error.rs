//! Why a request could not be proxied, and what follows: the client's status and the level in the log.

use std::error::Error as StdError;
use std::io;

use http::StatusCode;
use http_message::{BoxError, FramingError, ReceivedBodyError, SentBodyError, malformed};
use nix::errno::Errno;
use tracing::Level;

use crate::Server;
use crate::limits::{HEADER_BYTES, HEADER_FIELDS};

/// Why there is no response, or why its body is cut off. The text is for the log: it is not for clients, since it may
/// name servers.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    // The client is at fault.
    /// The method is `CONNECT`.
    #[error("the method CONNECT is not forwarded")]
    Method,
    /// Request smuggling: the request's fields do not agree on how long its body is.
    #[error("the length of the request's body is ambiguous: {0}")]
    RequestFraming(FramingError),
    /// The request's body is shorter or longer than its `content-length`. Nothing of it, or a
    /// cut-off part, has been sent.
    #[error("the request's body does not have the announced {announced} bytes")]
    RequestBodySize {
        /// What `content-length` said.
        announced: u64,
    },
    /// Reading the request's body failed. A cut-off part may have been sent.
    #[error("the request's body failed: {0}")]
    RequestBody(BoxError),

    // There is no connection.
    /// No server has a weight above zero.
    #[error("the upstream has no server with a weight above 0")]
    NoServer,
    /// The connection was refused, or the server is unreachable.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// This machine has no socket, port or memory left for one more connection.
    #[error("this machine cannot open another connection: {0}")]
    Resources(io::Error),
    /// There was no connection within [`Timeouts::connect`](crate::Timeouts::connect).
    #[error("the connection was not established in time")]
    ConnectTimeout,

    // There was a connection.
    /// The server read nothing for [`Timeouts::send`](crate::Timeouts::send).
    #[error("the server stopped reading the request")]
    SendTimeout,
    /// There was no response within [`Timeouts::response`](crate::Timeouts::response).
    #[error("the server did not respond in time")]
    ResponseTimeout,
    /// The server closed the connection before its response.
    #[error("the server closed the connection without a response")]
    Terminated,
    /// A response's header section is above 64 KiB or 256 fields.
    #[error(
        "the response's header section has more than {HEADER_BYTES} bytes or {HEADER_FIELDS} fields"
    )]
    ResponseHeaderTooLarge,
    /// The server's response is not HTTP, or other readers could read it differently (response smuggling).
    #[error("the server violates HTTP: {0}")]
    Protocol(String),

    // There was a response.
    /// The response's body is shorter than announced, or its connection failed.
    #[error("the response's body is truncated")]
    ResponseIncomplete,
    /// A piece of the response's body did not come within [`Timeouts::read`](crate::Timeouts::read).
    #[error("the server stopped sending the response's body")]
    BodyTimeout,
}

impl ProxyError {
    /// The status to answer with where there is no response yet.
    ///
    /// For [`ProxyError::RequestBody`] the body's own error may say more.
    pub fn status(&self) -> StatusCode {
        self.wire().0
    }

    /// The client's status, and the level in the log.
    ///
    /// As Unit's, except that Unit answers 502 instead of 503.
    fn wire(&self) -> (StatusCode, Level) {
        match self {
            Self::Method => (StatusCode::NOT_IMPLEMENTED, Level::DEBUG),
            Self::RequestFraming(_) | Self::RequestBodySize { .. } | Self::RequestBody(_) => {
                (StatusCode::BAD_REQUEST, Level::DEBUG)
            }
            Self::NoServer
            | Self::Connect(_)
            | Self::Terminated
            | Self::ResponseHeaderTooLarge
            | Self::Protocol(_)
            | Self::ResponseIncomplete => (StatusCode::BAD_GATEWAY, Level::ERROR),
            Self::Resources(_) => (StatusCode::SERVICE_UNAVAILABLE, Level::ERROR),
            Self::ConnectTimeout
            | Self::SendTimeout
            | Self::ResponseTimeout
            | Self::BodyTimeout => (StatusCode::GATEWAY_TIMEOUT, Level::ERROR),
        }
    }

    /// Logs the error, with the server if one was chosen.
    pub(crate) fn log(&self, server: Option<&Server>) {
        let server = server
            .map(|server| format!(" {server}"))
            .unwrap_or_default();
        if self.wire().1 == Level::ERROR {
            tracing::error!("proxying to an upstream server{server} failed: {self}");
        } else {
            tracing::debug!("proxying to an upstream server{server} failed: {self}");
        }
    }

    /// The error for a failed connect.
    pub(crate) fn of_connecting(error: io::Error) -> Self {
        // This machine has no file descriptors, buffers, memory or local ports left.
        const OURS: [Errno; 5] = [
            Errno::EMFILE,
            Errno::ENFILE,
            Errno::ENOBUFS,
            Errno::ENOMEM,
            Errno::EADDRNOTAVAIL,
        ];
        let number = error.raw_os_error();
        let is_ours = number.is_some_and(|number| OURS.contains(&Errno::from_raw(number)));
        if is_ours {
            Self::Resources(error)
        } else if error.kind() == io::ErrorKind::TimedOut {
            Self::ConnectTimeout
        } else {
            Self::Connect(error)
        }
    }

    /// The error for a request without a response.
    pub(crate) fn of_sending(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::ResponseHeaderTooLarge;
        }
        if error.is_parse() {
            return Self::Protocol(error.to_string());
        }
        if is_timeout(error) {
            return Self::SendTimeout;
        }
        Self::Terminated
    }

    /// The error for a truncated response body.
    fn of_receiving(error: &hyper::Error) -> Self {
        if let Some(reason) = malformed(error) {
            return Self::Protocol(reason.to_string());
        }
        if is_timeout(error) {
            return Self::SendTimeout;
        }
        Self::ResponseIncomplete
    }
}

impl From<SentBodyError> for ProxyError {
    fn from(error: SentBodyError) -> Self {
        match error {
            SentBodyError::Size { announced } => Self::RequestBodySize { announced },
            SentBodyError::Failed(error) => Self::RequestBody(error),
        }
    }
}

impl From<ReceivedBodyError> for ProxyError {
    fn from(error: ReceivedBodyError) -> Self {
        match error {
            ReceivedBodyError::Late => Self::BodyTimeout,
            ReceivedBodyError::Failed(error) => Self::of_receiving(&error),
        }
    }
}

/// Whether it is the time-out of `SocketIo`, which is for writes only.
fn is_timeout(error: &hyper::Error) -> bool {
    chain(error).any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
    })
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
