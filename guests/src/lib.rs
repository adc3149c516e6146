//! What the guests of the tests share. Each guest is one file in `examples/`, with one purpose.
//!
//! A guest whose host breaks the rules may panic: the test that runs it fails then.

mod words;

use std::time::Duration;

pub use wasip2;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

pub use words::{authority_and_path, compute, number, value};

/// Makes the function `handle` of the guest its handler.
#[macro_export]
macro_rules! guest {
    ($handle:path) => {
        struct Handler;

        impl $crate::wasip2::exports::http::incoming_handler::Guest for Handler {
            fn handle(
                request: $crate::wasip2::http::types::IncomingRequest,
                out: $crate::wasip2::http::types::ResponseOutparam,
            ) {
                $handle(request, out);
            }
        }

        $crate::wasip2::http::proxy::export!(Handler with_types_in $crate::wasip2);
    };
}

/// The words of the query: `?a&b=c` has `a` and `b=c`.
#[must_use]
pub fn query(request: &IncomingRequest) -> Vec<String> {
    words::of_path(&request.path_with_query().unwrap_or_default())
}

/// Waits for as many milliseconds as the first number among the words says.
pub fn sleep(words: &[String]) {
    let wait = number(words);
    if wait > 0 {
        std::thread::sleep(Duration::from_millis(wait));
    }
}

/// Sets a response with these fields, whose body is still to be written.
///
/// # Panics
///
/// When the host refuses the fields.
#[must_use]
pub fn begin(out: ResponseOutparam, status: u16, fields: &[(&str, &str)]) -> OutgoingBody {
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).unwrap();
    }
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    body
}

/// Answers 200 with this text, and returns when the host has it.
///
/// # Panics
///
/// When the host does not take it.
pub fn answer(out: ResponseOutparam, text: impl AsRef<[u8]>) {
    let body = begin(out, 200, &[("content-type", "text/plain")]);
    write(&body, text.as_ref()).unwrap();
    OutgoingBody::finish(body, None).unwrap();
}

/// Writes a piece of the body, and waits until the host has taken it.
///
/// # Errors
///
/// When the body's reader is gone, or the body is longer than announced.
///
/// # Panics
///
/// When there is a stream of this body already.
pub fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
    write_to(&body.write().unwrap(), bytes)
}

/// The same, on a stream that stays open.
///
/// # Errors
///
/// As [`write`].
pub fn write_to(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes
        .chunks(4096)
        .try_for_each(|piece| stream.blocking_write_and_flush(piece))
}

/// The request's body, and its stream for reading; the stream has to go first.
///
/// # Panics
///
/// When it has been taken before.
#[must_use]
pub fn open(request: &IncomingRequest) -> (IncomingBody, InputStream) {
    let body = request.consume().unwrap();
    let stream = body.stream().unwrap();
    (body, stream)
}
