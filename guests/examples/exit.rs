//! Exits with status 3: `?before` its response, or `?after` its complete response.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    if guests::query(&request).iter().any(|word| word == "after") {
        guests::answer(out, "answered\n");
    }
    std::process::exit(3);
}

guests::guest!(handle);
