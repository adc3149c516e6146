/// Where a request for a folder without a slash at its end is sent: to its own path with a slash,
/// and its own query. As in Unit, an empty query loses its question mark.
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
    for &byte in path {
        if is_escaped(byte) {
            const HEX: [u8; 16] = *b"0123456789ABCDEF";
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            location.extend([b'%', HEX[high], HEX[low]]);
        } else {
            location.push(byte);
        }
    }
    location.push(b'/');
    if !query.is_empty() {
        location.push(b'?');
        location.extend_from_slice(query.as_bytes());
    }
    location
}

/// What Unit escapes: what is not visible ASCII, what would end a path or is an escape itself, and
/// what RFC 3986 has no place for; but for the brackets.
fn is_escaped(byte: u8) -> bool {
    !byte.is_ascii_graphic() || b"\"#%<>?\\^`{|}".contains(&byte)
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
