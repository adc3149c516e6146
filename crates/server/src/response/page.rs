//! Error pages as responses of this server, with the connection closed where the request was broken. Their text is
//! made by `http_message::error_page`.

use http::{Response, StatusCode, Version};
use http_message::error_page;

use super::content::Content;
use super::head;

/// The response with the error page for `status`.
pub(crate) fn error(status: StatusCode) -> Response<Content> {
    error_page(status, None).map(Content::page)
}

/// An error page after which the connection is closed: the request is invalid or too large, or its body will not be
/// read.
pub(crate) fn refused(status: StatusCode) -> Response<Content> {
    let mut response = error(status);
    head::close(&mut response, Version::HTTP_11);
    response
}

/// The page for a failed guest.
pub(crate) fn failure(failure: &engine::Failure) -> Response<Content> {
    let answer = failure.answer();
    error_page(answer.status, answer.retry_after).map(Content::page)
}
