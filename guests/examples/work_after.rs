//! Works on after its whole answer, for `?MS` milliseconds, and says so in the log.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    guests::answer(out, "done\n");
    guests::sleep(&guests::query(&request));
    println!("work after the response is done");
}

guests::guest!(handle);
