//! Computes without end; with `?after` in the middle of its response.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let after = guests::query(&request).iter().any(|word| word == "after");
    // A body that is dropped here would be cut off.
    let _body = after.then(|| {
        let body = guests::begin(out, 200, &[]);
        guests::write(&body, b"partial").unwrap();
        body
    });
    loop {
        std::hint::black_box(());
    }
}

guests::guest!(handle);
