//! ETag lists of conditional requests, and their comparison with the ETag of a file (RFC 9110, section 8.8.3), which
//! is made in `validators`.

use http::HeaderMap;
use http::header::HeaderName;

/// The entity tags of a list: whether each is weak, and its opaque text with quotes. Ends at the first element that
/// is not an entity tag, since the rest is ambiguous then.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Option<(bool, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b',');
        let start = self.0.iter().take_while(blank).count();
        let rest = &self.0[start..];
        if rest.is_empty() {
            return None;
        }
        let (weak, opaque) = match rest.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, rest),
        };
        let end = opaque
            .strip_prefix(b"\"")
            .and_then(|text| text.iter().position(|byte| *byte == b'"'))
            .map(|end| end + 2);
        let Some(end) = end else {
            self.0 = b"";
            return Some(None);
        };
        let (tag, rest) = opaque.split_at(end);
        let ends_well = rest
            .iter()
            .find(|byte| !matches!(byte, b' ' | b'\t'))
            .is_none_or(|byte| *byte == b',');
        self.0 = rest;
        if !ends_well {
            self.0 = b"";
            return Some(None);
        }
        Some(Some((weak, tag)))
    }
}

/// Whether `field` contains `*`, or a tag that matches `ours`, which is strong; `None` matches `*` only. With
/// `weakly`, weak tags match, too (RFC 9110, section 8.8.3.2).
pub(crate) fn any_matches(
    headers: &HeaderMap,
    field: &HeaderName,
    ours: Option<&[u8]>,
    weakly: bool,
) -> bool {
    headers
        .get_all(field)
        .iter()
        .any(|value| matches(value.as_bytes(), ours, weakly))
}

fn matches(value: &[u8], ours: Option<&[u8]>, weakly: bool) -> bool {
    value.trim_ascii() == b"*"
        || Tags(value)
            .map_while(|tag| tag)
            .any(|(weak, tag)| Some(tag) == ours && (weakly || !weak))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weakly(value: &str) -> bool {
        matches(value.as_bytes(), Some(b"\"a\""), true)
    }

    fn strongly(value: &str) -> bool {
        matches(value.as_bytes(), Some(b"\"a\""), false)
    }

    #[test]
    fn any_tag_of_a_list_may_match() {
        for value in [
            "\"a\"",
            "\"b\", \"a\"",
            " ,, \"b\"\t,\"a\" ,",
            "\"b,\\\",\"a\"",
            "W/\"b\", \"a\"",
            "*",
            " * ",
        ] {
            assert!(weakly(value), "{value}");
            assert!(strongly(value), "{value}");
        }
    }

    #[test]
    fn without_a_tag_of_ours_only_the_asterisk_matches() {
        assert!(matches(b"*", None, false));
        for value in [&b"\"a\""[..], b"W/\"a\"", b"\"\"", b"", b"a"] {
            assert!(!matches(value, None, true));
        }
    }

    #[test]
    fn a_weak_tag_matches_only_weakly() {
        assert!(weakly("W/\"a\""));
        assert!(!strongly("W/\"a\""));
        assert!(strongly("W/\"a\", \"a\""));
    }

    #[test]
    fn what_follows_something_that_is_no_tag_is_not_looked_at() {
        for value in [
            "",
            "a",
            "\"a",
            "a\"",
            "\"A\"",
            "w/\"a\"",
            "b, \"a\"",
            "\"b\" \"a\"",
            "\"b\"\"a\"",
            "*, \"b\"",
            "W/ \"a\"",
            "\"a\"x",
        ] {
            assert!(!weakly(value), "{value}");
        }
    }
}
