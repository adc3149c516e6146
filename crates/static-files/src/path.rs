/// A path, or a `chroot`, whose variables have been expanded, with the memory of what came out of a
/// variable.
///
/// A segment `..` that a variable brought, or helped to make, climbs out of the folder that the
/// configuration names. Such a path is refused with 403. Unit's `$uri` has no such segment, since
/// it is normalised before; but `$arg_…`, `$header_…` and `$cookie_…` may, and Unit follows them.
/// Dots that the configuration itself has are followed.
///
/// ```
/// use static_files::ExpandedPath;
///
/// let path = ExpandedPath::new().literal("/www/").variable("example.com").literal("/static");
/// assert_eq!(path.as_bytes(), b"/www/example.com/static");
/// assert!(!path.climbs());
/// assert!(ExpandedPath::new().literal("/www/.").variable("./secret").climbs());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpandedPath {
    bytes: Vec<u8>,
    /// Whether the last segment, which may yet grow, has bytes of a variable.
    expanded: bool,
    /// Whether a segment before the last one climbs.
    climbs: bool,
}

impl ExpandedPath {
    /// The empty path.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the configuration has as it is.
    #[must_use]
    pub fn literal(self, text: impl AsRef<[u8]>) -> Self {
        self.push(text.as_ref(), false)
    }

    /// Adds the value of a variable.
    #[must_use]
    pub fn variable(self, value: impl AsRef<[u8]>) -> Self {
        self.push(value.as_ref(), true)
    }

    /// The path as it will be opened.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a variable made a segment `..` of it.
    #[must_use]
    pub fn climbs(&self) -> bool {
        self.climbs || self.last_segment_climbs()
    }

    fn push(mut self, text: &[u8], expanded: bool) -> Self {
        let mut rest = text;
        while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
            let (segment, after) = rest.split_at(slash);
            self.extend(segment, expanded);
            self.climbs |= self.last_segment_climbs();
            self.bytes.push(b'/');
            self.expanded = false;
            rest = &after[1..];
        }
        self.extend(rest, expanded);
        self
    }

    fn extend(&mut self, part: &[u8], expanded: bool) {
        self.expanded |= expanded && !part.is_empty();
        self.bytes.extend_from_slice(part);
    }

    fn last_segment_climbs(&self) -> bool {
        self.expanded && (self.bytes == b".." || self.bytes.ends_with(b"/.."))
    }
}

/// What is left of `share` below `chroot`, compared as texts in which a run of slashes is one.
///
/// As in Unit, nothing else is normalised: `/www/./a` is not below `/www/a`, and what equals
/// `chroot` is not below it.
pub(crate) fn below<'a>(chroot: &[u8], share: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = share;
    if chroot.first() == Some(&b'/') {
        rest = rest.strip_prefix(b"/")?;
    } else if rest.first() == Some(&b'/') {
        return None;
    }
    for segment in chroot.split(|byte| *byte == b'/') {
        if segment.is_empty() {
            continue;
        }
        rest = trim_slashes(rest).strip_prefix(segment)?;
        if rest.first() != Some(&b'/') {
            return None;
        }
    }
    let rest = trim_slashes(rest);
    (!rest.is_empty()).then_some(rest)
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    &path[slashes..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dots_that_a_variable_brought_climb() {
        let path = ExpandedPath::new;
        assert!(!path().literal("/a/../b").variable("/c").climbs());
        assert!(!path().literal("/a/..").variable("/c").climbs());
        assert!(!path().literal("/a/..").variable("").literal("/c").climbs());
        assert!(!path().literal("/a").variable("/...").climbs());
        assert!(!path().literal("/a").variable("/..c/d..").climbs());
        assert!(!path().literal("/a.").variable(".").climbs());
        assert!(!path().literal("/a/").variable(".").climbs());
        assert!(path().variable("..").climbs());
        assert!(path().literal("/a").variable("/..").climbs());
        assert!(path().literal("/a/").variable("../b").climbs());
        assert!(path().literal("/a/.").variable(".").climbs());
        assert!(path().literal("/a/").variable(".").literal("./b").climbs());
        assert!(path().variable("b/..").literal("/c").climbs());
        assert!(!path().variable("b/..").literal("c").climbs());
    }

    #[test]
    fn a_share_is_below_its_chroot_at_a_slash() {
        let below = |chroot: &'static str, share: &'static str| {
            below(chroot.as_bytes(), share.as_bytes())
                .map(|rest| std::str::from_utf8(rest).unwrap())
        };
        assert_eq!(below("/www", "/www/a"), Some("a"));
        assert_eq!(below("/www/", "/www/a/"), Some("a/"));
        assert_eq!(below("//www///", "/www/////a//b"), Some("a//b"));
        assert_eq!(below("/www//x/", "///www/x//a"), Some("a"));
        assert_eq!(below("/", "/a"), Some("a"));
        assert_eq!(below(".", "./a"), Some("a"));
        assert_eq!(below("/www", "/www"), None);
        assert_eq!(below("/www", "/www/"), None);
        assert_eq!(below("/www/", "/www"), None);
        assert_eq!(below("/www", "/wwwx/a"), None);
        assert_eq!(below("/www", "/ww"), None);
        assert_eq!(below("/www", "www/a"), None);
        assert_eq!(below("www", "/www/a"), None);
        assert_eq!(below(".", ".a"), None);
        assert_eq!(below("/www/a", "/www/./a/b"), None);
        assert_eq!(below("/www", ""), None);
    }
}
