//! Which authority guests see in their requests. Which hosts are accepted is checked by the front end.

use http::HeaderMap;
use http::Request;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};

/// What guests see as the authority of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestAuthority {
    /// The server name: the host in lower case, without port and final dot. Front ends put it into the
    /// request's URI.
    ServerName,
    /// The request's `host` field as the client sent it, with its port. The server name where there is no such
    /// field, or it is not an authority (empty, or with user information).
    Host,
}

impl GuestAuthority {
    /// The authority that guests see instead of the server name; `None` if they see the server name.
    #[must_use]
    pub fn of_host(self, headers: &HeaderMap) -> Option<Authority> {
        match self {
            Self::ServerName => None,
            Self::Host => host(headers),
        }
    }

    /// Sets the authority of a request whose URI is absolute, and has the server name as its authority. A
    /// relative URI is not changed: see [`Application::handle`](crate::Application::handle).
    pub fn apply(self, parts: &mut Parts) {
        if let Some(host) = self.of_host(&parts.headers) {
            set_authority(&mut parts.uri, host);
        }
    }
}

impl GuestAuthority {
    /// Makes a relative URI absolute: `http`, with the authority of the `host` field. Without such a field, the
    /// URI is not changed.
    pub(crate) fn make_absolute<B>(self, request: &mut Request<B>) {
        let Some(host) = host(request.headers()) else {
            return;
        };
        let authority = match self {
            Self::Host => Some(host),
            Self::ServerName => {
                let name = host.host().trim_end_matches('.').to_ascii_lowercase();
                Authority::try_from(name).ok()
            }
        };
        let mut parts = request.uri().clone().into_parts();
        // Of an authority alone, as in `CONNECT`, there is no path.
        let path = PathAndQuery::from_static("/");
        parts.path_and_query.get_or_insert(path);
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = authority;
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// The `host` field, unless it cannot be an authority.
fn host(headers: &HeaderMap) -> Option<Authority> {
    let authority = Authority::try_from(headers.get(HOST)?.as_bytes()).ok()?;
    // With user information, the host is not the beginning.
    let after_host = authority.as_str().strip_prefix(authority.host())?;
    // An empty port is allowed (RFC 3986, section 3.2.3); one above 65535 is not a port.
    let is_valid = matches!(after_host, "" | ":") || authority.port_u16().is_some();
    let has_host = !authority.host().is_empty() && !authority.as_str().contains('@');
    (has_host && is_valid).then_some(authority)
}

fn set_authority(uri: &mut Uri, authority: Authority) {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(authority);
    // It fails where there is no scheme.
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(of: GuestAuthority, host: Option<&str>) -> String {
        let mut request = Request::builder().uri("http://example.com/a?b");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        of.apply(&mut parts);
        assert_eq!(parts.uri.path_and_query().unwrap(), "/a?b");
        assert_eq!(parts.uri.scheme_str(), Some("http"));
        parts.uri.authority().unwrap().to_string()
    }

    #[test]
    fn the_host_keeps_its_port_and_its_case_in_the_authority() {
        for host in [
            "example.com:8080",
            "Example.COM:80",
            "example.com.",
            "127.0.0.1:54771",
            "[::1]:8080",
            "[::1]",
            "a:0",
            "a:65535",
            "a:",
        ] {
            assert_eq!(authority(GuestAuthority::Host, Some(host)), host);
            let server_name = authority(GuestAuthority::ServerName, Some(host));
            assert_eq!(server_name, "example.com");
        }
    }

    #[test]
    fn a_relative_uri_gets_its_authority_from_the_host_field() {
        let absolute = |authority: GuestAuthority, target, host: Option<&str>| {
            let mut request = Request::builder().uri(target);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let mut request = request.body(()).unwrap();
            authority.make_absolute(&mut request);
            request.uri().to_string()
        };
        let host = Some("Example.com.:8080");
        for (target, expected) in [
            ("/a?b", "http://Example.com.:8080/a?b"),
            ("/", "http://Example.com.:8080/"),
        ] {
            assert_eq!(absolute(GuestAuthority::Host, target, host), expected);
        }
        assert_eq!(
            absolute(GuestAuthority::ServerName, "/a?b", host),
            "http://example.com/a?b"
        );
        for host in [None, Some(""), Some("user@a")] {
            assert_eq!(absolute(GuestAuthority::Host, "/a", host), "/a");
        }
    }

    #[test]
    fn a_relative_uri_stays_as_it_is() {
        for target in ["/a?b", "*", "a:1"] {
            let request = Request::builder().uri(target);
            let request = request.header(HOST, "example.com").body(()).unwrap();
            let (mut parts, ()) = request.into_parts();
            GuestAuthority::Host.apply(&mut parts);
            // The last is nothing but an authority.
            let expected = if target == "a:1" {
                "example.com"
            } else {
                target
            };
            assert_eq!(parts.uri, expected);
        }
    }

    #[test]
    fn a_host_that_cannot_be_an_authority_leaves_the_server_name() {
        assert_eq!(authority(GuestAuthority::Host, None), "example.com");
        for host in [
            "", "user@a", "a@b:80", "@", "a:65536", "a:x", "a b", "a/b", "[::1", ":80", "a:1:2",
            "::1",
        ] {
            let authority = authority(GuestAuthority::Host, Some(host));
            assert_eq!(authority, "example.com", "{host:?}");
        }
    }
}
