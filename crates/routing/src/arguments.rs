//! What queries and cookies have in them.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;

use untrusted_text::percent;

/// The arguments of a query, in order: what is between two `&`, parted by its first `=`, both parts
/// decoded with `+` for a space. Without a `=` the value is empty. Nothing, and a `=` alone, are no
/// arguments, but `=a` is one without a name.
pub(crate) fn arguments(query: &[u8]) -> impl DoubleEndedIterator<Item = Argument<'_>> {
    query
        .split(|&byte| byte == b'&')
        .filter(|pair| !matches!(*pair, b"" | b"="))
        .map(|pair| match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => Argument {
                name: &pair[..at],
                value: &pair[at + 1..],
            },
            None => Argument {
                name: pair,
                value: b"",
            },
        })
}

/// An argument as it stands in the query.
pub(crate) struct Argument<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Argument<'a> {
    /// Whether this is its name once it is decoded.
    pub(crate) fn is(&self, name: &[u8]) -> bool {
        percent::query_bytes(self.name).eq(name.iter().copied())
    }

    pub(crate) fn value(&self) -> Cow<'a, [u8]> {
        percent::decode_query(self.value)
    }
}

/// The values of the cookies with this name, in the order of the fields.
///
/// What is between two `;` is parted by its first `=`. Spaces in front of the name and behind the
/// value go, others stay; nothing is decoded. What has no `=` is no cookie.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b';'))
        .filter_map(move |cookie| {
            let at = cookie.iter().position(|&byte| byte == b'=')?;
            let front = &cookie[..at];
            let spaces = front.iter().take_while(|&&byte| byte == b' ').count();
            (front[spaces..] == *name).then(|| without_spaces_behind(&cookie[at + 1..]))
        })
}

fn without_spaces_behind(mut value: &[u8]) -> &[u8] {
    while let Some(shorter) = value.strip_suffix(b" ") {
        value = shorter;
    }
    value
}
