//! Computes without end; with `?after` in the middle of its response.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    if guests::query(&request).iter().any(|word| word == "after") {
        let body = guests::begin(out, 200, &[]);
        guests::write(&body, b"partial").unwrap();
    }
    loop {
        std::hint::black_box(());
    }
}

guests::guest!(handle);
