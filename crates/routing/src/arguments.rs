//! Parsing the arguments of queries, and cookies.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;
use untrusted_text::percent;

/// The arguments of a query, in order. They are separated by `&`; the first `=` separates name and value, and
/// without one the value is empty. Empty arguments and a single `=` are skipped, but `=a` is an argument
/// without a name.
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

/// An argument, not yet decoded.
pub(crate) struct Argument<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Argument<'a> {
    /// Whether its decoded name is `name`.
    pub(crate) fn is(&self, name: &[u8]) -> bool {
        percent::query_bytes(self.name).eq(name.iter().copied())
    }

    pub(crate) fn value(&self) -> Cow<'a, [u8]> {
        percent::decode_query(self.value)
    }
}

/// The values of the cookies with this name, in the order of the fields.
///
/// Cookies are separated by `;`; the first `=` separates name and value, and without one there is no cookie.
/// Spaces before the name and after the value are removed, others stay. Nothing is decoded.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b';'))
        .filter_map(move |cookie| {
            let at = cookie.iter().position(|&byte| byte == b'=')?;
            let front = &cookie[..at];
            let spaces = front.iter().take_while(|&&byte| byte == b' ').count();
            (front[spaces..] == *name).then(|| trim_end_spaces(&cookie[at + 1..]))
        })
}

fn trim_end_spaces(mut value: &[u8]) -> &[u8] {
    while let Some(shorter) = value.strip_suffix(b" ") {
        value = shorter;
    }
    value
}
