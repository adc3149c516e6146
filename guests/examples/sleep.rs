//! Sleeps for `?MS` milliseconds before its response.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    guests::sleep(&guests::query(&request));
    guests::answer(out, "slept\n");
}

guests::guest!(handle);
