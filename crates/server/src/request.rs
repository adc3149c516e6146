//! Checks of a request that HTTP leaves to the server, and rewriting of its URI. Syntax and framing are hyper's.

use std::borrow::Cow;
use std::mem;

use bytes::Bytes;
use http::header::{COOKIE, HOST, TE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_message::{Framing, FramingError, has_token};

/// The server name of a request that names no host, as in Unit.
pub(crate) const DEFAULT_SERVER_NAME: &str = "localhost";

/// Checks the request's method, target and host. Afterwards its `host` field names the
/// host that the request is for, and in HTTP/2 it has at most one `cookie` field.
///
/// # Errors
///
/// The status to refuse the request with.
pub(crate) fn check(parts: &mut Parts) -> Result<(), StatusCode> {
    if parts.method == Method::CONNECT {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    // hyper would decode only the chunks below another coding, and h2 checks only the first length.
    Framing::of(&parts.headers).map_err(|error| match error {
        // RFC 9112, section 6.1, and Unit's answer.
        FramingError::Coding => StatusCode::NOT_IMPLEMENTED,
        FramingError::NotANumber | FramingError::Several | FramingError::Both => {
            StatusCode::BAD_REQUEST
        }
    })?;
    if parts.version == Version::HTTP_2 {
        if has_outer_whitespace(&parts.headers) {
            return Err(StatusCode::BAD_REQUEST);
        }
        join_cookies(&mut parts.headers);
    }
    check_host(parts)?;
    check_path(&parts.method, &parts.uri)
}

/// Makes the URI of a checked request absolute. The scheme is the connection's, whatever the target says; path and
/// query do not change. The authority is `host`, or else the server name (in lower case, without port and trailing
/// dot, as in Unit).
///
/// # Errors
///
/// The status to refuse the request with, if its host cannot be part of a URI.
pub(crate) fn make_absolute(
    parts: &mut Parts,
    scheme: Scheme,
    host: Option<Authority>,
) -> Result<(), StatusCode> {
    let authority = match host {
        Some(host) => host,
        None => {
            let name = server_name(&parts.headers);
            let name = if name.is_empty() {
                DEFAULT_SERVER_NAME
            } else {
                &*name
            };
            Authority::try_from(name).map_err(|_| StatusCode::BAD_REQUEST)?
        }
    };
    let mut uri = mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(scheme);
    uri.authority = Some(authority);
    parts.uri = Uri::from_parts(uri).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(())
}

/// Whether the client of a request over HTTP/1 accepts trailers; `None` over HTTP/2, where every one does.
pub(crate) fn accepts_trailers<B>(request: &Request<B>) -> Option<bool> {
    let version = request.version();
    (version < Version::HTTP_2)
        .then(|| version == Version::HTTP_11 && has_token(request.headers(), &TE, "trailers"))
}

/// The host that a request was sent to, as in Unit: in lower case, without port and trailing dot. Empty if there is
/// no host, or an invalid one.
pub(crate) fn server_name(headers: &HeaderMap) -> Cow<'_, str> {
    let field = headers.get(HOST).and_then(|field| field.to_str().ok());
    let name = field.and_then(name).unwrap_or_default();
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Gives a request whose URI is absolute another path and query.
pub(crate) fn retarget(parts: &mut Parts, target: PathAndQuery) {
    let mut uri = mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(target);
    // Cannot fail: it has a scheme and an authority, and now a path.
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
}

/// Drops fields whose names have anything but letters, digits and hyphens. Some applications take `a_b` for `a-b`;
/// a client could use that to send them a field that this server would have refused or replaced.
pub(crate) fn discard_unsafe_fields(headers: &mut HeaderMap) {
    let is_safe = |name: &HeaderName| {
        let mut bytes = name.as_str().bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if headers.keys().all(is_safe) {
        return;
    }
    // Removing single fields would change the order of the others.
    let mut last = None;
    let all = mem::take(headers);
    for (name, value) in all {
        last = name.or(last);
        if let Some(name) = last.as_ref().filter(|name| is_safe(name)) {
            headers.append(name, value);
        }
    }
}

/// Joins the `cookie` fields, which clients of HTTP/2 split to compress them better, in the place
/// of the first (RFC 9113, section 8.2.3). The two bytes between two values are fewer than those of the name that is
/// dropped, so the header section does not grow.
fn join_cookies(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (fields.next(), fields.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    let mut is_sensitive = first.is_sensitive();
    for field in std::iter::once(second).chain(fields) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(field.as_bytes());
        is_sensitive |= field.is_sensitive();
    }
    // Cannot fail: all bytes come from valid fields.
    if let Ok(mut value) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        value.set_sensitive(is_sensitive);
        headers.insert(COOKIE, value);
    }
}

/// Whether a value begins or ends with white space, which makes a request malformed (RFC 9113, section 8.2.1). h2
/// takes it, and a server that the request is passed on to would read another value than routes do.
pub(crate) fn has_outer_whitespace(fields: &HeaderMap) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut values = fields.values().map(HeaderValue::as_bytes);
    values.any(|value| is_space(value.first()) || is_space(value.last()))
}

fn check_host(parts: &mut Parts) -> Result<(), StatusCode> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        // RFC 9112, section 3.2.
        return Err(StatusCode::BAD_REQUEST);
    }
    let field = match field {
        Some(value) => Some(value.to_str().map_err(|_| StatusCode::BAD_REQUEST)?),
        // RFC 9112, section 3.2.
        None if parts.version == Version::HTTP_11 => return Err(StatusCode::BAD_REQUEST),
        None => None,
    };
    let Some(authority) = parts.uri.authority().map(Authority::as_str) else {
        return check_name(field.unwrap_or_default());
    };
    // RFC 9112, section 3.2.2: the host of an absolute target counts, not the field. In HTTP/2 the
    // two must agree (RFC 9113, section 8.3.1).
    let agrees = field.is_none_or(|field| field.eq_ignore_ascii_case(authority));
    if parts.version == Version::HTTP_2 && !agrees {
        return Err(StatusCode::BAD_REQUEST);
    }
    check_name(authority)?;
    let value = HeaderValue::from_str(authority).map_err(|_| StatusCode::BAD_REQUEST)?;
    // Replaces the value where the field stands.
    parts.headers.insert(HOST, value);
    Ok(())
}

/// The target's path and query: `*` only for `OPTIONS` (RFC 9112, section 3.2.4).
fn check_path(method: &Method, uri: &Uri) -> Result<(), StatusCode> {
    let path = uri.path_and_query().ok_or(StatusCode::BAD_REQUEST)?;
    let allowed = match path.path() {
        "*" => *method == Method::OPTIONS,
        path => path.starts_with('/'),
    };
    allowed.then_some(()).ok_or(StatusCode::BAD_REQUEST)
}

fn check_name(host: &str) -> Result<(), StatusCode> {
    name(host).map(drop).ok_or(StatusCode::BAD_REQUEST)
}

/// The name in a `host` field (`uri-host [ ":" port ]`, RFC 9110, section 7.2).
fn name(host: &str) -> Option<&str> {
    let (name, rest) = if host.starts_with('[') {
        let end = host.find(']')? + 1;
        let (literal, rest) = host.split_at(end);
        let inside = &literal[1..end - 1];
        let valid = !inside.is_empty()
            && inside
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        valid.then_some((literal, rest))?
    } else {
        let end = host.find(':').unwrap_or(host.len());
        let (name, rest) = host.split_at(end);
        let valid = name.bytes().all(is_name_byte) && !name.contains("..");
        valid.then_some((name.strip_suffix('.').unwrap_or(name), rest))?
    };
    if name.is_empty() && !rest.is_empty() {
        // An empty port (RFC 9110, section 4.2.1).
        return None;
    }
    let port = rest.strip_prefix(':').unwrap_or(rest);
    if !port.is_empty() {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        (digits && port.parse::<u16>().is_ok() && rest.starts_with(':')).then_some(())?;
    }
    Some(name)
}

/// Unreserved characters and sub-delims (RFC 3986, section 3.2.2), without percent-encoding, which
/// no name in use needs.
fn is_name_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'
            | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(version: Version, target: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn checked(version: Version, target: &str, hosts: &[&str]) -> Result<String, u16> {
        let mut parts = parts(version, target, hosts);
        check(&mut parts).map_err(|status| status.as_u16())?;
        make_absolute(&mut parts, Scheme::HTTP, None).map_err(|status| status.as_u16())?;
        Ok(parts.uri.to_string())
    }

    #[test]
    fn the_server_name_is_the_host_without_its_port() {
        let of = |host| checked(Version::HTTP_11, "/a?b", &[host]);
        assert_eq!(of("localhost:8080").unwrap(), "http://localhost/a?b");
        assert_eq!(of("Example.COM.").unwrap(), "http://example.com/a?b");
        assert_eq!(of("[::1]:80").unwrap(), "http://[::1]/a?b");
        assert_eq!(of("").unwrap(), "http://localhost/a?b");
    }

    #[test]
    fn a_request_without_exactly_one_host_is_refused_in_http_1_1_only() {
        assert_eq!(checked(Version::HTTP_11, "/", &[]), Err(400));
        assert_eq!(checked(Version::HTTP_11, "/", &["a", "a"]), Err(400));
        assert_eq!(checked(Version::HTTP_10, "/", &["a", "b"]), Err(400));
        assert_eq!(
            checked(Version::HTTP_10, "/", &[]).unwrap(),
            "http://localhost/"
        );
    }

    #[test]
    fn invalid_hosts_are_refused() {
        for host in [
            "a b",
            "a@b",
            "a/b",
            "a:b",
            "a:1:2",
            "a:99999",
            "a:-1",
            "[::1",
            "[]",
            "[::1]x",
            "[::1]80",
            "a..b",
            "a\\b",
            "%41",
            "ä",
            ":80",
            ":",
            "a:65536",
            "user@a:80",
        ] {
            assert_eq!(checked(Version::HTTP_11, "/", &[host]), Err(400), "{host}");
        }
    }

    #[test]
    fn an_absolute_target_counts_more_than_the_host_field() {
        let mut parts = parts(
            Version::HTTP_11,
            "http://one.example:81/x",
            &["two.example"],
        );
        check(&mut parts).unwrap();
        make_absolute(&mut parts, Scheme::HTTP, None).unwrap();
        assert_eq!(parts.uri, "http://one.example/x");
        assert_eq!(parts.headers[HOST], "one.example:81");
        assert_eq!(checked(Version::HTTP_2, "http://one/x", &["two"]), Err(400));
        assert_eq!(
            checked(Version::HTTP_2, "http://one/x", &["ONE"]).unwrap(),
            "http://one/x"
        );
    }

    #[test]
    fn the_scheme_is_the_one_that_a_request_came_by() {
        for target in ["/x", "http://a/x", "https://a/x"] {
            let mut parts = parts(Version::HTTP_11, target, &["a"]);
            check(&mut parts).unwrap();
            make_absolute(&mut parts, Scheme::HTTPS, None).unwrap();
            assert_eq!(parts.uri, "https://a/x");
        }
    }

    #[test]
    fn the_asterisk_is_for_options() {
        assert_eq!(checked(Version::HTTP_11, "*", &["a"]), Err(400));
        let mut parts = parts(Version::HTTP_11, "*", &["a"]);
        parts.method = Method::OPTIONS;
        assert!(check(&mut parts).is_ok());
        assert_eq!(parts.uri.path_and_query().unwrap(), "*");
    }

    #[test]
    fn fields_with_unsafe_names_are_dropped_and_the_others_keep_their_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "a"),
            ("x_a", "1"),
            ("x-a", "2"),
            ("b", "3"),
            ("x.a", "4"),
            ("x-a", "5"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        discard_unsafe_fields(&mut headers);
        let left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            left,
            [("host", "a"), ("x-a", "2"), ("x-a", "5"), ("b", "3")]
        );
    }

    #[test]
    fn white_space_around_a_value_is_refused_in_http_2() {
        for (value, is_taken) in [
            ("admin", true),
            ("a\tb c", true),
            ("", true),
            (" admin", false),
            ("\tadmin", false),
            ("admin ", false),
            (" ", false),
        ] {
            let mut parts = parts(Version::HTTP_2, "http://a/", &["a"]);
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            parts.headers.append("x-role", value.clone());
            assert_eq!(check(&mut parts).is_ok(), is_taken, "{value:?}");
        }
    }

    #[test]
    fn cookie_fields_of_http_2_are_joined_into_one() {
        let fields = |version, cookies: &[&str]| {
            let mut parts = parts(version, "http://a/", &["a"]);
            for (number, cookie) in cookies.iter().enumerate() {
                let value = HeaderValue::from_bytes(cookie.as_bytes()).unwrap();
                parts.headers.append(COOKIE, value);
                let other = HeaderName::try_from(format!("x-{number}")).unwrap();
                parts.headers.append(other, HeaderValue::from_static(""));
            }
            check(&mut parts).unwrap();
            let values = parts.headers.iter().map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                format!("{name}={value}")
            });
            values.collect::<Vec<_>>().join("|")
        };
        let all = ["a=b", "c=d; e=f", "g=\u{fc}"];
        let joined = fields(Version::HTTP_2, &all);
        assert!(
            joined.starts_with("host=a|cookie=a=b; c=d; e=f; g=\u{fc}|x-0="),
            "{joined}"
        );
        assert_eq!(joined.matches("cookie").count(), 1);
        assert_eq!(fields(Version::HTTP_2, &["a=b"]), "host=a|cookie=a=b|x-0=");
        assert_eq!(fields(Version::HTTP_11, &all).matches("cookie=").count(), 3);
    }

    #[test]
    fn smuggling_by_an_ambiguous_length_is_refused() {
        let checked = |fields: &[(&'static str, &'static str)]| {
            let mut parts = parts(Version::HTTP_11, "/", &["a"]);
            for (name, value) in fields {
                parts.headers.append(*name, HeaderValue::from_static(value));
            }
            check(&mut parts).map_err(|status| status.as_u16())
        };
        assert_eq!(checked(&[("transfer-encoding", "Chunked")]), Ok(()));
        assert_eq!(checked(&[("content-length", "5")]), Ok(()));
        for coding in ["gzip, chunked", "chunked, chunked", "identity, chunked"] {
            let answer = checked(&[("transfer-encoding", coding)]);
            assert_eq!(answer, Err(501), "{coding}");
        }
        let several = [("content-length", "5"), ("content-length", "6")];
        assert_eq!(checked(&several), Err(400));
    }

    #[test]
    fn connect_is_not_implemented() {
        let mut parts = parts(Version::HTTP_11, "a:443", &["a:443"]);
        parts.method = Method::CONNECT;
        assert_eq!(check(&mut parts), Err(StatusCode::NOT_IMPLEMENTED));
    }
}
