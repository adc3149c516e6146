//! Continues to work after its complete response, for `?MS` milliseconds, and prints a line then.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    guests::answer(out, "done\n");
    guests::sleep(&guests::query(&request));
    println!("work after the response is done");
}

guests::guest!(handle);
