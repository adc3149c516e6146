//! Counts the bytes of the request.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam, http_error_code};
use guests::wasip2::io::streams::StreamError;

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let (_body, stream) = guests::open(&request);
    let mut count = 0;
    let text = loop {
        match stream.blocking_read(64 * 1024) {
            Ok(piece) => count += piece.len(),
            Err(StreamError::Closed) => break format!("{count}\n"),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = http_error_code(&error);
                break format!("error: {code:?} after {count}\n");
            }
        }
    };
    guests::answer(out, text);
}

guests::guest!(handle);
