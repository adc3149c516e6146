//! Sends an outbound request, as the field `x-fetch` says: `METHOD URL`, then optionally
//! `connect=MS`, `first-byte=MS`, `between-bytes=MS` and `copy-fields`. It passes
//! its own request's body on, and the response back; after an error, it responds with `error: CODE`. The host
//! moves both bodies.

use std::time::Duration;

use guests_03::wasip3::http::client;
use guests_03::wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme,
};
use guests_03::wasip3::wit_future;
use guests_03::{Answer, Incoming};

async fn handle(request: Request) -> Answer {
    let call = request.get_headers().get("x-fetch").remove(0);
    let call = String::from_utf8(call).unwrap();
    let words: Vec<&str> = call.split(' ').collect();
    let response = match send(request, words[0], words[1], &words[2..]).await {
        Ok(response) => response,
        Err(code) => return guests_03::answer(format!("error: {code:?}\n")),
    };
    let status = response.get_status_code();
    let fields = Fields::new();
    for location in response.get_headers().get("location") {
        fields.append("location", &location).unwrap();
    }
    let (_, taken) = wit_future::new(|| Ok(()));
    let (body, end) = Response::consume_body(response, taken);
    let answer = Response::new(fields, Some(body), end).0;
    answer.set_status_code(status).unwrap();
    Ok(answer)
}

async fn send(request: Request, method: &str, url: &str, words: &[&str]) -> Answer {
    let fields = if words.contains(&"copy-fields") {
        request.get_headers().clone()
    } else {
        Fields::new()
    };
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let options = Some(options(words));
    let outgoing = if method == "GET" {
        let (_, no_trailers) = wit_future::new(|| Ok(None));
        Request::new(fields, None, no_trailers, options).0
    } else {
        let (body, end) = Incoming::of(request).into_parts();
        Request::new(fields, Some(body), end, options).0
    };
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
    client::send(outgoing).await
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "POST" => Method::Post,
        other => Method::Other(other.to_owned()),
    }
}

fn options(words: &[&str]) -> RequestOptions {
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
    options
}

guests_03::guest!(handle);
