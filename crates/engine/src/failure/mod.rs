pub(crate) mod error_code;
pub(crate) mod kind;

use std::fmt::{self, Write as _};
use std::time::Duration;

use http::StatusCode;
use tracing::Level;
use unit_log::{BoundedText, Escaped};
use wasmtime::{PoolConcurrencyLimitError, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::{CutOff, FailureKind, RequestId};

/// Bytes of a failure's text in the log.
const MAX_TEXT: usize = 2048;

/// Bytes of a trap's message beside its backtrace.
const MAX_TRAP: usize = 1024;

/// Why a request has no response of its guest's.
///
/// The [`Display`](fmt::Display) form is for the log; a client is told [`Failure::answer`] and
/// nothing else.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The guest trapped: a panic, an overflowing stack, an access out of bounds, memory that it
    /// could not get, …
    Trap(wasmtime::Error),
    /// The guest called `wasi:cli/exit` before it answered.
    Exit(i32),
    /// The guest returned without setting a response.
    NoResponse,
    /// The guest answered with an `error-code` of its own.
    ErrorCode(ErrorCode),
    /// The guest set an informational status, which is no final response (RFC 9110, section 15.2).
    InterimStatus(StatusCode),
    /// The guest's response was broken before any of it was sent.
    Broken(CutOff),
    /// The response did not start within [`Limits::timeout`](crate::Limits::timeout).
    Timeout(Duration),
    /// The guest computed for longer than
    /// [`Limits::execution_timeout`](crate::Limits::execution_timeout).
    ExecutionTimeout(Duration),
    /// The instance is gone, through the fault of another request that it served at the same time.
    Lost,
    /// All instances were busy for a second, or as many requests of the application in progress as
    /// there may be, or too many wait already.
    Busy,
    /// The instance could not be made: too little memory is free, most often.
    Instantiate(wasmtime::Error),
    /// The request cannot be told to a guest.
    Request(wasmtime::Error),
    /// The host panicked while it worked for the guest. A defect of ours.
    Panic(String),
}

/// What a client gets for a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of the response.
    pub status: StatusCode,
    /// What to send as `Retry-After`, if anything.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// What the client gets. This is the one place where kinds of failure become status codes.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let (status, retry_after) = match self {
            Self::Trap(_)
            | Self::Exit(_)
            | Self::NoResponse
            | Self::InterimStatus(_)
            | Self::Broken(_)
            | Self::Lost
            | Self::Panic(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
            Self::ErrorCode(code) => (status_of(code), None),
            Self::Timeout(_) | Self::ExecutionTimeout(_) => (StatusCode::GATEWAY_TIMEOUT, None),
            Self::Busy | Self::Instantiate(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Duration::from_secs(1)),
            ),
            Self::Request(_) => (StatusCode::BAD_REQUEST, None),
        };
        Answer {
            status,
            retry_after,
        }
    }

    /// What kind it is of.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Trap(_) => FailureKind::Trap,
            Self::Exit(_) => FailureKind::Exit,
            Self::NoResponse => FailureKind::NoResponse,
            Self::ErrorCode(_) => FailureKind::ErrorCode,
            Self::InterimStatus(_) => FailureKind::InterimStatus,
            Self::Broken(_) => FailureKind::Broken,
            Self::Timeout(_) => FailureKind::Timeout,
            Self::ExecutionTimeout(_) => FailureKind::ExecutionTimeout,
            Self::Lost => FailureKind::Lost,
            Self::Busy => FailureKind::Busy,
            Self::Instantiate(_) => FailureKind::Instantiate,
            Self::Request(_) => FailureKind::Request,
            Self::Panic(_) => FailureKind::Panic,
        }
    }

    /// Writes the failure to the log: the guest's own doing as an error of the application, what
    /// load or the client brought about as a warning.
    pub(crate) fn log(&self, application: &str, request: RequestId) {
        let level = match self {
            Self::Trap(_)
            | Self::Exit(_)
            | Self::NoResponse
            | Self::InterimStatus(_)
            | Self::Broken(_)
            | Self::Lost
            | Self::Panic(_)
            | Self::ExecutionTimeout(_)
            | Self::ErrorCode(_) => Level::ERROR,
            Self::Timeout(_) | Self::Busy | Self::Instantiate(_) | Self::Request(_) => Level::WARN,
        };
        if level == Level::ERROR {
            tracing::error!(application, %request, "{self}");
        } else {
            tracing::warn!(application, %request, "{self}");
        }
    }

    /// The failure behind an error that ended a guest.
    pub(crate) fn of_guest(error: wasmtime::Error) -> Self {
        // It has met a limit of the pool that all instances share.
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::Busy;
        }
        match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => Self::Exit(*code),
            None => Self::Trap(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(error) => {
                let cause = Bounded(MAX_TRAP, error.root_cause());
                write!(f, "the guest trapped: {cause}")?;
                match error.downcast_ref::<WasmBacktrace>() {
                    Some(backtrace) => write!(f, "; {}", Bounded(MAX_TEXT, Frames(backtrace))),
                    None => Ok(()),
                }
            }
            Self::Exit(code) => write!(f, "the guest exited with {code} before it answered"),
            Self::NoResponse => f.write_str("the guest returned without a response"),
            Self::ErrorCode(code) => {
                let code = format_args!("{code:?}");
                let code = Bounded(MAX_TEXT, code);
                write!(f, "the guest answered with an error: {code}")
            }
            Self::InterimStatus(status) => {
                write!(
                    f,
                    "the guest set status {}, which is no final response",
                    status.as_u16()
                )
            }
            Self::Broken(cut_off) => write!(f, "nothing of the response was sent: {cut_off}"),
            Self::Timeout(limit) => {
                write!(f, "no response within {} seconds", limit.as_secs_f64())
            }
            Self::ExecutionTimeout(limit) => {
                write!(
                    f,
                    "the guest computed for longer than {} seconds",
                    limit.as_secs_f64()
                )
            }
            Self::Lost => f.write_str("the instance was lost over another request that it served"),
            Self::Busy => {
                f.write_str("no instance, or no place within limits.concurrency, came free in time")
            }
            Self::Instantiate(error) => {
                write!(
                    f,
                    "no instance could be made: {}",
                    Bounded(MAX_TEXT, Chain(error))
                )
            }
            Self::Request(error) => {
                write!(
                    f,
                    "the request cannot be told to a guest: {}",
                    Bounded(MAX_TEXT, Chain(error))
                )
            }
            Self::Panic(message) => {
                write!(f, "the host panicked: {}", Bounded(MAX_TEXT, message))
            }
        }
    }
}

impl std::error::Error for Failure {}

/// 502 for what a guest met beyond itself, 500 for what it did itself.
fn status_of(code: &ErrorCode) -> StatusCode {
    match code {
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTerminated
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_)
        | ErrorCode::HttpResponseIncomplete
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_)
        | ErrorCode::HttpResponseTransferCoding(_)
        | ErrorCode::HttpResponseContentCoding(_)
        | ErrorCode::HttpResponseTimeout
        | ErrorCode::HttpUpgradeFailed
        | ErrorCode::HttpProtocolError => StatusCode::BAD_GATEWAY,
        ErrorCode::HttpRequestDenied
        | ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_)
        | ErrorCode::LoopDetected
        | ErrorCode::ConfigurationError
        | ErrorCode::InternalError(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Text that a guest can influence, on one line and of at most so many bytes, before what could do
/// something in a log is escaped.
struct Bounded<T>(usize, T);

impl<T: fmt::Display> fmt::Display for Bounded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(limit, text) = self;
        let text = BoundedText::of(*limit, text);
        let lines = text.as_str().lines().map(str::trim);
        for (n, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            Escaped(&mut *f).write_str(line)?;
        }
        if text.is_cut() {
            f.write_str("… (cut)")?;
        }
        Ok(())
    }
}

/// An error that is not a trap, with what led to it. The guest's frames that Wasmtime adds to it are left
/// out: see [`Frames`].
struct Chain<'a>(&'a wasmtime::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        match error.downcast_ref::<WasmBacktrace>() {
            Some(_) => write!(f, "{}", error.root_cause()),
            None => write!(f, "{error:#}"),
        }
    }
}

/// The guest's frames, as Wasmtime writes them, but for C++: its names are left as the linker has them.
///
/// Wasmtime has them demangled, by `cpp_demangle`, into a string of no bounded length: a name may refer to
/// parts of itself, a thousand times to a part that does the same. A component with such a name would
/// take all of the machine's memory by a trap.
struct Frames<'a>(&'a WasmBacktrace);

impl fmt::Display for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error while executing at wasm backtrace:")?;
        for (number, frame) in self.0.frames().iter().enumerate() {
            let module = frame.module().name().unwrap_or("<unknown>");
            write!(f, "\n  {number:>3}: ")?;
            if let Some(offset) = frame.module_offset() {
                write!(f, "{offset:#8x} - ")?;
            }
            write!(f, "{module}!")?;
            match frame.func_name() {
                // It is bounded in depth and in length, and stops when it cannot write.
                Some(name) => match rustc_demangle::try_demangle(name) {
                    Ok(name) => write!(f, "{name}")?,
                    Err(_) => f.write_str(name)?,
                },
                None => write!(f, "<wasm function {}>", frame.func_index())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, wat_guest};

    #[test]
    fn what_a_guest_met_beyond_itself_is_a_bad_gateway() {
        assert_eq!(
            Failure::ErrorCode(ErrorCode::ConnectionRefused)
                .answer()
                .status,
            502
        );
        assert_eq!(
            Failure::ErrorCode(ErrorCode::InternalError(None))
                .answer()
                .status,
            500
        );
    }

    #[test]
    fn busy_tells_when_to_come_back() {
        let answer = Failure::Busy.answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.retry_after, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_name_of_cpp_is_not_demangled_for_a_backtrace() {
        // A thousand times a thousand parameters, of which the second thousand are the first.
        let name = format!("_Z1f1aI{}E1bI{}E", "i".repeat(1000), "S0_".repeat(1000));
        let module = |name: &str| {
            format!(
                r#"(core module $module
                    (func (export "handle") (param i32 i32) call $fails)
                    (func $fails (@name "{name}") unreachable)
                )"#
            )
        };
        let traps = |name: &str| {
            let application = wat_guest::application(&module(name), Settings::new("a"));
            wat_guest::failure(&application).to_string()
        };
        let text = traps(&name);
        assert!(text.contains("wasm backtrace:;"), "{text}");
        assert!(text.contains("!_Z1f1aIiii"), "{text}");
        assert!(text.contains("… (cut)"), "{text}");
        assert!(text.len() < MAX_TEXT + MAX_TRAP, "{} bytes", text.len());
        let text = traps("_ZN4main1fE");
        assert!(text.contains("!main::f;"), "{text}");
    }

    #[test]
    fn a_guests_text_cannot_break_or_flood_the_log() {
        assert_eq!(
            Bounded(MAX_TEXT, "a\n\n  b\u{1b}[0m\r\nc").to_string(),
            "a; b\\u{1b}[0m; c"
        );
        assert_eq!(Bounded(MAX_TEXT, "a\u{202e}b").to_string(), "a\\u{202e}b");
        let long = Bounded(MAX_TEXT, "é".repeat(10_000)).to_string();
        assert!(long.ends_with("é… (cut)"), "{long}");
        assert!(long.len() < MAX_TEXT + 50);
        let code = ErrorCode::InternalError(Some("x".repeat(1 << 20)));
        assert!(Failure::ErrorCode(code).to_string().len() < MAX_TEXT + 100);
    }
}
