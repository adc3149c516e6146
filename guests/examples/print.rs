//! Prints `?N` lines, then responds.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    for line in 1..=guests::number(&guests::query(&request)) {
        println!("line {line}");
    }
    guests::answer(out, "printed\n");
}

guests::guest!(handle);
