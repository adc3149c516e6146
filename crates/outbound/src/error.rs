//! Why a request of a guest failed. The engine maps these to the error codes of `wasi:http`.

use std::error::Error as StdError;
use std::io;

use http_message::{BoxError, ReceivedBodyError, SentBodyError, malformed};
use outbound_policy::DestinationError;

use crate::limits::{HEADER_BYTES, HEADER_FIELDS};

/// Why there is no response, or why its body is cut off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The guest is at fault: it asked for what is not allowed, or is invalid.
    /// No grant allows this scheme, host and port.
    #[error("the policy does not allow a request to {0}")]
    Denied(String),
    /// The name resolves to nothing but addresses that the policy forbids.
    #[error("{0} resolves to addresses that the policy does not allow")]
    AddressProhibited(String),
    /// The URI is not a valid destination.
    #[error(transparent)]
    Uri(#[from] DestinationError),
    /// The method is `CONNECT`.
    #[error("the method CONNECT is not supported")]
    Method,
    /// There is an `upgrade` field.
    #[error("an upgrade to another protocol is not supported")]
    Upgrade,
    /// `content-length` is not one number.
    #[error("content-length is not one number")]
    ContentLength,
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
    /// As many requests are in progress, or connections open, as one application may have.
    #[error("the limit of outgoing requests or connections is reached")]
    ConnectionLimit,

    // There is no connection.
    /// The name does not resolve.
    #[error("cannot look up {name}: {reason}")]
    Dns {
        /// The host.
        name: String,
        /// What the system's resolver says.
        reason: String,
    },
    /// Looking up the name took too long.
    #[error("the look-up of {0} timed out")]
    DnsTimeout(String),
    /// The server refuses connections.
    #[error("the connection was refused")]
    Refused,
    /// The server is unreachable, or this machine cannot open a connection.
    #[error("the destination is unreachable: {0}")]
    Unreachable(String),
    /// There was no connection within [`Timeouts::connect`](crate::Timeouts::connect).
    #[error("the connection was not established in time")]
    ConnectTimeout,
    /// The server's certificate is not trusted, or not valid for this host.
    #[error("the server's certificate is not accepted: {0}")]
    TlsCertificate(String),
    /// The server ended the handshake or the connection with an alert.
    #[error("the server sent a TLS alert: {description} ({code})")]
    TlsAlert {
        /// The alert's number (RFC 8446, 6).
        code: u8,
        /// The alert's name.
        description: String,
    },
    /// TLS failed in another way.
    #[error("TLS failed: {0}")]
    TlsProtocol(String),

    // There was a connection.
    /// The server closed the connection before its response.
    #[error("the server closed the connection without a response")]
    Terminated,
    /// There was no response within [`Timeouts::first_byte`](crate::Timeouts::first_byte).
    #[error("the server did not respond in time")]
    FirstByteTimeout,
    /// A response's header section is above 64 KiB or 256 fields.
    #[error(
        "the response's header section has more than {HEADER_BYTES} bytes or {HEADER_FIELDS} fields"
    )]
    ResponseHeaderTooLarge,
    /// The server's response is not HTTP, or other readers could read it differently (response smuggling).
    #[error("the server violates HTTP: {0}")]
    Protocol(String),
    /// The response's body is shorter than announced, or its connection failed.
    #[error("the response's body is truncated")]
    ResponseIncomplete,
    /// A piece of the response's body did not come within
    /// [`Timeouts::between_bytes`](crate::Timeouts::between_bytes).
    #[error("the server stopped sending the response's body")]
    BetweenBytesTimeout,
}

/// Why our own steps of connecting failed. hyper-util boxes it as a source of its error, where [`Error`] finds it
/// again.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    #[error("prohibited")]
    Prohibited(String),
    #[error("dns: {1}")]
    Dns(String, String),
    #[error("dns timeout")]
    DnsTimeout(String),
    #[error("timeout")]
    Timeout,
    #[error("limit")]
    Limit,
    #[error("tls: {0}")]
    Tls(String),
}

impl From<ConnectFault> for Error {
    fn from(fault: ConnectFault) -> Self {
        match fault {
            ConnectFault::Prohibited(name) => Self::AddressProhibited(name),
            ConnectFault::Dns(name, reason) => Self::Dns { name, reason },
            ConnectFault::DnsTimeout(name) => Self::DnsTimeout(name),
            ConnectFault::Timeout => Self::ConnectTimeout,
            ConnectFault::Limit => Self::ConnectionLimit,
            ConnectFault::Tls(reason) => Self::TlsProtocol(reason),
        }
    }
}

impl From<SentBodyError> for Error {
    fn from(error: SentBodyError) -> Self {
        match error {
            SentBodyError::Size { announced } => Self::RequestBodySize { announced },
            SentBodyError::Failed(error) => Self::RequestBody(error),
        }
    }
}

impl From<ReceivedBodyError> for Error {
    fn from(error: ReceivedBodyError) -> Self {
        let error = match error {
            ReceivedBodyError::Late => return Self::BetweenBytesTimeout,
            ReceivedBodyError::Failed(error) => error,
        };
        let is_tls = |io: &io::Error| {
            let inner = io.get_ref();
            inner.is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some())
        };
        match malformed(&error) {
            Some(io) if !is_tls(io) => Self::Protocol(io.to_string()),
            _ => Self::ResponseIncomplete,
        }
    }
}

impl Error {
    /// The error for a request without a response.
    pub(crate) fn of_sending(error: &hyper_util::client::legacy::Error) -> Self {
        for cause in chain(error) {
            if let Some(fault) = cause.downcast_ref::<ConnectFault>() {
                return fault.clone().into();
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return Self::of_tls(tls);
            }
            if let Some(http) = cause.downcast_ref::<hyper::Error>() {
                if http.is_parse_too_large() {
                    return Self::ResponseHeaderTooLarge;
                }
                if http.is_parse() {
                    return Self::Protocol(http.to_string());
                }
                // `is_timeout`: an HTTP/2 connection that has not answered a ping.
                if http.is_incomplete_message()
                    || http.is_closed()
                    || http.is_canceled()
                    || http.is_timeout()
                {
                    return Self::Terminated;
                }
            }
            if let Some(http2) = cause.downcast_ref::<h2::Error>()
                && (http2.is_io() || (http2.is_go_away() && http2.is_remote()))
            {
                return Self::Terminated;
            }
            if let Some(io) = cause.downcast_ref::<io::Error>()
                && let Some(error) = Self::of_io(io.kind())
            {
                return error;
            }
        }
        let last = chain(error)
            .last()
            .map_or(String::new(), ToString::to_string);
        if error.is_connect() {
            Self::Unreachable(last)
        } else {
            Self::Protocol(last)
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(reason) => Self::TlsCertificate(reason.to_string()),
            rustls::Error::NoCertificatesPresented => Self::TlsCertificate(error.to_string()),
            rustls::Error::AlertReceived(alert) => Self::TlsAlert {
                code: u8::from(*alert),
                description: format!("{alert:?}"),
            },
            // `wasi:http` has no more specific error code.
            _ => Self::TlsProtocol(error.to_string()),
        }
    }

    /// `None` for kinds that are too general.
    fn of_io(kind: io::ErrorKind) -> Option<Self> {
        match kind {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::TimedOut => Some(Self::ConnectTimeout),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied => Some(Self::Unreachable(kind.to_string())),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Some(Self::Terminated),
            _ => None,
        }
    }
}

/// An error and its causes. `io::Error::source` skips the error that it wraps.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
    // Against an endless chain.
    .take(32)
}
