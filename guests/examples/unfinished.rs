//! Leaves its body unfinished: `?leak` or `?drop`, after `&MS` milliseconds.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    let body = guests::begin(out, 200, &[]);
    let stream = body.write().unwrap();
    guests::write_to(&stream, b"partial").unwrap();
    guests::sleep(&query);
    if query.iter().any(|word| word == "leak") {
        std::mem::forget((stream, body));
    } else {
        drop(stream);
        drop(body);
    }
}

guests::guest!(handle);
