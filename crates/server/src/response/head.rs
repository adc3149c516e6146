//! Completes the head of each response: `server`, `connection`, and what hyper leaves to its caller.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, SERVER, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;

use super::content::Content;

/// Marks a response that is to have no `server` field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithoutServer;

/// Makes the response fit its status, and the version and method of its request.
///
/// `name`: of this server, for the `server` field.
pub(crate) fn prepare(
    response: &mut Response<Content>,
    version: Version,
    method: &Method,
    name: &HeaderValue,
) {
    if response.extensions().get::<WithoutServer>().is_none() {
        let fields = response.headers_mut();
        fields.entry(SERVER).or_insert_with(|| name.clone());
    }
    let status = response.status();
    if version == Version::HTTP_2 && *method == Method::HEAD {
        // hyper does so in HTTP/1 alone. What else answers has none to begin with.
        response.body_mut().discard_page();
    }
    if status == StatusCode::OK && version == Version::HTTP_11 {
        return;
    }
    if status == StatusCode::RESET_CONTENT {
        remove_content(response);
    }
    if version >= Version::HTTP_2 {
        return;
    }
    if status.canonical_reason().is_none() {
        // hyper would write `<none>`. The space before it stays (RFC 9112, section 4).
        let none = ReasonPhrase::from_static(b"");
        response.extensions_mut().insert(none);
    }
    if version == Version::HTTP_10
        && (says_close(response) || ends_with_connection(response, method))
    {
        close(response, version);
    }
}

/// Closes the connection after the response, and says so in its head.
pub(crate) fn close(response: &mut Response<Content>, version: Version) {
    response.body_mut().closes_connection = true;
    let fields = response.headers_mut();
    let close = HeaderValue::from_static("close");
    if http_message::has_token(fields, &CONNECTION, "upgrade") {
        // RFC 9110, section 7.8: `upgrade`, which a 426 has for one, must be named beside it.
        fields.append(CONNECTION, close);
    } else {
        fields.insert(CONNECTION, close);
    }
    if version == Version::HTTP_10 {
        // Otherwise hyper adds `keep-alive` to it, where the client has asked for that.
        *response.version_mut() = Version::HTTP_10;
    }
}

/// Leaves out the length of a response over HTTP/2 whose request is still being sent. When curl 7.88 has
/// as much as that, it reads nothing more, not even the window update that lets it send more. At statuses from
/// 300 on it stops sending, which it may do only if it knows then that the response is complete.
///
/// Returns whether the body has to hide its length, too.
pub(crate) fn hide_length(response: &mut Response<Content>, method: &Method) -> bool {
    let is_hidden = *method != Method::HEAD && response.status().is_success();
    if is_hidden {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    is_hidden
}

pub(crate) fn says_close(response: &Response<Content>) -> bool {
    http_message::has_token(response.headers(), &CONNECTION, "close")
}

/// RFC 9110, section 15.3.6: a 205 has no content.
fn remove_content(response: &mut Response<Content>) {
    response.body_mut().discard();
    let fields = response.headers_mut();
    fields.remove(TRANSFER_ENCODING);
    fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
}

/// Whether only the end of the connection is that of the content: HTTP/1.0 has no chunks (RFC 9112,
/// section 6.3).
fn ends_with_connection(response: &Response<Content>, method: &Method) -> bool {
    let has_content = *method != Method::HEAD
        && !matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    has_content
        && !response.body().is_end_stream()
        && response.body().size_hint().exact().is_none()
        && !response.headers().contains_key(CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn response(connection: Option<&'static str>) -> Response<Content> {
        let mut response = Response::new(Content::page(Bytes::new()));
        if let Some(value) = connection {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(CONNECTION, value);
        }
        response
    }

    #[test]
    fn a_response_that_names_an_upgrade_still_does_when_its_connection_is_closed() {
        for (before, after) in [
            (None, &["close"][..]),
            (Some("keep-alive"), &["close"]),
            (Some("Upgrade"), &["Upgrade", "close"]),
        ] {
            let mut response = response(before);
            close(&mut response, Version::HTTP_11);
            let values: Vec<_> = response.headers().get_all(CONNECTION).iter().collect();
            assert_eq!(values, after);
            assert!(says_close(&response));
            assert!(response.body().closes_connection);
        }
    }
}
