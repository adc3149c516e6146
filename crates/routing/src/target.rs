use std::borrow::Cow;

use untrusted_text::percent;

/// A request's target, taken apart: the path as patterns and `$uri` see it, and the query as it came.
///
/// The path is bytes: what was decoded need not be UTF-8. A target with nothing to decode and nothing
/// to resolve is not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    raw: &'a [u8],
    path: Cow<'a, [u8]>,
    query: &'a [u8],
    rewritten: bool,
    /// Others might read another path out of `raw` than the one here.
    ambiguous: bool,
}

/// Why a target is refused: with 400 when a client sent it, with 500 when it came of a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with a `/`. Unit knows neither `*` nor the absolute form; a server that
    /// does takes them apart before it asks here.
    #[error("a target begins with \"/\"")]
    NotAbsolute,
    /// A null character, a carriage return or a line feed, or a null character that was encoded.
    #[error("a target has no null characters and no line breaks")]
    Forbidden,
    /// `%` without two hexadecimal digits behind it. In the query it would do.
    #[error("a \"%\" is followed by two hexadecimal digits")]
    PercentEncoding,
    /// More `..` than there are segments in front of them.
    #[error("the path leads above its root")]
    AboveRoot,
    /// A segment is `.` or `..` with parameters, such as `..;a`: no client has a use for one, and
    /// servers that take parameters off before they resolve dots (Tomcat does) go up by it.
    #[error("a \".\" or \"..\" segment has no parameters")]
    DotSegmentParameters,
}

impl<'a> Target<'a> {
    /// Takes a target in origin form apart (RFC 9112, section 3.2.1), in this order:
    ///
    /// 1. The query is what stands between the first `?` and the end or the first `#`. What follows
    ///    a `#` is left out; no client should send it.
    /// 2. The path in front of that is percent-decoded once. So `%2F` is a slash and `%2E` is a dot
    ///    like any others, and `%3F`, `%23` and `%25` are characters of the path.
    /// 3. Adjacent slashes become one, `.` segments go, and a `..` segment takes the one before it
    ///    along. Behind a `.` or `..` at the end a slash stays: `/a/b/..` is `/a/`.
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

    /// A target that was refused, for what is said of it nevertheless: it has no path and no query.
    pub fn refused(raw: &'a [u8]) -> Self {
        Self {
            raw,
            path: Cow::Borrowed(b""),
            query: b"",
            rewritten: false,
            ambiguous: false,
        }
    }

    /// This target with another path, which is what a [`Rewrite`](crate::Rewrite) made of it. The query
    /// stays, and so does [`raw`](Self::raw).
    pub fn with_path(&self, path: Cow<'a, [u8]>) -> Self {
        Self {
            raw: self.raw,
            path,
            query: self.query,
            rewritten: true,
            ambiguous: false,
        }
    }

    /// The target as the client sent it, whatever has been rewritten: `$request_uri`.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The path, decoded and normalised: `$uri`. It begins with a `/` unless a rewrite said
    /// otherwise, has no `.` or `..` segment, no two adjacent slashes and no null character.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The query as it was sent, without its `?`. An empty query and none are the same, as in Unit.
    pub fn query(&self) -> &'a [u8] {
        self.query
    }

    /// Whether a rewrite has replaced the path.
    pub fn is_rewritten(&self) -> bool {
        self.rewritten
    }

    /// Whether [`to_send`](Self::to_send) is another spelling than [`raw`](Self::raw).
    pub fn is_respelled(&self) -> bool {
        self.rewritten || self.ambiguous
    }

    /// What to send on, to an application or a proxied server, so that it reads the same path as the
    /// patterns have matched: the target as it came, or, if [`path`](Self::path) has been rewritten or
    /// the spelling is ambiguous, that path, encoded, and the query.
    ///
    /// A spelling is ambiguous if segments have been resolved (`.`, `..` and empty ones, encoded or
    /// not), since servers differ in whether they decode first; and if it has a `\`, which is a slash
    /// for URL parsers that follow WHATWG. All else is the client's choice: an encoded slash within a
    /// name, `+`, `;`, the case of hexadecimal digits.
    ///
    /// A `?` or `#` in such a path is encoded. Unit leaves the first ones of a rewritten path as they
    /// are, by which a part of the path becomes a query on its way to a proxied server; that is not
    /// followed.
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

/// The path and the query of a target, both as they stand there.
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

/// A path as patterns see it.
pub(crate) struct Normalised<'a> {
    pub(crate) path: Cow<'a, [u8]>,
    /// See [`Target::to_send`].
    ambiguous: bool,
}

/// Decodes a path, then resolves its segments.
///
/// Unit does both in one pass. Since a decoded slash or dot counts as one, and any other decoded
/// character as an ordinary one, the outcome is the same.
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
    // The piece in front of the first slash is not a segment: of `/a` it is empty.
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
        // Only a rewrite gets here. Unit would keep these dots, for `share` to walk out by.
        return Err(TargetError::AboveRoot);
    }
    let mut resolved = Vec::with_capacity(path.len());
    resolved.extend_from_slice(first);
    let mut behind_slash = false;
    for piece in pieces {
        if !behind_slash {
            resolved.push(b'/');
        }
        behind_slash = matches!(piece, b"" | b"." | b"..");
        if piece == b".." {
            resolved.pop();
            let parent = resolved.iter().rposition(|&byte| byte == b'/');
            resolved.truncate(parent.ok_or(TargetError::AboveRoot)? + 1);
        } else if !behind_slash {
            resolved.extend_from_slice(piece);
        }
    }
    Ok(resolved)
}
