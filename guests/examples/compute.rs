//! Computes for `?before=MS` before its response, and for `?after=MS` within it.

use guests::wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    guests::compute(guests::value(&query, "before"));
    let body = guests::begin(out, 200, &[]);
    let stream = body.write().unwrap();
    guests::write_to(&stream, b"computing\n").unwrap();
    guests::compute(guests::value(&query, "after"));
    guests::write_to(&stream, b"computed\n").unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

guests::guest!(handle);
