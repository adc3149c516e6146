//! The `Location` of the redirect from a folder's path without a trailing slash to the one with it.

use untrusted_text::percent;

/// The path to redirect to for a folder that was requested without a trailing slash: the request's path,
/// percent-encoded, with a slash, and the request's query. As in Unit, an empty query loses its question mark.
///
/// It is the request's path that gets the slash, not the file's. Where a share names one folder for
/// all requests, every redirection leads to the next one; so it is in Unit.
///
/// Unlike Unit, which relies on the path being normalised, several slashes at the start become one:
/// `//example.org` would be a host (RFC 3986, section 4.2).
pub(crate) fn location(path: &[u8], query: &str) -> Vec<u8> {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    let path = &path[slashes.saturating_sub(1)..];
    let mut location = Vec::with_capacity(path.len() + query.len() + 2);
    percent::push_path(path, &mut location);
    location.push(b'/');
    if !query.is_empty() {
        location.push(b'?');
        location.extend_from_slice(query.as_bytes());
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &[u8], query: &str) -> String {
        String::from_utf8(location(path, query)).unwrap()
    }

    #[test]
    fn the_path_gets_a_slash_and_keeps_its_query() {
        assert_eq!(of(b"/dir", ""), "/dir/");
        assert_eq!(of(b"/dir", "a=b&c"), "/dir/?a=b&c");
        assert_eq!(of(b"/dir/b[1]", "%2e/"), "/dir/b[1]/?%2e/");
    }

    #[test]
    fn the_path_is_escaped_again() {
        assert_eq!(of("/ä b".as_bytes(), ""), "/%C3%A4%20b/");
        assert_eq!(of(b"/a?b#c%d", ""), "/a%3Fb%23c%25d/");
        assert_eq!(
            of(b"/a\r\nSet-Cookie: b\x7f", ""),
            "/a%0D%0ASet-Cookie:%20b%7F/"
        );
        assert_eq!(of(b"/~!$&'()*+,;=:@-._", ""), "/~!$&'()*+,;=:@-._/");
    }

    #[test]
    fn no_path_leads_to_another_host() {
        assert_eq!(of(b"//example.org", ""), "/example.org/");
        assert_eq!(of(b"////example.org/a", "b"), "/example.org/a/?b");
        assert_eq!(of(b"/\\example.org", ""), "/%5Cexample.org/");
    }
}
