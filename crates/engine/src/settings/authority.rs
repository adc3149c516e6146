//! Which authority guests see in their requests; not which hosts are accepted, which the front end checks.

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Uri};

/// What guests see as the authority of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestAuthority {
    /// That of the request's URI, which front ends make of the server name: lower case, without port.
    ServerName,
    /// The request's `host` field as the client sent it, with its port. Without such a field, and where
    /// it is empty or not an authority (one with user information is not), the server name.
    Host,
}

impl GuestAuthority {
    /// The authority that guests see instead of the server name: what the `host` field names, if that is
    /// wanted and can be one.
    #[must_use]
    pub fn of_host(self, headers: &HeaderMap) -> Option<Authority> {
        match self {
            Self::ServerName => None,
            Self::Host => host(headers),
        }
    }

    /// Gives this authority to a request whose URI is absolute, with the server name. A relative URI, which
    /// can have none, stays as it is.
    pub fn apply(self, parts: &mut Parts) {
        if let Some(host) = self.of_host(&parts.headers) {
            set_authority(&mut parts.uri, host);
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
        let mut request = http::Request::builder().uri("http://example.com/a?b");
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
    fn a_relative_uri_stays_as_it_is() {
        for target in ["/a?b", "*", "a:1"] {
            let request = http::Request::builder().uri(target);
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
