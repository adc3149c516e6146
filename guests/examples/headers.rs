//! Prints the request as it sees it, fields in their order.

use guests::wasip2::http::types::{IncomingRequest, Method, ResponseOutparam, Scheme};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let mut text = format!(
        "{} {} {} {}\n",
        method(&request.method()),
        match request.scheme() {
            Some(Scheme::Http) => "http",
            Some(Scheme::Https) => "https",
            Some(Scheme::Other(_)) => "other",
            None => "none",
        },
        request.authority().unwrap_or_default(),
        request.path_with_query().unwrap_or_default(),
    )
    .into_bytes();
    for (name, value) in request.headers().entries() {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(&value);
        text.push(b'\n');
    }
    guests::answer(out, text);
}

fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

guests::guest!(handle);
