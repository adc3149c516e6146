//! The head of a request, from Unit's form into that of the `http` crate.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Version};

/// A request's head as Unit passes it: as the client sent it, plus the server name, which Unit has
/// normalised (lower case, without port; `localhost` if the client sent no host).
#[derive(Clone, Debug)]
pub struct RawRequest<'a, F> {
    /// As sent.
    pub method: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// The protocol, such as `HTTP/1.1`.
    pub version: &'a [u8],
    /// The server name.
    pub server_name: &'a [u8],
    /// Whether the client's connection to Unit uses TLS.
    pub tls: bool,
    /// Names and values of the fields, in the client's order.
    pub fields: F,
}

/// Fields that get room at once. Unit limits their bytes, but not their number.
const USUAL_FIELDS: usize = 64;

/// Why a request that Unit accepted cannot be passed to a guest. Shown to operators only.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The method is not a token (RFC 9110, section 9.1).
    #[error("invalid method {0}")]
    Method(String),
    /// The target has no valid path.
    #[error("invalid target {0}")]
    Target(String),
    /// The server name is not a valid authority of a URI.
    #[error("invalid server name {0}")]
    ServerName(String),
    /// More fields than a `HeaderMap` can have.
    #[error("too many fields")]
    TooManyFields,
    /// A field's name or value is not valid (RFC 9110, section 5).
    #[error("invalid field {0}")]
    Field(String),
}

impl<'a, F> RawRequest<'a, F>
where
    F: Iterator<Item = (&'a [u8], &'a [u8])>,
{
    /// The request's head, with an absolute URI.
    ///
    /// # Errors
    ///
    /// When a part of it is invalid.
    pub fn into_parts(self) -> Result<Parts, BadRequest> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method =
            Method::from_bytes(self.method).map_err(|_| BadRequest::Method(shown(self.method)))?;
        parts.version = match self.version {
            b"HTTP/1.0" => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        parts.uri = self.uri()?;
        let mut headers = HeaderMap::with_capacity(self.fields.size_hint().0.min(USUAL_FIELDS));
        for (name, value) in self.fields {
            let field = || BadRequest::Field(shown(name));
            let name = HeaderName::from_bytes(name).map_err(|_| field())?;
            let value = HeaderValue::from_bytes(value).map_err(|_| field())?;
            (headers.try_append(name, value)).map_err(|_| BadRequest::TooManyFields)?;
        }
        parts.headers = headers;
        Ok(parts)
    }

    fn uri(&self) -> Result<Uri, BadRequest> {
        let mut uri = uri::Parts::default();
        uri.scheme = Some(if self.tls {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        });
        // User information, `user@host`: Unit takes it for a part of the name.
        let authority = Authority::try_from(self.server_name)
            .ok()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(|| BadRequest::ServerName(shown(self.server_name)))?;
        uri.authority = Some(authority);
        uri.path_and_query = Some(self.path_and_query()?);
        Uri::from_parts(uri).map_err(|_| BadRequest::Target(shown(self.target)))
    }

    fn path_and_query(&self) -> Result<PathAndQuery, BadRequest> {
        let refused = || BadRequest::Target(shown(self.target));
        if self.target.first() == Some(&b'/') {
            return PathAndQuery::try_from(self.target).map_err(|_| refused());
        }
        // The absolute form, or `*` with `OPTIONS` (RFC 9112, section 3.2).
        let uri = Uri::try_from(self.target).map_err(|_| refused())?;
        uri.into_parts().path_and_query.ok_or_else(refused)
    }
}

/// Bytes from outside, for the log: printable, and 64 at most.
fn shown(bytes: &[u8]) -> String {
    let text = bytes[..bytes.len().min(64)].escape_ascii();
    let more = if bytes.len() > 64 { "…" } else { "" };
    format!("\"{text}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = std::iter::Copied<std::slice::Iter<'a, (&'a [u8], &'a [u8])>>;

    fn raw<'a>(target: &'a [u8], fields: &'a [(&'a [u8], &'a [u8])]) -> RawRequest<'a, Fields<'a>> {
        RawRequest {
            method: b"GET",
            target,
            version: b"HTTP/1.1",
            server_name: b"example.com",
            tls: false,
            fields: fields.iter().copied(),
        }
    }

    #[test]
    fn a_request_keeps_its_fields_and_their_order() {
        let parts = raw(
            b"/a%20b?c=d",
            &[
                (b"Host", b"EXAMPLE.com:80"),
                (b"X-B", b"1"),
                (b"x-a", b"\xe9"),
                (b"X-B", b"2"),
            ],
        )
        .into_parts()
        .unwrap();
        assert_eq!(parts.uri, "http://example.com/a%20b?c=d");
        let fields: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(
            fields,
            [
                ("host", &b"EXAMPLE.com:80"[..]),
                ("x-b", b"1"),
                ("x-b", b"2"),
                ("x-a", b"\xe9")
            ]
        );
    }

    #[test]
    fn a_request_with_thousands_of_fields_is_refused_without_a_panic() {
        let fields: Vec<_> = (0..40_000)
            .map(|number| format!("x-{number}").into_bytes())
            .collect();
        let fields: Vec<_> = fields.iter().map(|name| (&name[..], &b"1"[..])).collect();
        let error = raw(b"/", &fields).into_parts().unwrap_err();
        assert_eq!(error, BadRequest::TooManyFields);
    }

    #[test]
    fn tls_and_version_are_passed_on() {
        let mut request = raw(b"/", &[]);
        request.tls = true;
        request.version = b"HTTP/1.0";
        let parts = request.into_parts().unwrap();
        assert_eq!(parts.uri.scheme_str(), Some("https"));
        assert_eq!(parts.version, Version::HTTP_10);
    }

    #[test]
    fn absolute_and_asterisk_targets_are_accepted_and_invalid_ones_refused() {
        let path = |target: &'static [u8]| {
            raw(target, &[])
                .into_parts()
                .map(|parts| parts.uri.path_and_query().unwrap().to_string())
        };
        assert_eq!(path(b"*").unwrap(), "*");
        assert_eq!(path(b"http://other/x?y").unwrap(), "/x?y");
        assert!(matches!(path(b""), Err(BadRequest::Target(_))));
        assert!(matches!(path(b"/a b"), Err(BadRequest::Target(_))));
        assert!(matches!(path(b"/\x00"), Err(BadRequest::Target(_))));
    }

    #[test]
    fn errors_name_the_invalid_part_and_are_bounded() {
        let mut request = raw(b"/", &[]);
        request.method = b"G T";
        assert_eq!(
            request.into_parts().unwrap_err().to_string(),
            "invalid method \"G T\""
        );
        for server_name in [&b"a b"[..], b"user@a", b"a@"] {
            let mut request = raw(b"/", &[]);
            request.server_name = server_name;
            assert!(matches!(
                request.into_parts(),
                Err(BadRequest::ServerName(_))
            ));
        }
        let long = [b'@'; 1000];
        let error = raw(b"/", &[(&long, b"")]).into_parts().unwrap_err();
        assert!(error.to_string().len() < 120);
        let error = raw(b"/", &[(b"a", b"b\r\nc: d")]).into_parts().unwrap_err();
        assert_eq!(error, BadRequest::Field("\"a\"".to_owned()));
    }
}
