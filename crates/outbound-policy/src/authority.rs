//! Splits the authority of a URI or a grant into host and port.

/// Why an authority does not come apart into a host and a port.
#[derive(Debug)]
pub(crate) enum AuthorityError {
    UserInfo,
    Port,
}

/// Takes `host`, `host:port`, `[v6]` or `[v6]:port` apart. The host is not validated here.
pub(crate) fn split(authority: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if authority.contains('@') {
        return Err(AuthorityError::UserInfo);
    }
    // An IPv6 address without brackets is returned whole; `Host::parse` refuses it.
    let colons = authority.bytes().filter(|&byte| byte == b':').count();
    let bare = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    if colons > 1 && authority.bytes().all(bare) {
        return Ok((authority, None));
    }
    // A colon inside of brackets belongs to the address. Without brackets the first colon ends the
    // host, so that `a:1:z` has no port that is a number.
    let end_of_host = match authority.strip_prefix('[') {
        Some(_) => authority.find(']').map_or(authority.len(), |at| at + 1),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end_of_host);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(AuthorityError::Port),
    }
}

/// A port that is written as numbers are: no sign, no leading zero, not empty, not 0.
pub(crate) fn port(text: &str) -> Result<u16, AuthorityError> {
    let digits = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits => Ok(port),
        _ => Err(AuthorityError::Port),
    }
}
