//! Which authority guests see in their requests; not which hosts are accepted, which the front end checks.

use std::mem;

use http::header::HOST;
use http::uri::{Authority, Uri};
use http::{HeaderMap, Request};

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
    /// Gives the request's URI this authority.
    pub(crate) fn apply<B>(self, request: &mut Request<B>) {
        match self {
            Self::ServerName => {}
            Self::Host => {
                if let Some(host) = differing_host(request.uri(), request.headers()) {
                    set_authority(request.uri_mut(), host);
                }
            }
        }
    }
}

/// The `host` field, unless it is the URI's authority already or cannot be one.
fn differing_host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let host = headers.get(HOST)?.as_bytes();
    if uri
        .authority()
        .is_some_and(|it| it.as_str().as_bytes() == host)
    {
        return None;
    }
    let authority = Authority::try_from(host).ok()?;
    // With user information, the host is not the beginning.
    let after_host = authority.as_str().strip_prefix(authority.host())?;
    // An empty port is allowed (RFC 3986, section 3.2.3); one above 65535 is not a port.
    let is_valid = matches!(after_host, "" | ":") || authority.port_u16().is_some();
    let has_host = !authority.host().is_empty() && !authority.as_str().contains('@');
    (has_host && is_valid).then_some(authority)
}

fn set_authority(uri: &mut Uri, authority: Authority) {
    let mut parts = mem::take(uri).into_parts();
    parts.authority = Some(authority);
    // It was absolute before, and is still.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(of: GuestAuthority, host: Option<&str>) -> String {
        let mut request = Request::builder().uri("http://example.com/a?b");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.body(()).unwrap();
        of.apply(&mut request);
        assert_eq!(request.uri().path_and_query().unwrap(), "/a?b");
        assert_eq!(request.uri().scheme_str(), Some("http"));
        request.uri().authority().unwrap().to_string()
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
