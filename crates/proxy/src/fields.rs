//! The fields of forwarded requests and responses, and the defence against smuggling: a message with an ambiguous
//! length is refused, and the length of all others is written again. The hop-by-hop rule itself is `http_message`'s.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderValue, SERVER, SET_COOKIE, TE, TRAILER,
    UPGRADE,
};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Version};
use http_body::Frame;
use http_message::{Framing, Length, has_token, without_hop_by_hop};

use crate::ProxyError;

const WEBSOCKET: &str = "websocket";

/// Hop-by-hop features that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HopOptions {
    /// An upgrade to WebSocket.
    pub(crate) upgrade: bool,
    /// `expect: 100-continue`: the body is sent only when the server asks for it.
    pub(crate) expects_continue: bool,
    /// The client may be sent an `upgrade` field, which HTTP/2 does not have (RFC 9113, section 8.2.2).
    pub(crate) allows_upgrade_field: bool,
}

/// The length of a request's body, as its fields and the body itself say.
///
/// # Errors
///
/// If the fields are ambiguous: the server could see another end of the request than this one (request smuggling).
pub(crate) fn known_length(
    head: &Parts,
    exact: Option<u64>,
    is_empty: bool,
) -> Result<Length, ProxyError> {
    let framing = Framing::of(&head.headers).map_err(ProxyError::RequestFraming)?;
    Ok(match (framing, exact) {
        (Framing::Length(length), _) => Length::Exactly(length),
        (Framing::Chunked, _) if is_empty => Length::of_no_body(&head.method),
        (Framing::None, _) if is_empty || exact == Some(0) => Length::of_no_body(&head.method),
        (Framing::None, Some(length)) => Length::Exactly(length),
        (Framing::Chunked, _) | (Framing::None, None) => Length::Unknown,
    })
}

/// Prepares a request's fields for the server, except those about its length.
///
/// `host` stays as the client sent it, and so do `x-forwarded-*`, `forwarded` and `via`, to which nothing is added, as
/// in Unit. An HTTP/1.0 request may have no host, but the HTTP/1.1 request that is sent must have one (RFC 9112,
/// section 3.2).
pub(crate) fn prepare_request(head: &mut Parts, length: Length) -> HopOptions {
    let has_body = !matches!(length, Length::None | Length::Exactly(0));
    let is_http_1_0 = head.version < Version::HTTP_11;
    let options = HopOptions {
        upgrade: !has_body && asks_for_websocket(head),
        // RFC 9110, section 10.1.1.
        expects_continue: has_body && !is_http_1_0 && expects_continue(&head.headers),
        allows_upgrade_field: head.version < Version::HTTP_2,
    };
    let wants_trailers = has_token(&head.headers, &TE, "trailers");
    let keeps_expect = options.expects_continue || !expects_continue(&head.headers);

    let mut fields = without_hop_by_hop(std::mem::take(&mut head.headers), |name| match *name {
        CONTENT_LENGTH => false,
        EXPECT => keeps_expect,
        _ => true,
    });
    if !fields.contains_key(HOST) {
        let host = head.uri.authority().map(Authority::as_str);
        let host = HeaderValue::from_str(host.unwrap_or_default());
        fields.insert(HOST, host.unwrap_or(HeaderValue::from_static("")));
    }
    // RFC 9110, sections 7.8 and 10.1.4: `connection` must name both.
    if wants_trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        fields.append(CONNECTION, HeaderValue::from_static("te"));
    }
    if options.upgrade {
        fields.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
        fields.append(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    head.headers = fields;
    options
}

/// Prepares a response's fields for the client. `server` is dropped, as in Unit, which names itself.
///
/// Returns whether the fields allow the connection to be reused.
///
/// # Errors
///
/// If the response's length is ambiguous, or it switches protocols without having been asked: against response
/// smuggling.
pub(crate) fn prepare_response(
    fields: &mut HeaderMap,
    status: StatusCode,
    options: HopOptions,
) -> Result<bool, ProxyError> {
    // As in Unit, no response has both a length and chunks.
    let framing = Framing::of(fields).map_err(|error| ProxyError::Protocol(error.to_string()))?;
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !(options.upgrade && is_websocket(fields)) {
        let reason = "a 101 response without a request for an upgrade";
        return Err(ProxyError::Protocol(reason.to_owned()));
    }
    // Response smuggling: there is no body here (RFC 9110, section 8.6, and RFC 9112, section 6.1), but a server that
    // announces one may send it, and it would be read as the next response.
    let is_empty = switches || status == StatusCode::NO_CONTENT;
    let keeps_alive = !(is_empty && framing.announces_content());
    let required: Vec<_> = match status {
        // RFC 9110, section 15.5.22: it must name the protocols.
        StatusCode::UPGRADE_REQUIRED if options.allows_upgrade_field => {
            fields.get_all(UPGRADE).iter().cloned().collect()
        }
        _ => Vec::new(),
    };
    let mut prepared = without_hop_by_hop(std::mem::take(fields), |name| {
        *name != SERVER && *name != CONTENT_LENGTH
    });
    if let Framing::Length(length) = framing
        && !is_empty
    {
        prepared.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if switches {
        prepared.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        prepared.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    }
    if !required.is_empty() {
        prepared.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        for protocols in required {
            prepared.append(UPGRADE, protocols);
        }
    }
    *fields = prepared;
    Ok(keeps_alive)
}

/// Drops trailers on which the framing, routing or handling of the message depends (RFC 9110, section 6.5.1).
pub(crate) fn prepare_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    let fields = match frame.into_trailers() {
        Ok(fields) => fields,
        Err(frame) => return frame,
    };
    Frame::trailers(without_hop_by_hop(fields, |name| {
        ![
            CONTENT_LENGTH,
            CONTENT_ENCODING,
            CONTENT_TYPE,
            CONTENT_RANGE,
            HOST,
            TRAILER,
            AUTHORIZATION,
            COOKIE,
            SET_COOKIE,
            CACHE_CONTROL,
            EXPECT,
            SERVER,
        ]
        .contains(name)
    }))
}

/// RFC 9110, section 7.8: an HTTP/1.0 request cannot ask for it. Other protocols are not forwarded: requests over `h2c`
/// would bypass routing.
fn asks_for_websocket(head: &Parts) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && has_token(&head.headers, &CONNECTION, "upgrade")
        && is_websocket(&head.headers)
}

fn is_websocket(fields: &HeaderMap) -> bool {
    let mut values = fields.get_all(UPGRADE).iter();
    let is_it = values
        .next()
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    is_it && values.next().is_none()
}

fn expects_continue(fields: &HeaderMap) -> bool {
    has_token(fields, &EXPECT, "100-continue")
}
