//! Traps before its response.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(_: IncomingRequest, _: ResponseOutparam) {
    panic!("a secret of the guest");
}

guests::guest!(handle);
