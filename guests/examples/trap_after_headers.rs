//! Traps in the middle of its response, `?MS` milliseconds after its first bytes; after its
//! end with `&finished`.

use guests::wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    let has = |wanted| query.iter().any(|word| word == wanted);
    let fields: &[_] = if has("length=100") {
        &[("content-length", "100")]
    } else {
        &[]
    };
    let body = guests::begin(out, 200, fields);
    guests::write(&body, b"partial").unwrap();
    if has("finished") {
        OutgoingBody::finish(body, None).unwrap();
        guests::sleep(&query);
        panic!("a secret of the guest");
    }
    guests::sleep(&query);
    panic!("a secret of the guest");
}

guests::guest!(handle);
