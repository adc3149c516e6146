//! Responds with 14 bytes: the smallest guest, and the benchmarks' one.

use guests::wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(_: IncomingRequest, out: ResponseOutparam) {
    let body = guests::begin(
        out,
        200,
        &[("content-type", "text/plain"), ("content-length", "14")],
    );
    guests::write(&body, b"Hello, world!\n").unwrap();
    OutgoingBody::finish(body, None).unwrap();
}

guests::guest!(handle);
