//! Announces 4 bytes and writes 9, `?MS` milliseconds later.

use guests::wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let body = guests::begin(out, 200, &[("content-length", "4")]);
    guests::sleep(&guests::query(&request));
    // The host may refuse what is too much.
    let _ = guests::write(&body, b"123456789");
    let _ = OutgoingBody::finish(body, None);
}

guests::guest!(handle);
