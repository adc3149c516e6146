use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Version};

/// What Unit says of a request, as it came from the client but for the server name, which Unit has
/// put right (lower case, without port; `localhost` where the client named none).
#[derive(Clone, Debug)]
pub struct RawRequest<'a, F> {
    /// The method.
    pub method: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// The protocol, such as `HTTP/1.1`.
    pub version: &'a [u8],
    /// The server name.
    pub server_name: &'a [u8],
    /// Whether the client speaks TLS with Unit.
    pub tls: bool,
    /// Names and values of the fields, in the client's order.
    pub fields: F,
}

/// Why a request that Unit took cannot be told to a guest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The method is no token (RFC 9110, section 9.1).
    #[error("the method is {0}")]
    Method(String),
    /// The target has no path that a URI could have.
    #[error("the target is {0}")]
    Target(String),
    /// The server name could not be a URI's authority.
    #[error("the server name is {0}")]
    ServerName(String),
    /// A field's name or value is none (RFC 9110, section 5).
    #[error("the field {0}")]
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
    /// When a part of it cannot be told to a guest.
    pub fn into_parts(self) -> Result<Parts, BadRequest> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method =
            Method::from_bytes(self.method).map_err(|_| BadRequest::Method(shown(self.method)))?;
        parts.version = match self.version {
            b"HTTP/1.0" => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        parts.uri = self.uri()?;
        let mut headers = HeaderMap::with_capacity(self.fields.size_hint().0);
        for (name, value) in self.fields {
            let field = || BadRequest::Field(shown(name));
            let name = HeaderName::from_bytes(name).map_err(|_| field())?;
            let value = HeaderValue::from_bytes(value).map_err(|_| field())?;
            headers.try_append(name, value).map_err(|_| field())?;
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
        // Unit takes user information for a part of the name.
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

/// Bytes from outside, for the log: printable, and not many.
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
    fn tls_and_version_are_told() {
        let mut request = raw(b"/", &[]);
        request.tls = true;
        request.version = b"HTTP/1.0";
        let parts = request.into_parts().unwrap();
        assert_eq!(parts.uri.scheme_str(), Some("https"));
        assert_eq!(parts.version, Version::HTTP_10);
    }

    #[test]
    fn targets_without_a_leading_slash_lead_somewhere_or_are_refused() {
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
    fn what_no_guest_can_be_told_is_named_and_bounded() {
        let mut request = raw(b"/", &[]);
        request.method = b"G T";
        assert_eq!(
            request.into_parts().unwrap_err().to_string(),
            "the method is \"G T\""
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
