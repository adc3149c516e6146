//! Responds without reading the body.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(_: IncomingRequest, out: ResponseOutparam) {
    guests::answer(out, "early\n");
}

guests::guest!(handle);
