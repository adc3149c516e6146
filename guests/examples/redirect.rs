//! Redirects to a path of its own authority.

use guests::wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let authority = request.authority().unwrap();
    let location = format!("http://{authority}/next");
    let body = guests::begin(out, 302, &[("location", &location)]);
    OutgoingBody::finish(body, None).unwrap();
}

guests::guest!(handle);
