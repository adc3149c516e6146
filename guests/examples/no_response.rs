//! Returns without a response.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(_: IncomingRequest, _: ResponseOutparam) {}

guests::guest!(handle);
