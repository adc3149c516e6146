//! Error pages for responses that the server makes itself. The caller chooses the status.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

/// The response with the error page for `status`. The page contains the status and no detail. `retry_after` is in
/// whole seconds, rounded down.
pub fn error_page(status: StatusCode, retry_after: Option<Duration>) -> Response<Bytes> {
    let page = content(status);
    let length = HeaderValue::from(page.len());
    let mut response = Response::new(Bytes::from(page));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    // hyper would add it, but only after the access log has read the fields.
    fields.insert(CONTENT_LENGTH, length);
    if let Some(wait) = retry_after {
        fields.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    response
}

/// The same as the bytes of an HTTP/1.1 response, for connections that hyper does not drive. The connection must be
/// closed after it. `reason` replaces the status's reason phrase.
pub fn raw_error_response(status: StatusCode, reason: Option<&str>) -> String {
    let page = content(status);
    let code = status.as_str();
    let reason = reason.or(status.canonical_reason()).unwrap_or_default();
    let length = page.len();
    format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
    )
}

/// Unit's page, to the byte.
fn content(status: StatusCode) -> String {
    let code = status.as_str();
    format!("<!DOCTYPE html><title>Error {code}</title><p>Error {code}.\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_page_has_its_length_and_when_to_retry() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let page = "<!DOCTYPE html><title>Error 503</title><p>Error 503.\r\n";
        let response = error_page(status, Some(Duration::from_millis(1900)));
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), page);
        let fields = response.headers();
        assert_eq!(fields[CONTENT_LENGTH], page.len().to_string());
        assert_eq!(fields[CONTENT_TYPE], "text/html");
        assert_eq!(fields[RETRY_AFTER], "1");
        assert!(!error_page(status, None).headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn a_raw_error_response_says_that_the_connection_is_closed() {
        let page = "<!DOCTYPE html><title>Error 408</title><p>Error 408.\r\n";
        for (reason, said) in [(None, "Request Timeout"), (Some("Too late"), "Too late")] {
            assert_eq!(
                raw_error_response(StatusCode::REQUEST_TIMEOUT, reason),
                format!(
                    "HTTP/1.1 408 {said}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{page}",
                    page.len()
                )
            );
        }
    }
}
