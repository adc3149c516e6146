//! What of a message's fields is forwarded, and in which way its length is told anew.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SERVER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Version};

use crate::ProxyError;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

const WEBSOCKET: &str = "websocket";

/// What else a request asks of its connection than to be forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// To become a WebSocket.
    pub(crate) upgrade: bool,
    /// To be told to go on before there is a body.
    pub(crate) proceed: bool,
}

/// How long a request's body is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none, and nothing is told.
    None,
    Exactly(u64),
    /// It is sent in chunks.
    Unknown,
}

impl Length {
    /// What a request's fields and its body say together.
    ///
    /// # Errors
    ///
    /// When they do not agree: then the next server may see another end than this one.
    pub(crate) fn of_request(
        fields: &HeaderMap,
        exact: Option<u64>,
        is_none: bool,
    ) -> Result<Self, ProxyError> {
        let announced = content_length(fields).map_err(ProxyError::RequestFraming)?;
        if is_chunked(fields).map_err(ProxyError::RequestFraming)? {
            if announced.is_some() {
                // RFC 9112, section 6.1: an attempt at smuggling.
                let reason = "there are both content-length and transfer-encoding";
                return Err(ProxyError::RequestFraming(reason));
            }
            return Ok(Self::Unknown);
        }
        Ok(match announced.or(exact.filter(|_| !is_none)) {
            Some(length) => Self::Exactly(length),
            None if is_none => Self::None,
            None => Self::Unknown,
        })
    }
}

/// Makes a request's fields fit for the next server.
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
    };
    let wants_trailers = has_token(&head.headers, &TE, "trailers");
    let keeps_expect = asked.proceed || !expects_continue(&head.headers);

    let mut fields = forwarded(&head.headers, |name| match *name {
        CONTENT_LENGTH => false,
        EXPECT => keeps_expect,
        _ => true,
    });
    if !fields.contains_key(HOST) {
        let host = head.uri.authority().map(Authority::as_str);
        let host = HeaderValue::from_str(host.unwrap_or_default());
        fields.insert(HOST, host.unwrap_or(HeaderValue::from_static("")));
    }
    match length {
        Length::None => {}
        Length::Exactly(length) => {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Length::Unknown => {
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
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
    let violated = |reason: &str| ProxyError::Protocol(reason.to_owned());
    let length = content_length(fields).map_err(violated)?;
    let is_chunked = is_chunked(fields).map_err(violated)?;
    if is_chunked && length.is_some() {
        // So does Unit.
        return Err(violated(
            "there are both content-length and transfer-encoding",
        ));
    }
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !(asked.upgrade && is_websocket(fields)) {
        return Err(violated("it switches protocols without being asked"));
    }
    // RFC 9110, section 8.6, and RFC 9112, section 6.1. Who announces a body here may send one, which
    // would be taken for the next response.
    let is_empty = switches || status == StatusCode::NO_CONTENT;
    let announces = is_chunked || length.is_some_and(|length| length > 0);
    let is_kept = !(is_empty && announces);
    let length = length.filter(|_| !is_empty);
    let mut prepared = forwarded(fields, |name| *name != SERVER && *name != CONTENT_LENGTH);
    if let Some(length) = length {
        prepared.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if switches {
        prepared.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        prepared.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    }
    *fields = prepared;
    Ok(is_kept)
}

/// Leaves of a body's trailers what may be there: nothing on which the message's framing, routing or
/// handling depends (RFC 9110, section 6.5.1).
pub(crate) fn prepare_trailers(fields: &mut HeaderMap) {
    *fields = forwarded(fields, |name| {
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
    });
}

/// The fields that are not one connection's (RFC 9110, section 7.6.1, and what it has grown from), and
/// that are wanted, in their order.
fn forwarded(fields: &HeaderMap, is_wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let named = named_in_connection(fields);
    let mut forwarded = HeaderMap::with_capacity(fields.len() + 2);
    for (name, value) in fields {
        // To name `host` is no reason to be without: the next server would serve another.
        let is_named = *name != HOST && named.contains(name);
        if !is_hop_by_hop(name) && !is_named && is_wanted(name) {
            forwarded.append(name, value.clone());
        }
    }
    forwarded
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ]
    .contains(name)
}

fn named_in_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let is_usual = |token: &&[u8]| {
        ["close", "keep-alive", "upgrade", ""]
            .iter()
            .any(|usual| token.eq_ignore_ascii_case(usual.as_bytes()))
    };
    fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter(|token| !is_usual(token))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect()
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

fn has_token(fields: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    fields
        .get_all(name)
        .iter()
        .flat_map(tokens)
        .any(|it| it.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether the body comes in chunks, and in no other coding: nobody here could undo one, and
/// `te` has not asked for any.
fn is_chunked(fields: &HeaderMap) -> Result<bool, &'static str> {
    let mut values = fields.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err("transfer-encoding is not just chunked"),
    }
}

/// One number, if any. It may be there several times (RFC 9110, section 8.6), but is passed on once.
fn content_length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    for text in fields.get_all(CONTENT_LENGTH).iter().flat_map(tokens) {
        let number = number(text).ok_or("content-length is not a number")?;
        if length.is_some_and(|length| length != number) {
            return Err("there are several values of content-length");
        }
        length = Some(number);
    }
    Ok(length)
}

fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
}
