//! Reads one piece of the body and leaves the rest unread; with `?keep`, it keeps the body for as long as the
//! instance lives.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let keeps = guests::query(&request).iter().any(|word| word == "keep");
    let (body, stream) = guests::open(&request);
    let length = stream
        .blocking_read(16 * 1024)
        .map_or(0, |piece| piece.len());
    if keeps {
        std::mem::forget((stream, body));
    }
    guests::answer(out, format!("{length}\n"));
}

guests::guest!(handle);
