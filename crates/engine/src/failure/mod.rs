//! Why a request has no response of its guest: the kinds, what the client gets, what the log says. What ends a
//! body after its head was sent is a [`CutOff`].

pub(crate) mod cut_off;
pub(crate) mod error_code;
pub(crate) mod kind;
mod text;

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use tracing::Level;
use wasmtime::{PoolConcurrencyLimitError, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::RequestId;
use crate::failure::cut_off::CutOff;
use crate::failure::error_code::status_of;
use crate::failure::kind::FailureKind;
use crate::failure::text::{Bounded, Chain, Frames, MAX_TEXT, MAX_TRAP};

/// Why a request has no response of its guest.
///
/// The [`Display`](fmt::Display) form is for the log and may contain text of the guest (bounded, escaped).
/// Clients get [`Failure::answer`] only.
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
    /// The guest set an informational status (1xx), which is not a final response (RFC 9110, section 15.2).
    InterimStatus(StatusCode),
    /// The guest's response was broken before any of it was sent.
    Broken(CutOff),
    /// The response did not start within [`Limits::timeout`](crate::Limits::timeout).
    Timeout(Duration),
    /// The guest computed for longer than
    /// [`Limits::execution_timeout`](crate::Limits::execution_timeout).
    ExecutionTimeout(Duration),
    /// The instance failed over another request that it served at the same time
    /// ([`Instances::concurrency`](crate::Instances::concurrency)).
    Lost,
    /// The concurrency limit or the instance limit was reached and nothing came free within a second, or the
    /// queue was full.
    Busy,
    /// The instance could not be made; most often, too little memory is free.
    Instantiate(wasmtime::Error),
    /// The request cannot be represented in `wasi:http`, as one without an authority.
    Request(wasmtime::Error),
    /// The host panicked while it worked for the guest: a defect of this crate or of Wasmtime.
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
    /// What the client gets. The only place where failures become status codes: there is no catch-all arm, so
    /// that a new variant forces a decision.
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

    /// The failure without its detail, for counting.
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

    /// Writes the failure to the log: as an error where the guest is at fault, as a warning where load or the
    /// client is. `consequence` is what the server does about it.
    pub(crate) fn log(
        &self,
        application: &str,
        request: RequestId,
        consequence: impl fmt::Display,
    ) {
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
            tracing::error!(application, %request, "{self}; {consequence}");
        } else {
            tracing::warn!(application, %request, "{self}; {consequence}");
        }
    }

    /// Sorts the error with which Wasmtime ended a guest.
    pub(crate) fn of_guest(error: wasmtime::Error) -> Self {
        // The pool's own limits are met by load, and are not the guest's fault.
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
            Self::Exit(code) => write!(f, "the guest called exit({code}) before it set a response"),
            Self::NoResponse => f.write_str("the guest returned without a response"),
            Self::ErrorCode(code) => {
                let code = format_args!("{code:?}");
                let code = Bounded(MAX_TEXT, code);
                write!(f, "the guest answered with an error: {code}")
            }
            Self::InterimStatus(status) => {
                write!(
                    f,
                    "the guest set status {}, which is not a final response",
                    status.as_u16()
                )
            }
            Self::Broken(cut_off) => write!(
                f,
                "the response is broken, and none of it was sent: {cut_off}"
            ),
            Self::Timeout(limit) => {
                write!(
                    f,
                    "no response within {} seconds (limits.timeout)",
                    limit.as_secs_f64()
                )
            }
            Self::ExecutionTimeout(limit) => {
                write!(
                    f,
                    "the guest computed for longer than {} seconds (limits.execution_timeout)",
                    limit.as_secs_f64()
                )
            }
            Self::Lost => f.write_str(
                "the instance failed over another request that it served at the same time",
            ),
            Self::Busy => {
                f.write_str("limits.concurrency or the limit of instances was reached, and nothing became free in time")
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
                    "the request cannot be passed to the guest: {}",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, wat_guest};

    #[test]
    fn an_error_code_about_another_server_is_a_bad_gateway() {
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
    fn busy_has_a_retry_after() {
        let answer = Failure::Busy.answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.retry_after, Some(Duration::from_secs(1)));
    }

    #[test]
    fn cpp_names_in_backtraces_are_not_demangled() {
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
    fn text_of_guests_cannot_inject_or_flood_log_lines() {
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
