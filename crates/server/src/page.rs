//! The pages that a client gets where no application answers.

use engine::Answer;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::response::ResponseBody;

/// The response with the error page for `status`.
pub(crate) fn error(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::page(Answer::page(status)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// The page for a request that breaks HTTP's rules: nothing more is read from its connection.
pub(crate) fn refused(status: StatusCode) -> Response<ResponseBody> {
    let mut response = error(status);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
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

/// The whole of a response to a version of HTTP that hyper does not speak (RFC 9110,
/// section 15.6.6).
pub(crate) fn version_not_supported() -> String {
    last(
        "505 HTTP Version Not Supported",
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    )
}

/// The whole of a response to HTTP where TLS is spoken. The text is Unit's.
pub(crate) fn tls_expected() -> String {
    last(
        "400 The plain HTTP request was sent to HTTPS port",
        StatusCode::BAD_REQUEST,
    )
}

/// The only response on its connection.
fn last(line: &str, status: StatusCode) -> String {
    let page = Answer::page(status);
    format!(
        "HTTP/1.1 {line}\r\nContent-Type: text/html\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        page.len(),
        String::from_utf8_lossy(&page)
    )
}
