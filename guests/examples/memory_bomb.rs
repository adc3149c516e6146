//! Allocates memory without end.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(_: IncomingRequest, out: ResponseOutparam) {
    let mut all: Vec<Vec<u8>> = Vec::new();
    while all.len() < 1 << 20 {
        all.push(vec![1; 1 << 20]);
    }
    guests::answer(out, "a tebibyte\n");
}

guests::guest!(handle);
