//! Announces 10 bytes and writes 4, or none: `?finish`, `?drop` or `?none`, after `&MS` milliseconds.

use guests::wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    let has = |wanted| query.iter().any(|word| word == wanted);
    if has("none") {
        let headers = Fields::new();
        headers.append("content-length", b"10").unwrap();
        ResponseOutparam::set(out, Ok(OutgoingResponse::new(headers)));
        guests::sleep(&query);
        return;
    }
    let body = guests::begin(out, 200, &[("content-length", "10")]);
    guests::write(&body, b"four").unwrap();
    guests::sleep(&query);
    if has("drop") {
        drop(body);
    } else {
        assert!(
            OutgoingBody::finish(body, None).is_err(),
            "the host did not count"
        );
    }
}

guests::guest!(handle);
