//! Paths of values in the tree.

use std::fmt::{self, Display, Formatter};

use thiserror::Error;
use untrusted_text::percent;

/// The names and indices from the root to a value.
///
/// [`Path::parse`] reads it from a request's target. `Display` is an RFC 6901 JSON pointer, as in the `path` of an
/// error's `location`: the root is the empty text, `~` is written `~0` and `/` is written `~1`.
///
/// ```
/// let path = config::Path::parse("/applications/a%2Fb/limits/")?;
/// assert_eq!(path.segments(), ["applications", "a/b", "limits"]);
/// assert_eq!(path.to_string(), "/applications/a~1b/limits");
/// # Ok::<(), config::PathError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path {
    segments: Vec<String>,
}

impl Path {
    /// Parses the path of a request target without its query. As in Unit, each segment is percent-decoded once, so
    /// that `%2F` is a slash within a name, and empty segments are skipped.
    ///
    /// A `.` or `..` segment, encoded or not, is refused. Unit resolves them; but a proxy in between may have decoded
    /// and resolved the path differently, and have authorised another path than the one used here.
    ///
    /// # Errors
    ///
    /// A percent sign without two hexadecimal digits, a NUL, a `.` or `..`, or a segment
    /// that is not UTF-8.
    pub fn parse(target: &str) -> Result<Self, PathError> {
        let mut segments = Vec::new();
        for raw in target.split('/') {
            let segment = percent_decode(raw)?;
            match segment.as_str() {
                "" => {}
                "." | ".." => return Err(PathError::DotSegment),
                _ => segments.push(segment),
            }
        }
        Ok(Self { segments })
    }

    /// The segments, decoded.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// This path with one more segment.
    #[must_use]
    pub fn join(mut self, segment: &str) -> Self {
        self.push(segment);
        self
    }

    /// Appends a segment.
    pub fn push(&mut self, segment: &str) {
        self.segments.push(segment.to_owned());
    }

    /// Removes the last segment, if there is one.
    pub fn pop(&mut self) {
        self.segments.pop();
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

impl<S: Into<String>> FromIterator<S> for Path {
    fn from_iter<I: IntoIterator<Item = S>>(segments: I) -> Self {
        Self {
            segments: segments.into_iter().map(Into::into).collect(),
        }
    }
}

/// Why the path of a request is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// `%` without two hexadecimal digits after it.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Percent,
    /// `%00`.
    #[error("the path contains a null character")]
    Nul,
    /// A segment that is `.` or `..`.
    #[error("the path contains a \".\" or \"..\" segment")]
    DotSegment,
    /// Bytes that are not UTF-8: no name in a configuration can match them.
    #[error("the decoded path is not UTF-8")]
    NotUtf8,
}

/// Decodes each `%XX` once.
pub(crate) fn percent_decode(text: &str) -> Result<String, PathError> {
    let bytes = percent::decode(text.as_bytes()).ok_or(PathError::Percent)?;
    if bytes.contains(&0) {
        return Err(PathError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| PathError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(target: &str) -> Vec<String> {
        Path::parse(target).unwrap().segments
    }

    #[test]
    fn slashes_at_the_ends_and_doubled_ones_do_not_count() {
        assert!(Path::parse("").unwrap().is_root());
        assert!(Path::parse("/").unwrap().is_root());
        assert_eq!(segments("/listeners/"), ["listeners"]);
        assert_eq!(segments("//listeners//*:80/"), ["listeners", "*:80"]);
    }

    #[test]
    fn a_segment_is_decoded_once() {
        assert_eq!(
            segments("/a%2fb/%2525/%5B::1%5D:80"),
            ["a/b", "%25", "[::1]:80"]
        );
    }

    #[test]
    fn path_traversal_is_refused_even_when_it_is_encoded() {
        for target in [
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/.",
            "/%2E/a",
            "/a/%2e%2E",
            "/a/.%2e/b",
        ] {
            assert_eq!(Path::parse(target), Err(PathError::DotSegment), "{target}");
        }
        // As in the name of a listener on a Unix socket.
        assert_eq!(
            segments("/unix:%2Fa%2F..%2Fb/...,a./"),
            ["unix:/a/../b", "...,a."]
        );
    }

    #[test]
    fn broken_encodings_are_refused() {
        assert_eq!(Path::parse("/%"), Err(PathError::Percent));
        assert_eq!(Path::parse("/%4"), Err(PathError::Percent));
        assert_eq!(Path::parse("/%zz"), Err(PathError::Percent));
        assert_eq!(Path::parse("/a%00"), Err(PathError::Nul));
        assert_eq!(Path::parse("/%ff"), Err(PathError::NotUtf8));
    }

    #[test]
    fn a_pointer_escapes_tildes_and_slashes() {
        assert_eq!(
            ["a~b", "c/d"].into_iter().collect::<Path>().to_string(),
            "/a~0b/c~1d"
        );
        assert_eq!(Path::default().to_string(), "");
    }
}
