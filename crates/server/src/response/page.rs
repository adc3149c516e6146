//! The pages that a client gets where no application answers.

use engine::Answer;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode, Version};

use crate::response::body::ResponseBody;
use crate::response::head;

/// The response with the error page for `status`.
pub(crate) fn error(status: StatusCode) -> Response<ResponseBody> {
    let page = Answer::page(status);
    let length = HeaderValue::from(page.len());
    let mut response = Response::new(ResponseBody::page(page));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    // hyper would add it, but behind the access log, which tells of it.
    fields.insert(CONTENT_LENGTH, length);
    response
}

/// The page for a request that breaks HTTP's rules: nothing more is read from its connection.
pub(crate) fn refused(status: StatusCode) -> Response<ResponseBody> {
    let mut response = error(status);
    head::close(&mut response, Version::HTTP_11);
    response
}

/// The page for a failed guest.
pub(crate) fn failure(failure: &engine::Failure) -> Response<ResponseBody> {
    let answer = failure.answer();
    let mut response = error(answer.status);
    if let Some(wait) = answer.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    response
}

/// The whole of a response that hyper has no part in, and behind which the connection is closed.
pub(crate) fn last_words(status: StatusCode) -> String {
    last(
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        status,
    )
}

/// The same to HTTP where TLS is spoken. The text is Unit's.
pub(crate) fn tls_expected() -> String {
    let reason = "The plain HTTP request was sent to HTTPS port";
    last("400", reason, StatusCode::BAD_REQUEST)
}

fn last(code: &str, reason: &str, status: StatusCode) -> String {
    let page = Answer::page(status);
    format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        page.len(),
        String::from_utf8_lossy(&page)
    )
}
