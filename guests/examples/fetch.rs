//! Sends an outbound request, as the field `x-fetch` says: `METHOD URL`, then optionally
//! `connect=MS`, `first-byte=MS`, `between-bytes=MS` and `copy-fields`. It passes
//! its own request's body on, and the response back; after an error, it responds with `error: CODE`.

use std::time::Duration;

use guests::wasip2::http::outgoing_handler;
use guests::wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, ResponseOutparam, Scheme,
};
use guests::wasip2::io::streams::StreamError;

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let call = request.headers().get("x-fetch").remove(0);
    let call = String::from_utf8(call).unwrap();
    let words: Vec<&str> = call.split(' ').collect();
    let response = match send(&request, words[0], words[1], &words[2..]) {
        Ok(response) => response,
        Err(code) => return guests::answer(out, format!("error: {code:?}\n")),
    };
    let location = response.headers().get("location");
    let location = location.first().map(|it| String::from_utf8_lossy(it));
    let fields = location.as_deref().map(|it| ("location", it));
    let body = guests::begin(out, response.status(), fields.as_slice());
    let incoming = response.consume().unwrap();
    let input = incoming.stream().unwrap();
    let output = body.write().unwrap();
    loop {
        match input.blocking_read(64 * 1024) {
            Ok(piece) => guests::write_to(&output, &piece).unwrap(),
            Err(StreamError::Closed) => break,
            // Unfinished, so that it is cut off as well.
            Err(StreamError::LastOperationFailed(_)) => return,
        }
    }
    drop(output);
    OutgoingBody::finish(body, None).unwrap();
}

fn send(
    request: &IncomingRequest,
    method: &str,
    url: &str,
    words: &[&str],
) -> Result<IncomingResponse, ErrorCode> {
    let fields = if words.contains(&"copy-fields") {
        request.headers().clone()
    } else {
        Fields::new()
    };
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let outgoing = OutgoingRequest::new(fields);
    outgoing.set_method(&self::method(method)).unwrap();
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    outgoing.set_scheme(Some(&scheme)).unwrap();
    if outgoing.set_authority(Some(authority)).is_err() {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    outgoing.set_path_with_query(Some(path)).unwrap();
    let body = (method != "GET").then(|| outgoing.body().unwrap());
    let future = outgoing_handler::handle(outgoing, options(words))?;
    if let Some(body) = body {
        let (_incoming, input) = guests::open(request);
        let output = body.write().unwrap();
        loop {
            match input.blocking_read(64 * 1024) {
                // The other side may answer before it has all.
                Ok(piece) if guests::write_to(&output, &piece).is_err() => break,
                Ok(_) => {}
                Err(StreamError::Closed) => break,
                // Unfinished, so that the other side sees that it is not all.
                Err(StreamError::LastOperationFailed(_)) => {
                    return Err(ErrorCode::ConnectionTerminated);
                }
            }
        }
        drop(output);
        let _ = OutgoingBody::finish(body, None);
    }
    future.subscribe().block();
    future.get().unwrap().unwrap()
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "POST" => Method::Post,
        other => Method::Other(other.to_owned()),
    }
}

fn options(words: &[&str]) -> Option<RequestOptions> {
    let options = RequestOptions::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            continue;
        };
        let time = Duration::from_millis(value.parse().unwrap());
        let time = Some(u64::try_from(time.as_nanos()).unwrap());
        let set = match name {
            "connect" => options.set_connect_timeout(time),
            "first-byte" => options.set_first_byte_timeout(time),
            "between-bytes" => options.set_between_bytes_timeout(time),
            other => panic!("there is no time-out {other}"),
        };
        set.unwrap();
    }
    Some(options)
}

guests::guest!(handle);
