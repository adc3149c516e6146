//! A component that answers with what it was asked: the guest of the README's walkthrough.
//!
//! A component of the `wasi:http/proxy` world exports one function, `handle`. The server makes a
//! new instance of the component for every request and calls it once, with two handles: one to
//! read the request from, one to say what the response is. Everything behind a handle lives on
//! the server's side; the component sees bytes only where it asks for them.

use std::fmt::Write as _;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
    Scheme,
};
use wasip2::io::streams::{OutputStream, StreamError};

/// As much of the request's body as is shown.
const MAX_BODY: usize = 64 * 1024;

/// What `blocking-write-and-flush` takes in one go.
const MAX_WRITE: usize = 4096;

struct Example;

// Makes `Example` the component's `wasi:http/incoming-handler`.
wasip2::http::proxy::export!(Example);

impl Guest for Example {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let text = match describe(&request) {
            Ok(text) => text,
            // The server turns an error into a status of its own.
            Err(error) => return ResponseOutparam::set(response_out, Err(error)),
        };
        respond(response_out, &text);
    }
}

/// The response's text. It is bytes, since a body need not be UTF-8.
fn describe(request: &IncomingRequest) -> Result<Vec<u8>, ErrorCode> {
    let mut head = String::from(" * Welcome to the component model in Rust! *\n\n[Request Info]\n");
    let path = request.path_with_query().unwrap_or_default();
    let authority = request.authority().unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = write!(
        head,
        "REQUEST_PATH = {path}\nMETHOD = {}\nSCHEME = {}\nAUTHORITY = {authority}\n\n[Request Headers]\n",
        method(&request.method()),
        scheme(request.scheme().as_ref()),
    );
    let mut text = head.into_bytes();
    for (name, value) in request.headers().entries() {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b" = ");
        // A value may be any bytes but control characters.
        text.extend_from_slice(String::from_utf8_lossy(&value).as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"\n[Request Data]\n");
    read_body(request, &mut text)?;
    text.push(b'\n');
    Ok(text)
}

fn read_body(request: &IncomingRequest, text: &mut Vec<u8>) -> Result<(), ErrorCode> {
    let failed = || ErrorCode::InternalError(Some("the request's body cannot be read".to_owned()));
    let body = request.consume().map_err(|()| failed())?;
    let stream = body.stream().map_err(|()| failed())?;
    let mut left = MAX_BODY;
    while left > 0 {
        match stream.blocking_read(left as u64) {
            Ok(piece) => {
                left = left.saturating_sub(piece.len());
                text.extend_from_slice(&piece);
            }
            // The body's end, which may come as early as the first read.
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(failed()),
        }
    }
    Ok(())
}

fn respond(response_out: ResponseOutparam, text: &[u8]) {
    let headers = Fields::new();
    // Both are fields that any component may set; if not, the response goes without them.
    let _ = headers.set("content-type", &[b"text/plain".to_vec()]);
    let _ = headers.set("content-length", &[text.len().to_string().into_bytes()]);
    let response = OutgoingResponse::new(headers);
    let Ok(body) = response.body() else {
        let error = ErrorCode::InternalError(Some("the response has no body".to_owned()));
        return ResponseOutparam::set(response_out, Err(error));
    };
    // From here on the server sends: first the head, then what is written to the body.
    ResponseOutparam::set(response_out, Ok(response));
    if let Ok(stream) = body.write() {
        // Fails if the client has left: there is no one to report it to.
        let _ = write_all(&stream, text);
    }
    // The stream is dropped by now, as it must be before its body is finished.
    let _ = OutgoingBody::finish(body, None);
}

fn write_all(stream: &OutputStream, text: &[u8]) -> Result<(), StreamError> {
    text.chunks(MAX_WRITE)
        .try_for_each(|piece| stream.blocking_write_and_flush(piece))
}

fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

fn scheme(scheme: Option<&Scheme>) -> &str {
    match scheme {
        Some(Scheme::Http) | None => "http",
        Some(Scheme::Https) => "https",
        Some(Scheme::Other(name)) => name,
    }
}
