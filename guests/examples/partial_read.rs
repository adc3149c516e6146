//! Reads one piece of the body and leaves the rest.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let (_body, stream) = guests::open(&request);
    let length = stream
        .blocking_read(16 * 1024)
        .map_or(0, |piece| piece.len());
    guests::answer(out, format!("{length}\n"));
}

guests::guest!(handle);
