//! Request targets: percent-decoding, normalisation against path traversal, and the spelling to send on.

use std::borrow::Cow;

use untrusted_text::percent;

/// A parsed request target: the decoded and normalised path, and the query as the client sent it.
///
/// The path is bytes, and need not be UTF-8. A target with nothing to decode or resolve is not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    raw: &'a [u8],
    path: Cow<'a, [u8]>,
    query: &'a [u8],
    rewritten: bool,
    /// Other servers might read another path from `raw`.
    ambiguous: bool,
}

/// Why a target is refused: with 400 if a client sent it, with 500 if a rewrite made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with a `/`. Like Unit, this crate does not parse `*` or the absolute form; a server
    /// that accepts them converts them before.
    #[error("a target must begin with \"/\"")]
    NotAbsolute,
    /// A null character, encoded or not, a carriage return or a line feed.
    #[error("a target must not contain null characters or line breaks")]
    Forbidden,
    /// A `%` without two hexadecimal digits after it. The query may contain such.
    #[error("a \"%\" must be followed by two hexadecimal digits")]
    PercentEncoding,
    /// Path traversal: more `..` than segments before them.
    #[error("the path leads above its root")]
    AboveRoot,
    /// Path traversal: a segment `.` or `..` with parameters, such as `..;a`. Servers that remove parameters
    /// before they resolve dots (Tomcat does) leave the folder by it, and clients do not need it.
    #[error("a \".\" or \"..\" segment must not have parameters")]
    DotSegmentParameters,
}

impl<'a> Target<'a> {
    /// Parses a target in origin form (RFC 9112, section 3.2.1), in this order:
    ///
    /// 1. The query is the text after the first `?`, up to the first `#` or the end. The fragment after a `#`
    ///    is ignored; clients should not send it.
    /// 2. The path before that is percent-decoded once. So `%2F` is a slash and `%2E` a dot like any other,
    ///    and `%3F`, `%23` and `%25` are characters of the path.
    /// 3. Adjacent slashes become one, `.` segments are removed, and a `..` segment removes itself and the one
    ///    before it. A `.` or `..` at the end leaves a slash: `/a/b/..` is `/a/`.
    ///
    /// # Errors
    ///
    /// See [`TargetError`]. Spaces and bytes outside of ASCII are accepted, as in Unit.
    pub fn parse(raw: &'a [u8]) -> Result<Self, TargetError> {
        if raw.first() != Some(&b'/') {
            return Err(TargetError::NotAbsolute);
        }
        if raw.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
            return Err(TargetError::Forbidden);
        }
        let (path, query) = split(raw);
        let Normalised { path, ambiguous } = normalise(path)?;
        Ok(Self {
            raw,
            path,
            query,
            rewritten: false,
            ambiguous,
        })
    }

    /// A refused target, for the access log: it has neither path nor query.
    pub fn refused(raw: &'a [u8]) -> Self {
        Self {
            raw,
            path: Cow::Borrowed(b""),
            query: b"",
            rewritten: false,
            ambiguous: false,
        }
    }

    /// This target with the path of a [`Rewrite`](crate::Rewrite). The query and [`raw`](Self::raw) stay.
    pub fn with_path(&self, path: Cow<'a, [u8]>) -> Self {
        Self {
            raw: self.raw,
            path,
            query: self.query,
            rewritten: true,
            ambiguous: false,
        }
    }

    /// The target as the client sent it, before any rewrite: `$request_uri`.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The decoded and normalised path: `$uri`. It has no `.` or `..` segments, no adjacent slashes and no
    /// null characters, and begins with a `/` unless a rewrite changed that.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The query as the client sent it, without its `?`. As in Unit, no query and an empty one are the same.
    pub fn query(&self) -> &'a [u8] {
        self.query
    }

    /// Whether a rewrite has replaced the path.
    pub fn is_rewritten(&self) -> bool {
        self.rewritten
    }

    /// Whether [`to_send`](Self::to_send) differs from [`raw`](Self::raw).
    pub fn is_respelled(&self) -> bool {
        self.rewritten || self.ambiguous
    }

    /// The target to send to an application or a proxied server, so that it reads the path that the patterns
    /// have matched: [`raw`](Self::raw), or, if the path was rewritten or its spelling is ambiguous,
    /// [`path`](Self::path), percent-encoded, and the query.
    ///
    /// A spelling is ambiguous if segments were resolved (`.`, `..` and empty ones, encoded or not), since
    /// servers differ in whether they decode first; and if it contains a `\`, which URL parsers that follow
    /// WHATWG take for a slash. Everything else is sent as the client chose it: an encoded slash within a
    /// name, `+`, `;`, the case of hexadecimal digits.
    ///
    /// A `?` or `#` in an encoded path is encoded, too. Unit does not encode the first ones of a rewritten
    /// path, so that a proxied server takes a part of the path for a query.
    pub fn to_send(&self) -> Cow<'a, [u8]> {
        if !self.is_respelled() {
            return Cow::Borrowed(self.raw);
        }
        let mut sent = Vec::with_capacity(self.path.len() + 1 + self.query.len());
        percent::push_path(&self.path, &mut sent);
        if !self.query.is_empty() {
            sent.push(b'?');
            sent.extend_from_slice(self.query);
        }
        Cow::Owned(sent)
    }
}

/// The path and the query of a target, neither of them decoded.
pub(crate) fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    let end = |text: &[u8], wanted: &[u8]| {
        text.iter()
            .position(|byte| wanted.contains(byte))
            .unwrap_or(text.len())
    };
    let (path, rest) = raw.split_at(end(raw, b"?#"));
    match rest.strip_prefix(b"?") {
        Some(query) => (path, &query[..end(query, b"#")]),
        None => (path, b""),
    }
}

/// A decoded path with its segments resolved.
pub(crate) struct Normalised<'a> {
    pub(crate) path: Cow<'a, [u8]>,
    /// See [`Target::to_send`].
    ambiguous: bool,
}

/// Decodes a path, then resolves its segments.
///
/// Unit does both in one pass, with the same result: a decoded slash or dot acts as one, and any other decoded
/// character as an ordinary one.
pub(crate) fn normalise(path: &[u8]) -> Result<Normalised<'_>, TargetError> {
    let mut ambiguous = path.contains(&b'\\');
    let decoded = if path.contains(&b'%') {
        Cow::Owned(percent::decode(path).ok_or(TargetError::PercentEncoding)?)
    } else {
        Cow::Borrowed(path)
    };
    if decoded.contains(&b'\0') {
        return Err(TargetError::Forbidden);
    }
    if decoded.contains(&b';') && has_dot_segment_parameters(&decoded) {
        return Err(TargetError::DotSegmentParameters);
    }
    let path = if is_resolved(&decoded) {
        decoded
    } else {
        ambiguous = true;
        Cow::Owned(resolve(&decoded)?)
    };
    Ok(Normalised { path, ambiguous })
}

fn has_dot_segment_parameters(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|piece| {
        let name = piece.iter().position(|&byte| byte == b';');
        name.is_some_and(|end| matches!(&piece[..end], b"." | b".."))
    })
}

/// Whether there is nothing to resolve.
fn is_resolved(path: &[u8]) -> bool {
    // The piece before the first slash is not a segment: in `/a` it is empty.
    let mut pieces = path.split(|&byte| byte == b'/');
    if pieces.next() == Some(b"..") {
        return false;
    }
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let empty = piece.is_empty() && pieces.peek().is_some();
        if empty || matches!(piece, b"." | b"..") {
            return false;
        }
    }
    true
}

fn resolve(path: &[u8]) -> Result<Vec<u8>, TargetError> {
    let mut pieces = path.split(|&byte| byte == b'/');
    let first = pieces.next().unwrap_or_default();
    if first == b".." {
        // Only for rewrites, which need not begin with a slash. Unit keeps these dots, and a `share` of such a
        // path leaves its folder.
        return Err(TargetError::AboveRoot);
    }
    let mut resolved = Vec::with_capacity(path.len());
    resolved.extend_from_slice(first);
    let mut after_slash = false;
    for piece in pieces {
        if !after_slash {
            resolved.push(b'/');
        }
        after_slash = matches!(piece, b"" | b"." | b"..");
        if piece == b".." {
            resolved.pop();
            let parent = resolved.iter().rposition(|&byte| byte == b'/');
            resolved.truncate(parent.ok_or(TargetError::AboveRoot)? + 1);
        } else if !after_slash {
            resolved.extend_from_slice(piece);
        }
    }
    Ok(resolved)
}
