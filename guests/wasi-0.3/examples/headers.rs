//! Prints the request as it sees it, fields in their order.

use guests_03::Answer;
use guests_03::wasip3::http::types::{Method, Request, Scheme};

async fn handle(request: Request) -> Answer {
    let mut text = format!(
        "{} {} {} {}\n",
        method(&request.get_method()),
        match request.get_scheme() {
            Some(Scheme::Http) => "http",
            Some(Scheme::Https) => "https",
            Some(Scheme::Other(_)) => "other",
            None => "none",
        },
        request.get_authority().unwrap_or_default(),
        request.get_path_with_query().unwrap_or_default(),
    )
    .into_bytes();
    for (name, value) in request.get_headers().copy_all() {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(&value);
        text.push(b'\n');
    }
    guests_03::answer(text)
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

guests_03::guest!(handle);
