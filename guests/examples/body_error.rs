//! Reads the request's body, or that of the response from the URL in the field `x-fetch`, and
//! responds with how it ended: `whole`, or the error code. It also prints that.

use guests::wasip2::http::outgoing_handler;
use guests::wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingRequest, ResponseOutparam, Scheme,
    http_error_code,
};
use guests::wasip2::io::streams::StreamError;

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let url = request.headers().get("x-fetch").pop();
    let body = match url {
        Some(url) => fetch(&String::from_utf8(url).unwrap()),
        None => request.consume().unwrap(),
    };
    let end = read(body).map_or_else(|code| format!("{code:?}\n"), |()| "whole\n".to_owned());
    print!("the body ended: {end}");
    guests::answer(out, end);
}

/// Reads a body to its end. The stream and the trailers have the same error.
fn read(body: IncomingBody) -> Result<(), ErrorCode> {
    let stream = body.stream().unwrap();
    let code = loop {
        match stream.blocking_read(64 * 1024) {
            Ok(_) => {}
            Err(StreamError::Closed) => break None,
            Err(StreamError::LastOperationFailed(error)) => {
                break Some(http_error_code(&error).expect("an error without a code"));
            }
        }
    };
    drop(stream);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    let trailers = trailers.get().unwrap().unwrap();
    let of_trailers = trailers.as_ref().err().map(|code| format!("{code:?}"));
    assert_eq!(code.as_ref().map(|code| format!("{code:?}")), of_trailers);
    trailers.map(drop)
}

fn fetch(url: &str) -> IncomingBody {
    let (authority, path) = url
        .strip_prefix("http://")
        .and_then(|rest| Some(rest.split_at(rest.find('/')?)))
        .unwrap();
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    let response = outgoing_handler::handle(request, None).unwrap();
    response.subscribe().block();
    let response = response.get().unwrap().unwrap().unwrap();
    response.consume().unwrap()
}

guests::guest!(handle);
