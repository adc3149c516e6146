//! What of a message's fields is forwarded, and in which way its length is told anew.

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

/// What else a request asks of its connection than to be forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// To become a WebSocket.
    pub(crate) upgrade: bool,
    /// To be told to go on before there is a body.
    pub(crate) proceed: bool,
    /// For a client that may be told which protocol to upgrade to: HTTP/2 has no such field (RFC 9113,
    /// section 8.2.2).
    pub(crate) hears_upgrade: bool,
}

/// The length of a request's body, as far as its head and its body know it.
///
/// # Errors
///
/// When they do not agree: then the next server may see another end than this one.
pub(crate) fn known_length(
    head: &Parts,
    exact: Option<u64>,
    is_none: bool,
) -> Result<Length, ProxyError> {
    let framing = Framing::of(&head.headers).map_err(ProxyError::RequestFraming)?;
    Ok(match (framing, exact) {
        (Framing::Length(length), _) => Length::Exactly(length),
        (Framing::Chunked, _) if is_none => Length::of_no_body(&head.method),
        (Framing::None, _) if is_none || exact == Some(0) => Length::of_no_body(&head.method),
        (Framing::None, Some(length)) => Length::Exactly(length),
        (Framing::Chunked, _) | (Framing::None, None) => Length::Unknown,
    })
}

/// Makes a request's fields fit for the next server, but for those that tell its length.
///
/// `host` stays as the client sent it, as do all fields about who forwarded the request before: Unit
/// adds none. An HTTP/1.0 request may have no host, but the one that is sent in HTTP/1.1 must
/// (RFC 9112, section 3.2).
pub(crate) fn prepare_request(head: &mut Parts, length: Length) -> Asked {
    let has_body = !matches!(length, Length::None | Length::Exactly(0));
    let is_http_1_0 = head.version < Version::HTTP_11;
    let asked = Asked {
        upgrade: !has_body && asks_for_websocket(head),
        // RFC 9110, section 10.1.1.
        proceed: has_body && !is_http_1_0 && expects_continue(&head.headers),
        hears_upgrade: head.version < Version::HTTP_2,
    };
    let wants_trailers = has_token(&head.headers, &TE, "trailers");
    let keeps_expect = asked.proceed || !expects_continue(&head.headers);

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
    // RFC 9110, sections 7.8 and 10.1.4: both have to be named as the connection's.
    if wants_trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        fields.append(CONNECTION, HeaderValue::from_static("te"));
    }
    if asked.upgrade {
        fields.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
        fields.append(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    head.headers = fields;
    asked
}

/// Makes a response's fields fit for the client. `server` is left out, as in Unit, which names itself.
///
/// Returns whether the connection may be used again, as far as the fields tell.
///
/// # Errors
///
/// When the response's length is not certain.
pub(crate) fn prepare_response(
    fields: &mut HeaderMap,
    status: StatusCode,
    asked: Asked,
) -> Result<bool, ProxyError> {
    // As in Unit, no response has both a length and chunks.
    let framing = Framing::of(fields).map_err(|error| ProxyError::Protocol(error.to_string()))?;
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !(asked.upgrade && is_websocket(fields)) {
        let reason = "it switches protocols without being asked";
        return Err(ProxyError::Protocol(reason.to_owned()));
    }
    // RFC 9110, section 8.6, and RFC 9112, section 6.1. Who announces a body here may send one, which
    // would be taken for the next response.
    let is_empty = switches || status == StatusCode::NO_CONTENT;
    let is_kept = !(is_empty && framing.announces_content());
    let required: Vec<_> = match status {
        // RFC 9110, section 15.5.22: it must name the protocols.
        StatusCode::UPGRADE_REQUIRED if asked.hears_upgrade => {
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
    Ok(is_kept)
}

/// Leaves of a piece, if it is a body's trailers, what may be there: nothing on which the message's
/// framing, routing or handling depends (RFC 9110, section 6.5.1).
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

/// RFC 9110, section 7.8: an HTTP/1.0 request cannot ask. Other protocols are not asked for:
/// behind `h2c` requests would pass that nobody has routed.
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
